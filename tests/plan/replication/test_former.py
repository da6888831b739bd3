"""Former disks: where a VM has failed over, they become its replica before anything is seeded."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DomainFacts, DomainState, Known, Observed, Role
from controller.model.failover.record import Record, RecordedHost, RecordedMachine
from controller.plan.actions.promotion import AdoptDisks
from controller.plan.actions.replica import ReplicateDomain
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import lab
from tests.plan.reading import actions, plan_of, sentences

EPOCH = 7


def marked(domain: DomainFacts, epoch: int) -> DomainFacts:
    """Return a domain as that copy of its VM."""
    assert domain.ownership is not None
    return replace(domain, ownership=replace(
        domain.ownership, epoch=epoch, role=Role.PROMOTED if epoch else Role.PRODUCTION))


def failed_over(desired: Any, **older: Any) -> Observed:
    """Show sql at Milan with epoch 7 over its replica there, and its older copy at Paris."""
    seen = r.asked(b.as_declared(desired, {"sql": "milan-1"}), desired)
    seen = b.with_domain(seen, "milan-1", "sql", marked(b.domain("sql", "milan-1", desired), EPOCH))
    copy = replace(b.off("sql", "paris-1", desired, "crashed"), **older)
    seen = b.with_domain(seen, "paris-1", "sql", marked(copy, 0))
    return r.with_replica(seen, "milan-1", r.replica(
        "sql", (r.point(4, 900, checkpoint=""),), epoch=EPOCH, promoted=4,
        pins={f"failover-{EPOCH}": 4}))


def adoptions(plan: Plan) -> list[AdoptDisks]:
    """Return what is taken back; nothing may be copied beside it."""
    assert not [one for one in actions(plan) if isinstance(one, ReplicateDomain)]
    return [one for one in actions(plan) if isinstance(one, AdoptDisks)]


def test_they_are_taken_back_instead_of_a_seed() -> None:
    desired = lab()
    [action] = adoptions(plan_of(desired, failed_over(desired)))
    assert (action.node, action.epoch, action.target) == ("paris-1", EPOCH, "Replica/sql")
    assert (action.promoted_on, action.promoted_point) == ("milan-1", 4)
    assert action.path.startswith("/var/lib/libvirt/images/hotsite-replicas/")


def test_not_from_under_a_guest() -> None:
    desired = lab()
    plan = plan_of(desired, failed_over(desired, state=DomainState.RUNNING))
    assert adoptions(plan) == []
    assert "before its older copy on paris-1 has ended" in sentences(plan)


def test_once_they_are_the_base_what_differs_is_copied() -> None:
    desired = lab()
    tail = r.point(1, 10, diverged=True, checkpoint="")
    seen = r.with_replica(failed_over(desired), "paris-1", r.replica(
        "sql", (tail,), epoch=EPOCH, pins={"tail-1": 1}))
    plan = plan_of(desired, seen)
    [copy] = [one for one in actions(plan) if isinstance(one, ReplicateDomain)]
    assert (copy.node, copy.to, copy.sequence) == ("milan-1", "paris-1", 5)


def test_those_that_cannot_be_the_base_are_seeded() -> None:
    desired = lab()
    seen = r.with_replica(failed_over(desired), "paris-1", r.replica("sql", (), epoch=EPOCH))
    plan = plan_of(desired, seen)
    assert [one.node for one in actions(plan) if isinstance(one, ReplicateDomain)] == ["milan-1"]


def test_the_second_time_those_over_its_former_replica_are_taken_back() -> None:
    desired = lab()
    seen = r.with_replica(failed_over(desired), "paris-1", r.replica(
        "sql", r.series(3, 900), epoch=EPOCH - 1, promoted=3, pins={"failover-6": 3}))
    [action] = adoptions(plan_of(desired, seen))
    assert action.node == "paris-1"


@pytest.mark.parametrize(("scope", "phase", "since_s", "waits"), [
    ("Host/paris-1", "promoting", 5.0, True), ("Host/paris-1", "led-elsewhere", 60.0, True),
    ("Host/paris-1", "led-elsewhere", 400.0, False), ("Site/paris", "led-elsewhere", 4000.0, True),
    ("Site/paris", "returning", 60.0, True), ("Site/paris", "returning", 400.0, False)])
def test_on_a_host_that_may_come_back_they_are_waited_for_but_not_without_end(
        scope: str, phase: str, since_s: float, waits: bool) -> None:
    desired = lab()
    record = Record(scope=scope, epoch=EPOCH, term=0, phase=phase, by="", reason="",
                    hosts={"paris-1": RecordedHost("")}, changed_at=b.NOW_S - since_s,
                    machines={"sql": RecordedMachine(b.domain_uuid("lab", "sql"), 4, "milan-1")})
    seen = b.silenced(failed_over(desired), "paris-1")
    known = seen.nodes["milan-1"]
    assert isinstance(known, Known)
    held = replace(known.value, records=Known({scope: record}, b.NOW_S))
    seen = replace(seen, nodes={**seen.nodes, "milan-1": replace(known, value=held)})
    plan = plan_of(desired, seen)
    seeded = [one.to for one in actions(plan) if isinstance(one, ReplicateDomain)]
    assert seeded == ([] if waits else ["paris-2"])
    assert ("its former disks are on paris-1" in sentences(plan)) is waits
