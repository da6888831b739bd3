"""Copies of older epochs: ended where they run, and never taken for the VM."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.facts import DomainFacts, Known, Observed, Role
from controller.model.failover.record import Record, RecordedMachine
from controller.plan.actions.failover import EndStaleDomain
from controller.plan.actions.machine import DisableAutostart, MigrateDomain, StartDomain
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan, Verdict
from tests.plan import builders as b

LAB = b.small(b.vm("sql", placement={"site": "paris"}), autonomy="failover")


def copy(epoch: int, host: str, **more: Any) -> DomainFacts:
    """Return sql's domain as a failover of that epoch left it."""
    found = b.domain("sql", host, LAB, **more)
    assert found.ownership is not None
    return replace(found, ownership=replace(
        found.ownership, epoch=epoch, role=Role.PROMOTED if epoch else Role.PRODUCTION))


def off(found: DomainFacts, **more: Any) -> DomainFacts:
    """Return the same domain, off."""
    return replace(found, state=b.DomainState.SHUT_OFF, state_reason="shutdown", live=None, **more)


def lab_with(old: DomainFacts | None, new: DomainFacts | None) -> Observed:
    """Return the lab with an old copy on paris-1 and the promoted one on milan-1."""
    return b.observed_of(LAB, {"paris-1": {"sql": old} if old else {},
                               "milan-1": {"sql": new} if new else {}})


def with_record(seen: Observed, node: str, phase: str, epoch: int = 7,
                ordered: tuple[str, ...] = ()) -> Observed:
    """Return the same, with a record on one node that sql was promoted to milan-1."""
    fact = seen.nodes[node]
    assert isinstance(fact, Known)
    record = Record("Site/paris", epoch, phase=phase, ordered=ordered, machines={
        "sql": RecordedMachine(b.domain_uuid("lab", "sql"), 3, "milan-1")})
    return b.with_node(seen, node, replace(fact, value=replace(
        fact.value, records=Known({record.scope: record}, b.NOW_S))))


def planned(seen: Observed, desired: Desired = LAB) -> Plan:
    """Return the plan."""
    return compute(desired, seen, b.APPLIED, b.NOW_S)


def test_an_older_copy_that_runs_is_ended_and_shown_as_split_brain() -> None:
    plan = planned(lab_with(copy(0, "paris-1"), copy(7, "milan-1")))

    (step,) = [one for one in plan.steps if isinstance(one.action, EndStaleDomain)]
    assert step.ruling.verdict is Verdict.ALLOWED
    assert (step.action.node, step.action.epoch) == ("paris-1", 0)
    assert [one.reason for one in plan.conditions
            if one.type == "SplitBrain"] == ["OlderEpochRuns"]
    assert [one.message for one in plan.conditions if one.type == "Placed"
            and one.target == "VirtualMachine/sql"] == ["it is on milan-1"]


@pytest.mark.parametrize("state", ["running", "paused", "shutting down"])
def test_whatever_an_older_copy_does_it_is_ended(state: str) -> None:
    old = copy(3, "paris-1", state=b.DomainState(state))

    plan = planned(lab_with(old, copy(7, "milan-1")))

    assert [step.action.verb for step in plan.steps] == ["end-stale"]


def test_an_older_copy_that_is_off_is_left_alone_and_loses_its_autostart() -> None:
    old = off(copy(0, "paris-1"))

    assert planned(lab_with(old, copy(7, "milan-1"))).steps == ()
    (step,) = planned(lab_with(replace(old, autostart=True), copy(7, "milan-1"))).steps
    assert isinstance(step.action, DisableAutostart)


def test_the_vm_stays_where_it_was_promoted_though_it_is_declared_elsewhere() -> None:
    plan = planned(lab_with(off(copy(0, "paris-1")), copy(7, "milan-1")))

    assert not [one for one in plan.steps if isinstance(one.action, MigrateDomain)]


def test_without_its_mark_the_record_alone_makes_a_copy_older() -> None:
    """The site came back before anything was defined: its copies are older all the same."""
    seen = with_record(lab_with(copy(0, "paris-1"), None), "milan-2", "promoting")

    (step,) = [one for one in planned(seen).steps if isinstance(one.action, EndStaleDomain)]
    assert step.ruling.rule == "only-copy"


@pytest.mark.parametrize("phase", ["revoking", "fencing", "gating", "calm"])
def test_a_failover_that_promoted_nothing_yet_makes_no_copy_older(phase: str) -> None:
    seen = with_record(lab_with(copy(0, "paris-1"), None), "milan-2", phase)

    assert {step.action.verb for step in planned(seen).steps} <= {"write-record"}


