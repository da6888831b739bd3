"""What cannot become as declared is refused by name; what several claim is left to a person."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType
from controller.model.desired import Desired
from controller.model.facts import DomainConfig, DomainFacts, DomainState
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.gates.test_observing import watched
from tests.plan.reading import plan_of, sentences

UUID = "4b5e1c0e-0f5e-4f0a-9a1e-6f1d2c3b4a59"
SQL = b.vm("sql", memory="4GiB", uuid=UUID, protection="gold")


def with_config(desired: Desired, config: DomainConfig, **changes: Any) -> DomainFacts:
    return b.domain("sql", "paris-1", desired, live=config, config=config, **changes)


def cells(desired: Desired) -> DomainConfig:
    return replace(b.config_of("sql", "paris-1", desired), memory_bytes=2 * b.GIB,
                   memory_max_bytes=2 * b.GIB, numa=True)


def twins(desired: Desired) -> DomainConfig:
    found = b.config_of("sql", "paris-1", desired)
    return replace(found, nics=(*found.nics, replace(found.nics[0], vlan=7)))


def reasons(plan: Plan) -> set[str]:
    return {one.reason for one in plan.conditions if one.type is ConditionType.STALLED}


@pytest.mark.parametrize(("bent", "words"), [(cells, "NUMA cells, and 4GiB is declared"),
                                             (twins, "2 cards of it have the MAC")])
@pytest.mark.parametrize("marked", [True, False])
def test_a_vm_whose_xml_cannot_hold_its_spec_is_refused_by_name(
        bent: Any, words: str, marked: bool) -> None:
    desired = b.small(SQL)
    facts = with_config(desired, bent(desired))
    if not marked:
        facts = replace(facts, ownership=None)
    seen = b.with_domain(b.as_declared(desired, {}), "paris-1", "sql", facts)
    plan = plan_of(desired, seen)
    assert [step for step in plan.steps if step.action.target.startswith("Virt")] == []
    assert f"sql on paris-1 {'cannot' if marked else 'is not taken over'}" in sentences(plan)
    assert words in sentences(plan)
    assert reasons(plan) == {"CannotHold"}
    quiet = plan_of(watched(desired, "Estate/lab"), seen)
    assert reasons(quiet) == set()
    assert words in sentences(quiet)


def test_what_fits_into_the_cells_is_changed() -> None:
    desired = b.small(b.vm("sql", memory="1GiB"))
    facts = with_config(desired, replace(cells(desired), memory_bytes=2 * b.GIB))
    seen = b.with_domain(b.as_declared(desired, {}), "paris-1", "sql", facts)
    assert reasons(plan_of(desired, seen)) == set()
    assert plan_of(desired, seen).steps


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(("there", "here"), [
    (DomainState.RUNNING, DomainState.RUNNING), (DomainState.SHUT_OFF, DomainState.RUNNING),
    (DomainState.SHUT_OFF, DomainState.SHUT_OFF)])
@pytest.mark.parametrize("name", ["sql", "sql-old"])
def test_a_vm_that_two_hosts_claim_is_neither_touched_nor_copied(
        marked: bool, there: DomainState, here: DomainState, name: str) -> None:
    desired = watched(b.small(SQL), "Estate/lab")
    seen = r.asked(b.as_declared(desired, {}), desired)
    for host, state, called in (("paris-1", here, "sql"), ("milan-1", there, name)):
        make = b.domain if state is DomainState.RUNNING else b.off
        facts = replace(make("sql", host, desired), name=called)
        seen = b.with_domain(seen, host, called,
                             facts if marked else replace(facts, ownership=None))
    assert plan_of(desired, seen).steps == ()
    managed = plan_of(b.small(SQL), seen)
    assert {step.action.verb for step in managed.steps} <= {"undefine", "reconfigure"}
    assert not [step for step in managed.steps if step.action.verb in {"start", "replicate"}]


def test_a_card_that_two_vms_have_is_told_and_neither_is_taken_over() -> None:
    desired = b.small(b.vm("sql"), b.vm("web"))
    mac = desired.virtual_machines["sql"].spec.nics[0].mac
    bad = b.config_of("web", "milan-1", desired)
    bad = replace(bad, nics=(replace(bad.nics[0], mac=mac),))
    seen = b.as_declared(desired, {"sql": "paris-1"})
    seen = b.with_domain(seen, "paris-1", "sql",
                         b.domain("sql", "paris-1", desired, ownership=None))
    seen = b.with_domain(seen, "milan-1", "web", b.domain(
        "web", "milan-1", desired, ownership=None, live=bad, config=bad))
    plan = plan_of(desired, seen)
    assert not [step for step in plan.steps if step.ruling.verdict == "allowed"]
    assert f"its card {mac}" in sentences(plan)
    told = sentences(plan_of(watched(desired, "Estate/lab"), seen))
    assert f"its card {mac}" in told
