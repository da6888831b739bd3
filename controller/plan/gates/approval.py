"""Approval: which actions ask a person whatever autonomy allows, and how far a yes reaches.

Rule 1: an action states itself what it asks (`Action.ask`), because it takes from somebody.
Rule 2: a yes holds for what the action does, not for the words about it: as soon as the planned
        action has another content, another yes is needed.
Rule 3: of the rungs for which the Estate wants two persons, one person's yes is not enough, however
        often it is given. A person is a name, in whatever case it is written.
Rule 4: who has broken the glass needs no second person for what was changed that way; the steps
        that it brings and that were shown then are approved, and what else asks a person still
        does.
"""

from dataclasses import replace
from hashlib import blake2b

from controller.plan.actions.action import Action, Cause
from controller.plan.break_glass.break_glass import ABOVE, BreakGlass
from controller.plan.gates.scopes import affected, declared_object
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
    return len(persons) >= wanted(action, survey) or was_shown(action, glass_over(action, survey))


def wanted(action: Action, survey: Survey) -> int:
    """Return how many persons have to approve an action."""
    two = action.rung in survey.desired.estate.spec.approvals.two_persons
    return 2 if two and glass_over(action, survey) is None else 1


def glass_over(action: Action, survey: Survey) -> BreakGlass | None:
    """Return the break-glass that an action carries out; None where it does not.

    Shapes: it is in force in these very specs, and the action is about what it changes, or was
    brought by it and shown to the person.
    """
    glass = survey.context.break_glass
    if (glass is None or action.cause is not Cause.COMMIT or action.rung.height >= ABOVE.height
            or glass.until_at <= survey.now_s or not glass.is_in(survey.desired.revision)):
        return None
    about = {action.target, declared_object(action.target), *affected(action, survey)}
    return glass if about.intersection(glass.targets) or was_shown(action, glass) else None


def was_shown(action: Action, glass: BreakGlass | None) -> bool:
    """Return whether the person who broke the glass said yes to this very action."""
    return (glass is not None and any(one == action.id for one, _ in glass.agreed)
            and (action.id, content(action)) in glass.agreed)


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
