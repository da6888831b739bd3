"""One VM under two names: no action for either, and nobody is asked to destroy it."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, Unknown
from controller.plan.steps.plan import Verdict
from tests.plan import builders as b
from tests.plan.reading import plan_of, sentences

LAB = b.small(b.vm("sql", placement={"site": "paris"}), b.vm("web", placement={"site": "milan"}),
              b.vm("new", placement={"site": "milan"}))
WEB = {"web": b.off("web", "milan-1", LAB)}


def seen(boot: str, first: dict[str, Any], second: dict[str, Any]) -> Observed:
    found = b.observed_of(LAB, {"paris-1": first, "paris-2": second, "milan-1": WEB})
    fact = found.nodes["paris-2"]
    assert isinstance(fact, Known)
    return b.with_node(found, "paris-2", Known(replace(fact.value, boot_id=boot), b.NOW_S))


@pytest.mark.parametrize("meanwhile", [b.domain, b.off], ids=["at one instant", "at two instants"])
def test_one_machine_under_two_names_holds_no_second_copy(meanwhile: Any) -> None:
    sql = b.domain("sql", "paris-1", LAB)
    other = {"sql": meanwhile("sql", "paris-1", LAB)}
    plan = plan_of(LAB, seen("boot-paris-1", {"sql": sql}, other))
    assert "destroy" not in sentences(plan)
    assert "paris-1 is the same machine as paris-2" in sentences(plan)
    assert {(step.action.target, step.action.node) for step in plan.steps} == {
        ("VirtualMachine/web", "milan-1")}     # a fault stays where it is
    assert {step.ruling.verdict for step in plan.steps} == {Verdict.ALLOWED}


def test_two_machines_of_one_kernel_are_two() -> None:
    plan = plan_of(LAB, seen("boot-paris-1", {"sql": b.domain("sql", "paris-1", LAB)}, {}))
    assert "same machine" not in sentences(plan)


@pytest.mark.parametrize(("boot", "starts"), [("boot-paris-1", True), ("an earlier one", False)])
def test_a_host_that_got_another_name_is_no_silent_one_with_its_vms(boot: str,
                                                                    starts: bool) -> None:
    lab = b.small(b.vm("sql", placement={"site": "paris"}))
    found = b.observed_of(lab, {"paris-1": {"sql": b.off("sql", "paris-1", lab)}})
    fact = found.nodes["paris-1"]
    assert isinstance(fact, Known)
    last = replace(fact.value, name="old", boot_id=boot, domains=Known(
        {"sql": b.domain("sql", "paris-1", lab)}, b.NOW_S - 50))
    left = Unknown("it is no longer declared", b.NOW_S - 50, last, b.NOW_S - 50)
    plan = plan_of(lab, Observed({**found.nodes, "old": left}))
    assert bool(plan.steps) is starts
