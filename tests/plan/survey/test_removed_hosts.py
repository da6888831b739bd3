"""A host that left the specs while it answered still holds its VMs and replicas."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, Unknown
from controller.plan.actions.machine import DefineDomain, StartDomain
from controller.plan.compute import compute
from controller.plan.machine.domain import desired_domain
from controller.plan.steps.plan import Plan, Step
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b
from tests.plan.lawful import assert_lawful

SQL = "VirtualMachine/sql"
LEFT = "paris-2"


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


def without_host(desired: Any, name: str) -> Any:
    """The specs after a commit that drops a host."""
    return replace(desired, hosts={key: one for key, one in desired.hosts.items() if key != name})


def removed_hosts(observed: Observed, name: str) -> Observed:
    """The same, but a node left the specs after it had answered."""
    fact = observed.nodes[name]
    assert isinstance(fact, Known)
    return b.with_node(observed, name, Unknown("it is no longer declared", b.NOW_S - 5,
                                               fact.value, fact.observed_at))


def plan_after(lab: Any, seen: Observed) -> Plan:
    """What is planned once `LEFT` has left."""
    return compute(without_host(lab, LEFT), removed_hosts(seen, LEFT), b.APPLIED, b.NOW_S)


def wanted(plan: Plan) -> set[str]:
    """The VMs that are acted on; what the switches and uplinks lack is not the point."""
    return {step.action.target for step in plan.steps
            if step.action.target.startswith("VirtualMachine/")}


def about(plan: Plan, target: str) -> str:
    return "\n".join(one.sentence for one in plan.remarks if one.target == target)


def test_a_vm_that_runs_on_a_host_that_left_is_not_created_elsewhere(lab: Any) -> None:
    plan = plan_after(lab, b.as_declared(lab, {"sql": LEFT, "web": "milan-1"}))
    assert wanted(plan) == set()
    assert "sql is not created: paris-2 left the specs" in about(plan, SQL)
    assert "declare paris-2 again, and move sql or undefine it there first" in about(plan, SQL)


def test_a_vm_that_is_off_on_a_host_that_left_is_not_created_elsewhere_either(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), LEFT, "sql",
                         b.off("sql", LEFT, lab))
    assert wanted(plan_after(lab, seen)) == set()


@pytest.mark.parametrize(("there", "count"), [("running", 0), ("off", 1)])
def test_a_copy_is_started_only_if_the_host_that_left_had_it_off(lab: Any, there: str,
                                                                 count: int) -> None:
    make = b.domain if there == "running" else b.off
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), LEFT, "sql",
                         make("sql", LEFT, lab))
    seen = b.with_domain(seen, "paris-1", "sql", b.off("sql", "paris-1", lab))
    plan = plan_after(lab, seen)
    assert len(wanted(plan)) == count
    left = "paris-2 left the specs" in about(plan, SQL)
    assert left is (count == 0)
    assert ("or shut sql down there first" in about(plan, SQL)) is left


def test_a_vm_that_runs_on_a_declared_host_is_left_in_peace(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), LEFT, "sql",
                         b.domain("sql", LEFT, lab))
    plan = plan_after(lab, seen)
    assert wanted(plan) == set()
    assert about(plan, SQL) == ""


def test_a_vm_that_the_host_never_had_is_created(lab: Any) -> None:
    plan = plan_after(lab, b.as_declared(lab, {"web": "milan-1"}))
    assert wanted(plan) == {SQL}


def test_where_something_was_done_unseen_before_a_host_left_nothing_is_created(lab: Any) -> None:
    seen = b.with_node(b.as_declared(lab, {"web": "milan-1"}), LEFT,
                       Unknown("it is no longer declared", b.NOW_S - 5))
    plan = compute(without_host(lab, LEFT), seen, b.APPLIED, b.NOW_S)
    assert wanted(plan) == set()
    assert "was not seen afterwards" in about(plan, SQL)


def test_a_copy_that_was_migrated_away_may_run_on_the_host_that_left(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"sql": LEFT, "web": "milan-1"}), "paris-1", "sql",
                         b.off("sql", "paris-1", lab, reason="migrated"))
    assert "declare paris-2 again" in about(plan_after(lab, seen), SQL)


def test_a_node_that_left_is_neither_shown_nor_counted(lab: Any) -> None:
    plan = plan_after(lab, b.as_declared(lab, {"sql": LEFT, "web": "milan-1"}))
    assert not [one for one in plan.conditions if one.target.endswith(LEFT)]
    survey = take_survey(without_host(lab, LEFT), removed_hosts(b.as_declared(lab, {}), LEFT),
                         b.APPLIED,
                    b.NOW_S)
    assert LEFT not in {*survey.nodes, *survey.unreachable, *survey.domains}


def test_a_switch_that_left_holds_no_vm(lab: Any) -> None:
    seen = removed_hosts(b.as_declared(lab, {"web": "milan-1"}), "paris-sw")
    fewer = replace(lab, switches={name: one for name, one in lab.switches.items()
                                   if name != "paris-sw"}, inter_site_links={})
    plan = compute(fewer, seen, b.APPLIED, b.NOW_S)
    assert wanted(plan) == {SQL}


@pytest.mark.parametrize("verb", ["start", "define", "define what is off there"])
def test_a_plan_that_forgets_the_host_that_left_is_not_lawful(lab: Any, verb: str) -> None:
    seen = b.as_declared(lab, {"sql": LEFT, "web": "milan-1"})
    if verb.endswith("there"):
        seen = b.with_domain(seen, LEFT, "sql", b.off("sql", LEFT, lab))
    survey = take_survey(lab, seen, b.APPLIED, b.NOW_S)
    vm, host = lab.virtual_machines["sql"], lab.hosts["paris-1"]
    action = StartDomain(target=SQL, node="paris-1", reason="", domain="sql") \
        if verb == "start" else DefineDomain(target=SQL, node="paris-1", reason="",
                                             desired=desired_domain(vm, host, None, survey))
    with pytest.raises(AssertionError, match="never two"):
        assert_lawful(Plan("r1", (Step(action),)), removed_hosts(seen, LEFT))
