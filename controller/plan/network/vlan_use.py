"""Who uses a VLAN: every card, port, mirror and address seen on it within its broadcast domain.

Rule 1: what cannot be seen may use it, and so may a port that passes every VLAN.
Rule 2: a declared card at a site of its network is no use: declared ports carry it, and those keep
        their VLANs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.facts import (
    BridgeFacts,
    DomainConfig,
    DomainFacts,
    InterfaceFacts,
    NicFacts,
    PortFacts,
)
from controller.model.host import Host
from controller.model.linux.links import Links
from controller.plan.actions.network import NarrowTrunk
from controller.plan.network.port_vlans import TUNNEL, frames_of, port_vlans_of
from controller.plan.network.topology import Cable, End, cables
from controller.plan.survey.identity import owner_of
from controller.plan.survey.networks.attachment import LINUXBRIDGE, bridges_of
from controller.plan.survey.networks.linux_bridges import uplinks_of
from controller.plan.survey.silence import known_of
from controller.plan.survey.survey import Survey


class Use(NamedTuple):
    """Something that is, or may be, on a VLAN."""

    words: str
    target: str = ""
    """The declared VM whose card it is, empty for all else."""
    own: bool = False
    """An address of the node itself: without it the node may be cut off."""


@dataclass(slots=True)
class VlanUses:
    """Looks up who uses the VLANs that a port is to lose; answers are cached."""

    survey: Survey
    _cables: tuple[Cable, ...] | None = None
    _found: dict[tuple[int, frozenset[str]], tuple[Use, ...]] = field(default_factory=dict)

    def of(self, action: NarrowTrunk) -> tuple[Use, ...]:
        """Return everything that may use a VLAN that an action takes away, each once."""
        found: dict[Use, None] = {}
        for vlan in action.lost:
            sites = self._reach(vlan, self.survey.site_of(action.node))
            key = (vlan, sites)
            if key not in self._found:
                self._found[key] = tuple(self._look(vlan, sites))
            found |= dict.fromkeys(self._found[key])
        return tuple(found)

    def _reach(self, vlan: int, start: str) -> frozenset[str]:
        """Return the sites that frames of a VLAN reach from `start`, or may reach."""
        if self._cables is None:
            self._cables = cables(self.survey.desired)
        ways = [(self.survey.site_of(one.a.node), self.survey.site_of(one.b.node))
                for one in self._cables if one.link and self._passes(one.a, vlan)
                and self._passes(one.b, vlan)]
        wired = {one.link for one in self._cables}
        ways += [link.spec.between for name, link in self.survey.desired.inter_site_links.items()
                 if name not in wired]      # nobody can be asked about its ends
        seen, edge = {start}, [start]
        while edge:
            here = edge.pop()
            for a, b in ways:
                if here in {a, b}:
                    far = b if here == a else a
                    if far not in seen:
                        seen.add(far)
                        edge.append(far)
        return frozenset(seen)

    def _passes(self, end: End, vlan: int) -> bool:
        """Return whether a VLAN may pass at one end of a cable; it may where nothing is seen."""
        bridges = self.survey.bridges(end.node)
        if bridges is None or self.survey.no_switching(end.node):
            return True
        ports = [bridge.ports[end.port] for bridge in bridges.values() if end.port in bridge.ports]
        return any(may_carry(port, vlan) for port in ports)

    def _look(self, vlan: int, sites: frozenset[str]) -> Iterator[Use]:
        survey = self.survey
        for name in sorted([*survey.desired.hosts, *survey.desired.switches]):
            if survey.site_of(name) in sites and name not in survey.lost:
                yield from node_uses(name, vlan, survey)
        for name, domains in sorted(survey.removed_hosts.items()):
            if domains is None:
                yield Use(f"{name}, which left the specs and was never seen")
            for domain in (domains or {}).values():
                for config in (domain.live, domain.config):
                    yield from card_uses(domain, name, config, (), vlan, survey)


def node_uses(name: str, vlan: int, survey: Survey) -> Iterator[Use]:
    """Yield everything that uses a VLAN on one declared node."""
    host = survey.desired.hosts.get(name)
    node = survey.nodes.get(name)
    if node is None or name in survey.stale:
        yield Use(f"{name}, which {'does not answer' if node is None else 'did not answer lately'}")
        return
    if host is not None and name in survey.unreachable:
        yield Use(f"the guests of {name}, which cannot be seen")
    bridges = survey.bridges(name)
    if bridges is None or survey.no_switching(name):
        yield Use(f"the ports of {name}, which cannot be seen")
    if survey.interfaces(name) is None:
        yield Use(f"{name} itself, whose addresses cannot be seen")
    names = bridges_of(host) if host else (survey.desired.switches[name].spec.bridge,)
    cards = {domain.name: [use for config in (domain.live, domain.config)
                           for use in card_uses(domain, name, config, names, vlan, survey)]
             for domain in survey.domains.get(name, {}).values()}
    for uses in cards.values():
        yield from uses
    named = {domain for domain, uses in cards.items() if uses}
    for bridge in (bridges[one] for one in names if bridges and one in bridges):
        declared = ways_of(host, bridge.name, survey) if host else {
            port.name for port in survey.desired.switches[name].spec.ports}
        yield from bridge_uses(name, bridge, declared, vlan, survey, named)
    if host and host.spec.driver == LINUXBRIDGE:
        devices = (known_of(node.links) or Links({})).links.values()
        yield from (Use(f"{link.name} on {name}") for link in devices
                    if link.kind == "vlan" and link.vlan == vlan)


def bridge_uses(node: str, bridge: BridgeFacts, declared: set[str], vlan: int, survey: Survey,
                named: set[str]) -> Iterator[Use]:
    """Yield what uses a VLAN on one bridge of a node, cards aside."""
    interfaces = survey.interfaces(node) or {}
    yield from port_uses(node, bridge, declared, vlan, survey, named)
    yield from inner_uses(node, bridge, interfaces, vlan)
    if vlan in bridge.mirror_vlans:
        yield Use(f"a mirror of {bridge.name} on {node}, which writes to it")
    yield from address_uses(node, bridge, declared, interfaces, vlan)


def ways_of(host: Host, bridge: str, survey: Survey) -> set[str]:
    """Return the ports of a host's bridge that lead elsewhere: declared ones, or those found."""
    links = known_of(survey.nodes[host.name].links)
    if host.spec.driver != LINUXBRIDGE or links is None:
        return set(host.spec.uplinks)
    return {link.name for link in uplinks_of(bridge, host.spec, links)}


