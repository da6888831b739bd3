"""Guarded: whether the guests of a host surely end once nobody grants it any more."""

from controller.model.condition import Condition, ConditionType, Status
from controller.model.facts import Known
from controller.model.failover.guard import GuardFacts
from controller.plan.guarding.grants import not_held
from controller.plan.guarding.orders import AllOrders, orders_of
from controller.plan.survey.survey import Survey

Answer = tuple[Status, str, str]
NAMES_SHOWN = 4
DEVICES = {"hardware", "software", "fifo"}


def guarded_conditions(survey: Survey) -> list[Condition]:
    """Return Guarded of every host, where the specs declare guards at all."""
    orders = orders_of(survey.desired)
    if not orders.grantors:
        return []
    return [Condition(f"Host/{name}", ConditionType.GUARDED, *guarded_answer(name, orders, survey),
                      survey.desired.revision) for name in sorted(survey.desired.hosts)]


def guarded_answer(name: str, orders: AllOrders, survey: Survey) -> Answer:
    """Return whether a host is guarded, and if not, why."""
    if name in orders.unnumbered:
        return (Status.FALSE, "AddressIsAName",
                f"the address of {name} is the name {orders.unnumbered[name]}: a guard looks up no"
                " name; declare its IP address")
    if name not in survey.nodes or name in survey.lost:
        return Status.UNKNOWN, "Silent", f"{name} {survey.node_silence(name)}"
    fact = survey.nodes[name].guard
    if not isinstance(fact, Known):
        return (Status.UNKNOWN, "GuardNotSeen",
                f"its guard could not be seen: {getattr(fact, 'reason', 'it was not asked for')}")
    guard = fact.value
    return _not_running(guard) or _not_granted(guard) or _not_sure(name, guard, survey) or (
        Status.TRUE, "Granted", _granted(guard))


def _not_running(guard: GuardFacts) -> Answer | None:
    if guard.running:
        return None
    return (Status.FALSE, "NoGuard", "no guard runs on it: cut off from all others, its VMs go on"
            + _tombstones(guard))


def _not_granted(guard: GuardFacts) -> Answer | None:
    if guard.content:
        return None
    asked = ", ".join(guard.grantors) or "nobody: no other site and no witness is declared"
    refused = f"; refused by {' and '.join(guard.refused_by)}" if guard.refused_by else ""
    if not guard.granted:
        return (Status.FALSE, "NeverGranted",
                f"nobody has granted it since it was booted, so its guard ends nothing; it asks"
                f" {asked}{refused}: see that their UDP port lets its datagrams pass, both ways")
    return (Status.FALSE, "CutOff",
            f"nobody has granted it for {guard.deadline_s:g} s{refused}; it asks {asked}"
            + _tombstones(guard))


def _not_sure(name: str, guard: GuardFacts, survey: Survey) -> Answer | None:
    declared = survey.desired.hosts[name].spec.watchdog
    if declared is not None and guard.watchdog not in DEVICES:
        return (Status.FALSE, "WatchdogMissing",
                f"{declared} is declared as its watchdog and is not fed"
                f" ({guard.identity or 'its guard does not know of it yet'})")
    if declared is not None and guard.watchdog_timeout_s > guard.watchdog_s:
        return (Status.FALSE, "WatchdogTooSlow",
                f"its watchdog {guard.identity} fires after {guard.watchdog_timeout_s:g} s, and"
                f" {guard.watchdog_s:g} s are promised: set `failover.guard.watchdog` to that")
    free = not_held(name, guard, survey)
    if free:
        shown = ", ".join(free[:NAMES_SHOWN]) + (" and others" if free[NAMES_SHOWN:] else "")
        return (Status.FALSE, "NotHeld",
                f"its guard does not hold the processes of {shown}, and could not end them")
    return None


def _granted(guard: GuardFacts) -> str:
    silent = [one for one in guard.grantors if one not in guard.granted_by]
    said = f"its guard runs and is granted by {' and '.join(guard.granted_by) or 'nobody just now'}"
    if silent:
        said += f"; not by {' and '.join(silent)}"
    return f"{said}; it feeds {guard.identity}" if guard.fed else said


def _tombstones(guard: GuardFacts) -> str:
    if not guard.tombstones:
        return ""
    names = [one.name or one.uuid for one in guard.tombstones]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"; it has ended {', '.join(names[:NAMES_SHOWN])}{more}"
