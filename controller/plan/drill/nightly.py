"""Drills by themselves: whose replica is tried out now, in the hours that its policy names.

Every replica whose proof is missing, nearly older than `drill`, or of another declaration is tried
in those hours, the oldest proof first. One that failed is tried once more each night: what was
wrong may be mended, and whoever reads of it in the morning reads of last night.

A group is due as soon as one of its VMs is: all of them are drilled, each host by itself.

Rule 1: a drill gives way. None begins while a failover goes on, while a host has no memory left for
        it, or while another goes on there. A promotion ends the drill of its replica.
"""

from collections.abc import Sequence
from typing import Final

from controller.model.replica import SEEN, DrillFacts
from controller.model.units import DAY_S, Hours, render_duration, render_instant
from controller.plan.actions.action import Cause
from controller.plan.drill.together import (
    Holding,
    Unit,
    content_of,
    drill_of,
    no_room,
    startable,
    units_of,
)
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.contained import FAULTS, break_off
from controller.plan.steps.draft import Draft
from controller.plan.steps.plan import FailoverState
from controller.plan.survey.survey import Survey

RANK: Final = 3000
"""After all that copies and upkeep want."""
AGAIN_S: Final = 20 * 3600.0
"""A drill that proved nothing is held again after this: the next night."""
EARLY: Final = 0.8
"""Of `drill`: proofs are renewed by then, so that none grows old for want of one night."""


def diff_drills(protected_machines: Sequence[ProtectedMachine],
                failovers: Sequence[FailoverState], survey: Survey, draft: Draft) -> float | None:
    """Plan the drills that are due in these hours; return when more become due."""
    edges: list[float] = []
    due: list[tuple[float, ProtectedMachine]] = []
    for protected in protected_machines:
        hours, limit_s = protected.policy.drill_hours, protected.policy.drill_s
        if hours is None or limit_s is None:
            continue
        try:
            at = due_at(protected, limit_s)
        except FAULTS as error:
            break_off(f"Drill/{protected.name}", draft, draft.mark(), error)
            continue
        begins_at = next_open_at(hours, max(at, survey.now_s))
        if begins_at > survey.now_s:
            edges.append(begins_at)
        else:
            due.append((at, protected))
    if due and not failovers and not survey.lost:
        _plan(sorted(due, key=lambda one: (one[0], one[1].name)), protected_machines, survey, draft)
    return min(edges, default=None)


def due_at(protected: ProtectedMachine, limit_s: float) -> float:
    """Return since when, or from when on, a VM is to be drilled; 0 where it never was."""
    drills = () if protected.current is None else protected.current.replica.drills
    if not drills:
        return 0.0
    last = drills[-1]
    if last.outcome not in SEEN:
        return last.at + AGAIN_S
    changed = last.content and last.content != content_of(protected.vm)
    return last.at + (AGAIN_S if changed else EARLY * limit_s)


def next_open_at(hours: Hours, at: float) -> float:
    """Return the first instant from then on that lies within these hours of a day, in UTC."""
    day_at = at - at % DAY_S
    begins_at, ends_at = day_at + hours.begin_s, day_at + hours.end_s
    if hours.begin_s <= hours.end_s:
        inside = begins_at <= at < ends_at
    else:
        inside = at >= begins_at or at < ends_at
    if inside:
        return at
    return begins_at if at < begins_at else begins_at + DAY_S


def _plan(due: Sequence[tuple[float, ProtectedMachine]],
          protected_machines: Sequence[ProtectedMachine], survey: Survey, draft: Draft) -> None:
    """Plan one drill for each host that holds a replica, the oldest proof first.

    One that came to nothing, and is tried again in a while, lets others go first.
    """
    busy = {node for flight in survey.context.in_flight if flight.target.startswith("Drill/")
            for node in flight.nodes}
    units: list[tuple[Unit, str]] = []
    done: set[str] = set()
    for _, protected in due:
        if protected.name not in done and protected.current is not None:    # Protected says why
            reason = reason_of(protected, protected.current.replica.drills)
            for unit in _units(protected, protected_machines, survey):
                done.update(unit.names)
                units.append((unit, reason))
    units.sort(key=lambda one: f"Drill/{one[0].names[0]}" in survey.context.backing_off)
    for unit, reason in units:
        if unit.host in busy:
            continue
        why_not = no_room(survey.observed, unit.host, unit.memory_bytes)
        if why_not:
            draft.remark(f"VirtualMachine/{unit.names[0]}",
                         f"{' and '.join(unit.names)} {'is' if len(unit.names) == 1 else 'are'}"
                         f" not drilled on {unit.host}: {why_not}")
            continue
        busy.add(unit.host)
        draft.do(drill_of(unit, survey.desired, by="hotsite", cause=Cause.ROUTINE, reason=reason),
                 rank=RANK)


def _units(protected: ProtectedMachine, protected_machines: Sequence[ProtectedMachine],
           survey: Survey) -> list[Unit]:
    """Return the drills of a VM and of all that are in its group, by host."""
    group = survey.specs.group_of.get(protected.name)
    members = [protected] if group is None else [
        one for one in protected_machines if survey.specs.group_of.get(one.name) == group]
    held, missing = [], {}
    for one in members:
        points = () if one.current is None else startable(one.current.replica)
        if one.current is None or not points:
            missing[one.name] = "which has no restore point that may be started"
        elif one.hidden is not None:
            missing[one.name] = f"whose newest replica cannot be seen now, on {one.hidden.host}"
        else:
            held.append(Holding(one.vm, one.current.host, one.current.replica, points))
    return units_of(held, missing)


def reason_of(protected: ProtectedMachine, drills: Sequence[DrillFacts]) -> str:
    """Return why a VM is drilled now."""
    name, limit_s = protected.name, protected.policy.drill_s
    assert limit_s is not None, "without it nothing is due"
    if not drills:
        return f"no restore point of {name} was ever seen to boot"
    last = drills[-1]
    if last.outcome not in SEEN:
        return f"the drill of {name} at {render_instant(last.at)} proved nothing: {last.sentence}"
    if last.content and last.content != content_of(protected.vm):
        return f"{name} was declared otherwise at its last drill, at {render_instant(last.at)}"
    return (f"{name} was last drilled at {render_instant(last.at)}, and {render_duration(limit_s)}"
            " is the limit")
