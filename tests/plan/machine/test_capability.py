"""A VM that the other site cannot run is not protected, its site not survivable; both say why."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed
from controller.model.failover.capabilities import Capabilities
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r

OLD = Capabilities(("pc", "pc-i440fx-6.2", "pc-i440fx-7.2", "pc-q35-7.2"), ("Skylake", "qemu64"))
NEW = Capabilities(("pc", "pc-i440fx-10.0", "pc-i440fx-7.2"), ("EPYC-Genoa", "Skylake"))


def lab() -> Any:
    return b.small(b.vm("sql", placement={"site": "paris"}, protection="gold"))


def seen_with(desired: Any, *, at_milan: dict[str, Capabilities], machine: str = "",
              cpu_model: str = "") -> Observed:
    """A VM with a fresh replica on milan-1, and what hosts there say that they can run."""
    config = replace(b.config_of("sql", "paris-1", desired), machine=machine, cpu_model=cpu_model)
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    seen = b.with_domain(seen, "paris-1", "sql", b.domain("sql", "paris-1", desired, live=config,
                                                          config=config))
    seen = r.with_replica(seen, "milan-1", r.replica("sql", r.series(3, 60)))
    for host, can in at_milan.items():
        fact = seen.nodes[host]
        assert isinstance(fact, Known)
        seen = b.with_node(seen, host, Known(
            replace(fact.value, capabilities=Known(can, b.NOW_S)), b.NOW_S))
    return seen


def said(plan: Plan, target: str, kind: str) -> tuple[str, str, str]:
    return next((one.status.value, one.reason, one.message) for one in plan.conditions
                if (one.target, one.type) == (target, kind))


def plan_with(**more: Any) -> Plan:
    desired = lab()
    return compute(desired, seen_with(desired, **more), b.APPLIED, b.NOW_S)


@pytest.mark.parametrize(("machine", "cpu_model", "why"), [
    ("pc-i440fx-10.0", "", "has no machine type pc-i440fx-10.0 (its newest is pc-i440fx-7.2)"),
    ("pc-i440fx-7.2", "EPYC-Genoa", "has no processor model EPYC-Genoa")])
def test_what_the_host_of_its_replica_cannot_run_is_neither_protected_nor_survivable(
        machine: str, cpu_model: str, why: str) -> None:
    plan = plan_with(at_milan={"milan-1": OLD, "milan-2": OLD}, machine=machine,
                     cpu_model=cpu_model)
    for target, kind in (("VirtualMachine/sql", "Protected"), ("Site/paris", "Survivable")):
        status, reason, message = said(plan, target, kind)
        assert (status, reason) == ("false", "CannotRunThere")
        assert f"milan-1 {why}" in message


def test_that_another_host_of_the_twin_could_run_it_helps_nobody() -> None:
    plan = plan_with(at_milan={"milan-1": OLD, "milan-2": NEW}, machine="pc-i440fx-10.0")
    assert said(plan, "VirtualMachine/sql", "Protected")[1] == "CannotRunThere"
    assert said(plan, "Site/paris", "Survivable")[1] == "CannotRunThere"


@pytest.mark.parametrize("more", [
    {"at_milan": {"milan-1": NEW, "milan-2": NEW}, "machine": "pc-i440fx-10.0"},
    {"at_milan": {}, "machine": "pc-i440fx-10.0"},      # they have not said
    {"at_milan": {"milan-1": OLD, "milan-2": OLD}}])    # it was not asked for
def test_what_can_run_there_or_of_which_nobody_knows_is_protected(more: dict[str, Any]) -> None:
    plan = plan_with(**more)
    assert said(plan, "VirtualMachine/sql", "Protected")[0] == "true"
    assert said(plan, "Site/paris", "Survivable")[0] == "true"


def test_twins_with_other_versions_of_qemu_or_libvirt_do_not_match() -> None:
    desired = lab()
    seen = b.as_declared(desired, {"sql": "paris-1"})
    for host, qemu in (("paris-1", "10.0.3"), ("paris-2", "10.0.0"), ("milan-1", "7.2.22"),
                       ("milan-2", "7.2.22")):
        fact = seen.nodes[host]
        assert isinstance(fact, Known)
        seen = b.with_node(seen, host, Known(
            replace(fact.value, versions={"qemu": qemu, "libvirt": "9.0.0"}), b.NOW_S))
    status, _, message = said(compute(desired, seen, b.APPLIED, b.NOW_S), "Site/paris",
                              "TwinMatches")
    assert status == "false"
    assert "QEMU is 10.0 at paris and 7.2 at milan" in message
    assert "libvirt" not in message
