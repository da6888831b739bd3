"""The delete ceiling: how much data one plan may let go, whatever else would let it."""

from typing import NamedTuple

from controller.plan.actions import Action, RemoveDomain
from controller.plan.draft import counted
from controller.plan.plan import Ruling, Step, Verdict
from controller.plan.removal import doomed
from controller.plan.replica_actions import DropPoints
from controller.plan.survey import Survey


class Toll(NamedTuple):
    """What a plan would delete, seen now or not."""

    machines: int
    points: int
    unseen: int
    """So many of the machines are where no host answers."""

    def __str__(self) -> str:
        parts = [counted(number, noun) for number, noun in (
            (self.machines, "VM"), (self.points, "restore point")) if number]
        return " and ".join(parts)


def toll_of(steps: tuple[Step, ...], survey: Survey) -> Toll:
    """Return what the steps would delete in all."""
    gone = doomed(survey) if any(
        isinstance(step.action, RemoveDomain) for step in steps) else frozenset()
    points = sum(len(step.action.sequences) for step in steps
                 if isinstance(step.action, DropPoints))
    return Toll(len(gone), points, len(gone - survey.sightings.keys()))


def above_ceiling(action: Action, toll: Toll, survey: Survey) -> Ruling | None:
    """Refuse every deletion of a plan that holds too many of them."""
    ceiling = survey.desired.estate.spec.limits.deletes
    if not isinstance(action, RemoveDomain | DropPoints) or toll.machines + toll.points <= ceiling:
        return None
    share = f" ({toll.unseen} of them where no host answers)" if toll.unseen else ""
    return Ruling(Verdict.REFUSED, "delete-ceiling", f"this plan would delete {toll} and the"
                  f" ceiling is {ceiling}: none is deleted{share}",
                  "raise `limits.deletes` in the Estate")
