"""A smaller `keep` retires points; after a move the old replica stays for a while.
"""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Observed
from controller.model.protection_policy import KeepSpec
from controller.plan.actions.replica import DropPoints, RemoveReplica, RetirePoints
from controller.plan.compute import compute
from controller.plan.replication.retention import surplus
from controller.plan.steps.plan import Plan, Verdict
from controller.plan.survey.context import Context
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import seen_with
from tests.plan.reading import sentences

DAY_S, HOUR_S = 86400.0, 3600.0
LONG = {"last": 3, "hourly": 4, "daily": 8}
CHANGED = Context(applied_revision="r0", changed=frozenset({"ProtectionPolicy/gold"}))


def gold(keep: dict[str, int], **estate: Any) -> Any:
    return b.small(b.vm("sql", protection="gold"), b.document(
        "ProtectionPolicy", "gold", rpo="5m", keep=keep), **estate)


def history(days: int = 7) -> Any:
    """A point of each day, the last three of them within minutes."""
    daily = [r.point(10 - back, back * DAY_S + HOUR_S) for back in range(days, 0, -1)]
    return (*daily, r.point(11, 500), r.point(12, 260), r.point(13, 20))


def upkeep(desired: Any, points: Any, policy: Context = b.APPLIED, **more: Any) -> Plan:
    return compute(desired, seen_with(desired, points, **more), policy, b.NOW_S)


def points_of(plan: Plan, kind: type[Any]) -> tuple[int, ...]:
    return tuple(sequence for step in plan.steps if isinstance(step.action, kind)
                 for sequence in step.action.sequences)


@pytest.mark.parametrize("policy", [
    CHANGED, Context(), replace(CHANGED, kept={"sql": KeepSpec(**LONG)}),
    replace(b.APPLIED, kept={"sql": KeepSpec(**LONG)})],
    ids=["a commit", "a controller without memory", "remembered", "remembered only"])
def test_what_a_smaller_keep_lets_go_is_a_deletion_and_counts(policy: Context) -> None:
    plan = upkeep(gold({"last": 3}), history(), policy)
    assert points_of(plan, RetirePoints) == ()
    assert points_of(plan, DropPoints) == (3, 4, 5, 6, 7, 8, 9)
    (step,) = [one for one in plan.steps if isinstance(one.action, DropPoints)]
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.REFUSED, "delete-ceiling")
    assert "this plan would delete 7 restore points and the ceiling is 0" in step.ruling.sentence
    assert "can never be gone back to again" in step.action.consequence
    (held,) = [one for one in upkeep(gold({"last": 3}, limits={"deletes": 7}), history(),
                                     policy).steps if isinstance(one.action, DropPoints)]
    assert (held.ruling.verdict, held.ruling.rule) == (Verdict.WAITING, "grace")
    (asked,) = [one for one in upkeep(gold({"last": 3}, autonomy="prune", limits={"deletes": 7}),
                                      history(), policy).steps
                if isinstance(one.action, DropPoints)]
    assert asked.ruling.verdict is Verdict.NEEDS_APPROVAL
    assert "sql" not in plan.kept


def test_what_the_larger_keep_would_let_go_as_well_goes_as_ever() -> None:
    policy = replace(CHANGED, kept={"sql": KeepSpec(last=3, daily=4)})
    plan = upkeep(gold({"last": 3}), history(), policy)
    assert points_of(plan, RetirePoints) == (3, 4, 5, 6)
    assert points_of(plan, DropPoints) == (7, 8, 9)


def test_a_keep_of_another_policy_is_a_smaller_keep_as_well() -> None:
    desired = b.small(b.vm("sql", protection="bronze"), b.document(
        "ProtectionPolicy", "bronze", rpo="5m", keep={"last": 3}))
    policy = Context(applied_revision="r0", changed=frozenset({"VirtualMachine/sql"}))
    assert points_of(upkeep(desired, history(), policy), DropPoints) == (3, 4, 5, 6, 7, 8, 9)


