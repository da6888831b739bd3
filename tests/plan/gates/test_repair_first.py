"""Repair before improvement: no start, move or network repair waits for an improvement.
"""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DomainFacts
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan, Step, Verdict
from controller.plan.survey.context import Context
from tests.plan import builders as b

SQL = "VirtualMachine/sql"
COMMIT = Context(applied_revision="r0", changed=frozenset({SQL, "Host/paris-1"}))
MORE_DISKS = [{"name": "vda", "size": "10GiB"}, {"name": "vdb", "size": "50TiB"}]


def plan_of(declared: dict[str, Any], seen_as: Any, *more: Any, **estate: Any) -> Plan:
    """The plan for a VM on paris-1 that was made as plain as can be and is now wished otherwise."""
    plain = b.small(b.vm("sql", placement={"site": "paris"}))
    kept = [one for one in b.survey() if (type(one).__name__, one.name) not in {
        (type(new).__name__, new.name) for new in more}]
    desired = b.desired_of(b.estate(**estate), *kept, *more,
                           b.vm("sql", placement={"site": "paris"}, **declared))
    seen = b.as_declared(plain, {"sql": "paris-1"})
    return compute(desired, b.with_domain(seen, "paris-1", "sql", seen_as(plain)), COMMIT,
                   b.NOW_S)


def crashed(plain: Any) -> DomainFacts:
    return b.off("sql", "paris-1", plain, "crashed")


def running(plain: Any) -> DomainFacts:
    return b.domain("sql", "paris-1", plain)


def before(plan: Plan, verb: str) -> tuple[str, ...]:
    """The ids of all that a step of that verb waits for, near and far."""
    steps = {step.action.id: step for step in plan.steps}
    found: list[str] = []
    left = list(the(plan, verb).after)
    while left:
        name = left.pop()
        found.append(name)
        left += steps[name].after
    return tuple(found)


def the(plan: Plan, verb: str) -> Step:
    return next(step for step in plan.steps if step.action.verb == verb)


@pytest.mark.parametrize("declared", [
    {"disks": MORE_DISKS}, {"memory": "9GiB"}, {"cpus": 9}, {"deletion": "delete"}])
def test_a_vm_that_crashed_starts_whatever_a_commit_wants_of_it_besides(
        declared: dict[str, Any]) -> None:
    plan = plan_of(declared, crashed, autonomy="start")
    assert len(plan.steps) > 1
    assert the(plan, "start").ruling.verdict is Verdict.ALLOWED
    assert before(plan, "start") == ()


def test_what_is_quickly_written_comes_before_a_start_and_a_new_disk_after_it() -> None:
    plan = plan_of({"disks": MORE_DISKS, "memory": "9GiB"}, crashed)
    assert [step.action.id.partition(":")[0] for step in plan.steps] == [
        "reconfigure", "start", "create-disk", "reconfigure"]
    assert [step.action.id for step in plan.steps][-1].endswith("/config-vdb")
    assert before(plan, "create-disk") == ()


def test_a_drain_waits_for_no_restart() -> None:
    plan = plan_of({"cpus": 4}, running,
                   b.document("Host", "paris-1", site="paris", address="paris-1",
                              maintenance=True), autonomy="migrate")
    assert the(plan, "migrate").ruling.verdict is Verdict.ALLOWED
    assert before(plan, "migrate") == ()
    assert the(plan, "restart").ruling.verdict is Verdict.NEEDS_APPROVAL


def test_a_drain_takes_along_what_the_vm_has_and_waits_for_no_disk_that_it_is_to_get() -> None:
    plan = plan_of({"disks": [{"name": "vda", "size": "10GiB"},
                              {"name": "vdb", "size": "1TiB", "pool": "fast"}]}, running,
                   b.document("Host", "paris-1", site="paris", address="paris-1",
                              maintenance=True, pools=[{}, {"name": "fast", "path": "/fast"}]),
                   b.document("Host", "paris-2", site="paris", address="paris-2",
                              pools=[{}, {"name": "fast", "path": "/fast"}]))
    move = the(plan, "migrate")
    assert [disk.target for disk in move.action.disks] == ["vda"]   # type-checked by its verb
    assert before(plan, "migrate") == ()


def test_a_card_on_the_wrong_vlan_is_put_right_before_a_new_disk_is_there() -> None:
    def wrong(plain: Any) -> DomainFacts:
        config = b.config_of("sql", "paris-1", plain)
        bent = replace(config, nics=tuple(replace(nic, vlan=7) for nic in config.nics))
        return b.domain("sql", "paris-1", plain, live=bent, config=bent)

    plan = plan_of({"disks": MORE_DISKS}, wrong)
    assert before(plan, "reconfigure") == ()
    assert "VLAN 7" in the(plan, "reconfigure").action.reason


@pytest.mark.parametrize(("why", "verdict"), [
    ("shutdown", Verdict.NEEDS_APPROVAL), ("destroyed", Verdict.NEEDS_APPROVAL),
    ("unknown", Verdict.NEEDS_APPROVAL), ("crashed", Verdict.ALLOWED),
    ("failed", Verdict.ALLOWED)])
def test_what_is_off_on_a_host_in_maintenance_starts_by_a_persons_yes(
        why: str, verdict: Verdict) -> None:
    def off(plain: Any) -> DomainFacts:
        return b.off("sql", "paris-1", plain, why)

    resting = b.document("Host", "paris-1", site="paris", address="paris-1", maintenance=True)
    ruling = the(plan_of({}, off, resting), "start").ruling
    assert ruling.verdict is verdict
    if verdict is Verdict.NEEDS_APPROVAL:
        assert ruling.rule == "maintenance"
        assert "perhaps by the hand of whoever works on it" in ruling.sentence
    assert the(plan_of({}, off), "start").ruling.verdict is Verdict.ALLOWED
