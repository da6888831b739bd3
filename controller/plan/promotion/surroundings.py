"""Surroundings: what VMs find at the site that they come to, and what each host there lacks."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from controller.model.facts import BridgeFacts, PoolFacts, PortFacts
from controller.model.failover.capabilities import Capabilities
from controller.model.host import HostSpec
from controller.plan.machine.capability import capabilities_of
from controller.plan.machine.layout import Layout
from controller.plan.machine.promotion_room import PromotionRoom, closed_host
from controller.plan.network.linux_bridge import lacks
from controller.plan.network.port_vlans import frames_of, port_vlans_of
from controller.plan.replication.unseen import unlisted_hosts
from controller.plan.steps.takeover import Obstacle, Obstacles
from controller.plan.survey.networks.attachment import OPENVSWITCH, attachment_of, bridges_of
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

Networks = Mapping[str, str]
"""By network that does not pass: why."""
SwitchPort = tuple[str, str, PortFacts | None]
"""A port of a switch: the switch, its name, and what is seen of it."""
NONE_CUT: Networks = {}


class HostLike(NamedTuple):
    """What of a host stays the same nearly always."""

    name: str
    cut: Networks
    capabilities: Capabilities | None


class HostThere(NamedTuple):
    """One host that VMs may come to."""

    name: str
    like: HostLike
    closed: Obstacle | None
    """Why it takes no VM now."""
    pools: Mapping[str, PoolFacts] | None


class Surroundings(NamedTuple):
    """What all VMs that come to a site find there."""

    site: str
    lost: frozenset[str]
    """The VMs that come, or would."""
    hosts: Mapping[str, HostThere]
    capabilities: Mapping[str, Capabilities | None]
    """Of every host, there and elsewhere."""
    unlisted: Obstacles
    """What is in the way of every VM of which no replica is seen; empty if all would be seen."""
    layout: Layout
    survey: Survey

    def room(self) -> PromotionRoom:
        """Return what is left on each host before anybody comes."""
        return PromotionRoom(self.lost, self.layout, self.survey)


def surroundings_of(site: str, lost: Collection[str], layout: Layout, replicas: ReplicaIndex,
                    survey: Survey) -> Surroundings:
    """Return what VMs find at `site` if those called `lost` are lost elsewhere."""
    ports = _switch_ports(site, survey)
    far = {name: f"network {name} does not reach {site}: add {site} to its sites"
           for name, network in sorted(survey.desired.networks.items())
           if site not in network.spec.sites}
    capabilities = {name: capabilities_of(name, survey) for name in survey.desired.hosts}
    hosts = {}
    for name in survey.hosts_of_site.get(site, ()):
        seen = survey.bridges(name)
        spec = survey.desired.hosts[name].spec
        host = survey.desired.hosts[name]
        cut = NONE_CUT if seen is None or spec.driver != OPENVSWITCH else survey.specs.cached(
            cut_networks, name, spec, tuple(map(seen.get, bridges_of(host))),
            tuple(ports.get(name, ())), survey.networks_at(site), survey.vlan_of)
        missing = lacks(host, survey)
        if missing:
            cut = {**cut, **{network: lack.sentence for network, lack in missing.items()
                             if lack.sure}}
        like = survey.specs.cached(HostLike, name, {**far, **cut} if far else cut,
                                   capabilities[name])
        hosts[name] = HostThere(name, like, closed_host(name, survey), survey.pools(name))
    unlisted = unlisted_hosts(replicas, survey)
    return Surroundings(
        site, frozenset(lost), hosts, capabilities,
        (Obstacle("CannotBeSeen", unlisted, sure=False),) if unlisted else (), layout, survey)


def _switch_ports(site: str, survey: Survey) -> dict[str, list[SwitchPort]]:
    """Return, by host, the ports of the site's switches that it hangs on, as far as seen."""
    found: dict[str, list[SwitchPort]] = {}
    for name in sorted(survey.desired.switches):
        spec = survey.desired.switches[name].spec
        bridges = survey.bridges(name) if spec.site == site else None
        for port in spec.ports if bridges is not None else ():
            if port.host is not None and bridges is not None:
                bridge = bridges.get(spec.bridge)
                seen = None if bridge is None else bridge.ports.get(port.name)
                found.setdefault(port.host, []).append((name, port.name, seen))
    return found


def cut_networks(host: str, spec: HostSpec, seen: tuple[BridgeFacts | None, ...],
                 ports: tuple[SwitchPort, ...], networks: tuple[str, ...],
                 vlan_of: Mapping[str, int | None]) -> Networks:
    """Return which networks of its site a host does not carry now, and why."""
    bridges = {bridge.name: bridge for bridge in seen if bridge is not None}
    found = {}
    for name in (one.partition("/")[2] for one in networks):
        place, wire = attachment_of(name, vlan_of[name], spec), vlan_of[name]
        if place.libvirt_network:
            continue
        bridge = bridges.get(place.bridge)
        ways = spec.uplinks if place.bridge == spec.bridge else ()
        said = f"network {name} ({'untagged' if wire is None else f'VLAN {wire}'})"
        if bridge is None:
            found[name] = f"{host} has no bridge {place.bridge}"
        elif ways and not any(carries(_port_or_bond(bridge, way), place.vlan) for way in ways):
            found[name] = f"{said} does not pass {' or '.join(spec.uplinks)} of {host}"
        elif ports and not any(carries(port, wire) for _, _, port in ports):
            words = " or ".join(f"{port} of {switch}" for switch, port, _ in ports)
            found[name] = f"{said} does not pass {words}, to {host}"
    return found


def carries(port: PortFacts | None, vlan: int | None) -> bool:
    """Return whether frames of a VLAN pass a port; None: those without a tag."""
    if port is None:
        return False
    frames = frames_of(port_vlans_of(port))
    if frames.tagged is None:
        return True
    if vlan is None:
        return frames.untagged is not None
    return vlan in frames.tagged or vlan == frames.untagged


def _port_or_bond(bridge: BridgeFacts, name: str) -> PortFacts | None:
    return bridge.ports.get(name) or next(
        (port for port in bridge.ports.values() if name in port.members), None)
