"""What is only observed: looked at, spoken of, and never touched; copied if it is protected."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model.condition import ConditionType, Status
from controller.model.desired import Desired, Place
from controller.model.document import Manage
from controller.model.facts import DomainFacts, Known, Observed, PortFacts
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import SweepLeftovers
from controller.plan.compute import compute
from controller.plan.gates.observing import COPYING
from controller.plan.steps.plan import Plan, Verdict
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import HOME, ids, plan_of, sentences
from tests.plan.test_properties import bent_worlds

UUID = "4b5e1c0e-0f5e-4f0a-9a1e-6f1d2c3b4a59"


def watched(desired: Desired, *targets: str, manage: Manage = Manage.OBSERVE) -> Desired:
    """The same specs, with `manage` written at these objects."""
    for target in targets:
        kind, _, name = target.partition("/")
        field = b.FIELDS.get(kind, "estate")
        if kind == "Estate":
            one: Any = desired.estate
        else:
            one = getattr(desired, field)[name]
        changed = one.model_copy(update={
            "spec": one.spec.model_copy(update={"manage": manage})})
        value = changed if kind == "Estate" else {**getattr(desired, field), name: changed}
        desired = replace(desired, **{field: value})
    return desired


def unmarked(seen: Observed) -> Observed:
    """The same world before hotsite came: no domain has a mark, each starts with its host."""
    for host, fact in seen.nodes.items():
        assert isinstance(fact, Known)
        if isinstance(fact.value.domains, Known):
            for name, domain in fact.value.domains.value.items():
                seen = b.with_domain(seen, host, name, replace(
                    domain, ownership=None, autostart=True))
    return seen


def bend(seen: Observed) -> DomainFacts:
    """The domain sql with less memory than is declared."""
    domain = dict(r.domains_of(seen, "sql"))["paris-1"]
    assert domain.live is not None
    return replace(domain, live=replace(domain.live, memory_bytes=b.GIB),
                   config=replace(domain.live, memory_bytes=b.GIB))


def condition(plan: Plan, target: str, kind: ConditionType) -> Any:
    return next((one for one in plan.conditions if (one.target, one.type) == (target, kind)), None)


@pytest.fixture(name="lab")
def lab_fixture() -> Desired:
    return b.small(b.vm("sql"), b.vm("web"))


def test_a_first_look_at_an_estate_that_is_only_observed_plans_nothing(lab: Desired) -> None:
    lab = replace(watched(lab, "Estate/lab"), places={"Estate/lab": Place("estate.yaml", 3)})
    plan = plan_of(lab, unmarked(b.as_declared(lab, HOME)))
    assert (plan.steps, plan.remarks, plan.waits) == ((), (), ())
    assert plan.observing == ("everything is observed only, because Estate/lab says `manage:"
                              " observe` at estate.yaml:3: nothing is done to it")
    seen = condition(plan, "VirtualMachine/sql", ConditionType.OBSERVED)
    assert (seen.status, seen.reason) == (Status.TRUE, "ObservedOnly")
    assert seen.message == ("observed only, because Estate/lab says `manage: observe` at"
                            " estate.yaml:3")
    assert condition(plan, "VirtualMachine/sql", ConditionType.READY).status is Status.TRUE


def test_what_differs_is_said_and_left(lab: Desired) -> None:
    lab = watched(lab, "Estate/lab")
    for seen in (b.as_declared(lab, HOME), unmarked(b.as_declared(lab, HOME))):
        plan = plan_of(lab, b.with_domain(seen, "paris-1", "sql", bend(seen)))
        assert plan.steps == ()
        assert "would be changed if managed: " in sentences(plan)
        assert "memory is 1GiB and 2GiB is declared" in sentences(plan)


@pytest.mark.parametrize(("observed", "full", "expected"), [
    (["Estate/lab"], [], []),
    (["Estate/lab"], ["Site/paris"], ["sql"]),
    (["Site/milan"], [], ["sql"]),
    (["Site/milan"], ["Host/milan-1"], ["sql", "web"]),
    (["Host/paris-1"], [], ["web"]),
    (["Estate/lab"], ["VirtualMachine/web"], ["web"]),
    (["VirtualMachine/sql"], [], ["web"]),
    (["Estate/lab", "VirtualMachine/sql"], ["Host/paris-1", "Host/milan-1"], ["web"]),
])
def test_the_nearest_word_counts(lab: Desired, observed: list[str], full: list[str],
                                 expected: list[str]) -> None:
    lab = watched(watched(lab, *observed), *full, manage=Manage.FULL)
    seen = b.as_declared(lab, {})
    for name, host in HOME.items():
        seen = b.with_domain(seen, host, name, b.off(name, host, lab))
    plan = plan_of(lab, seen)
    assert ids(plan) == [f"start:VirtualMachine/{name}@{HOME[name]}" for name in expected]
    for name in HOME.keys() - set(expected):
        assert f"would be changed if managed: {name} is shut off" in sentences(plan)


def test_a_network_that_is_only_observed_keeps_steps_about_it_away() -> None:
    lab = watched(b.small(b.vm("sql")), "Network/storage")
    seen = b.as_declared(lab, {"sql": "paris-1"})
    port = PortFacts("up0", None, (100,), "trunk", True)
    plan = plan_of(lab, b.with_port(seen, "paris-1", port, "up0"))
    assert plan.steps == ()
    assert "200" in sentences(plan)


def test_what_needs_a_step_that_is_taken_out_is_taken_out_with_it() -> None:
    lab = watched(b.small(b.vm("new", placement={"host": "milan-2"})), "Site/milan")
    plan = plan_of(lab, b.as_declared(lab, {}))
    assert plan.steps == ()


def test_nothing_is_brought_to_a_host_that_is_only_observed() -> None:
    lab = watched(b.small(b.vm("sql", placement={"host": "milan-1"}), b.vm("new")),
                  "Host/milan-1", "Host/milan-2", "Host/paris-2")
    plan = plan_of(lab, b.as_declared(lab, {"sql": "paris-1"}))
    assert {step.action.node for step in plan.steps} == {"paris-1"}
    assert {step.action.target for step in plan.steps} == {"VirtualMachine/new"}


def test_a_vm_that_is_only_observed_is_counted_where_it_is_and_not_moved() -> None:
    lab = b.small(b.vm("sql", placement={"site": "milan"}))
    plan = plan_of(watched(lab, "VirtualMachine/sql"), b.as_declared(lab, {"sql": "paris-1"}))
    assert plan.steps == ()
    assert "would be changed if managed: sql is on paris-1, and it belongs at milan" in (
        sentences(plan))
    placed = condition(plan, "VirtualMachine/sql", ConditionType.PLACED)
    assert placed.status is Status.FALSE


@pytest.mark.parametrize("marked", [True, False])
def test_a_protected_vm_is_copied_while_it_is_only_observed(marked: bool) -> None:
    lab = watched(b.small(b.vm("sql", protection="gold", uuid=UUID)), "Estate/lab")
    seen = r.asked(b.as_declared(lab, {"sql": "paris-1"}), lab)
    plan = plan_of(lab, seen if marked else unmarked(seen))
    assert [step.action.verb for step in plan.steps] == ["replicate"]
    assert plan.steps[0].ruling.verdict is Verdict.ALLOWED
    assert plan.observing.endswith("nothing is done to it, but 1 protected VM is copied")


def test_a_name_alone_is_not_copied_while_it_is_only_observed() -> None:
    lab = watched(b.small(b.vm("sql", protection="gold")), "Estate/lab")
    plan = plan_of(lab, unmarked(r.asked(b.as_declared(lab, {"sql": "paris-1"}), lab)))
    assert plan.steps == ()
    assert "write `uuid: " in sentences(plan)


def test_taking_over_shows_the_mark_first_and_asks_for_what_would_go(lab: Desired) -> None:
    lab = watched(watched(lab, "Estate/lab"), "VirtualMachine/sql", manage=Manage.FULL)
    seen = unmarked(b.as_declared(lab, HOME))
    plan = plan_of(lab, seen)
    assert ids(plan) == ["reconfigure:VirtualMachine/sql@paris-1/config"]
    assert plan.steps[0].ruling.verdict is Verdict.ALLOWED
    plan = plan_of(lab, b.with_domain(seen, "paris-1", "sql", bend(seen)))
    assert [step.ruling.rule for step in plan.steps] == ["adopt"]


@given(bent_worlds(), st.booleans(), st.sampled_from(["", *b.SITES]))
@settings(max_examples=150, deadline=None)
def test_everything_observed_has_no_steps_but_copies(
        case: tuple[Desired, Observed], marked: bool, dark: str) -> None:
    desired, seen = watched(case[0], "Estate/lab"), case[1] if marked else unmarked(case[1])
    for host in desired.hosts if dark else ():
        seen = b.silenced(seen, host) if host.startswith(dark) else seen
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    for step in plan.steps:
        assert isinstance(step.action, (*COPYING, SweepLeftovers))
        assert step.action.cause is not Cause.HUMAN
        assert step.ruling.rule not in {"adopt", "takes", "anew"}


@given(bent_worlds(), st.sets(st.sampled_from(
    [*(f"vm-{number}" for number in range(6)), "paris-1", "milan-2"]), min_size=1))
@settings(max_examples=150, deadline=None)
def test_no_step_ever_touches_what_is_only_observed(
        case: tuple[Desired, Observed], names: set[str]) -> None:
    desired, seen = case
    machines = names & desired.virtual_machines.keys()
    hosts = names & desired.hosts.keys()
    desired = watched(desired, *(f"VirtualMachine/{one}" for one in machines),
                      *(f"Host/{one}" for one in hosts))
    for step in compute(desired, seen, b.APPLIED, b.NOW_S).steps:
        if not isinstance(step.action, COPYING):
            assert step.action.target.partition("/")[2] not in names
            assert hosts.isdisjoint(step.action.nodes)
