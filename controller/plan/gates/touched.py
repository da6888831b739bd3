"""Touched: the networks, links and policies that an action is about, beside its target and nodes.
"""

from collections.abc import Sequence

from controller.plan.actions.action import Action
from controller.plan.actions.desired import AttachNic, DetachNic, DomainChange, UpdateNic
from controller.plan.actions.machine import PruneDomain, ReconfigureDomain
from controller.plan.actions.network import AddUplink, NarrowTrunk, SetPortVlan, WidenTrunk
from controller.plan.actions.replica import is_replica
from controller.plan.survey.survey import Survey

TRUNKS = WidenTrunk | NarrowTrunk
ON_TRUNKS = AddUplink | TRUNKS
ON_XML = ReconfigureDomain | PruneDomain
GIVES = AttachNic | UpdateNic


def touched(action: Action, survey: Survey) -> tuple[str, ...]:
    """Return `Kind/name` of each, once, in the same order every time."""
    found = [f"Network/{name}" for name in _networks(action, survey)]
    found += [f"InterSiteLink/{name}" for name in _links(action, survey)]
    if is_replica(action.target):
        vm = survey.desired.virtual_machines.get(action.target.partition("/")[2])
        if vm is not None and vm.spec.protection is not None:
            found.append(f"ProtectionPolicy/{vm.spec.protection}")
    return tuple(found)


def _networks(action: Action, survey: Survey) -> list[str]:
    vlans: set[int] = set()
    names: set[str] = set()
    if isinstance(action, SetPortVlan):
        vlans = {action.vlan} if action.was is None else {action.vlan, action.was}
    elif isinstance(action, AddUplink):
        vlans = set(action.vlans)
    elif isinstance(action, TRUNKS):
        every = set(survey.vlan_of.values())
        vlans = (set(action.was.vlans) or every) ^ (set(action.will_be.vlans) or every)
    elif isinstance(action, ON_XML):
        for change in action.changes:
            names |= _of_card(change, survey)
    if not vlans and not names:
        return []
    return sorted(names | {name for name, vlan in survey.vlan_of.items() if vlan in vlans})


def _of_card(change: DomainChange, survey: Survey) -> set[str]:
    if isinstance(change, GIVES):
        vlan = change.nic.vlan
        return {name for name, one in survey.vlan_of.items() if one == vlan}
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
