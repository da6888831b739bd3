"""Replication: what is copied when, how and where, what is left alone, and the conditions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.model.document import Rung
from controller.model.facts import Known, Observed, Unknown
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import CopyMode, RateLimit, ReplicateDomain, VerifyReplica
from controller.plan.compute import compute
from controller.plan.output.saved import action_from_value, to_value
from controller.plan.replication.copy import ceiling_bps
from controller.plan.replication.timing import due_at
from controller.plan.steps.plan import Plan, Verdict
from controller.plan.survey.context import (
    Context,
    InFlight,
    ReplicaRequest,
    RequestKind,
    Suspension,
)
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import HOME, lab, said, seen_with
from tests.plan.reading import actions, ids, plan_of, sentences

COPY = "replicate:Replica/sql@paris-1/milan-1"


def only_copy(plan: Plan) -> ReplicateDomain:
    (found,) = [one for one in actions(plan) if isinstance(one, ReplicateDomain)]
    return found


def flying(action_id: str, target: str, rung: Rung, *nodes: str) -> Context:
    return Context(applied_revision="r1", in_flight=(InFlight(action_id, target, nodes, rung),))


def test_an_action_says_all_that_hands_need() -> None:
    desired = lab(bandwidth="200Mbit/s", quiesce={"every": 13})
    found = only_copy(plan_of(desired, seen_with(desired, r.series(12, 290))))
    assert (found.node, found.to, found.sequence, found.quiesce) == ("paris-1", "milan-1", 13, True)
    assert found.limits == (RateLimit("ProtectionPolicy/gold", 200_000_000),)
    assert found.path.endswith(f"/hotsite-replicas/{found.uuid}")
    assert found.disks[0].source == "/var/lib/libvirt/images/sql-vda.qcow2"
    assert action_from_value(to_value(found)) == found


def test_a_copy_shares_the_limits_of_its_policy_its_hosts_and_its_link_alone() -> None:
    desired = b.desired_of(
        b.estate(), *b.survey(replicationBandwidth="8Mbit/s"), b.vm("sql", protection="gold"),
        b.document("ProtectionPolicy", "gold", rpo="5m", bandwidth="20Mbit/s"),
        b.document("InterSiteLink", "metro", between=["milan", "paris"],
                   replicationBandwidth="10Mbit/s"))
    found = only_copy(plan_of(desired, seen_with(desired, r.series(12, 290))))
    assert found.limits == (RateLimit("Host/milan-1", 8_000_000),
                            RateLimit("Host/paris-1", 8_000_000),
                            RateLimit("InterSiteLink/metro", 10_000_000),
                            RateLimit("ProtectionPolicy/gold", 20_000_000))
    assert ceiling_bps(found.limits) == 8_000_000
    assert action_from_value(to_value(found)) == found


def test_a_copy_begins_early_enough_and_never_before_half_the_rpo() -> None:
    quick = r.replica("sql", r.series(12, 0))
    slow = r.replica("sql", tuple(r.point(n, 0, committed_at=b.NOW_S + 200) for n in (1, 2, 3)))
    assert b.NOW_S + 210 < due_at(quick, 300, b.NOW_S + 1) <= b.NOW_S + 258
    assert due_at(slow, 300, b.NOW_S + 1) == b.NOW_S + 150
    assert due_at(r.replica("sql", r.series(1, 0, 1)), 300, b.NOW_S + 1) == b.NOW_S + 150


def test_tracking_is_not_called_lost_by_a_look_that_is_older_than_the_point() -> None:
    desired = lab()
    seen = seen_with(desired, (r.point(1, 900), r.point(2, 290, committed_at=b.NOW_S + 1)))
    copy = only_copy(plan_of(desired, r.with_checkpoints(seen, "sql", ("hotsite-000001",))))
    assert copy.disks[0].mode is CopyMode.INCREMENT
    assert "lost" not in copy.reason


def test_a_point_from_the_future_holds_no_copy_up() -> None:
    assert due_at(r.replica("sql", r.series(12, -500)), 300, b.NOW_S) == b.NOW_S


def test_the_plan_names_the_instant_at_which_the_next_copy_is_due() -> None:
    desired = lab()
    seen = seen_with(desired, r.series(12, 100))
    plan = plan_of(desired, seen)
    assert ids(plan) == []
    assert plan.due_at is not None
    assert b.NOW_S < plan.due_at < b.NOW_S + 200
    assert ids(compute(desired, seen, b.APPLIED, plan.due_at)) == [COPY]


@pytest.mark.parametrize(("age_s", "answer"), [
    (299, ("true", "WithinRpo")), (300, ("false", "Late")), (600, ("false", "Warning")),
    (900, ("false", "Critical"))])
def test_fresh_turns_at_once_twice_and_three_times_the_rpo(age_s: float, answer: Any) -> None:
    desired = lab()
    plan = plan_of(desired, seen_with(desired, r.series(12, age_s)))
    assert said(plan, "Fresh") == answer
    assert said(plan, "Protected") == ("true", "Replicated")


def every(gap_s: float, took_s: float = 6.0, rpo_s: float = 60.0) -> float:
    """How long after the newest of three points, so far apart, the next one is due."""
    points = tuple(r.point(12 - back, gap_s * back, committed_at=b.NOW_S - gap_s * back + took_s)
                   for back in (2, 1, 0))
    return due_at(r.replica("sql", points), rpo_s, b.NOW_S + 1) - b.NOW_S


def test_copies_that_begin_late_are_begun_sooner_by_as_much() -> None:
    planned_s = every(20)
    assert 30 <= planned_s <= 36
    assert every(planned_s) == planned_s
    long_s = every(200, rpo_s=300)
    assert every(long_s + 20, rpo_s=300) == long_s - 20
    assert every(long_s + 9000, rpo_s=300) == long_s     # an outage is no lag
    assert every(planned_s + 14) == 30      # never more often than every half RPO


def test_points_between_which_others_were_let_go_tell_of_no_lag() -> None:
    points = (r.point(3, 900), r.point(7, 600), r.point(12, 0))
    assert due_at(r.replica("sql", points), 300, b.NOW_S + 1) > b.NOW_S + 200


def test_the_next_edge_of_freshness_wakes() -> None:
    desired = lab()
    seen = seen_with(desired, r.series(12, 299))
    assert plan_of(desired, seen).due_at == b.NOW_S + 1


def test_age_counts_from_the_newest_sound_point() -> None:
    desired = lab()
    points = (r.point(11, 500), r.point(12, 20, damaged_clusters=2))
    plan = plan_of(desired, seen_with(desired, points, damaged_clusters=2))
    assert said(plan, "Fresh") == ("false", "Late")
    assert said(plan, "Verified") == ("false", "Damaged")
    assert ids(plan) == []  # what mends it is not tried again and again
    later = compute(desired, seen_with(desired, points, damaged_clusters=2), b.APPLIED,
                    b.NOW_S + 45)
    assert only_copy(later).repair


def test_older_damage_rides_on_the_next_increment() -> None:
    desired = lab()
    plan = plan_of(desired, seen_with(desired, r.series(12, 100), damaged_clusters=2))
    assert ids(plan) == []
    found = only_copy(plan_of(desired, seen_with(desired, r.series(12, 290), damaged_clusters=2)))
    assert found.repair
    assert found.disks[0].mode is CopyMode.INCREMENT


@pytest.mark.parametrize(("compared_s", "compared"), [(60, False), (90_000, True)])
def test_the_next_point_after_a_while_is_compared_with_its_source(
        compared_s: float, compared: bool) -> None:
    desired = lab(audit="1d")
    seen = seen_with(desired, r.series(12, 290), compared_at=b.NOW_S - compared_s)
    copy = only_copy(plan_of(desired, seen))
    assert (copy.disks[0].mode is CopyMode.SCAN) is compared
    assert ("that was last done 1d ago and 1d is the limit" in copy.reason) is compared
    assert bool(copy.compare) is compared
    assert copy.cause is Cause.ROUTINE


def test_nothing_is_compared_by_itself_where_nobody_declares_it() -> None:
    desired = lab()
    copy = only_copy(plan_of(desired, seen_with(desired, r.series(12, 290), compared_at=1.0)))
    assert (copy.compare, copy.disks[0].mode) == ("", CopyMode.INCREMENT)


def test_a_vm_that_is_off_is_copied_at_the_same_pace() -> None:
    desired = b.small(b.vm("sql", protection="gold", power="off"))
    seen = r.with_replica(r.asked(b.as_declared(desired, HOME), desired), "milan-1",
                          r.replica("sql", r.series(12, 290)))
    found = only_copy(plan_of(desired, r.with_checkpoints(seen, "sql", ())))
    assert found.disks[0].mode is CopyMode.INCREMENT


# What cannot be seen is not missing.

def test_replicas_that_were_never_asked_for_are_unknown_and_no_remark() -> None:
    desired = lab()
    plan = plan_of(desired, b.as_declared(desired, HOME))
    assert ids(plan) == []
    assert plan.remarks == ()
    assert said(plan, "Protected") == ("unknown", "CannotBeSeen")


def test_a_host_that_never_told_its_replicas_holds_up_every_first_copy() -> None:
    desired = lab()
    for host in ("milan-2", "paris-2"):
        plan = plan_of(desired, b.never_seen(seen_with(desired), host))
        assert ids(plan) == []
        assert said(plan, "Protected") == ("unknown", "CannotBeSeen")
        message = next(one.message for one in plan.conditions if one.type == "Protected")
        assert f"{host} does not answer; bring {host} back, or remove it from the specs" in message


def test_a_silent_host_holds_up_the_first_copies_of_those_alone_that_it_last_held() -> None:
    desired = b.small(b.vm("sql", placement={"site": "paris"}, protection="gold"),
                      b.vm("web", placement={"site": "paris"}, protection="gold"))
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1", "web": "paris-2"}), desired)
    seen = r.with_replica(seen, "milan-2", r.replica("web", r.series(12, 60)))
    for host, copied in (("milan-2", ["Replica/sql"]), ("milan-1", ["Replica/sql"])):
        plan = plan_of(desired, b.silenced(seen, host, 3 * 86400))
        assert [step.action.target for step in plan.steps] == copied
        assert all(host not in step.action.nodes for step in plan.steps)
    begun = r.with_replica(seen, "milan-2", r.replica("sql", incoming=("vda",)))
    assert ids(plan_of(desired, b.silenced(begun, "milan-2"))) == []


def test_a_replica_on_a_silent_host_is_unknown_with_its_last_age() -> None:
    desired = lab()
    plan = plan_of(desired, b.silenced(seen_with(desired, r.series(12, 700)), "milan-1"))
    assert ids(plan) == []
    assert said(plan, "Fresh") == ("unknown", "CannotBeSeen")
    fresh = next(one for one in plan.conditions if one.type == "Fresh")
    assert "milan-1 does not answer; its newest point there began at" in fresh.message


def test_the_replica_of_a_vm_on_a_silent_host_is_told_all_the_same() -> None:
    desired = lab()
    plan = plan_of(desired, b.silenced(seen_with(desired, r.series(12, 700)), "paris-1"))
    assert ids(plan) == []
    assert said(plan, "Fresh") == ("false", "Warning")


def test_replicas_that_could_not_be_read_on_a_host_that_answers_are_remarked() -> None:
    desired = lab()
    seen = seen_with(desired)
    fact = seen.nodes["milan-2"]
    assert isinstance(fact, Known)
    seen = b.with_node(seen, "milan-2", replace(fact, value=replace(
        fact.value, replicas=Unknown("no such pool", b.NOW_S - 9))))
    plan = plan_of(desired, seen)
    assert ids(plan) == []
    assert any(one.unknown and "no such pool" in one.sentence for one in plan.remarks)


# Jobs, moves and places.

def job(seen: Observed, name: str) -> Observed:
    ((host, domain),) = r.domains_of(seen, "sql")
    return b.with_domain(seen, host, "sql", replace(domain, job=name))


def test_a_foreign_job_is_left_alone_and_told() -> None:
    desired = lab()
    plan = plan_of(desired, job(seen_with(desired, r.series(12, 700)), "Backup"))
    assert ids(plan) == []
    assert "sql has a libvirt job running on paris-1 (Backup)" in sentences(plan)
    assert said(plan, "Fresh") == ("false", "Warning")


def test_our_own_copy_leaves_the_vm_as_it_is() -> None:
    desired = lab()
    policy = flying(COPY, "Replica/sql", Rung.REPLICATE, "paris-1", "milan-1")
    plan = plan_of(desired, job(seen_with(desired, r.series(12, 700)), "Backup"), policy)
    assert said(plan, "Ready") == ("true", "Running")
    assert [step.ruling.rule for step in plan.steps] == ["in-flight"]


def test_a_move_waits_for_a_copy_that_is_going_on() -> None:
    desired = b.small(b.vm("sql", protection="gold", placement={"host": "paris-2"}))
    seen = r.with_replica(r.asked(b.as_declared(desired, HOME), desired), "milan-1",
                          r.replica("sql", r.series(12, 20)))
    policy = flying(COPY, "Replica/sql", Rung.REPLICATE, "paris-1", "milan-1")
    (step,) = plan_of(desired, seen, policy).steps
    assert step.action.verb == "migrate"
    assert step.ruling.sentence == "the replica of sql is being copied"


def test_a_copy_waits_for_a_move_that_is_going_on() -> None:
    desired = lab()
    policy = flying("migrate:VirtualMachine/sql@paris-1/paris-2", "VirtualMachine/sql",
                    Rung.MIGRATE, "paris-1", "paris-2")
    (step,) = plan_of(desired, seen_with(desired, r.series(12, 290)), policy).steps
    assert step.ruling.verdict is Verdict.WAITING


def test_a_move_that_needs_approval_holds_no_first_copy_up() -> None:
    desired = b.small(b.vm("sql", protection="gold", placement={"host": "paris-2"}),
                      autonomy="start")
    plan = plan_of(desired, r.asked(b.as_declared(desired, HOME), desired))
    verdicts = {step.action.verb: step.ruling.verdict for step in plan.steps}
    assert verdicts == {"replicate": Verdict.ALLOWED, "migrate": Verdict.NEEDS_APPROVAL}


def many(count: int, age_s: Callable[[int], float]) -> tuple[Any, Observed]:
    names = [f"vm-{number}" for number in range(count)]
    desired = b.small(*(b.vm(name, protection="gold") for name in names))
    seen = r.asked(b.as_declared(desired, dict.fromkeys(names, "paris-1")), desired)
    for number, name in enumerate(names):
        seen = r.with_replica(seen, "milan-1", r.replica(name, r.series(12, age_s(number))))
    return desired, seen


def test_the_smallest_slack_goes_first_and_two_at_a_time_on_one_host() -> None:
    desired, seen = many(4, lambda number: 270 + 7 * number)
    plan = plan_of(desired, seen)
    assert [step.action.target for step in plan.runnable] == ["Replica/vm-3", "Replica/vm-2"]


def test_what_rests_after_a_failure_keeps_no_place_from_others() -> None:
    desired, seen = many(4, lambda number: 270 + 7 * number)
    policy = replace(b.APPLIED, backing_off=frozenset({"Replica/vm-3", "Replica/vm-2"}))
    assert {step.action.target for step in plan_of(desired, seen, policy).runnable} == {
        f"Replica/vm-{number}" for number in range(4)}


def test_copies_keep_no_place_from_repairs() -> None:
    desired = b.small(b.vm("sql", protection="gold"), b.vm("web"),
                      limits={"perHost": 1, "perSite": 1, "share": "100%"})
    seen = r.asked(b.as_declared(desired, HOME | {"web": "paris-1"}), desired)
    seen = b.with_domain(seen, "paris-1", "web", b.off("web", "paris-1", desired, "crashed"))
    assert {step.action.verb for step in plan_of(desired, seen).runnable} == {"replicate", "start"}


def test_replicas_are_spread_by_what_hosts_hold() -> None:
    names = [f"vm-{number}" for number in range(4)]
    desired = b.small(*(b.vm(name, protection="gold") for name in names))
    seen = r.asked(b.as_declared(desired, dict.fromkeys(names, "paris-1")), desired)
    found = [one.to for one in actions(plan_of(desired, seen)) if isinstance(one, ReplicateDomain)]
    assert sorted(found) == ["milan-1", "milan-1", "milan-2", "milan-2"]


# Requests, scopes and causes.

def test_a_request_needs_no_other_grant_and_is_a_persons() -> None:
    desired = b.small(b.vm("sql", protection="gold"), autonomy="report")
    seen = r.with_replica(r.asked(b.as_declared(desired, HOME), desired), "milan-1",
                          r.replica("sql", r.series(12, 20)))
    request = ReplicaRequest("sql", RequestKind.VERIFY, "ann", b.NOW_S)
    (step,) = plan_of(desired, seen, replace(b.APPLIED, requests=(request,))).runnable
    assert isinstance(step.action, VerifyReplica)
    assert step.action.cause is Cause.HUMAN


def test_a_request_that_cannot_be_met_is_answered() -> None:
    desired = lab()
    request = ReplicaRequest("sql", RequestKind.COPY, "ann", b.NOW_S)
    plan = plan_of(desired, job(seen_with(desired, r.series(12, 20)), "Backup"),
                   replace(b.APPLIED, requests=(request,)))
    assert ids(plan) == []
    assert "sql has a libvirt job running" in sentences(plan)


def test_a_suspended_vm_is_not_copied() -> None:
    desired = lab()
    pause = Suspension("VirtualMachine/sql", "ann", "tests", b.NOW_S + 60)
    (step,) = plan_of(desired, seen_with(desired, r.series(12, 290)),
                      replace(b.APPLIED, suspensions=(pause,))).steps
    assert step.ruling.rule == "suspended"


def test_copies_are_no_repairs_and_are_never_quarantined() -> None:
    desired = lab()
    policy = replace(b.APPLIED, repairs={
        "Replica/sql": tuple(b.NOW_S - 60 * n for n in range(6, 0, -1))})
    plan = plan_of(desired, seen_with(desired, r.series(12, 700)), policy)
    assert [step.action.cause for step in plan.runnable] == [Cause.DRIFT]
    (routine,) = actions(plan_of(desired, seen_with(desired, r.series(12, 290))))
    assert routine.cause is Cause.ROUTINE


def test_a_protection_that_was_just_declared_is_a_new_commit() -> None:
    desired = lab()
    policy = Context(applied_revision="r0", changed=frozenset({"VirtualMachine/sql"}))
    assert only_copy(plan_of(desired, seen_with(desired), policy)).cause is Cause.COMMIT


def test_a_vm_without_a_disk_needs_no_replica() -> None:
    desired = b.small(b.vm("sql", protection="gold", disks=[]))
    plan = plan_of(desired, r.asked(b.as_declared(desired, HOME), desired))
    assert ids(plan) == []
    assert said(plan, "Protected") == ("true", "NoDisk")


def test_of_a_vm_that_cannot_be_seen_the_replica_is_left_as_it_is() -> None:
    desired = lab(keep={"last": 1}, verify="1m")
    seen = b.silenced(seen_with(desired, r.series(12, 700)), "paris-1")
    assert ids(plan_of(desired, seen)) == []
    request = ReplicaRequest("sql", RequestKind.VERIFY, "ann", b.NOW_S)
    assert ids(plan_of(desired, seen, replace(b.APPLIED, requests=(request,)))) == [
        "verify-replica:Replica/sql@milan-1"]


@pytest.mark.parametrize("other", [b.domain, b.off])
def test_a_vm_that_both_sites_have_is_copied_neither_way_and_keeps_every_point(
        other: Callable[..., Any]) -> None:
    desired = lab(keep={"last": 2})
    seen = seen_with(desired, r.series(12, 900, count=9))
    assert ids(plan_of(desired, seen)), "it is late, and has more points than it may keep"
    both = b.with_domain(seen, "milan-2", "sql", other("sql", "milan-2", desired))
    plan = plan_of(desired, both)
    assert [one for one in actions(plan) if one.target == "Replica/sql"] == []
