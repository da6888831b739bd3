"""Grace period of removals: something is taken away only once the specs have lacked it for a while.

Rule 1: a spec file that is missing for a moment, while it is copied or checked out, removes
        nothing: the action must have been in every plan of the period. An approval ends it.
Rule 2: each part that an action takes has a period of its own: a part that joins later waits anew.
"""

from collections.abc import Iterable

from controller.model.units import render_duration, render_instant
from controller.plan.actions.action import Action, Cause
from controller.plan.gates.approval import is_approved
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.survey import Survey

RULE = "grace"


def in_grace(action: Action, survey: Survey) -> Ruling | None:
    """Make a removal that a commit caused wait until its grace period has passed."""
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
    """Return the names under which the start of an action's grace period is remembered."""
    return tuple(f"{action.id} {part}" for part in action.parts) or (action.id,)


def grace_ends_at(action: Action, survey: Survey) -> float:
    """Return when an action's grace period ends; a clock that went back starts it again."""
    waiting, now_s = survey.context.waiting, survey.now_s
    since_at = max(min(waiting.get(key, now_s), now_s) for key in grace_keys(action))
    return since_at + survey.desired.estate.spec.limits.removal_grace_s


def next_grace_at(steps: Iterable[Step], survey: Survey) -> float | None:
    """Return when the first grace period among the steps ends; None if there is none."""
    return min((grace_ends_at(step.action, survey) for step in steps
                if step.ruling.rule == RULE), default=None)
