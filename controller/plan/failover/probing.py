"""Which host asks which guests whether they serve.

A guest is asked on the host that it runs on. Where that has no address of its own in the guest's
network, the first host of the same site that has one asks, too: what a router lets pass proves less
than what the wire does, and most hosts have no address where their guests are.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_interface

from controller.model.desired import Desired
from controller.model.facts import DomainFacts, Known, NodeFacts, runs
from controller.model.failover.serving import Probe
from controller.model.protection_policy import HealthSpec
from controller.model.virtual_machine import NicSpec, VirtualMachine


def probes_of(node: str, wanted: Mapping[str, HealthSpec], desired: Desired,
              seen: Mapping[str, NodeFacts]) -> tuple[Probe, ...]:
    """Return what a host is to ask, by what was last seen of all hosts; sorted."""
    if not wanted or node not in desired.hosts:
        return ()
    return tuple(sorted((*_own(node, wanted, desired, seen), *_others(node, wanted, desired, seen)),
                        key=lambda one: one.uuid))


def addressed(vm: VirtualMachine) -> NicSpec | None:
    """Return the card at whose address a VM is asked."""
    return next((nic for nic in vm.spec.nics if nic.address is not None), None)


def is_on_link(address: IPv4Address | IPv6Address, facts: NodeFacts | None) -> bool:
    """Return whether a host has an address of its own in the network of another one."""
    if facts is None or not isinstance(facts.interfaces, Known):
        return False
    return any(address in ip_interface(own).network for one in facts.interfaces.value.values()
               for own in one.addresses)


def _running(node: str, wanted: Mapping[str, HealthSpec],
             seen: Mapping[str, NodeFacts]) -> Iterator[tuple[str, DomainFacts]]:
    """Yield the VMs that run on a host and whose health is declared."""
    facts = seen.get(node)
    if facts is None or not isinstance(facts.domains, Known):
        return
    for domain in facts.domains.value.values():
        mark = domain.ownership
        name = mark.name if mark is not None and mark.name else domain.name
        if name in wanted and runs(domain):
            yield name, domain


def _own(node: str, wanted: Mapping[str, HealthSpec], desired: Desired,
         seen: Mapping[str, NodeFacts]) -> Iterator[Probe]:
    for name, domain in _running(node, wanted, seen):
        health, card = wanted[name], addressed(desired.virtual_machines[name])
        yield Probe(domain.uuid, domain.name, agent=health.agent, reads=health.boots_s > 0,
                    tcp=health.tcp, ping=health.ping,
                    address="" if card is None else str(card.address),
                    mac="" if card is None else card.mac)


def _others(node: str, wanted: Mapping[str, HealthSpec], desired: Desired,
            seen: Mapping[str, NodeFacts]) -> Iterator[Probe]:
    """Yield the guests of other hosts of the site, where this is the first that shares their wire.
    """
    mine, site = seen.get(node), desired.hosts[node].spec.site
    if mine is None or not isinstance(mine.interfaces, Known) or not any(
            one.addresses for one in mine.interfaces.value.values()):
        return
    near = [name for name, host in desired.hosts.items() if host.spec.site == site]
    for other in near:
        if other == node:
            continue
        for name, domain in _running(other, wanted, seen):
            health, card = wanted[name], addressed(desired.virtual_machines[name])
            if card is None or card.address is None or not (health.tcp or health.ping):
                continue
            address = card.address
            if not is_on_link(address, mine) or is_on_link(address, seen.get(other)):
                continue
            if node == min(one for one in near if is_on_link(address, seen.get(one))):
                yield Probe(domain.uuid, "", tcp=health.tcp, ping=health.ping,
                            address=str(address), mac=card.mac)
