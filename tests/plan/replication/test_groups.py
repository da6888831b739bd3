"""Copies of a group begin together: when the first is due, all are, while none is under way."""

from dataclasses import replace
from typing import Any

from controller.model.document import Rung
from controller.model.facts import Observed
from controller.plan.actions.replica import ReplicateDomain
from controller.plan.compute import compute
from controller.plan.survey.context import Context, InFlight
from tests.plan import builders as b
from tests.plan import replicas as r


def lab(group: str | None = "shop") -> Any:
    vms = [b.vm(name, protection="gold", placement={"site": "paris"},
                **({} if group is None else {"group": group})) for name in ("app", "sql")]
    return b.small(*vms, b.vm("web", protection="gold", placement={"site": "paris"}))


def seen(desired: Any, **ages_s: float) -> Observed:
    found = r.asked(b.as_declared(desired, dict.fromkeys(ages_s, "paris-1")), desired)
    for name, age_s in ages_s.items():
        found = r.with_replica(found, "milan-1", r.replica(name, r.series(12, age_s)))
    return found


def copied(desired: Any, observed: Observed, context: Context = b.APPLIED) -> set[str]:
    return {step.action.target.partition("/")[2]
            for step in compute(desired, observed, context, b.NOW_S).steps
            if isinstance(step.action, ReplicateDomain)}


def test_when_the_first_of_a_group_is_due_all_are_and_nobody_else() -> None:
    desired = lab()
    observed = seen(desired, app=290, sql=200, web=40)
    assert copied(desired, observed) == {"app", "sql"}
    assert copied(lab(None), observed) == {"app"}


def test_none_joins_while_one_of_the_group_is_being_copied() -> None:
    desired = lab()
    busy = replace(b.APPLIED, in_flight=(InFlight(
        "replicate:Replica/app@paris-1/13", "Replica/app", ("paris-1", "milan-1"),
        Rung.REPLICATE),))
    assert "sql" not in copied(desired, seen(desired, app=290, sql=40, web=40), busy)


def test_one_that_cannot_be_copied_takes_the_others_along_once() -> None:
    desired = lab()
    moved = replace(b.APPLIED, in_flight=(InFlight(
        "move:VirtualMachine/app@paris-1/13", "VirtualMachine/app", ("paris-1", "milan-1"),
        Rung.FAILOVER),))
    assert "sql" in copied(desired, seen(desired, app=400, sql=200, web=40), moved)
    assert "sql" not in copied(desired, seen(desired, app=400, sql=20, web=40), moved)
    assert "sql" not in copied(desired, seen(desired, app=400, sql=20, web=40))


def test_a_group_is_not_due_before_its_first() -> None:
    desired = lab()
    plan = compute(desired, seen(desired, app=100, sql=40, web=40), b.APPLIED, b.NOW_S)
    assert not plan.steps
    assert plan.due_at is not None
    assert plan.due_at < b.NOW_S + 200


def test_one_without_a_replica_yet_does_not_make_the_others_due() -> None:
    desired = lab()
    observed = r.without_replica(seen(desired, app=40, sql=40, web=40), "milan-1",
                                 r.replica("app").uuid)
    assert copied(desired, observed) == {"app"}
