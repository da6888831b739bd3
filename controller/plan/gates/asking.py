"""Asking: what waits for a person's yes whatever is granted, because it takes from somebody.

Rule 1: an action says itself what it asks; the yes holds for what it does, not for its words.
"""

from controller.plan.actions.action import Action, Cause
from controller.plan.gates.recheck import content
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.survey import Survey


def asked(action: Action, survey: Survey) -> Ruling | None:
    """Hold back what asks a person until one has said yes to it."""
    if action.ask is None or is_approved(action, survey):
        return None
    return Ruling(Verdict.NEEDS_APPROVAL, action.ask.rule, action.ask.sentence,
                  f"hotsite approve {action.id}")


def is_approved(action: Action, survey: Survey) -> bool:
    """Return whether a person asked for an action, or said yes to it as it is planned now."""
    if action.cause is Cause.HUMAN:
        return True
    return any(approval.action_id == action.id and approval.revision == survey.desired.revision
               and approval.expires_at > survey.now_s and approval.content == content(action)
               for approval in survey.context.approvals)
