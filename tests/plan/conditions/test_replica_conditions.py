"""Conditions of odd replicas: a disk missing, a point from the future, a host out of sight.
"""

from dataclasses import replace
from typing import Any

import pytest

from controller.plan.compute import compute
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import HOME, lab, said, seen_with
from tests.plan.reading import ids, plan_of, sentences

COPY = "replicate:Replica/sql@paris-1/milan-1"


def message(plan: Plan, kind: str) -> str:
    (found,) = [one.message for one in plan.conditions
                if one.type == kind and one.target == "VirtualMachine/sql"]
    return found


def test_a_disk_that_no_point_has_is_copied_at_once_and_told_meanwhile() -> None:
    disks = [{"name": name, "size": "10GiB"} for name in ("vda", "vdb")]
    desired = b.small(b.vm("sql", protection="gold", disks=disks),
                      b.document("ProtectionPolicy", "gold", rpo="1d"))
    seen = seen_with(desired, r.series(12, 20))
    plan = plan_of(desired, seen)
    assert ids(plan) == [COPY]
    assert said(plan, "Protected") == ("false", "DiskMissing")
    assert message(plan, "Protected") == "no restore point on milan-1 has its 1 disk vdb yet"
    both = seen_with(desired, r.series(12, 20), disks={"vda": 10 * b.GIB, "vdb": 10 * b.GIB})
    assert ids(plan_of(desired, both)) == []
    assert said(plan_of(desired, both), "Protected") == ("true", "Replicated")


def test_a_point_of_tomorrow_is_no_fresh_one() -> None:
    desired = lab()
    plan = plan_of(desired, seen_with(desired, (r.point(11, 400), r.point(12, -86400))))
    assert said(plan, "Fresh") == ("unknown", "InTheFuture")
    assert "set the controller's clock right" in message(plan, "Fresh")
    nearly = plan_of(desired, seen_with(desired, (r.point(11, 400), r.point(12, -2))))
    assert said(nearly, "Fresh") == ("true", "WithinRpo")


@pytest.mark.parametrize(("silent_s", "answer"), [
    (299, ("unknown", "CannotBeSeen")), (300, ("false", "Late")), (900, ("false", "Critical"))])
def test_a_host_that_is_silent_for_longer_than_the_rpo_has_no_fresh_point(
        silent_s: float, answer: Any) -> None:
    desired = lab()
    seen = b.silenced(seen_with(desired, r.series(12, silent_s + 9)), "milan-1", silent_s)
    plan = plan_of(desired, seen)
    assert said(plan, "Fresh") == answer
    assert "bring milan-1 back, or remove it from the specs" in message(plan, "Fresh")


def test_when_the_rpo_is_missed_out_of_sight_the_loop_wakes() -> None:
    desired = lab()
    seen = b.silenced(seen_with(desired, r.series(12, 200)), "milan-1", 190)
    plan = plan_of(desired, seen)
    assert plan.due_at == b.NOW_S + 110
    assert said(compute(desired, seen, b.APPLIED, plan.due_at), "Fresh") == ("false", "Late")


def test_a_folder_that_holds_nothing_binds_no_first_copy_to_its_host() -> None:
    desired = lab()
    seen = r.with_replica(r.asked(b.as_declared(desired, HOME), desired), "milan-1",
                          r.replica("sql", stored_bytes=1))
    assert ids(plan_of(desired, seen)) == ["replicate:Replica/sql@paris-1/milan-2"]
    assert said(plan_of(desired, seen), "Protected") == ("false", "NoReplica")


def test_the_replica_of_an_earlier_vm_of_the_name_is_no_waste() -> None:
    desired = lab()
    old = replace(r.replica("sql", r.series(12, 900)), uuid="an-earlier-uuid")
    plan = plan_of(desired, r.with_replica(seen_with(desired, r.series(3, 20)), "milan-2", old))
    assert "milan-2 holds a replica of an earlier sql (uuid an-earlier-uuid, newest point" in (
        sentences(plan))
    assert "not declared with a `protection`" not in sentences(plan)