def is_served(mac: str, vm: str, vlan: int, node: str, survey: Survey) -> bool:
    """Return whether a card is declared here on this VLAN: then declared ports carry it."""
    card = survey.card_of.get(mac)
    return (card is not None and card.vm == vm and node in survey.desired.hosts
            and survey.attachment(node, card).vlan == vlan
            and survey.site_of(node) in survey.desired.networks[card.network].spec.sites)


def card_uses(domain: DomainFacts, host: str, config: DomainConfig | None,
              bridges: tuple[str, ...], vlan: int, survey: Survey) -> Iterator[Use]:
    """Yield the cards of one domain XML that may use a VLAN; `bridges`: on these, empty: on any."""
    vm = owner_of(domain, survey.specs.names)
    for nic in config.nics if config is not None else ():
        if bridges and nic.bridge not in {*bridges, ""}:
            continue
        if not nic_carries(nic, vlan) or is_served(nic.mac, vm, vlan, host, survey):
            continue
        yield Use(f"{domain.name} on {host} (card {nic.mac})", target_of(vm, survey))


def target_of(vm: str, survey: Survey) -> str:
    """Return a VM as a target; empty where it is not declared."""
    return f"VirtualMachine/{vm}" if vm in survey.desired.virtual_machines else ""


def nic_carries(nic: NicFacts, vlan: int) -> bool:
    """Return whether a card may send frames of a VLAN; without a tag its port decides."""
    if nic.trunks:
        return vlan in nic.trunks
    return nic.vlan == vlan if nic.vlan is not None else (vlan == 0 and nic.kind == "bridge")


def port_uses(node: str, bridge: BridgeFacts, declared: set[str], vlan: int, survey: Survey,
              named: set[str]) -> Iterator[Use]:
    """Yield the ports of a bridge, besides the declared trunks, that may carry a VLAN.

    Shapes: ports of guests in `named`, whose cards are uses already, are left out.
    """
    owner = {nic.mac: domain for domain in survey.domains.get(node, {}).values()
             if domain.live is not None for nic in domain.live.nics}
    for port in bridge.ports.values():
        if (port.name in declared or declared & set(port.members) or port.mirror
                or port.name == bridge.name or port.kind == "internal"):
            continue
        if not may_carry(port, vlan):
            continue
        guest = owner.get(port.attached_mac or "")
        if guest is not None and guest.name in named:
            continue
        vm = "" if guest is None else owner_of(guest, survey.specs.names)
        if guest is not None and port.tag is not None and is_served(
                port.attached_mac or "", vm, vlan, node, survey):
            continue
        whose = f" of {guest.name}" if guest is not None else ""
        every = "" if port.tag is not None or port.trunks else (
            ", which lets every VLAN pass to whoever is behind it")
        yield Use(f"port {port.name}{whose} on {node}{every}", target_of(vm, survey))


def inner_uses(node: str, bridge: BridgeFacts, interfaces: Mapping[str, InterfaceFacts],
               vlan: int) -> Iterator[Use]:
    """Yield a node's internal ports without an address: it may be in a network namespace."""
    for port in bridge.ports.values():
        if port.kind != "internal" or port.name == bridge.name or not may_carry(port, vlan):
            continue
        seen = interfaces.get(port.name)
        if seen is None:
            yield Use(f"port {port.name} on {node}, which a network namespace may have")
        elif not seen.addresses and (port.tag is not None or port.trunks):
            yield Use(f"port {port.name} on {node}, which has no address now")


def may_carry(port: PortFacts, vlan: int) -> bool:
    """Return whether frames of a VLAN pass on a port, tagged or not."""
    if port.vlan_mode == TUNNEL and port.tag is not None:
        return port.tag == vlan     # whatever passes inside, outside all of it has this tag
    frames = frames_of(port_vlans_of(port))
    return frames.untagged == vlan or frames.tagged is None or vlan in frames.tagged


def address_uses(node: str, bridge: BridgeFacts, declared: set[str],
                 interfaces: Mapping[str, InterfaceFacts], vlan: int) -> Iterator[Use]:
    """Yield the node's own addresses on a VLAN; VLAN 0 is for untagged frames."""
    for one in interfaces.values():
        base = one.parent if one.vlan is not None and one.parent is not None else one.name
        port = bridge.ports.get(base)
        if base not in declared and base != bridge.name and (
                port is None or port.kind != "internal"):
            continue
        tag = (port.tag if port is not None and base not in declared else None) or 0
        at = one.vlan if one.vlan is not None else tag
        if at == vlan and one.addresses:
            for address in one.addresses:
                yield Use(f"{node} itself (its address {address} on {one.name})", own=True)
        elif at == vlan and (one.vlan is not None or one.master not in {None, "ovs-system"}):
            yield Use(f"{one.name} on {node}")
