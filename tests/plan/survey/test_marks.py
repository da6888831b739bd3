"""Marks, names and clones: a name proves little, and a clone copies the mark."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.facts import (
    DomainState,
)
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.survey.test_identity import (
    about,
    condition,
    plan_of,
    stranger,
)


@pytest.fixture
def lab() -> Any:
    return b.small(b.vm("sql", placement={"site": "paris"}),
                   b.vm("web", placement={"site": "milan"}))


@pytest.mark.parametrize("state", [DomainState.RUNNING, DomainState.SHUT_OFF])
@pytest.mark.parametrize("host", ["paris-1", "milan-2"])
def test_what_somebody_renamed_by_hand_is_there_and_left_alone(
        lab: Any, host: str, state: DomainState) -> None:
    make = b.domain if state is DomainState.RUNNING else b.off
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), host, "sql-tmp",
                         replace(make("sql", host, lab), name="sql-tmp"))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "under the name sql-tmp" in about(plan)
    assert "virsh domrename sql-tmp sql" in about(plan)
    assert condition(plan, ConditionType.STALLED) == (Status.TRUE, "AnotherName")


def test_two_copies_under_two_names_are_two_copies(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "paris-2",
                         "sql-tmp", replace(b.domain("sql", "paris-2", lab), name="sql-tmp"))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert condition(plan, ConditionType.SPLIT_BRAIN) == (Status.TRUE, "RunsTwice")
    assert "paris-2 (as sql-tmp)" in about(plan)


def test_a_clone_that_kept_our_mark_is_not_the_vm(lab: Any) -> None:
    own = b.domain("sql", "paris-1", lab)
    clone = stranger(lab, "paris-2", name="sql-clone", ownership=own.ownership)
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "paris-2",
                         "sql-clone", clone)
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert condition(plan, ConditionType.READY) == (Status.TRUE, "Running")
    assert condition(plan, ConditionType.SPLIT_BRAIN) is None


def test_a_clone_of_what_may_be_deleted_is_not_deleted() -> None:
    old = b.small(b.vm("sql", deletion="delete"))
    desired = b.small(b.vm("sql", deletion="delete"), limits={"deletes": 9})
    own = b.domain("sql", "paris-1", old)
    seen = b.with_domain(b.as_declared(old, {"sql": "paris-1"}), "paris-2", "sql-clone",
                         stranger(old, "paris-2", name="sql-clone", ownership=own.ownership))
    for specs in (desired, b.small(limits={"deletes": 9})):
        assert not [step for step in plan_of(specs, seen).steps if step.action.node == "paris-2"]


def test_a_machine_that_has_no_more_than_the_name_is_no_copy(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "milan-2", "sql",
                         stranger(lab, "milan-2", name="sql"))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "milan-2 has another domain of the name sql" in about(plan)
    assert condition(plan, ConditionType.STALLED) == (Status.TRUE, "SameName")
    assert condition(plan, ConditionType.SPLIT_BRAIN) is None


def test_names_that_somebody_swapped_swap_no_vms(lab: Any) -> None:
    sql = replace(b.domain("sql", "paris-1", lab), name="web")
    web = replace(b.domain("web", "milan-1", lab), name="sql")
    seen = b.with_domain(b.as_declared(lab, {}), "paris-1", "web", sql)
    seen = b.with_domain(seen, "milan-1", "sql", web)
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "sql is running on paris-1 under the name web" in about(plan)
    assert "web is running on milan-1 under the name sql" in about(plan, "VirtualMachine/web")


def test_without_a_word_in_the_spec_a_new_name_makes_no_second_machine() -> None:
    old = b.small(b.vm("sql", deletion="delete"))
    nics = [{"network": "office", "mac": old.virtual_machines["sql"].spec.nics[0].mac}]
    desired = b.small(b.vm("sql-prod", nics=nics, deletion="delete"), limits={"deletes": 9})
    plan = plan_of(desired, b.as_declared(old, {"sql": "paris-1"}))
    assert plan.steps == ()
    assert "formerly: sql" in about(plan, "VirtualMachine/sql-prod")
    assert "formerly: sql" in about(plan)


@pytest.mark.parametrize("power", ["on", "off"])
def test_a_vm_that_was_renamed_in_git_runs_on_under_its_new_name(power: str) -> None:
    old = b.small(b.vm("sql", protection="gold", power=power))
    spec = {"nics": [{"network": "office", "mac": old.virtual_machines["sql"].spec.nics[0].mac}],
            "protection": "gold", "power": power}
    desired = b.small(b.vm("sql-prod", formerly="sql", **spec))
    seen = r.with_replica(r.asked(b.as_declared(old, {"sql": "paris-1"}), old), "milan-1",
                          r.replica("sql", r.series(3, 60)))
    plan = plan_of(desired, seen)
    assert [step.action.verb for step in plan.steps] == ["reconfigure"]
    mark = plan.steps[0].action.changes[0].ownership
    assert (mark.name, mark.domain, plan.steps[0].action.domain) == ("sql-prod", "sql", "sql")
    facts = b.domain("sql", "paris-1", old) if power == "on" else b.off("sql", "paris-1", old)
    marked = b.with_domain(seen, "paris-1", "sql", replace(facts, ownership=mark))
    assert plan_of(desired, marked).steps == ()
    # the line may leave the spec: libvirt's name for it is in the mark
    later = plan_of(b.small(b.vm("sql-prod", **spec)), marked)
    assert later.steps == ()
    target = "VirtualMachine/sql-prod"
    assert condition(later, ConditionType.STALLED, target) is None
    assert condition(later, ConditionType.READY, target)[0] == Status.TRUE
