"""Plans written to files and read back, and fingerprints of the specs."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from controller.errors import SpecError
from controller.model.facts import Known, Observed, Ownership
from controller.plan.actions.desired import DesiredDomain
from controller.plan.actions.machine import DefineDomain
from controller.plan.compute import compute
from controller.plan.output.fingerprint import changed, fingerprints
from controller.plan.output.render import plan_to_dict
from controller.plan.output.saved import plan_from_json, plan_to_json, stale
from controller.plan.steps.plan import Plan, Step
from tests.plan import builders as b
from tests.plan.test_properties import bent_worlds

HOME = {"sql": "paris-1", "web": "milan-1"}


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


def bent(lab: Any) -> Observed:
    return b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))


def plan_of(lab: Any, seen: Observed) -> Plan:
    return compute(lab, seen, b.APPLIED, b.NOW_S)


@given(bent_worlds())
@settings(max_examples=60, deadline=None)
def test_a_plan_comes_back_from_its_file_as_it_was(case: tuple[Any, Observed]) -> None:
    plan = plan_of(*case)
    text = plan_to_json(plan, case[1])
    saved = plan_from_json(text)
    assert saved.plan == replace(plan, predictions=()), "they are for readers, not for apply"
    assert plan_to_json(saved.plan, case[1]) == text
    assert stale(saved, "r1", case[1]) is None


def test_a_plan_as_values_is_json(lab: Any) -> None:
    value = plan_to_dict(plan_of(lab, bent(lab)))
    assert json.loads(json.dumps(value)) == value
    assert value["steps"][0]["id"] == "start:VirtualMachine/sql@paris-1"
    assert value["steps"][0]["symbol"] == "+"
    assert value["summary"] == "1 change at r1: 1 allowed"


def test_a_saved_plan_is_stale_once_specs_or_facts_have_moved(lab: Any) -> None:
    seen = bent(lab)
    saved = plan_from_json(plan_to_json(plan_of(lab, seen), seen))
    assert "the specs are at r2 now" in (stale(saved, "r2", seen) or "")
    started = b.as_declared(lab, HOME)
    assert "what is seen on paris-1 is not" in (stale(saved, "r1", started) or "")
    assert "what is seen on paris-1" in (stale(saved, "r1", b.silenced(seen, "paris-1")) or "")


def test_what_moves_by_itself_makes_no_plan_stale(lab: Any) -> None:
    seen = bent(lab)
    saved = plan_from_json(plan_to_json(plan_of(lab, seen), seen))
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.hardware, Known)
    busy = replace(fact.value.hardware.value, load_1m=9.0, memory_available_bytes=1)
    later = Known(replace(fact.value, clock_offset_s=0.2, hardware=Known(busy, b.NOW_S + 9)),
                  b.NOW_S + 9)
    assert stale(saved, "r1", b.with_node(seen, "paris-1", later)) is None
    assert stale(saved, "r1", b.silenced(seen, "milan-2")) is None


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"hotsitePlan": 2}', "null", "[" * 100_000,
    '{"hotsitePlan": 1, "revision": "r", "facts": "", "steps": [{"action": {"is": "os"}}]}',
    '{"hotsitePlan": 1, "revision": "r", "facts": "", "remarks": [], "conditions": [], "steps":'
    ' [{"action": {"is": "StartDomain", "sudo": 1}, "after": [], "ruling": {}}]}'])
def test_what_is_no_plan_file_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(SpecError, match="hotsite plan --out"):
        plan_from_json(text)


def test_fingerprints_name_what_a_commit_changed(lab: Any) -> None:
    new = b.small(b.vm("sql", memory="3GiB"), b.vm("new"))
    assert changed(fingerprints(lab), fingerprints(new)) == {
        "VirtualMachine/sql", "VirtualMachine/web", "VirtualMachine/new"}
    template = replace(lab, templates={"sql": "<domain/>"})
    assert changed(fingerprints(lab), fingerprints(template)) == {"VirtualMachine/sql"}
    assert changed(fingerprints(lab), fingerprints(b.small(b.vm("sql"), b.vm("web")))) == set()


def test_a_plan_for_programs_does_not_show_what_a_template_holds() -> None:
    wanted = DesiredDomain("sql", "u", 1 << 30, 1, (), (), Ownership("lab", "keep"),
                           "<domain><graphics passwd='secret'/></domain>")
    action = DefineDomain(target="VirtualMachine/sql", node="paris-1", desired=wanted, reason="x")
    assert "secret" not in json.dumps(plan_to_dict(Plan("r1", (Step(action),))))
