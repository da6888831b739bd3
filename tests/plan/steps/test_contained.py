"""A bug in the decision about one object leaves the decisions about all others alone."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, Unknown
from controller.plan import compute as planner
from controller.plan.actions.machine import StartDomain
from controller.plan.actions.storage import CreateDisk
from controller.plan.compute import compute
from controller.plan.gates import gates
from controller.plan.machine import layout
from controller.plan.replication import protected_machine, schedule
from controller.plan.steps.plan import Plan, Verdict
from tests.plan import builders as b
from tests.plan import replicas as r

SQL, WEB = "VirtualMachine/sql", "VirtualMachine/web"


def lab() -> Any:
    return b.small(b.vm("sql", placement={"site": "paris"}, protection="gold"),
                   b.vm("web", placement={"site": "paris"}, protection="gold"))


def both_off(desired: Any) -> Observed:
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1", "web": "paris-2"}), desired)
    for name, host in (("sql", "paris-1"), ("web", "paris-2")):
        seen = b.with_domain(seen, host, name, b.off(name, host, desired, "crashed"))
    return seen


def stalled(plan: Plan) -> dict[str, str]:
    return {one.target: one.reason for one in plan.conditions if one.type == "Stalled"}


def starts(plan: Plan) -> dict[str, Verdict]:
    return {step.action.target: step.ruling.verdict for step in plan.steps
            if isinstance(step.action, StartDomain)}


def breaks_at(name: str, whole: Any, at: int = 0) -> Any:
    """The same function, but it breaks off over one name."""
    def odd(*given: Any, **more: Any) -> Any:
        subject = given[at]
        called = subject if isinstance(subject, str) else getattr(
            subject, "name", "") or subject.vm.metadata.name
        if called == name:
            raise KeyError("an odd fact")
        return whole(*given, **more)
    return odd


@pytest.mark.parametrize(("module", "function"), [
    (planner, "locate"), (planner, "diff_virtual_machine"), (planner, "needs_nothing"),
    (layout, "_to_place"), (planner, "diff_host")])
def test_what_breaks_over_one_object_leaves_that_one_alone_aloud(
        module: Any, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desired = lab()
    odd = "paris-1" if function == "diff_host" else "sql"
    target = "Host/paris-1" if function == "diff_host" else SQL
    monkeypatch.setattr(module, function, breaks_at(odd, getattr(module, function)))
    plan = compute(desired, both_off(desired), b.APPLIED, b.NOW_S)
    assert stalled(plan)[target] == "NotUnderstood"
    assert starts(plan)[WEB] is Verdict.ALLOWED
    assert any("KeyError: 'an odd fact'" in one.sentence for one in plan.remarks
               if one.target == target)


@pytest.mark.parametrize(("module", "function"), [
    (protected_machine, "_protect"), (schedule, "_look_after")])
def test_what_breaks_over_one_replica_leaves_the_others_cared_for(
        module: Any, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desired = lab()
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1", "web": "paris-2"}), desired)
    monkeypatch.setattr(module, function, breaks_at("sql", getattr(module, function)))
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    assert stalled(plan) == {"Replica/sql": "NotUnderstood"}
    assert [step.action.target for step in plan.steps] == ["Replica/web"]


def test_a_gate_that_breaks_over_one_step_refuses_that_one(
        monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gates.judge

    def odd(action: Any, *given: Any) -> Any:
        if action.target == SQL:
            raise ValueError("an odd instant")
        return whole(action, *given)

    desired = lab()
    monkeypatch.setattr(gates, "judge", odd)
    plan = compute(desired, both_off(desired), b.APPLIED, b.NOW_S)
    assert starts(plan) == {SQL: Verdict.REFUSED, WEB: Verdict.ALLOWED}


def test_a_broken_law_strikes_the_steps_of_its_own_target_alone(
        monkeypatch: pytest.MonkeyPatch) -> None:
    desired = lab()
    seen = both_off(desired)
    seen = r.with_replica(seen, "milan-2", r.replica("sql", r.series(3, 60)))
    seen = b.with_domain(seen, "paris-1", "sql", None)
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    pools = {"default": replace(fact.value.pools.value["default"], volumes={})}
    seen = b.with_node(seen, "paris-1", Known(
        replace(fact.value, pools=Known(pools, b.NOW_S)), b.NOW_S))
    monkeypatch.setattr("controller.plan.machine.creation._has_replica", lambda _: False)
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    struck = [step for step in plan.steps if step.action.target == SQL]
    assert any(isinstance(step.action, CreateDisk) for step in struck)
    assert {(step.ruling.verdict, step.ruling.rule) for step in struck} == {
        (Verdict.REFUSED, "law")}
    assert "milan-2 has restore points of sql" in struck[0].ruling.sentence
    assert starts(plan)[WEB] is Verdict.ALLOWED
    assert stalled(plan)[SQL] == "LawBroken"


def test_a_replica_on_a_host_that_left_the_specs_keeps_its_vm_from_being_begun_anew() -> None:
    whole = lab()
    seen = r.with_replica(both_off(whole), "milan-2", r.replica("sql", r.series(3, 60)))
    seen = b.with_node(seen, "paris-1", b.node("paris-1", whole))
    seen = r.asked(Observed({"paris-1": seen.nodes["paris-1"]}), replace(
        whole, hosts={"paris-1": whole.hosts["paris-1"]})).nodes | {
            name: fact for name, fact in seen.nodes.items() if name != "paris-1"}
    left = seen["milan-2"]
    assert isinstance(left, Known)
    parted = Observed({**seen, "milan-2": Unknown(
        "it is no longer declared", b.NOW_S - 9, left.value, b.NOW_S - 10)})
    fewer = replace(whole, hosts={name: one for name, one in whole.hosts.items()
                                  if name != "milan-2"})
    plan = compute(fewer, parted, b.APPLIED, b.NOW_S)
    assert starts(plan) == {WEB: Verdict.ALLOWED}
    assert stalled(plan)[SQL] == "OnlyReplica"
    assert any("Declare milan-2 again" in one.sentence for one in plan.remarks)
