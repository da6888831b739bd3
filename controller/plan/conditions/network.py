"""Connected: of links, by their members; of networks, by every port that must carry them."""

from collections.abc import Mapping

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.actions.network import AddUplink, CreateBridge, WidenTrunk
from controller.plan.network.linux_bridge import lacks
from controller.plan.network.port_vlans import frames_of
from controller.plan.steps.draft import Stall
from controller.plan.steps.plan import Step
from controller.plan.survey.survey import Survey

CONNECTED = ConditionType.CONNECTED
DEGRADED = "Degraded"
"""The reason while a link works with fewer members than declared."""
Answer = tuple[Status, str, str]


def link_conditions(survey: Survey) -> list[Condition]:
    """Return whether enough members of every inter-site link are up."""
    return [Condition(f"InterSiteLink/{name}", CONNECTED, *link_answer(name, survey),
                      survey.desired.revision)
            for name in sorted(survey.desired.inter_site_links)]


def link_answer(name: str, survey: Survey) -> Answer:
    """Return whether a link is connected, by the state of the ports at both of its ends."""
    spec = survey.desired.inter_site_links[name].spec
    if not any(port.link is not None and port.link.partition("/")[0] == name
               for switch in survey.desired.switches.values() for port in switch.spec.ports):
        return (Status.UNKNOWN, "NotChecked", "no declared switch has a port of it: whether its"
                " members are up is not checked")
    up, down, unseen = [], [], []
    for member in range(1, spec.members + 1):
        states = member_states(f"{name}/{member}", survey)
        if False in states:
            down.append(str(member))
        elif None in states or not states:
            unseen.append(str(member))
        else:
            up.append(str(member))
    words = f"{len(up)} of {spec.members} members up"
    words += f", down: {', '.join(down)}" if down else ""
    words += f", not seen: {', '.join(unseen)}" if unseen else ""
    if len(up) >= spec.members:
        return Status.TRUE, "AllMembersUp", words
    if len(up) >= spec.minimum_members:
        return Status.TRUE, DEGRADED, f"degraded: {words}"
    if len(up) + len(unseen) >= spec.minimum_members:
        return Status.UNKNOWN, "MembersNotSeen", words
    return Status.FALSE, "TooFewMembers", f"{words}, and {spec.minimum_members} are needed"


def member_states(member: str, survey: Survey) -> list[bool | None]:
    """Return whether each end of a member is up, None if that cannot be seen."""
    found: list[bool | None] = []
    for name in sorted(survey.desired.switches):
        spec = survey.desired.switches[name].spec
        for port in spec.ports:
            if port.link != member:
                continue
            bridges = survey.bridges(name)
            bridge = None if bridges is None else bridges.get(spec.bridge)
            if bridges is None:
                found.append(None)
            elif bridge is None or port.name not in bridge.ports:
                found.append(False)
            else:
                found.append(bridge.ports[port.name].link_up)
    return found


def network_conditions(survey: Survey, steps: tuple[Step, ...],
                       stalls: list[Stall]) -> list[Condition]:
    """Return whether every port that must carry a network carries it."""
    desired = survey.desired
    cut = cut_vlans(steps, survey)
    for stall in stalls:
        for vlan in stall.vlans:
            cut.setdefault(vlan, stall.sentence)
    links = {name: (set(one.spec.between), link_answer(name, survey))
             for name, one in sorted(desired.inter_site_links.items())}
    silent: dict[str, str] = {}
    for name in sorted([*desired.hosts, *desired.switches]):
        if survey.bridges(name) is None:
            silent.setdefault(survey.site_of(name), name)
    found = []
    for name in sorted(desired.networks):
        sites = set(desired.networks[name].spec.sites)
        spanning = [answer for between, answer in links.values() if between <= sites]
        unseen = next((f"the ports of {silent[site]} cannot be seen" for site in sorted(sites)
                       if site in silent), None)
        answer = network_answer(name, cut, spanning, unseen, survey)
        found.append(Condition(f"Network/{name}", CONNECTED, *answer, desired.revision))
    return found


def network_answer(name: str, cut: Mapping[int, str], spanning: list[Answer], unseen: str | None,
                   survey: Survey) -> Answer:
    """Return whether all that must carry a network carries it."""
    desired, spec = survey.desired, survey.desired.networks[name].spec
    missing = [lack for host in sorted(desired.hosts)
               if (lack := lacks(desired.hosts[host], survey).get(name)) is not None]
    sure = next((lack for lack in missing if lack.sure), None)
    broken = [one for one in spanning if one[0] is Status.FALSE]
    if (spec.vlan or 0) in cut:
        return Status.FALSE, "VlanMissing", cut[spec.vlan or 0]
    if sure is not None:
        return Status.FALSE, sure.reason, sure.sentence
    if spanning and len(broken) == len(spanning):
        return Status.FALSE, "LinkDown", broken[0][2]
    if unseen is not None:
        return Status.UNKNOWN, "CannotBeSeen", unseen
    if missing:
        return Status.UNKNOWN, missing[0].reason, missing[0].sentence
    where = ", ".join(sorted(spec.sites))
    if not desired.switches:
        return (Status.TRUE, "EverywhereDeclared", f"every host of {where} has it; no switch is"
                " declared, so what lies between them is not checked")
    return Status.TRUE, "EverywhereDeclared", f"every port of {where} that must carries it"


def cut_vlans(steps: tuple[Step, ...], survey: Survey) -> dict[int, str]:
    """Return, for every VLAN that a port lacks, the first reason; 0 is for untagged frames."""
    cut: dict[int, str] = {}
    for step in steps:
        action = step.action
        vlans: set[int] = set()
        if isinstance(action, WidenTrunk):
            vlans = set(action.wanted) - set(action.was.vlans)
            if frames_of(action.was).untagged is None and (
                    frames_of(action.will_be).untagged is not None):
                vlans |= {0}
        elif isinstance(action, AddUplink):
            vlans = set(action.vlans) | ({0} if action.native == 0 else set())
        elif isinstance(action, CreateBridge):
            vlans = set(survey.site_vlans.get(survey.site_of(action.node), ()))
        for vlan in vlans:
            cut.setdefault(vlan, action.reason)
    return cut