def test_a_promoted_vm_that_is_off_starts_while_the_lost_site_is_silent() -> None:
    seen = lab_with(copy(0, "paris-1"), off(copy(7, "milan-1")))
    for host in ("paris-1", "paris-2"):
        seen = b.silenced(seen, host)

    (step,) = [one for one in planned(seen).steps if isinstance(one.action, StartDomain)]

    assert step.action.node == "milan-1"
    assert step.ruling.verdict is Verdict.ALLOWED


def test_an_older_copy_is_never_started_though_nothing_else_is_seen() -> None:
    plan = planned(with_record(lab_with(off(copy(0, "paris-1")), None), "milan-2", "led-elsewhere"))

    assert not [one for one in plan.steps if isinstance(one.action, StartDomain)]


def test_two_copies_of_one_epoch_are_still_for_a_person() -> None:
    plan = planned(lab_with(copy(7, "paris-1"), copy(7, "milan-1")))

    assert plan.steps == ()
    assert [one.reason for one in plan.conditions if one.type == "SplitBrain"] == ["RunsTwice"]


def test_an_older_copy_is_ended_within_what_is_granted() -> None:
    desired = b.small(b.vm("sql", placement={"site": "paris"}), autonomy=Rung.MIGRATE.value)

    (step,) = planned(lab_with(copy(0, "paris-1"), copy(7, "milan-1")), desired).steps

    assert step.ruling.rule == "autonomy"


def test_where_a_person_ordered_the_failover_an_older_copy_needs_no_further_yes() -> None:
    desired = b.small(b.vm("sql", placement={"site": "paris"}), autonomy=Rung.REPORT.value)
    seen = with_record(lab_with(copy(0, "paris-1"), copy(7, "milan-1")), "milan-2", "returning",
                       ordered=("Site/paris",))

    (step,) = [one for one in planned(seen, desired).steps
               if isinstance(one.action, EndStaleDomain)]

    assert step.ruling.verdict is Verdict.ALLOWED


def test_an_older_copy_is_ended_though_most_of_its_site_is_still_silent() -> None:
    desired = b.small(b.vm("sql", placement={"site": "paris"}), hosts_per_site=6,
                      autonomy="failover")
    seen = b.observed_of(desired, {"paris-1": {"sql": copy(0, "paris-1")},
                                   "milan-1": {"sql": copy(7, "milan-1")}})
    for number in range(2, 7):
        seen = b.silenced(seen, f"paris-{number}")

    (step,) = [one for one in planned(seen, desired).steps
               if isinstance(one.action, EndStaleDomain)]

    assert step.ruling.verdict is Verdict.ALLOWED


@pytest.mark.parametrize(("phase", "back", "epoch", "moves"), [
    ("calm", True, 8, True),
    ("calm", True, 9, False),           # it was promoted once more since
    ("calm", False, 8, False),          # it was moved here as planned, and stays
    ("moving-back", True, 8, False),    # not all of the failover is over
])
def test_a_vm_that_came_home_belongs_where_it_is_declared(
        phase: str, back: bool, epoch: int, moves: bool) -> None:
    elsewhere = b.small(b.vm("sql", placement={"site": "milan"}), autonomy="failover")
    seen = b.observed_of(LAB, {"paris-1": {"sql": copy(epoch, "paris-1")}, "milan-1": {}})
    fact = seen.nodes["milan-1"]
    assert isinstance(fact, Known)
    record = Record("Site/paris", 7, phase=phase, back=back)
    seen = b.with_node(seen, "milan-1", replace(fact, value=replace(
        fact.value, records=Known({record.scope: record}, b.NOW_S))))
    found = [one.action for one in planned(seen, elsewhere).steps
             if isinstance(one.action, MigrateDomain)]
    assert [one.target for one in found] == (["VirtualMachine/sql"] if moves else [])


@pytest.mark.parametrize("phase", ["promoting", "calm"])
def test_what_is_only_called_as_a_vm_that_failed_over_is_no_older_copy_of_it(phase: str) -> None:
    other = replace(b.domain("sql", "paris-1", LAB, uuid="9c1d7a52-3a0b-4a53-8b0e-0d6c5b4a3f21"),
                    ownership=None, live=None, config=None)
    seen = with_record(lab_with(other, copy(7, "milan-1")), "milan-1", phase)
    assert not [one for one in planned(seen).steps if one.action.node == "paris-1"]
