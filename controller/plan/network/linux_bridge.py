"""Hosts with Linux bridges, and libvirt's own networks: which networks they lack, and why.

We own little there. A bridge is never made, an uplink never moved, a tool's files never written:
whoever does that from outside cuts hosts off, and fights the tool that set them up. What is missing
stalls the host, with what a person has to do. Changed are only the VLANs of ports of a bridge that
looks at tags, at run time, by the same two steps as trunks of Open vSwitch (trunk.py).

A network is followed from the bridge outward, and the first that is wrong is told:

    the bridge      is there, is a Linux bridge, is up
    its tags        it looks at them where the host has the network with a tag
    its uplinks     there is one, where other hosts have the network, too; any of them has a link
    the wire        a VLAN device (eno1.200) has the network's own number; a port lets it pass
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from controller.model.facts import Absent
from controller.model.host import Host, HostSpec
from controller.model.linux.links import LinkFacts, Links
from controller.model.virtual_machine import VirtualMachine
from controller.plan.network.port_vlans import Wanted, frames_of, port_vlans_of
from controller.plan.network.trunk import ManagedBridge, Trunk, diff_port
from controller.plan.steps.draft import Draft
from controller.plan.survey.networks.attachment import LINUXBRIDGE, Attachment, attachment_of
from controller.plan.survey.networks.linux_bridges import is_odd, linux_bridges, uplinks_of
from controller.plan.survey.silence import known_of
from controller.plan.survey.survey import Survey

NOTHING: "Mapping[str, Lack]" = {}
MENDED = "VlanMissing"
"""The reason that we can do something about."""


class Lack(NamedTuple):
    """Why a host does not have a network that it should have."""

    reason: str
    sentence: str
    sure: bool = True
    """False: it cannot be seen whether it has it."""


def lacks(host: Host, survey: Survey) -> Mapping[str, Lack]:
    """Return the networks of its site that a host lacks, with why; those of Open vSwitch aside."""
    spec = host.spec
    if spec.driver == "none" or not (spec.driver == LINUXBRIDGE or spec.attachments):
        return NOTHING
    node = survey.nodes.get(host.name)
    links = None if node is None else known_of(node.links)
    return survey.specs.cached(lacks_of, host.name, spec, links, survey.networks_at(spec.site),
                               survey.vlan_of, survey.specs.alone)


def lacking(vm: VirtualMachine, host: Host, survey: Survey) -> str | None:
    """Return why a VM would lack one of its networks on a host; None if it has them all."""
    missing = lacks(host, survey)
    if not missing:
        return None
    return next((missing[nic.network].sentence for nic in vm.spec.nics
                 if nic.network is not None and not nic.kept and nic.network in missing
                 and missing[nic.network].sure), None)


def lacks_of(name: str, spec: HostSpec, links: Links | None, networks: tuple[str, ...],
             vlan_of: Mapping[str, int | None], alone: frozenset[str]) -> Mapping[str, Lack]:
    """Return the networks that a host lacks; `alone`: those that no other host has."""
    found = {}
    for network in (one.partition("/")[2] for one in networks):
        place = attachment_of(network, vlan_of[network], spec)
        if not place.libvirt_network and spec.driver != LINUXBRIDGE:
            continue
        what = f"network {network}"
        if links is None:
            found[network] = Lack("CannotBeSeen", f"whether {name} has {what} cannot be seen: its"
                                  " network devices cannot", sure=False)
            continue
        lack = _libvirts(name, place, what, links) if place.libvirt_network else (
            _bridge(name, place, what, links)
            or _uplinks(name, place, what, spec, links, network in alone)
            or _wire(name, place, what, vlan_of[network], spec, links))
        if lack is not None:
            found[network] = lack
    return found or NOTHING


def _libvirts(name: str, place: Attachment, what: str, links: Links) -> Lack | None:
    if links.networks_unknown:
        return Lack("CannotBeSeen", f"the networks of libvirt on {name} cannot be seen"
                    f" ({links.networks_unknown})", sure=False)
    found = links.networks.get(place.libvirt_network)
    if found is None:
        return Lack("NoLibvirtNetwork", f"libvirt on {name} has no network {place.libvirt_network},"
                    f" where {what} is declared: define it there, or declare another place")
    if not found.active:
        return Lack("LibvirtNetworkOff", f"libvirt's network {found.name} on {name} is not started:"
                    f" virsh net-start {found.name}")
    return None


def _bridge(name: str, place: Attachment, what: str, links: Links) -> Lack | None:
    link = links.links.get(place.bridge)
    where = f"{place.bridge} of {name}"
    if link is None:
        return Lack("NoBridge", f"{name} has no bridge {place.bridge}, where {what} is declared: no"
                    " Linux bridge is ever made from outside; make it by hand, or declare under"
                    f" `attachments` of {name} where it has that network")
    if link.kind != "bridge":
        kind = "a bridge of Open vSwitch" if link.kind == "openvswitch" else (
            f"a device of kind {link.kind or 'none'}")
        return Lack("NotLinuxBridge", f"{where} is {kind}, not a Linux bridge, and {what} is"
                    " declared there: declare its driver, or another place")
    if not link.up:
        return Lack("BridgeDown", f"{where} is switched off: {what} ends there")
    if place.vlan is not None and not link.filtering:
        return Lack("NotFiltering", f"{where} does not look at tags (vlan_filtering is 0), and"
                    f" {what} is declared there as VLAN {place.vlan}: declare under `attachments`"
                    " the bridge that has that VLAN alone, or let this one filter")
    if link.filtering and links.vlans_unknown:
        return Lack("CannotBeSeen", f"the VLANs of {where} cannot be seen"
                    f" ({links.vlans_unknown})", sure=False)
    return None


def _uplinks(name: str, place: Attachment, what: str, spec: HostSpec, links: Links,
             alone: bool) -> Lack | None:
    ways = uplinks_of(place.bridge, spec, links)
    if not ways:
        return None if alone else Lack("NoUplink", f"nothing leads from {place.bridge} of {name} to"
                                       f" other hosts: {what} ends there")
    if all(one.link_up is not True for one in ways):
        words = ", ".join(_chain(one, links) for one in ways)
        return Lack("NoLink", f"{words} of {name} has no link: {what} ends there")
    return None


def _chain(link: LinkFacts, links: Links) -> str:
    """Return a device and those below it, in words: `eno1.200 over bond0`."""
    below = links.links.get(link.parent)
    return link.name if below is None else f"{link.name} over {below.name}"


def _wire(name: str, place: Attachment, what: str, wire: int | None, spec: HostSpec,
          links: Links) -> Lack | None:
    """Return why frames of a network do not leave by any uplink that has a link."""
    bridge = links.links[place.bridge]
    ways = [one for one in uplinks_of(place.bridge, spec, links) if one.link_up]
    if not ways:
        return None
    if bridge.filtering:
        seen = (linux_bridges(name, links, None) or {})[bridge.name].ports
        vlan = place.vlan if place.vlan is not None else bridge.pvid
        if not vlan:
            return Lack("NoVlan", f"{bridge.name} of {name} gives new ports no VLAN"
                        f" (vlan_default_pvid is 0), and {what} is declared there without one:"
                        " declare its `vlan:` under `attachments`")
        frames = [frames_of(port_vlans_of(seen[one.name])) for one in ways]
        if not any(one.tagged is None or vlan in one.tagged or vlan == one.untagged
                   for one in frames):
            return Lack(MENDED, f"{' and '.join(one.name for one in ways)} of {name} does not let"
                        f" VLAN {vlan} pass ({what})")
        return None
    tags = {one.vlan if one.kind == "vlan" else None for one in ways}
    if wire is not None and None not in tags and wire not in tags:
        return Lack("OtherVlan", f"{bridge.name} of {name} is on VLAN {min(filter(None, tags))}"
                    f" ({ways[0].name}), and {what} is VLAN {wire}: plug the right one in by hand,"
                    " or declare another place")
    return None


def diff_linux_host(host: Host, managed: ManagedBridge, survey: Survey, draft: Draft) -> None:
    """Put down what a host with Linux bridges lacks, and the VLANs that its uplinks do."""
    node = survey.nodes[host.name]
    target = f"Host/{host.name}"
    if isinstance(node.links, Absent):
        draft.stall(target, "NoIproute2", f"the network devices of {host.name} were not shown: its"
                    " cards stay as they are; install iproute2 there")
        return
    links = known_of(node.links)
    if links is None:
        draft.remark(target, f"the network devices of {host.name} could not be seen: nothing is"
                     " changed there", unknown=True)
        return
    for lack in dict.fromkeys(lacks(host, survey).values()):
        if lack.sure and lack.reason != MENDED:
            draft.stall(target, lack.reason, lack.sentence)
        elif not lack.sure:
            draft.remark(target, lack.sentence, unknown=True)
    for bridge, trunk in trunks_of(host, links, survey):
        port = survey.bridges(host.name)
        assert port is not None, "trunks_of saw it"
        if is_odd(links.vlans.get(trunk.port, links.vlans[bridge])):
            draft.remark(target, f"{trunk.port} of {host.name} sends several VLANs, or another one"
                         " than it receives, without a tag: it is left as it is")
            continue
        diff_port(replace(managed, bridge=bridge), port[bridge].ports[trunk.port], trunk.wanted,
                  draft)


def trunks_of(host: Host, links: Links, survey: Survey) -> Iterator[tuple[str, Trunk]]:
    """Yield each uplink of a bridge that looks at tags, with the VLANs declared for it, if any."""
    spec = host.spec
    if links.vlans_unknown:
        return
    vlans: dict[str, set[int]] = {}
    for network in (one.partition("/")[2] for one in survey.networks_at(spec.site)):
        place = attachment_of(network, survey.vlan_of[network], spec)
        link = links.links.get(place.bridge)
        if link is not None and link.filtering:
            wanted = vlans.setdefault(link.name, set())
            wanted |= {place.vlan} if place.vlan is not None else set()
    for bridge, passing in sorted(vlans.items()):
        native = spec.native_vlan if bridge == spec.bridge and spec.native_vlan else None
        for way in uplinks_of(bridge, spec, links) if passing or native is not None else ():
            yield bridge, Trunk(way.name, Wanted(tuple(sorted(passing)), spec.vlans == "all",
                                                 native))
