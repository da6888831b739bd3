"""Drills by themselves: which are due, in which hours, and what they give way to."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.facts import Known, Observed
from controller.model.replica import DrillOutcome
from controller.model.units import DAY_S, Hours, parse_hours
from controller.plan.compute import compute
from controller.plan.drill.nightly import next_open_at
from controller.plan.drill.together import content_of
from controller.plan.steps.plan import Verdict
from controller.plan.survey.context import Context, InFlight, Suspension
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.drill.test_drilled import VM, drill
from tests.plan.protected import lab, seen_with
from tests.plan.reading import ids, plan_of, sentences

DRILL = "drill:Drill/sql@milan-1"
ALWAYS = {"drill": "30d", "drillHours": "00:00-24:00"}


def planned(*drills: Any, context: Context = b.APPLIED, **policy: Any) -> list[str]:
    """The ids of the drills that are planned where these were held before."""
    desired = lab(**(ALWAYS | policy))
    seen = seen_with(desired, r.series(12, 20), drills=drills)
    return [one for one in ids(compute(desired, seen, context, b.NOW_S)) if "drill" in one]


@pytest.mark.parametrize(("drills", "due"), [
    ((), True),
    ((drill(3600),), False),
    ((drill(23 * DAY_S),), False),
    ((drill(25 * DAY_S),), True),
    ((drill(3600, content=content_of(VM)),), False),
    ((drill(3600, content="otherwise"),), False),
    ((drill(DAY_S, content="otherwise"),), True),
    ((drill(3600, DrillOutcome.FAILED),), False),
    ((drill(DAY_S, DrillOutcome.UNPROVEN),), True),
])
def test_what_is_not_proven_is_drilled_and_no_more_often_than_each_night(
        drills: Any, due: bool) -> None:
    assert planned(*drills) == ([DRILL] if due else [])


def test_nobody_is_drilled_by_itself_without_hours_or_without_an_age() -> None:
    assert planned(drillHours=None) == []
    assert planned(drill=None) == []


@pytest.mark.parametrize(("text", "at_h", "next_h"), [
    ("01:00-05:00", 0.5, 1), ("01:00-05:00", 1, 1), ("01:00-05:00", 4.9, 4.9),
    ("01:00-05:00", 5, 25), ("22:30-02:00", 1, 1), ("22:30-02:00", 3, 22.5),
    ("22:30-02:00", 23, 23), ("00:00-24:00", 23.9, 23.9),
])
def test_hours_are_those_of_a_day_in_utc(text: str, at_h: float, next_h: float) -> None:
    day_at = 20_000 * DAY_S
    assert next_open_at(parse_hours(text), day_at + at_h * 3600) == day_at + next_h * 3600


@pytest.mark.parametrize("text", ["1-5", "01:00", "01:00-01:00", "24:00-01:00", "01:00-24:30", 5,
                                  None, "01:00-05:00 CET"])
def test_what_are_no_hours_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="write "):
        parse_hours(text)
    assert parse_hours("22:00-24:00") == Hours(22 * 3600, 24 * 3600)


def test_the_loop_wakes_when_the_hours_begin() -> None:
    begin_h = int(b.NOW_S % DAY_S // 3600) + 2
    hours = f"{begin_h % 24:02}:00-{(begin_h + 1) % 24:02}:00"
    desired = lab(rpo="30d", drill="30d", drillHours=hours)
    plan = plan_of(desired, seen_with(desired, r.series(12, 20)))
    assert ids(plan) == []
    assert plan.due_at is not None
    assert b.NOW_S < plan.due_at <= b.NOW_S + 2 * 3600


def two(group: str | None = None, **more: Any) -> tuple[Desired, Observed]:
    """Two VMs in Paris whose replicas are on one host."""
    own = {} if group is None else {"group": group}
    desired = b.small(b.vm("sql", protection="gold", **own), b.vm("web", protection="gold", **own),
                      b.document("ProtectionPolicy", "gold", rpo="5m", **ALWAYS))
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1", "web": "paris-2"}), desired)
    for name in ("sql", "web"):
        seen = r.with_replica(seen, "milan-1", r.replica(
            name, r.series(12, 20), drills=more.get(name, ())))
    return desired, seen


def test_one_at_a_time_is_drilled_on_a_host_the_oldest_proof_first() -> None:
    desired, seen = two(sql=(drill(26 * DAY_S),), web=(drill(28 * DAY_S),))
    assert ids(plan_of(desired, seen)) == ["drill:Drill/web@milan-1"]
    busy = replace(b.APPLIED, in_flight=(InFlight(
        "drill:Drill/web@milan-1", "Drill/web", ("milan-1",), Rung.REPLICATE),))
    assert ids(compute(desired, seen, busy, b.NOW_S)) == []


def test_a_drill_that_comes_to_nothing_keeps_no_other_vm_of_its_host_from_one() -> None:
    desired, seen = two(web=(drill(28 * DAY_S),))
    assert ids(plan_of(desired, seen)) == ["drill:Drill/sql@milan-1"]
    resting = replace(b.APPLIED, backing_off=frozenset({"Drill/sql"}))
    assert ids(compute(desired, seen, resting, b.NOW_S)) == ["drill:Drill/web@milan-1"]
    both = replace(b.APPLIED, backing_off=frozenset({"Drill/sql", "Drill/web"}))
    assert ids(compute(desired, seen, both, b.NOW_S)) == ["drill:Drill/sql@milan-1"]


def test_a_group_is_drilled_together_as_soon_as_one_of_it_is_due() -> None:
    desired, seen = two("shop", sql=(drill(3600),), web=(drill(28 * DAY_S),))
    assert ids(plan_of(desired, seen)) == ["drill:Drill/sql@milan-1/web"]
    paused = replace(b.APPLIED, suspensions=(
        Suspension("VirtualMachine/web", "ann", "it is repaired", b.NOW_S + 60),))
    (step,) = compute(desired, seen, paused, b.NOW_S).steps
    assert step.ruling.verdict is not Verdict.ALLOWED, "one of them is suspended"
    proven = two("shop", sql=(drill(3600),), web=(drill(3600),))
    assert ids(plan_of(*proven)) == []


def test_a_host_without_memory_left_is_said_and_another_vm_is_drilled() -> None:
    desired, seen = two()
    fact = seen.nodes["milan-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.hardware, Known)
    full = b.with_node(seen, "milan-1", Known(replace(fact.value, hardware=Known(replace(
        fact.value.hardware.value, memory_available_bytes=1 << 30), b.NOW_S)), b.NOW_S))
    plan = plan_of(desired, full)
    assert ids(plan) == []
    assert "sql is not drilled on milan-1: it wants 2GiB of memory" in sentences(plan)


def test_while_a_site_is_taken_as_lost_nobody_is_drilled() -> None:
    desired = lab(**ALWAYS)
    seen = seen_with(desired, r.series(12, 20))
    lost = replace(b.APPLIED, assumed_down=frozenset({"Site/paris"}))
    plan = compute(desired, seen, lost, b.NOW_S)
    assert [one for one in ids(plan) if "drill" in one] == []


def test_what_is_suspended_or_only_reported_is_not_drilled() -> None:
    desired = lab(autonomy="report", **ALWAYS)
    plan = plan_of(desired, seen_with(desired, r.series(12, 20)))
    assert [step.ruling.verdict.value for step in plan.steps] == ["needs approval"]
