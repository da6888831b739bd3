"""The checks on gateways: an address that cannot be one, and switches that cannot hold it."""

from collections.abc import Generator, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from controller.model.host import Host
from controller.model.network import GatewaySpec, Network
from controller.model.switch import Switch
from controller.model.virtual_machine import VirtualMachine
from controller.model.witness import Witness
from controller.source.problems import Finding
from controller.source.specs import Entry, Specs

IpAddress = IPv4Address | IPv6Address


def check_gateways(specs: Specs) -> Iterator[Finding]:
    """Yield gateways that are no usable address, and those that no switch could hold."""
    nodes = {entry.document.spec.address: f"{type(entry.document).__name__}/{name}"
             for entries in (specs.of(Host), specs.of(Switch), specs.of(Witness))
             for name, entry in entries.items()}
    guests = {(nic.network or "", nic.address): name
              for name, vm in specs.of(VirtualMachine).items()
              for nic in vm.document.spec.nics if nic.address is not None}
    for name, entry in specs.of(Network).items():
        gateway = entry.document.spec.gateway
        if gateway is None:
            continue
        taken = {at: f"VirtualMachine/{vm}" for (network, at), vm in guests.items()
                 if network == name}
        address = yield from _check_address(entry, gateway)
        if address is not None:
            yield from _check_free(entry, address, taken, nodes, "gateway", "address")
        if gateway.rendered:
            yield from _check_rendered(entry, gateway)
        yield from _check_switches(specs, entry, gateway, taken, nodes)


def _check_address(entry: Entry[Network], gateway: GatewaySpec,
                   ) -> Generator[Finding, None, IpAddress | None]:
    """Yield what is wrong with a gateway's address; return it if it is one."""
    path = ("spec", "gateway", "address")
    subnet = entry.document.spec.subnet
    try:
        address = ip_address(gateway.address)
    except ValueError:
        yield entry.wrong(f"`{gateway.address}` is not an IP address: write one of the subnet",
                          *path)
        return None
    if subnet is None:
        yield entry.wrong("a gateway needs the subnet it is in: add `subnet:`", "spec", "gateway",
                          at_key=True)
        return None
    yield from _check_within(entry, address, *path)
    return address


def _check_within(entry: Entry[Network], address: IpAddress, *path: str) -> Iterator[Finding]:
    """Yield that an address is not in the subnet, or stands for all of it."""
    subnet = entry.document.spec.subnet
    if subnet is None:
        return
    if address not in subnet:
        yield entry.wrong(f"{address} is not in {subnet}: write an address of the subnet", *path)
    elif subnet.num_addresses > 2 and address in {subnet.network_address, subnet.broadcast_address}:
        yield entry.wrong(f"{address} is the first or last of {subnet}: write one in between",
                          *path)


def _check_free(entry: Entry[Network], address: IpAddress, guests: Mapping[IpAddress, str],
                nodes: Mapping[str, str], *path: str) -> Iterator[Finding]:
    """Yield who has an address already."""
    owner = guests.get(address) or nodes.get(str(address))
    if owner is not None:
        yield entry.wrong(f"{address} is the address of {owner} already: choose another", "spec",
                          *path)


def _check_rendered(entry: Entry[Network], gateway: GatewaySpec) -> Iterator[Finding]:
    """Yield what a gateway lacks that we are to configure."""
    spec = entry.document.spec
    if not gateway.switches:
        yield entry.wrong("no switch is named that holds it: write `switches:` with an address of"
                          " its own for each, or `mode: observed` if other routers hold it",
                          "spec", "gateway", "mode")
    if gateway.vrid is None:
        yield entry.wrong("it needs a number of its own among the virtual routers of the VLAN: add"
                          " `vrid:`", "spec", "gateway", at_key=True)
    if spec.vlan is None:
        yield entry.wrong("switches hold the gateway of a network with a VLAN only: add `vlan:`, or"
                          " write `mode: observed`", "spec", "gateway", at_key=True)
    if spec.subnet is not None and spec.subnet.version != 4:
        yield entry.wrong("switches hold IPv4 gateways only: write `mode: observed`", "spec",
                          "gateway", at_key=True)


def _check_switches(specs: Specs, entry: Entry[Network], gateway: GatewaySpec,
                    guests: Mapping[IpAddress, str], nodes: Mapping[str, str],
                    ) -> Iterator[Finding]:
    """Yield switches that are unknown, elsewhere, or have an address that they cannot have."""
    if gateway.mode == "observed" and gateway.switches:
        yield entry.wrong("`mode: observed` and `switches` contradict each other: remove one",
                          "spec", "gateway", "switches", at_key=True)
    seen: dict[str, str] = {gateway.address: "the gateway"}
    sites = entry.document.spec.sites
    for name, own in gateway.switches.items():
        path = ("gateway", "switches", name)
        yield from specs.dangling(entry.chunk, "Switch", name, "spec", *path)
        switch = specs.of(Switch).get(name)
        site = None if switch is None else switch.document.spec.site
        if site is not None and site not in sites:
            yield entry.wrong(f"switch `{name}` is at site `{site}`, which the network does not"
                              " span: name a switch of its sites", "spec", *path)
        yield from _check_within(entry, own, "spec", *path)
        yield from _check_free(entry, own, guests, nodes, *path)
        other = seen.setdefault(str(own), f"`{name}`")
        if other != f"`{name}`":
            yield entry.wrong(f"{own} is the address of {other}, too: give each switch its own",
                              "spec", *path)
