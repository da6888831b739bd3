"""Drilled: how well a replica is proven to boot."""

from typing import Any

import pytest

from controller.model.replica import DrillFacts, DrillOutcome
from controller.plan.compute import compute
from controller.plan.drill.together import content_of
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import lab, said, seen_with
from tests.plan.reading import ids, plan_of

DAY_S = 86400.0
VM = lab().virtual_machines["sql"]


def drill(age_s: float, outcome: DrillOutcome = DrillOutcome.PROVEN, **more: Any) -> DrillFacts:
    """A drill that ended so long ago."""
    fields = {"sentence": "its guest agent answers", "boot_s": 0.5, "health_s": 2.5} | more
    return DrillFacts(b.NOW_S - age_s, 7, outcome, **fields)


def drilled(*drills: DrillFacts, limit: str | None = "30d") -> tuple[str, str]:
    """What is said of a VM with these drills of its replica, under such a policy."""
    desired = lab() if limit is None else lab(drill=limit)
    return said(plan_of(desired, seen_with(desired, r.series(12, 20), drills=drills)), "Drilled")


@pytest.mark.parametrize(("drills", "answer"), [
    ((), ("unknown", "NeverDrilled")),
    ((drill(DAY_S),), ("true", "Proven")),
    ((drill(DAY_S, content=content_of(VM)),), ("true", "Proven")),
    ((drill(DAY_S, content="otherwise"),), ("false", "Changed")),
    ((drill(31 * DAY_S),), ("false", "Overdue")),
    ((drill(DAY_S, DrillOutcome.BOOTED),), ("unknown", "OnlyBooted")),
    ((drill(31 * DAY_S, DrillOutcome.BOOTED),), ("false", "Overdue")),
    ((drill(DAY_S, DrillOutcome.FAILED),), ("false", "DoesNotStart")),
    ((drill(DAY_S, DrillOutcome.UNHEALTHY),), ("false", "DoesNotServe")),
    ((drill(2 * DAY_S), drill(DAY_S, DrillOutcome.UNPROVEN)), ("false", "NotProven")),
])
def test_what_a_drill_says_of_a_replica(drills: tuple[DrillFacts, ...], answer: Any) -> None:
    assert drilled(*drills) == answer


def test_what_nobody_wants_drilled_is_told_only_if_it_was() -> None:
    desired = lab()
    plan = plan_of(desired, seen_with(desired, r.series(12, 20)))
    assert [one for one in plan.conditions if one.type == "Drilled"] == []
    assert drilled(drill(400 * DAY_S), limit=None) == ("true", "Proven")


def test_a_replica_that_is_not_seen_is_not_called_proven() -> None:
    desired = lab(drill="30d")
    seen = seen_with(desired, r.series(12, 20), drills=(drill(DAY_S),))
    assert said(plan_of(desired, b.silenced(seen, "milan-1", 900)), "Drilled") == (
        "unknown", "NoReplica")


def test_when_a_proof_grows_old_the_loop_wakes() -> None:
    desired = lab(drill="1d", rpo="30d")
    seen = seen_with(desired, r.series(12, 20), drills=(drill(DAY_S - 30),))
    plan = plan_of(desired, seen)
    assert said(plan, "Drilled") == ("true", "Proven")
    assert plan.due_at == b.NOW_S + 30
    assert said(compute(desired, seen, b.APPLIED, plan.due_at), "Drilled") == ("false", "Overdue")


def test_only_what_is_declared_of_the_vm_itself_makes_a_proof_old() -> None:
    more = b.small(b.vm("sql", protection="gold", memory="3GiB"),
                   b.document("ProtectionPolicy", "gold", rpo="5m"))
    free = b.small(b.vm("sql", autonomy="report"))
    assert content_of(more.virtual_machines["sql"]) != content_of(VM)
    assert content_of(free.virtual_machines["sql"]) == content_of(VM)


def test_drills_change_no_step_and_a_pin_holds_back_nothing_but_retention() -> None:
    desired = lab(drill="30d", keep={"last": 12})
    seen = seen_with(desired, r.series(12, 299), drills=(drill(DAY_S),), pins={"drill": 12})
    assert ids(plan_of(desired, seen)) == ["replicate:Replica/sql@paris-1/milan-1"]
