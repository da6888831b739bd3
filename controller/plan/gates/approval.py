"""Approval: which actions ask a person whatever autonomy allows, and how far a yes reaches.

Rule 1: an action states itself what it asks (`Action.ask`), because it takes from somebody.
Rule 2: a yes holds for what the action does, not for the words about it: as soon as the planned
        action has another content, another yes is needed.
"""

from dataclasses import replace
from hashlib import blake2b

from controller.plan.actions.action import Action, Cause
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.survey import Survey


def asks_first(action: Action, survey: Survey) -> Ruling | None:
    """Make an action that asks a person wait until one has approved it."""
    if action.ask is None or is_approved(action, survey):
        return None
    return Ruling(Verdict.NEEDS_APPROVAL, action.ask.rule, action.ask.sentence,
                  f"hotsite approve {action.id}")


def is_approved(action: Action, survey: Survey) -> bool:
    """Return whether a person requested an action, or approved it as it is planned now."""
    if action.cause is Cause.HUMAN:
        return True
    return any(approval.action_id == action.id and approval.revision == survey.desired.revision
               and approval.expires_at > survey.now_s and approval.content == content(action)
               for approval in survey.context.approvals)


def same(one: Action, other: Action) -> bool:
    """Return whether two actions would do the same; the words about them may differ."""
    return _without_words(one) == _without_words(other)


def content(action: Action) -> str:
    """Return a digest of what an action would do: equal exactly for actions that are the same."""
    return blake2b(repr(_without_words(action)).encode(), digest_size=12).hexdigest()


def _without_words(action: Action) -> Action:
    return replace(action, reason="", consequence="", cause=Cause.DRIFT, ask=None)
