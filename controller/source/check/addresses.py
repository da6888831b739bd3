"""The checks on the addresses of guests, at which their health is asked."""

from collections.abc import Iterator

from controller.model.network import Network
from controller.model.protection_policy import ProtectionPolicy
from controller.model.virtual_machine import VirtualMachine
from controller.source.problems import Finding
from controller.source.specs import Entry, Specs


def check_addresses(specs: Specs) -> Iterator[Finding]:
    """Yield addresses that two cards of a network share, or that are not in it, and VMs whose
    health nobody could ask for want of an address."""
    networks, policies = specs.of(Network), specs.of(ProtectionPolicy)
    taken: dict[tuple[str, str], Entry[VirtualMachine]] = {}
    for entry in specs.of(VirtualMachine).values():
        spec = entry.document.spec
        for index, nic in enumerate(spec.nics):
            if nic.address is None:
                continue
            path = ("spec", "nics", index, "address")
            network = networks.get(nic.network or "")
            subnet = None if network is None else network.document.spec.subnet
            if subnet is not None and nic.address not in subnet:
                yield entry.wrong(f"{nic.address} is not in the subnet {subnet} of network"
                                  f" `{nic.network}`: name an address of that", *path)
            other = taken.setdefault((nic.network or "", str(nic.address)), entry)
            if other is not entry:
                yield entry.wrong(f"{nic.address} is the address of `{other.document.name}`"
                                  f" ({other.chunk.place}) already: each guest has its own", *path)
        policy = policies.get(spec.protection or "")
        if policy is None or all(nic.address is None for nic in spec.nics):
            yield from _unaskable(entry, policy)


def _unaskable(entry: Entry[VirtualMachine],
               policy: Entry[ProtectionPolicy] | None) -> Iterator[Finding]:
    health = None if policy is None else policy.document.spec.health
    if policy is not None and health is not None and (health.ping or health.tcp is not None):
        yield entry.wrong(f"`{policy.document.name}` wants its health asked over the network, and"
                          " none of its cards has an `address`: declare the guest's own",
                          "spec", "protection")
