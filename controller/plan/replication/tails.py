"""Tails whose time is over: what an older copy of a VM held is deleted on the day that was set.

The day was set when the VM's former disks were taken back, and `replica show` tells it. A week
before it is told in every plan; then letting it go is a step like any deletion: done by itself only
where `autonomy: delete` is granted, else it waits for a person. Who wants to keep what it holds
exports it before.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from controller.model.replica import PointFacts
from controller.model.units import render_instant
from controller.plan.actions.action import Cause
from controller.plan.actions.promotion import ReleaseTail
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.replication.upkeep import LATER_RANK
from controller.plan.steps.draft import Draft
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey

TOLD_BEFORE_S: Final = 7 * 86400.0


def diff_tails(protected: Iterable[ProtectedMachine], survey: Survey, draft: Draft) -> float | None:
    """Plan to release every tail whose time is over; return when that next changes."""
    due_ats = []
    for machine in protected:
        for held, point, until_at in _tails(machine):
            if until_at <= survey.now_s:
                _release(machine, held, point, until_at, draft)
                continue
            told_at = until_at - TOLD_BEFORE_S
            due_ats.append(until_at if told_at <= survey.now_s else told_at)
            if told_at <= survey.now_s:
                draft.remark(machine.target, (
                    f"{_what(machine, held, point)} is deleted after"
                    f" {render_instant(until_at)}: export it before, with `hotsite replica export`,"
                    " if anybody wants what it holds"))
    return min(due_ats, default=None)


def _tails(machine: ProtectedMachine) -> Iterator[tuple[Held, PointFacts, float]]:
    """Yield every tail that is kept until a day, on replicas that are seen now."""
    for held in machine.held:
        for point in held.replica.points if not held.replica.unreadable else ():
            if (point.diverged and point.kept_until is not None
                    and f"tail-{point.sequence}" in held.replica.pins):
                yield held, point, point.kept_until


def _what(machine: ProtectedMachine, held: Held, point: PointFacts) -> str:
    return (f"restore point {point.sequence} of {machine.name} on {held.host}, which keeps for"
            f" {point.kept_by or 'nobody'} what it wrote there before it took over elsewhere,")


def _release(machine: ProtectedMachine, held: Held, point: PointFacts, until_at: float,
             draft: Draft) -> None:
    draft.do(ReleaseTail(
        target=machine.target, node=held.host, path=held.replica.path, sequence=point.sequence,
        epoch=held.replica.epoch, cause=Cause.ROUTINE,
        reason=f"{_what(machine, held, point)} was to be kept until {render_instant(until_at)}",
        consequence="retention deletes it, and nobody can go back to it any more"),
        rank=LATER_RANK + 1)
