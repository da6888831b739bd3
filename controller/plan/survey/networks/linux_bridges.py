"""Linux bridges as every other room sees bridges: ports, and the VLANs that pass on them.

Rule 1: a bridge that does not look at tags passes every frame as it is, on every port.
Rule 2: one whose VLANs cannot be seen makes all the bridges of its host unknown, and no others.

Linux keeps three things of each port: the VLANs that pass, those of them that leave without a tag,
and the one (PVID) that frames without a tag belong to. Open vSwitch says the same in other words,
which are used here, too. What has no words there (several VLANs that leave untagged, a PVID that
leaves tagged) is `odd`, and nothing is changed on such a port.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from controller.model.facts import BridgeFacts, DomainFacts, PortFacts
from controller.model.host import HostSpec
from controller.model.linux.links import LinkFacts, Links, PassingVlans

NONE_PASSES: Final = (4095,)
"""A reserved number, in place of an empty list, which stands for every VLAN elsewhere."""
ALL: Final = frozenset(range(2, 4095))
"""All that is left when VLAN 1 has another part to play."""
GUESTS: Final = frozenset({"tun", "veth", "macvtap", "dummy", "ifb"})
"""Kinds of devices that no cable ends at."""


def linux_bridges(_: str, links: Links | None, domains: Mapping[str, DomainFacts] | None,
                  ) -> Mapping[str, BridgeFacts] | None:
    """Return the Linux bridges of a host by name; None if they cannot be seen."""
    if links is None or (links.vlans_unknown and any(
            link.filtering for link in links.links.values())):
        return None
    macs = {nic.device: nic.mac for domain in (domains or {}).values() if domain.live is not None
            for nic in domain.live.nics if nic.device}
    return {link.name: BridgeFacts(link.name, False, {
        port.name: port for port in _ports(link, links, macs)}, stp_enabled=link.stp)
        for link in links.links.values() if link.kind == "bridge"}


def _ports(bridge: LinkFacts, links: Links, macs: Mapping[str, str]) -> Iterator[PortFacts]:
    """Yield the ports of a bridge, and of one that looks at tags its own as well."""
    for link in links.links.values():
        if link.master != bridge.name and (link is not bridge or not bridge.filtering):
            continue
        tag, trunks, mode = (columns_of(links.vlans.get(link.name, PassingVlans()))
                             if bridge.filtering else (None, (), None))
        yield PortFacts(
            link.name, tag, trunks, mode, link.link_up, macs.get(link.name),
            members=tuple(sorted(one.name for one in links.links.values()
                                 if one.master == link.name)) if link.kind == "bond" else (),
            kind="internal" if link is bridge else "")


def columns_of(passing: PassingVlans) -> tuple[int | None, tuple[int, ...], str | None]:
    """Return the VLANs of a port as tag, trunks and mode."""
    tagged, pvid = passing.tagged - passing.untagged, passing.pvid
    if pvid is not None and pvid not in passing.tagged | passing.untagged:
        pvid = None
    every = tagged >= ALL - {pvid}
    if pvid is None:
        return None, () if every else tuple(sorted(tagged)) or NONE_PASSES, "trunk"
    if not tagged - {pvid}:
        return pvid, (), "access"
    return pvid, () if every else tuple(sorted(tagged | {pvid})), "native-untagged"


def is_odd(passing: PassingVlans) -> bool:
    """Return whether the VLANs of a port cannot be said as tag, trunks and mode."""
    return passing.untagged != ({passing.pvid} if passing.pvid is not None else set())


def uplinks_of(bridge: str, spec: HostSpec, links: Links) -> tuple[LinkFacts, ...]:
    """Return the ports of a bridge by which frames leave the host, sorted by name."""
    return tuple(link for name, link in sorted(links.links.items()) if link.master == bridge and (
        link.kind not in GUESTS or name in spec.uplinks))
