"""Upkeep: what is deleted when, what comes before a copy, and what stays because it is in use."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DiskFacts, Known, Observed, Unknown
from controller.model.replica import ReplicaFacts
from controller.plan.actions.action import Action
from controller.plan.actions.replica import (
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.plan.survey.context import ReplicaRequest, RequestKind
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import HOME, lab, seen_with
from tests.plan.reading import actions, plan_of, sentences

KEEP_TWO = {"keep": {"last": 2}}


def kinds(desired: Any, seen: Observed) -> list[type[Action]]:
    return [type(one) for one in actions(plan_of(desired, seen))]


def with_user(seen: Observed, host: str, held: ReplicaFacts, desired: Any) -> Observed:
    """The same, with a VM by hand that is off and has its disk in a replica."""
    domain = b.off("web", host, desired)
    assert domain.config is not None
    disk = DiskFacts("vda", f"{held.path}/vda/active.qcow2", "qcow2", 10 * b.GIB)
    return b.with_domain(seen, host, "by-hand", replace(
        domain, name="by-hand", uuid="another", ownership=None,
        config=replace(domain.config, disks=(disk,), nics=())))


def test_points_stay_while_a_vm_has_its_disk_in_the_replica() -> None:
    desired = b.small(b.vm("sql", protection="gold"), b.vm("web"),
                      b.document("ProtectionPolicy", "gold", rpo="5m", **KEEP_TWO))
    held = r.replica("sql", r.series(12, 20, count=4))
    seen = r.with_replica(r.asked(b.as_declared(desired, HOME | {"web": "milan-1"}), desired),
                          "milan-1", held)
    assert kinds(desired, seen) == [RetirePoints]
    used = with_user(seen, "milan-1", held, desired)
    assert kinds(desired, used) == []
    assert f"by-hand on milan-1 has its disk in {held.path}: no restore point is deleted" in (
        sentences(plan_of(desired, used)))


def test_points_stay_while_nobody_sees_who_uses_them() -> None:
    desired = lab(**KEEP_TWO)
    seen = seen_with(desired, r.series(12, 20, count=4))
    assert kinds(desired, seen) == [RetirePoints]
    fact = seen.nodes["milan-1"]
    assert isinstance(fact, Known)
    unreachable = b.with_node(seen, "milan-1", Known(
        replace(fact.value, domains=Unknown("libvirt does not answer", b.NOW_S - 9)), b.NOW_S))
    assert kinds(desired, unreachable) == []
    assert "libvirt on milan-1 does not answer" in sentences(plan_of(desired, unreachable))


def test_a_replica_that_a_vm_runs_on_is_not_removed_for_a_newer_one() -> None:
    desired = b.small(b.vm("sql", protection="gold"), b.vm("web"),
                      b.document("ProtectionPolicy", "gold", rpo="5m", **KEEP_TWO))
    old, new = r.replica("sql", r.series(12, 900)), r.replica("sql", r.series(15, 20, 2))
    seen = r.asked(b.as_declared(desired, {"sql": "milan-1", "web": "milan-2"}), desired)
    seen = r.with_replica(r.with_replica(seen, "milan-1", old), "paris-1", new)
    assert kinds(desired, seen) == [RemoveReplica]
    assert kinds(desired, with_user(seen, "milan-1", old, desired)) == []


def test_too_many_points_go_before_the_next_copy() -> None:
    desired = lab(**KEEP_TWO)
    few = seen_with(desired, r.series(12, 290, count=4))
    assert kinds(desired, few) == [ReplicateDomain, RetirePoints]
    many = seen_with(desired, r.series(12, 290, count=6))
    assert kinds(desired, many) == [RetirePoints, ReplicateDomain]


@pytest.mark.parametrize(("took_s", "order"), [
    (280, [VerifyReplica, ReplicateDomain]),    # the copy has ended just now
    (4, [ReplicateDomain, VerifyReplica]),      # and here long ago: the next one is due
])
def test_an_overdue_verification_has_a_turn_after_each_copy(took_s: float, order: Any) -> None:
    desired = lab(verify="1m")
    points = (r.point(11, 600), r.point(12, 290, committed_at=b.NOW_S - 290 + took_s))
    assert kinds(desired, seen_with(desired, points, scrubbed_at=b.NOW_S - 61)) == order
    assert kinds(desired, seen_with(desired, points, scrubbed_at=b.NOW_S - 50)) == [
        ReplicateDomain, VerifyReplica]


@pytest.mark.parametrize(("seeded_s", "order"), [(86400, [VerifyReplica]), (60, [])])
def test_what_was_never_verified_is_as_old_as_its_first_point_and_not_the_oldest_that_is_left(
        seeded_s: float, order: list[type[Action]]) -> None:
    desired = lab(verify="1d", keep={"last": 3})
    seen = seen_with(desired, r.series(4000, 20), seeded_at=b.NOW_S - seeded_s)
    assert kinds(desired, seen) == order


@pytest.mark.parametrize(("damaged", "kind"), [(0, VerifyReplica), (2, ReplicateDomain)])
def test_a_repair_that_a_person_wants_begins_by_looking_for_what_is_wrong(
        damaged: int, kind: type[Action]) -> None:
    desired = lab()
    seen = seen_with(desired, r.series(12, 20), damaged_clusters=damaged)
    request = ReplicaRequest("sql", RequestKind.REPAIR, "ann", b.NOW_S)
    plan = plan_of(desired, seen, replace(b.APPLIED, requests=(request,)))
    (step,) = plan.runnable
    assert type(step.action) is kind
    assert "ann asked for it" in step.action.reason
