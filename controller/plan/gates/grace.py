"""Grace: what the specs name no longer is taken away only after it was missing for a while.

Rule 1: a file that is away for a moment, while it is copied or checked out, takes nothing along;
        the difference must have stood in every plan since, and a person's yes ends the wait.
Rule 2: what an action takes waits part by part: what joins it later has not waited yet.
"""

from collections.abc import Iterable

from controller.model.instants import render_instant
from controller.model.units import render_duration
from controller.plan.actions.action import Action, Cause
from controller.plan.gates.asking import is_approved
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.survey import Survey

RULE = "grace"


def waits_out(action: Action, survey: Survey) -> Ruling | None:
    """Hold back what a commit takes away until it was looked at again after a while."""
    if not action.takes or action.cause is not Cause.COMMIT or is_approved(action, survey):
        return None
    ends_at = grace_ends_at(action, survey)
    if ends_at <= survey.now_s:
        return None
    limit = render_duration(survey.desired.estate.spec.limits.removal_grace_s)
    return Ruling(
        Verdict.WAITING, RULE,
        f"what the specs name no longer is taken away once they have not named it for {limit}, in"
        " case a file is only missing for a moment",
        f"at {render_instant(ends_at)}, or hotsite approve {action.id}")


def grace_keys(action: Action) -> tuple[str, ...]:
    """Return under which names it is remembered since when an action waits."""
    return tuple(f"{action.id} {part}" for part in action.parts) or (action.id,)


def grace_ends_at(action: Action, survey: Survey) -> float:
    """Return when an action has waited long enough; a clock that went back begins it anew."""
    waiting, now_s = survey.context.waiting, survey.now_s
    since_at = max(min(waiting.get(key, now_s), now_s) for key in grace_keys(action))
    return since_at + survey.desired.estate.spec.limits.removal_grace_s


def next_grace_at(steps: Iterable[Step], survey: Survey) -> float | None:
    """Return when the first of the steps that wait has waited long enough; None where none does."""
    return min((grace_ends_at(step.action, survey) for step in steps
                if step.ruling.rule == RULE), default=None)
