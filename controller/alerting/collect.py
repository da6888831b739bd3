"""Which alerts an estate has now, from its conditions, its last plan and the controller's state.

Rule 1: unknown is never well. A condition that is unknown ends no alert.
Rule 2: where hosts do not answer, what cannot be seen because of them is counted and not told.
Rule 3: where a site is lost, what follows from it is counted and not told, here and at its twin:
        its hosts, its VMs, and the replicas, links and promises that need it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from controller.alerting.alert import (
    APPROVAL,
    CONTROLLER,
    FAILOVER,
    FOLLOWS,
    PAGE,
    PHASES,
    SITE_PHASES,
    TICKET,
    Alert,
    AlertSet,
    alert_of,
    is_told,
)
from controller.model.condition import Condition, ConditionType, Status
from controller.model.desired import Desired
from controller.plan.steps.plan import FailoverState, Plan, Verdict

ASKED: Final = 100
"""So many actions that wait for a yes become an alert each."""
LOST: Final = frozenset({"silent", "waits", "proving", "under way", "split", "elsewhere"})
NOT_BEGUN: Final = frozenset({"silent", "link"})
"""Stages at which a pause of the site means that somebody knows."""
MOST: Final = 500
"""More alerts than this are counted: nobody reads them, and each is remembered by receiver."""
STORM: Final = "Storm"


class Trouble(NamedTuple):
    """What is wrong with the controller itself."""

    about: str
    verdict: str
    sentence: str
    next: str
    page: bool = False


def alerts_of(desired: Desired, conditions: Iterable[Condition], plan: Plan | None,
              troubles: Iterable[Trouble] = ()) -> AlertSet:
    """Return all that is wrong now.

    Shapes: without a plan nothing is known of the estate yet.
    """
    conditions = tuple(conditions)
    own = tuple(Alert(f"Estate/{desired.estate.name}", CONTROLLER,
                      PAGE if one.page else TICKET, one.verdict, one.sentence, one.next,
                      stage=one.about, about=one.about) for one in troubles)
    if plan is None:
        return AlertSet(own, blind=True)
    paused = frozenset(one.target for one in conditions
                       if one.type is ConditionType.SUSPENDED and one.status is Status.TRUE)
    paused |= {step.action.target for step in plan.steps if step.ruling.rule == "suspended"}
    estate = f"Estate/{desired.estate.name}"
    found: list[Alert] = []
    for condition in filter(is_told, conditions):
        site = site_of(condition.target, desired)
        alert = alert_of(condition, site,
                         silenced=_is_paused(condition.target, site, estate, paused))
        if alert is not None:
            found.append(alert)
    failovers = [alert for one in plan.failovers
                 if (alert := _of_failover(one, desired, estate, paused)) is not None]
    lost = frozenset(one.site for one in failovers
                     if one.stage in LOST and one.target.startswith("Site/"))
    lost |= {one.target.partition("/")[2] for one in conditions if one.reason == STORM}
    clear = _without_unseen(found)
    kept, follows = _without_consequences(
        clear, lost, desired, frozenset(one.target for one in failovers))
    if (unseen := len(found) - len(clear)) and not lost:
        hides = sum(one.unknown and one.type == ConditionType.READY and one not in clear
                    for one in found)
        follows["the silence of hosts" + (f", which hides {hides} VMs" if hides > 1 else
                                          ", which hides one VM" if hides else "")] = unseen
    asked = [] if lost else _approvals(plan, desired, estate, paused)
    every = (*failovers, *own, *sorted(kept, key=_by_weight), *asked)
    if len(every) > MOST:
        follows["whatever broke so much"] = len(every) - MOST
    return AlertSet(every[:MOST], follows,
                    hidden=frozenset(one.key for one in (*found, *asked)) - {
                        one.key for one in every[:MOST]},
                    unclear=frozenset((one.target, one.type.value) for one in conditions
                              if one.status is Status.UNKNOWN),
                    unseen=frozenset(one.target for one in conditions
                                     if one.type is ConditionType.READY
                                     and one.status is Status.UNKNOWN))


def _without_unseen(alerts: list[Alert]) -> list[Alert]:
    """Return the alerts without those that only say, once more, that hosts do not answer."""
    if not any(one.unknown and one.target.startswith(("Host/", "Site/"))
               and one.type == ConditionType.READY for one in alerts):
        return alerts
    unseen = {name_of(one) for one in alerts if one.unknown and one.type == ConditionType.READY
              and one.target.startswith("VirtualMachine/")}
    return [one for one in alerts if not (
        (one.unknown and (one.type == ConditionType.SURVIVABLE
                          or one.target.startswith("VirtualMachine/")))
        or (one.type in FOLLOWS and name_of(one) in unseen
            and one.target.startswith(("VirtualMachine/", "Replica/"))))]


def _by_weight(alert: Alert) -> tuple[bool, str]:
    return alert.severity is not PAGE, alert.key


def name_of(alert: Alert) -> str:
    """Return the name of the object of an alert."""
    return alert.target.partition("/")[2]


def _without_consequences(alerts: list[Alert], lost: frozenset[str],
                          desired: Desired,
                          told: frozenset[str]) -> tuple[list[Alert], dict[str, int]]:
    """Return the alerts that do not follow from a lost site, and how many do, by site."""
    twins = {desired.sites[site].spec.twin: site for site in lost if site in desired.sites}
    kept, follows = [], {loss_of(site): 0 for site in sorted(lost)}
    for one in alerts:
        cause = one.site if one.site in lost else (
            twins.get(one.site, next(iter(sorted(lost)), "") if not one.site else ""))
        itself = (one.target == f"Site/{one.site}" and one.type == ConditionType.READY
                  and one.target not in told)
        loud = one.type in {ConditionType.SPLIT_BRAIN, ConditionType.STALLED,
                            ConditionType.SUSPENDED}
        if not cause or itself or loud or (one.site not in lost and one.type not in FOLLOWS):
            kept.append(one)
        else:
            follows[loss_of(cause)] += 1
    return kept, follows


def loss_of(site: str) -> str:
    """Return a cause in words."""
    return f"what happened to {site}"


def site_of(target: str, desired: Desired) -> str:
    """Return the declared site of an object; empty where it has none, or several."""
    kind, _, name = target.partition("/")
    match kind:
        case "Site":
            return name
        case "Host" if name in desired.hosts:
            return desired.hosts[name].spec.site
        case "Switch" if name in desired.switches:
            return desired.switches[name].spec.site
        case "VirtualMachine" | "Replica" if name in desired.virtual_machines:
            place = desired.virtual_machines[name].spec.placement
            if place.host is not None and place.host in desired.hosts:
                return desired.hosts[place.host].spec.site
            return place.site or ""
    return ""


def _is_paused(target: str, site: str, estate: str, paused: frozenset[str]) -> bool:
    name = target.partition("/")[2]
    return bool(paused) and not paused.isdisjoint(
        {target, f"VirtualMachine/{name}" if target.startswith("Replica/") else target,
         f"Site/{site}", estate})


def _of_failover(state: FailoverState, desired: Desired, estate: str,
                 paused: frozenset[str]) -> Alert | None:
    """Return the alert of a failover; None in phases that are told by the nodes alone."""
    stage = PHASES.get(state.phase) or (
        SITE_PHASES.get(state.phase) if state.scope.startswith("Site/") else None)
    if stage is None:
        return None
    name, site = state.scope.partition("/")[2], site_of(state.scope, desired)
    words = {"name": name, "target": state.scope,
             "bare": name if state.scope.startswith("Site/") else state.scope}
    sentence = "; ".join((state.sentence, *state.waiting))
    return Alert(state.scope, FAILOVER, stage.severity, stage.verdict.format(**words), sentence,
                 stage.next.format(**words), site, stage.name,
                 stage.name in NOT_BEGUN and _is_paused(state.scope, site, estate, paused))


def _approvals(plan: Plan, desired: Desired, estate: str, paused: frozenset[str]) -> list[Alert]:
    """Return an alert for each action that waits for a person's yes."""
    steps = [step for step in plan.steps if step.ruling.verdict is Verdict.NEEDS_APPROVAL]
    found = []
    for step in steps[:ASKED]:
        action, site = step.action, site_of(step.action.target, desired)
        found.append(Alert(
            action.target, APPROVAL, TICKET,
            f"{action.id.partition(':')[0]} of {action.target.partition('/')[2]} waits for a yes",
            f"{action.reason}; {step.ruling.sentence}", step.ruling.clears, site, "asked",
            _is_paused(action.target, site, estate, paused), action.id))
    if len(steps) > ASKED:
        found.append(Alert(estate, APPROVAL, TICKET,
                           f"{len(steps) - ASKED} more actions wait for a yes", "", "hotsite plan",
                           stage="asked", about="more"))
    return found


def by_key(alerts: Iterable[Alert]) -> Mapping[str, Alert]:
    """Return alerts by key."""
    return {one.key: one for one in alerts}
