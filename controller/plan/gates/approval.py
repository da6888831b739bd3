"""Approval: which actions ask a person whatever autonomy allows, and how far a yes reaches.

Rule 1: an action states itself what it asks (`Action.ask`), because it takes from somebody.
Rule 2: a yes holds for what the action does, not for the words about it: as soon as the planned
        action has another content, another yes is needed.
Rule 3: of the rungs for which the Estate wants two persons, one person's yes is not enough, however
        often it is given. A person is a name, in whatever case it is written.
"""

from dataclasses import replace
from hashlib import blake2b

from controller.plan.actions.action import Action, Cause
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.context import Approval
from controller.plan.survey.survey import Survey


def asks_first(action: Action, survey: Survey) -> Ruling | None:
    """Make an action that asks a person wait until one has approved it."""
    if action.ask is None or is_approved(action, survey):
        return None
    return needs_yes(action, survey, action.ask.rule, action.ask.sentence)


def needs_yes(action: Action, survey: Survey, rule: str, sentence: str) -> Ruling:
    """Return the ruling that an action waits for a person, or for a second one."""
    given = yes_of(action, survey)
    clears = f"hotsite approve {action.id}"
    if given:
        sentence += (f"; {given[0].by} has approved it, and {action.rung} needs a second person's"
                     " yes")
        clears += ", by another person"
    elif wanted(action, survey) > 1:
        sentence += f"; {action.rung} needs two persons' yes"
    return Ruling(Verdict.NEEDS_APPROVAL, rule, sentence, clears)


def is_approved(action: Action, survey: Survey) -> bool:
    """Return whether a person requested an action, or approved it as it is planned now."""
    if action.cause is Cause.HUMAN:
        return True
    persons = {approval.by.strip().casefold() for approval in yes_of(action, survey)}
    return len(persons) >= wanted(action, survey)


def wanted(action: Action, survey: Survey) -> int:
    """Return how many persons have to approve an action."""
    return 2 if action.rung in survey.desired.estate.spec.approvals.two_persons else 1


def yes_of(action: Action, survey: Survey) -> list[Approval]:
    """Return the approvals of an action as it is planned now."""
    if not survey.context.approvals:
        return []
    found = [approval for approval in survey.context.approvals
             if approval.action_id == action.id and approval.revision == survey.desired.revision
             and approval.expires_at > survey.now_s]
    digest = content(action) if found else ""
    return [approval for approval in found if approval.content == digest]


def same(one: Action, other: Action) -> bool:
    """Return whether two actions would do the same; the words about them may differ."""
    return _without_words(one) == _without_words(other)


def content(action: Action) -> str:
    """Return a digest of what an action would do: equal exactly for actions that are the same."""
    return blake2b(repr(_without_words(action)).encode(), digest_size=12).hexdigest()


def _without_words(action: Action) -> Action:
    return replace(action, reason="", consequence="", cause=Cause.DRIFT, ask=None)
