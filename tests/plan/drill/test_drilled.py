"""Drilled: how well a replica is proven to boot, and what a drill by hand is allowed to start."""

from dataclasses import replace
from typing import Any

import pytest

from controller.errors import Refused
from controller.model.facts import Known, Observed
from controller.model.replica import DrillFacts, DrillOutcome
from controller.plan.compute import compute
from controller.plan.drill.by_hand import content_of, plan_drill
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


def refusal(seen: Observed, sequence: int | None = None, machine: str = "sql") -> str:
    """The sentence with which a drill is refused."""
    with pytest.raises(Refused) as error:
        plan_drill(lab(), seen, machine, sequence)
    return str(error.value)


def test_the_newest_whole_point_is_drilled_where_its_replica_is() -> None:
    points = (*r.series(11, 300), r.point(12, 20, damaged_clusters=2))
    action = plan_drill(lab(health={"agent": True, "within": "3m", "boots": "10s"}),
                        seen_with(lab(), points), "sql", by="ann")
    assert (action.node, action.sequence, action.target) == ("milan-1", 11, "Drill/sql")
    assert (action.limit_s, action.memory_bytes) == (190, VM.spec.memory_bytes)
    assert plan_drill(lab(), seen_with(lab(), points), "sql", 10).sequence == 10
    assert action.reason == "ann wants to see restore point 11 of sql boot"


def test_what_can_not_be_drilled_is_refused_with_a_sentence() -> None:
    seen = seen_with(lab(), r.series(12, 20))
    assert refusal(seen, machine="web") == "no VM web is declared: there are sql"
    assert refusal(seen, 99) == ("the replica of sql has no restore point 99: `hotsite replica show"
                                 " sql` lists them")
    assert "milan-1 cannot be seen now and may have it" in refusal(
        b.silenced(seen, "milan-1", 900))
    damaged = seen_with(lab(), (r.point(12, 20, damaged_clusters=2),))
    assert "reads wrong in 2 clusters" in refusal(damaged)
    assert "has become the VM" in refusal(seen_with(lab(), r.series(12, 20), promoted=11))
    tail = seen_with(lab(), (r.point(12, 20, diverged=True),))
    assert "an older copy of it held at its end" in refusal(tail)


def test_a_host_without_room_is_not_asked() -> None:
    seen = seen_with(lab(), r.series(12, 20))
    fact = seen.nodes["milan-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.hardware, Known)
    full = replace(fact.value.hardware.value, memory_available_bytes=1 << 30)
    said_no = refusal(b.with_node(seen, "milan-1", Known(replace(
        fact.value, hardware=Known(full, b.NOW_S)), b.NOW_S)))
    assert said_no.startswith("sql is not drilled on milan-1: it wants")


def test_drills_change_no_step_and_a_pin_holds_back_nothing_but_retention() -> None:
    desired = lab(drill="30d", keep={"last": 12})
    seen = seen_with(desired, r.series(12, 299), drills=(drill(DAY_S),), pins={"drill": 12})
    assert ids(plan_of(desired, seen)) == ["replicate:Replica/sql@paris-1/milan-1"]
