"""Scopes: which objects' grants and suspensions apply to an action.

Rule 1: VM within host within site within estate; the nearest that grants or is suspended counts.
Rule 2: of all objects that an action affects, the lowest grant counts: both ends of a move, and the
        networks, the link and the policy that it is about. Those last can only lower.
"""

from collections.abc import Iterator, Sequence

from controller.model.desired import Desired
from controller.plan.actions.action import Action
from controller.plan.actions.desired import AttachNic, DetachNic, DomainChange, UpdateNic
from controller.plan.actions.gateway import AddGatewayPort, ConfigureGateways, DropGateways
from controller.plan.actions.machine import PruneDomain, ReconfigureDomain
from controller.plan.actions.network import AddUplink, NarrowTrunk, SetPortVlan, WidenTrunk
from controller.plan.actions.replica import DrillReplica, is_replica
from controller.plan.survey.context import Suspension
from controller.plan.survey.grants import Grant
from controller.plan.survey.survey import Survey

TRUNKS = WidenTrunk | NarrowTrunk
ON_TRUNKS = AddUplink | TRUNKS
ON_GATEWAYS = AddGatewayPort | ConfigureGateways | DropGateways
ON_DOMAINS = ReconfigureDomain | PruneDomain
GIVES_CARD = AttachNic | UpdateNic


def scopes(nodes: tuple[str, ...], desired: Desired) -> Iterator[str]:
    """Yield the scopes around a target, nearest first: its nodes, their sites, the estate."""
    sites: dict[str, None] = {}
    for node in nodes:
        for kind, found in (("Host", desired.hosts.get(node)),
                            ("Switch", desired.switches.get(node))):
            if found is not None:
                sites[found.spec.site] = None
                yield f"{kind}/{node}"
    for site in sites:
        if site in desired.sites:
            yield f"Site/{site}"
    yield f"Estate/{desired.estate.name}"


def declared_object(target: str) -> str:
    """Return the declared object of a target: that of a replica is its VM."""
    kind, _, name = target.partition("/")
    return f"VirtualMachine/{name}" if kind in {"Replica", "Drill"} else target


def granted(action: Action, survey: Survey) -> Grant:
    """Return how far an action may go, and which object says so: the lowest grant of all affected.

    A grant of the target overrides those of the host that it is on and of that site. Any other
    host still counts: the destination of a move, the one that has the replica.
    """
    grants, target, nodes = survey.specs.grants, declared_object(action.target), action.nodes
    if len(grants.own) == 1:   # only the Estate has one
        return grants.estate
    own = grants.own.get(target)
    if own is None:
        found = [grants.around.get(node, grants.estate) for node in nodes]
    else:
        beyond = nodes[1:] if len(nodes) > 1 or target == action.target else nodes
        found = [(target, own), *(grants.around[node] for node in beyond if node in grants.around)]
    found += [(name, grants.own[name]) for name in affected(action, survey) if name in grants.own]
    return min(found, key=lambda grant: grant[1].height, default=grants.estate)


def pause_of(action: Action, survey: Survey) -> Suspension | None:
    """Return the nearest suspension that applies to an action; None when none does."""
    if not survey.paused:
        return None
    target = action.target
    for name in (target, declared_object(target), *scopes(action.nodes, survey.desired)):
        if name in survey.paused:
            return survey.paused[name]
    return next((survey.paused[name] for name in affected(action, survey)
                 if name in survey.paused), None)


def affected(action: Action, survey: Survey) -> tuple[str, ...]:
    """Return `Kind/name` of the networks, links and policies that an action is about, and of the
    VMs that are drilled together with its target."""
    if isinstance(action, ON_GATEWAYS):
        return tuple(f"Network/{name}" for name in action.networks if name in survey.vlan_of)
    found = [f"Network/{name}" for name in _networks(action, survey)]
    found += [f"InterSiteLink/{name}" for name in _links(action, survey)]
    drilled = action.names if isinstance(action, DrillReplica) else ()
    found += [f"VirtualMachine/{name}" for name in drilled[1:]]
    for name in drilled or ((action.target.partition("/")[2],) if is_replica(action.target)
                            else ()):
        vm = survey.desired.virtual_machines.get(name)
        if vm is not None and vm.spec.protection is not None:
            found.append(f"ProtectionPolicy/{vm.spec.protection}")
    return tuple(found)


def _networks(action: Action, survey: Survey) -> list[str]:
    vlans: set[int] = set()
    names: set[str] = set()
    if isinstance(action, SetPortVlan):
        vlans = {vlan for vlan in (action.vlan, action.was) if vlan is not None}
        if action.mac in survey.card_of:
            names = {survey.card_of[action.mac].network}
    elif isinstance(action, AddUplink):
        vlans = set(action.vlans)
    elif isinstance(action, TRUNKS):
        every = {vlan for vlan in survey.vlan_of.values() if vlan is not None}
        vlans = (set(action.was.vlans) or every) ^ (set(action.will_be.vlans) or every)
    elif isinstance(action, ON_DOMAINS):
        for change in action.changes:
            names |= _of_card(change, survey)
    if not vlans and not names:
        return []
    return sorted(names | {name for name, vlan in survey.vlan_of.items() if vlan in vlans})


def _of_card(change: DomainChange, survey: Survey) -> set[str]:
    if isinstance(change, GIVES_CARD):
        nic = change.nic
        mine = {survey.card_of[nic.mac].network} if nic.mac in survey.card_of else set()
        return mine | {name for name, one in survey.vlan_of.items()
                       if one is not None and one == nic.vlan}
    if isinstance(change, DetachNic) and change.mac in survey.card_of:
        return {survey.card_of[change.mac].network}
    return set()


def _links(action: Action, survey: Survey) -> Sequence[str]:
    switch = survey.desired.switches.get(action.node)
    if switch is not None and isinstance(action, ON_TRUNKS):
        return sorted({port.link.partition("/")[0] for port in switch.spec.ports
                       if port.name == action.port and port.link is not None}
                      & survey.desired.inter_site_links.keys())
    if len(action.nodes) < 2:
        return ()
    sites = frozenset(map(survey.site_of, action.nodes))
    return survey.specs.links_between.get(sites, ()) if len(sites) > 1 else ()
