"""The delete ceiling: how much data one plan may let go, whatever else would let it.

Rule 1: files that were set aside are counted apart: they were counted as VMs when they were, and
        what is to go must not wait for what has gone.
"""

from collections.abc import Iterable
from typing import NamedTuple

from controller.plan.actions.action import Action
from controller.plan.actions.machine import RemoveDomain
from controller.plan.actions.replica import DropPoints
from controller.plan.actions.storage import PurgeFiles
from controller.plan.machine.removal import to_delete
from controller.plan.machine.set_aside import parse_aside
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.survey import Survey


class Toll(NamedTuple):
    """What a plan would delete, seen now or not."""

    machines: int
    points: int
    unseen: int
    """So many of the machines are where no host answers."""
    purged: int = 0
    """Removed VMs whose files, set aside, would go for good."""

    def __str__(self) -> str:
        parts = [counted(number, noun) for number, noun in (
            (self.machines, "VM"), (self.points, "restore point")) if number]
        return " and ".join(parts)


def toll_of(steps: tuple[Step, ...], survey: Survey) -> Toll:
    """Return what the steps would delete in all."""
    gone = to_delete(survey) if any(
        isinstance(step.action, RemoveDomain) for step in steps) else frozenset()
    points = sum(len(step.action.sequences) for step in steps
                 if isinstance(step.action, DropPoints))
    purged = purged_of(step.action for step in steps if isinstance(step.action, PurgeFiles))
    return Toll(len(gone), points, len(gone - survey.sightings.keys()), purged)


def purged_of(actions: Iterable[PurgeFiles]) -> int:
    """Return of how many removed VMs files would go: by when and where they were set aside.

    The disks of one VM have one name but for what tells them apart, and were set aside together.
    """
    found = set()
    for action in actions:
        for path in action.paths:
            folder, _, name = path.rpartition("/")
            aside = parse_aside(name)
            if aside is not None:
                machine, sure, _ = aside.name.rpartition("-")
                found.add((action.node, aside.at, machine if sure else (folder, aside.name)))
    return len(found)


def above_ceiling(action: Action, toll: Toll, survey: Survey) -> Ruling | None:
    """Refuse every deletion of a plan that holds too many of them."""
    ceiling = survey.desired.estate.spec.limits.deletes
    if isinstance(action, PurgeFiles) and toll.purged > ceiling:
        return Ruling(Verdict.REFUSED, "delete-ceiling", "this plan would delete what"
                      f" {counted(toll.purged, 'removed VM')} left and the ceiling is {ceiling}:"
                      " none of it is deleted", "raise `limits.deletes` in the Estate, or delete"
                      f" by hand, of {', '.join(action.paths)}, what nobody wants")
    if not isinstance(action, RemoveDomain | DropPoints) or toll.machines + toll.points <= ceiling:
        return None
    share = f" ({toll.unseen} of them where no host answers)" if toll.unseen else ""
    return Ruling(Verdict.REFUSED, "delete-ceiling", f"this plan would delete {toll} and the"
                  f" ceiling is {ceiling}: none is deleted{share}",
                  "raise `limits.deletes` in the Estate")
