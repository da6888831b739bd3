"""What a break-glass answers at the gates, and what it does not."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.desired import Desired
from controller.model.document import Rung
from controller.plan.actions.action import Cause
from controller.plan.actions.machine import RemoveDomain
from controller.plan.break_glass.break_glass import (
    BreakGlass,
    GlassChange,
    Judged,
    condition_of,
    judge,
)
from controller.plan.compute import compute
from controller.plan.gates.approval import content, glass_over
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.context import Context, Suspension, WindowState
from controller.plan.survey.survey import take_survey
from controller.reconcile.break_glass.proposal import agreed
from tests.plan import builders as b
from tests.plan.gates.test_gates import START, START_ACTION, off_on_paris

SQL = "VirtualMachine/sql"
CLOSED = WindowState("freeze", "deny", True, Rung.NETWORK, None)
GLASS = BreakGlass("0badcafe", "ann", "the forge is down", b.NOW_S - 60, b.NOW_S + 3600, "c0ffee",
                   (GlassChange(SQL, "vms.yaml", "{}", "{1}", "1"),), (SQL,))
CHANGED = replace(b.APPLIED, changed=frozenset({SQL}), break_glass=GLASS)
TWO = {"twoPersons": ["start", "delete"]}


REVISION = GLASS.revision("c0ffee")


def specs(**estate: Any) -> Desired:
    """Return specs of the revision that has the break-glass in it."""
    return replace(b.small(b.vm("sql"), **estate), revision=REVISION)


def under(context: Context, **estate: Any) -> Ruling:
    """Return the ruling on the start of sql."""
    desired = specs(**estate)
    plan = compute(desired, off_on_paris(desired, "sql"), context, b.NOW_S)
    return next(step.ruling for step in plan.steps if step.action.id == START)


def test_no_window_and_no_second_person_is_waited_for() -> None:
    held = replace(CHANGED, windows=(CLOSED,))
    assert under(held, autonomy="report", approvals=TWO).verdict is Verdict.ALLOWED
    assert under(replace(held, break_glass=None)).rule == "window"


@pytest.mark.parametrize("context", [
    replace(CHANGED, changed=frozenset()),                                      # drift
    replace(CHANGED, break_glass=replace(GLASS, targets=("VirtualMachine/web",))),
    replace(CHANGED, break_glass=replace(GLASS, until_at=b.NOW_S)),
    replace(CHANGED, break_glass=replace(GLASS, id="another")),
    replace(CHANGED, break_glass=None)],
    ids=["drift", "another object", "over", "not in these specs", "none"])
def test_it_answers_for_nothing_else(context: Context) -> None:
    assert under(replace(context, windows=(CLOSED,))).rule == "window"
    assert under(context, autonomy="report").rule == "autonomy"


def test_what_was_shown_is_approved_and_so_is_no_step_of_other_content() -> None:
    other = replace(GLASS, targets=("Host/paris-1",), agreed=((START, content(START_ACTION)),))
    context = replace(CHANGED, break_glass=other, windows=(CLOSED,))
    assert under(context, autonomy="report").verdict is Verdict.ALLOWED
    stale = replace(context, break_glass=replace(other, agreed=((START, "another"),)))
    assert under(stale).rule == "window"


def test_a_yes_covers_what_the_change_brings_and_nothing_that_waits_anyway() -> None:
    plan = compute(specs(), off_on_paris(specs(), "sql"), b.APPLIED, b.NOW_S)
    shown = [(START, content(START_ACTION))]
    brings = replace(plan, steps=())
    elsewhere = replace(GLASS, targets=("VirtualMachine/web",))
    assert list(agreed(plan, brings, elsewhere, answered=True)) == shown
    assert list(agreed(plan, plan, elsewhere, answered=True)) == []
    assert list(agreed(plan, plan, GLASS, answered=True)) == shown


def test_pauses_and_the_laws_hold() -> None:
    paused = replace(CHANGED, suspensions=(
        Suspension(SQL, "bob", "hands off", b.NOW_S + 60),))
    assert under(paused).rule == "suspended"


def test_nothing_that_deletes_is_answered() -> None:
    desired = specs()
    survey = take_survey(desired, off_on_paris(desired, "sql"), CHANGED, b.NOW_S)
    start = replace(START_ACTION, cause=Cause.COMMIT)
    removal = RemoveDomain(target=SQL, node="paris-1", domain="sql", reason="r", consequence="",
                           cause=Cause.COMMIT, limit_s=1.0, disk_paths=(), suffix="x")
    shown = replace(CHANGED, break_glass=replace(GLASS, agreed=((removal.id, content(removal)),)))
    assert glass_over(start, survey) == GLASS
    assert glass_over(removal, replace(survey, context=shown)) is None


@pytest.mark.parametrize(("now", "expected"), [
    ({SQL: "{}"}, Judged(GLASS.changes, (), ())), ({SQL: "{1}"}, Judged((), (SQL,), ())),
    ({SQL: "{2}"}, Judged((), (), (SQL,))), ({}, Judged((), (), (SQL,)))])
def test_a_commit_leaves_it_contains_it_or_decides_otherwise(now: dict[str, str],
                                                             expected: Judged) -> None:
    assert judge(GLASS.changes, now) == expected


def test_its_condition_says_who_why_and_until_when_and_what_its_end_undoes() -> None:
    now = condition_of(GLASS, "lab", GLASS.revision("c0ffee"), b.NOW_S)
    assert (now.type, now.status, now.reason) == (ConditionType.BREAK_GLASS, Status.TRUE, "InForce")
    assert "ann" in now.message
    assert "the forge is down" in now.message
    soon = condition_of(replace(GLASS, undoes=("restart sql",)), "lab", GLASS.revision("c0ffee"),
                        GLASS.until_at - 60)
    assert soon.reason == "SoonOver"
    assert "its end undoes: restart sql" in soon.message
    assert condition_of(GLASS, "lab", "c0ffee", b.NOW_S).reason == "NotInForce"
