"""A VM that is no longer protected loses our checkpoints, and nobody else's."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.document import Rung
from controller.plan.actions.replica import DropCheckpoints
from controller.plan.steps.plan import Verdict
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import actions, plan_of, sentences

OURS = ("hotsite-000005", "hotsite-000006-9fe2", "hotsite-000007.1")


def seen_of(desired: Any, *names: str, **changes: Any) -> Any:
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    return b.with_domain(seen, "paris-1", "sql", b.domain(
        "sql", "paris-1", desired, checkpoints=tuple(sorted(names)), **changes))


@pytest.mark.parametrize("power", ["on", "off"])
def test_our_checkpoints_go_and_those_of_others_stay(power: str) -> None:
    desired = b.small(b.vm("sql", power=power), autonomy="replicate")
    seen = seen_of(desired, *OURS, "by-hand", "hotsite-of-mine")
    if power == "off":
        seen = b.with_domain(seen, "paris-1", "sql", b.off(
            "sql", "paris-1", desired, checkpoints=(*OURS, "by-hand")))
    (first,) = plan_of(desired, seen).steps
    assert (first.ruling.verdict, first.ruling.rule) == (Verdict.WAITING, "grace")
    (step,) = plan_of(desired, seen, replace(
        b.APPLIED, waiting={first.action.id: b.NOW_S - 600})).steps
    assert isinstance(step.action, DropCheckpoints)
    assert step.action.checkpoints == OURS
    assert step.action.paths == ("/var/lib/libvirt/images/sql-vda.qcow2",)
    assert (step.action.rung, step.ruling.verdict) == (Rung.REPLICATE, Verdict.ALLOWED)
    assert "without `protection`" in step.action.reason


def test_what_is_protected_or_has_none_or_is_not_ours_is_left_alone() -> None:
    plain = b.small(b.vm("sql"))
    gold = b.small(b.vm("sql", protection="gold"))
    assert actions(plan_of(plain, seen_of(plain, "by-hand"))) == []
    assert not [one for one in actions(plan_of(gold, seen_of(gold, *OURS)))
                if isinstance(one, DropCheckpoints)]
    foreign = seen_of(plain, *OURS, ownership=replace(
        b.domain("sql", "paris-1", plain).ownership, estate="another"))
    assert actions(plan_of(plain, foreign)) == []
    assert actions(plan_of(plain, seen_of(plain, *OURS, job="backup"))) == []


def test_its_replica_is_told_of() -> None:
    desired = b.small(b.vm("sql"))
    plan = plan_of(desired, r.with_replica(seen_of(desired, *OURS), "milan-1",
                                           r.replica("sql", r.series(6, 60))))
    assert "its replica on milan-1 is left alone; delete" in sentences(plan)


def test_a_vm_that_left_the_specs_says_how_it_is_undefined() -> None:
    old = b.small(b.vm("sql"))
    plan = plan_of(b.small(), seen_of(old, *OURS))
    assert "`virsh undefine sql --checkpoints-metadata`" in sentences(plan)
