"""Drilled: whether a VM's replica was seen to boot, how long that took, and how long ago.

A drill proves one restore point of one replica, as the VM was declared then. It says less of the
points after it the older it is; so a policy names how old it may get (`drill`). What was never
drilled is not known to be bad: it is not proven.

    proven      within the time that the policy names, of this replica, and declared as it is now
    changed     proven, but what is declared of the VM has changed since
    overdue     proven longer ago than that
    never       no drill of this replica ever came to an end
    not proven  the last drill did not see what it was to see, with what it saw
    only booted it boots; nobody could ask for its port or ping, or it was without some of its group

Rule 1: a message names instants, not ages, so that it stays the same while nothing happens.
"""

from collections.abc import Sequence
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.replica import SEEN, DrillFacts, DrillOutcome
from controller.model.units import render_duration, render_instant
from controller.plan.drill.together import content_of
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.survey import Survey

Answer = tuple[Status, str, str]
REASONS: Final = {DrillOutcome.UNPROVEN: "NotProven", DrillOutcome.UNHEALTHY: "DoesNotServe",
                  DrillOutcome.FAILED: "DoesNotStart"}


def drill_conditions(protected_machines: Sequence[ProtectedMachine],
                     survey: Survey) -> tuple[list[Condition], float | None]:
    """Return Drilled of every VM that is to be drilled, or was, and when time changes one."""
    found, edges = [], []
    for protected in protected_machines:
        drills = () if protected.current is None else protected.current.replica.drills
        if protected.policy.drill_s is None and not drills:
            continue
        answer, edge_at = drilled(protected, drills, survey.now_s)
        found.append(Condition(f"VirtualMachine/{protected.name}", ConditionType.DRILLED, *answer,
                               survey.desired.revision))
        if edge_at is not None:
            edges.append(edge_at)
    return found, min(edges, default=None)


def drilled(protected: ProtectedMachine, drills: Sequence[DrillFacts],
            now_s: float) -> tuple[Answer, float | None]:
    """Return how well one replica is proven, and when time alone changes that."""
    if protected.current is None:
        word = "cannot be seen now" if protected.stale else "is not there yet"
        return (Status.UNKNOWN, "NoReplica", f"its replica {word}"), None
    host = protected.current.host
    if not drills:
        return (Status.UNKNOWN, "NeverDrilled", f"no restore point of it was ever seen to boot on"
                f" {host}: `hotsite drill {protected.name} SPECS` tries the newest"), None
    last = drills[-1]
    if last.outcome not in SEEN:
        return (Status.FALSE, REASONS.get(last.outcome, "NotProven"),
                f"restore point {last.sequence} on {host} was started at {render_instant(last.at)}"
                f" and not proven: {last.sentence}"), None
    said = described(last, host)
    if last.content and last.content != content_of(protected.vm):
        return (Status.FALSE, "Changed", f"not proven since it was declared otherwise; before that"
                f" {said}"), None
    limit_s = protected.policy.drill_s
    answer = (Status.TRUE, "Proven", said)
    if last.outcome is DrillOutcome.BOOTED:
        answer = (Status.UNKNOWN, "OnlyBooted", f"not proven to serve: {said}")
    if limit_s is None:
        return answer, None
    if now_s >= last.at + limit_s:
        return (Status.FALSE, "Overdue", f"the last drill is older than"
                f" {render_duration(limit_s)}: {said}"), None
    return answer, last.at + limit_s


def described(drill: DrillFacts, host: str) -> str:
    """Return what a drill that proved its point has shown."""
    took = "" if drill.health_s is None else f" {drill.health_s:.1f} s after its start"
    return (f"restore point {drill.sequence} booted on {host} at {render_instant(drill.at)}:"
            f" {drill.sentence}{took}")
