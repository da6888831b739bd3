"""The law of the last good restore point, each way to break it planted in a plan."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, Unknown
from controller.plan.actions.action import Action
from controller.plan.actions.replica import (
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.plan.steps.plan import Plan, Step
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.lawful import assert_lawful

POINTS = r.series(12, 60)
SQL = r.replica("sql", POINTS)
WHO: dict[str, Any] = {"target": "Replica/sql", "node": "milan-1", "reason": "x"}


def seen(*held: tuple[str, Any]) -> Observed:
    desired = b.small(b.vm("sql", protection="gold"))
    found = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    for host, replica in held or (("milan-1", SQL),):
        found = r.with_replica(found, host, replica)
    return found


def hold(action: Action, observed: Observed) -> None:
    assert_lawful(Plan("r1", (Step(action),)), observed)


def retire(*sequences: int) -> RetirePoints:
    return RetirePoints(path=SQL.path, sequences=sequences, **WHO)


def remove() -> RemoveReplica:
    return RemoveReplica(path=SQL.path, uuid=SQL.uuid, **WHO)


def test_older_points_may_go() -> None:
    hold(retire(10, 11), seen())


def test_the_newest_point_may_not_go() -> None:
    with pytest.raises(AssertionError, match="last good restore point .* retire 12, the newest"):
        hold(retire(10, 12), seen())


def test_the_last_sound_point_may_not_go() -> None:
    bad = replace(SQL, points=(*POINTS[:2], replace(POINTS[2], damaged_clusters=1)))
    with pytest.raises(AssertionError, match="would leave no sound point"):
        hold(retire(10, 11), seen(("milan-1", bad)))


def test_points_that_are_not_seen_may_not_go() -> None:
    with pytest.raises(AssertionError, match="no replica is seen at"):
        hold(retire(1), seen(("milan-2", SQL)))


def test_the_only_replica_may_not_go() -> None:
    with pytest.raises(AssertionError, match="no newer sound point is seen elsewhere"):
        hold(remove(), seen())


@pytest.mark.parametrize("other", [
    r.replica("sql", r.series(12, 90)), r.replica("sql"),
    r.replica("sql", (r.point(13, 20, damaged_clusters=1),)),
    r.replica("sql", r.series(13, 20, 1), lost_files=("vda/base-000013.raw",)),
], ids=["older", "empty", "damaged", "lost"])
def test_a_replica_without_a_newer_sound_one_elsewhere_may_not_go(other: Any) -> None:
    with pytest.raises(AssertionError, match="no newer sound point is seen elsewhere"):
        hold(remove(), seen(("milan-1", SQL), ("paris-2", other)))


def test_a_newer_sound_replica_that_cannot_be_seen_replaces_nothing() -> None:
    newer = ("paris-2", r.replica("sql", r.series(13, 20, 1)))
    hold(remove(), seen(("milan-1", SQL), newer))
    with pytest.raises(AssertionError, match="no newer sound point is seen elsewhere"):
        hold(remove(), b.silenced(seen(("milan-1", SQL), newer), "paris-2"))


def test_the_replica_of_another_vm_may_not_go() -> None:
    with pytest.raises(AssertionError, match="that is the replica of"):
        hold(RemoveReplica(path=SQL.path, uuid="another", **WHO), seen())


def test_nothing_is_done_to_replicas_that_cannot_be_seen() -> None:
    unreachable = seen()
    fact = unreachable.nodes["milan-1"]
    assert isinstance(fact, Known)
    unreachable = b.with_node(unreachable, "milan-1", replace(fact, value=replace(
        fact.value, replicas=Unknown("no such pool", b.NOW_S))))
    copy = ReplicateDomain(
        target="Replica/sql", node="paris-1", reason="x", domain="sql", uuid=SQL.uuid,
        to="milan-1", path=SQL.path, disks=(), replication_address="a",
        to_replication_address="b", sequence=13)
    for action in (copy, VerifyReplica(path=SQL.path, budget_s=1, **WHO), retire(10), remove()):
        with pytest.raises(AssertionError, match=r"unknown is never absent: .* on milan-1"):
            hold(action, unreachable)
