"""A tail is deleted after its day, told a week before, and never without a grant for deletions."""

from typing import Any

import pytest

from controller.plan.actions.promotion import ReleaseTail
from controller.plan.steps.plan import Plan, Verdict
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import lab
from tests.plan.reading import plan_of, sentences
from tests.plan.replication.test_former import EPOCH, failed_over

DAY_S = 86400.0


def planned(left_s: float | None, *, pinned: bool = True, **more: Any) -> Plan:
    """Return the plan while sql's tail is to be kept for so long."""
    desired = lab(**more)
    tail = r.point(1, 10, diverged=True, checkpoint="", kept_by="jo",
                   kept_until=None if left_s is None else b.NOW_S + left_s)
    return plan_of(desired, r.with_replica(failed_over(desired), "paris-1", r.replica(
        "sql", (tail,), epoch=EPOCH, pins={"tail-1": 1} if pinned else {})))


def releases(plan: Plan) -> list[tuple[str, int, int, Verdict]]:
    """Return which tails are let go, and what the gates say of it."""
    return [(step.action.node, step.action.sequence, step.action.epoch, step.ruling.verdict)
            for step in plan.steps if isinstance(step.action, ReleaseTail)]


@pytest.mark.parametrize(("granted", "verdict"), [
    ("delete", Verdict.ALLOWED), ("failover", Verdict.NEEDS_APPROVAL)])
def test_it_is_let_go_on_its_day_by_whoever_may_delete(granted: str, verdict: Verdict) -> None:
    assert releases(planned(-1.0, autonomy=granted)) == [("paris-1", 1, EPOCH, verdict)]
    assert "which keeps for jo what it wrote there" in next(
        step.action.reason for step in planned(-1.0).steps
        if isinstance(step.action, ReleaseTail))


@pytest.mark.parametrize("left_s", [1.0, 6 * DAY_S])
def test_it_is_told_a_week_before(left_s: float) -> None:
    plan = planned(left_s)
    assert releases(plan) == []
    assert "is deleted after" in sentences(plan)
    assert plan.due_at is not None
    assert plan.due_at <= b.NOW_S + left_s


@pytest.mark.parametrize(("left_s", "pinned"), [(8 * DAY_S, True), (None, True), (-1.0, False)])
def test_nothing_is_said_of_one_that_is_kept_or_let_go_already(left_s: float | None, *,
                                                               pinned: bool) -> None:
    plan = planned(left_s, pinned=pinned)
    assert releases(plan) == []
    assert "is deleted after" not in sentences(plan)
