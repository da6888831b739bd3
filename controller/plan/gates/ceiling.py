"""The delete ceiling: how many VMs and restore points one plan may delete, whatever allows it.

Rule 1: purging files that were set aside is counted apart. They counted as a VM when it was
        removed, and removing the next VM must not wait until they are purged.
"""

from collections.abc import Iterable
from typing import NamedTuple

from controller.plan.actions.action import Action
from controller.plan.actions.machine import RemoveDomain
from controller.plan.actions.replica import DropPoints
from controller.plan.actions.storage import PurgeFiles
from controller.plan.machine.removal import parse_aside, to_delete
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.survey import Survey


class Deletions(NamedTuple):
    """How much a plan would delete, visible now or not."""

    machines: int
    points: int
    unseen: int
    """How many of `machines` are on hosts that do not answer."""
    purged: int = 0
    """How many removed VMs' set-aside files would be purged."""

    def __str__(self) -> str:
        parts = [counted(number, noun) for number, noun in (
            (self.machines, "VM"), (self.points, "restore point")) if number]
        return " and ".join(parts)


def deletions_of(steps: tuple[Step, ...], survey: Survey) -> Deletions:
    """Return how much the steps would delete in all."""
    machines = to_delete(survey) if any(
        isinstance(step.action, RemoveDomain) for step in steps) else frozenset()
    points = sum(len(step.action.sequences) for step in steps
                 if isinstance(step.action, DropPoints))
    purged = purged_of(step.action for step in steps if isinstance(step.action, PurgeFiles))
    return Deletions(len(machines), points, len(machines - survey.sightings.keys()), purged)


def purged_of(actions: Iterable[PurgeFiles]) -> int:
    """Return how many removed VMs the files belong to.

    The disks of one VM share a name up to the last hyphen, and were set aside at one instant.
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


def above_ceiling(action: Action, deletions: Deletions, survey: Survey) -> Ruling | None:
    """Refuse every deletion of a plan that has more of them than the ceiling."""
    ceiling = survey.desired.estate.spec.limits.deletes
    if isinstance(action, PurgeFiles) and deletions.purged > ceiling:
        return Ruling(Verdict.REFUSED, "delete-ceiling", "this plan would delete the files of"
                      f" {counted(deletions.purged, 'removed VM')} and the ceiling is {ceiling}:"
                      " none is deleted", "raise `limits.deletes` in the Estate, or delete by hand"
                      f" what nobody needs of {', '.join(action.paths)}")
    if (not isinstance(action, RemoveDomain | DropPoints)
            or deletions.machines + deletions.points <= ceiling):
        return None
    share = f" ({deletions.unseen} of them where no host answers)" if deletions.unseen else ""
    return Ruling(Verdict.REFUSED, "delete-ceiling", f"this plan would delete {deletions} and the"
                  f" ceiling is {ceiling}: none is deleted{share}",
                  "raise `limits.deletes` in the Estate")