def test_a_keep_is_remembered_only_once_nothing_hangs_on_the_one_before() -> None:
    long = gold(LONG)
    assert upkeep(long, history()).kept == {"sql": KeepSpec(**LONG)}
    small, before = gold({"last": 3}), replace(CHANGED, kept={"sql": KeepSpec(**LONG)})
    assert upkeep(small, history(), before).kept == {}
    assert upkeep(small, history()[-3:], before).kept == {"sql": KeepSpec(last=3)}
    for doubt in ({"lost_files": ("vda/rp-000003.qcow2",)}, {"unreadable": "torn"},
                  {"damaged_clusters": 2}):
        assert upkeep(small, history(), before, **doubt).kept == {}


def two(desired: Any, old: Any, new: Any) -> Observed:
    """sql runs at milan; its older replica is there, too, and a newer one at paris."""
    seen = r.asked(b.as_declared(desired, {"sql": "milan-2"}), desired)
    seen = r.with_replica(seen, "milan-1", r.replica("sql", old))
    return r.with_replica(seen, "paris-1", r.replica("sql", new))


@pytest.mark.parametrize(("new", "stays"), [
    (1, True), (3, True), (200, False)], ids=["one point", "the last few", "all that it names"])
def test_after_a_move_the_old_replica_stays_until_the_new_one_has_what_keep_names(
        new: int, stays: bool) -> None:
    desired = gold(LONG)
    points = tuple(r.point(300 - back, 20 + back * HOUR_S) for back in range(new - 1, -1, -1))
    plan = compute(desired, two(desired, history(), points), b.APPLIED, b.NOW_S)
    assert any(isinstance(one.action, RemoveReplica) for one in plan.steps) is not stays
    assert ("stays until that on paris-1 has all that `keep` names" in sentences(plan)) is stays


def test_nor_does_it_go_because_keep_shrank_in_the_same_commit() -> None:
    desired = gold({"last": 1})
    seen = two(desired, history(), (r.point(300, 20),))
    for policy, stays in ((replace(CHANGED, kept={"sql": KeepSpec(**LONG)}), True),
                          (CHANGED, True), (b.APPLIED, False)):
        plan = compute(desired, seen, policy, b.NOW_S)
        assert any(isinstance(one.action, RemoveReplica) for one in plan.steps) is not stays


def test_the_newer_replica_is_the_one_with_the_higher_number_whatever_a_clock_said() -> None:
    desired = gold({"last": 1})
    ahead = (r.point(20, -30 * DAY_S),)
    plan = compute(desired, two(desired, ahead, (r.point(21, 20),)), b.APPLIED, b.NOW_S)
    (step,) = [one for one in plan.steps if isinstance(one.action, RemoveReplica)]
    assert step.action.node == "milan-1"


@pytest.mark.parametrize("jump_days", [30, -30, 400])
def test_a_clock_that_was_wrong_for_a_while_costs_no_history(jump_days: int) -> None:
    keep = KeepSpec(last=3, hourly=24, daily=7)
    points: list[Any] = []

    def copy(day: float) -> None:
        nonlocal points
        sequence = points[-1].sequence + 1 if points else 1
        points.append(r.point(sequence, b.NOW_S - (1000 + day) * DAY_S))
        gone = surplus(r.replica("sql", tuple(points)), keep)
        points = [one for one in points if one.sequence not in gone]

    for quarter in range(10 * 24):
        copy(quarter / 24)
    for quarter in range(8 * 24):
        copy(10 + jump_days + quarter / 24)
    for quarter in range(3 * 24):
        copy(18 + quarter / 24)
    real = [one for one in points if 1018 * DAY_S <= one.started_at < 1021 * DAY_S]
    assert len(real) >= 24 + 2
    assert len({one.started_at // DAY_S for one in points}) == 7
    for quarter in range(7 * 24):
        copy(21 + quarter / 24)
    assert {one.started_at // DAY_S for one in points} == set(range(1021, 1028))
