"""Recheck: whether an action that was planned a moment ago is still wanted and allowed now."""

from dataclasses import replace
from hashlib import blake2b

from controller.plan.actions.action import Action, Cause
from controller.plan.steps.plan import Plan, Verdict


def recheck(action: Action, fresh: Plan) -> str | None:
    """Return None when `fresh` holds the same action and allows it, else a sentence why not."""
    for step in fresh.steps:
        if step.action.id != action.id:
            continue
        if not same(step.action, action):
            return f"{action.id} has changed since it was planned: {step.action.reason}"
        if step.ruling.verdict is Verdict.ALLOWED:
            return None
        return f"{action.id} may not be done now ({step.ruling.rule}): {step.ruling.sentence}"
    return f"{action.id} is no longer wanted: what is seen is as declared, or cannot be seen now"


def same(one: Action, other: Action) -> bool:
    """Return whether two actions would do the same; the words about them may differ."""
    return _bare(one) == _bare(other)


def content(action: Action) -> str:
    """Return a digest of what an action would do: equal exactly for actions that are the same."""
    return blake2b(repr(_bare(action)).encode(), digest_size=12).hexdigest()


def _bare(action: Action) -> Action:
    return replace(action, reason="", consequence="", cause=Cause.DRIFT, ask=None)
