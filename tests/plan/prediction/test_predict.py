"""Predictions: what comes back if a site or a host is lost now, when, and how that is known."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Observed
from controller.plan.compute import compute
from controller.plan.prediction.sentence import render_basis, render_prediction
from controller.plan.prediction.tally import ASSUMED_START_S
from controller.plan.steps.plan import Plan
from controller.plan.steps.prediction import Prediction
from controller.plan.survey.context import Boot, Context
from tests.plan import builders as b
from tests.plan import guarded as g
from tests.plan import replicas as r

HERE = replace(b.APPLIED, place="milan", by_host=True)
FRESH = r.series(12, 60)


def protected(name: str, policy: str = "auto", **spec: Any) -> Any:
    return b.vm(name, **({"protection": policy, "placement": {"site": "paris"}} | spec))


def estate(*more: Any, host: dict[str, Any] | None = None, **policy: Any) -> Any:
    """Hosts with guards that are believed without a watchdog; a policy that is automatic."""
    hosts = {name: {"fencing": ["guard"], "acceptFreeze": True} | (host or {}) for name in g.OCTETS}
    return g.guarded(b.document("ProtectionPolicy", "auto", **({
        "rpo": "5m", "failover": "automatic", "isolation": "stop"} | policy)), *more, hosts=hosts)


def seen(desired: Any, where: dict[str, str], replicas: dict[str, str]) -> Observed:
    found = r.asked(g.seen(desired, where), desired)
    for name, host in replicas.items():
        found = r.with_replica(found, host, r.replica(name, FRESH))
    return found


def plan_of(desired: Any, where: dict[str, str], replicas: dict[str, str] | None = None,
            context: Context = HERE) -> Plan:
    there = dict.fromkeys(where, "milan-1") if replicas is None else replicas
    return compute(desired, seen(desired, where, there), context, b.NOW_S)


def paris(plan: Plan) -> Prediction:
    return next(one for one in plan.predictions if one.site == "paris")


def hosts(plan: Plan) -> dict[str, Prediction]:
    return {one.host: one for one in plan.host_predictions}


def said(one: Prediction) -> str:
    return render_prediction(one, b.NOW_S)


WHERE = {"sql": "paris-1", "web": "paris-2"}


def two(**policy: Any) -> Any:
    return estate(protected("sql"), protected("web"), **policy)


def test_one_sentence_says_who_starts_when_and_what_is_lost() -> None:
    one = paris(plan_of(two(), WHERE))
    assert one.schedule.last_start_s is not None
    assert said(one).startswith("if paris is lost now: 2 of 2 start at milan in ")
    assert said(one).endswith(", worst loss 1m (sql)")
    assert render_basis(one, b.NOW_S) == (
        "the time is assumed: none of these starts was ever measured; never drilled")


def test_the_last_start_waits_for_suspicion_and_for_the_proof_that_takes_longest() -> None:
    slow = paris(plan_of(two(), WHERE)).schedule.last_start_s
    quick = paris(plan_of(two(), WHERE, context=replace(HERE, boots={
        name: Boot(0.5, b.NOW_S - 60) for name in WHERE}))).schedule.last_start_s
    assert slow is not None
    assert quick is not None
    assert slow - quick == pytest.approx(2 * (ASSUMED_START_S / 16 - 0.5), abs=4)
    guard = two().estate.spec.failover.guard
    assert quick > guard.deadline_s


def test_measured_starts_are_told_and_so_are_those_that_are_assumed() -> None:
    context = replace(HERE, boots={"sql": Boot(4.0, b.NOW_S - 86400 * 3)})
    one = paris(plan_of(two(), WHERE, context=context))
    assert (one.schedule.starts, one.schedule.measured) == (2, 1)
    assert render_basis(one, b.NOW_S) == (
        "1 of 2 starts measured, the oldest 3d ago, the rest assumed; never drilled")


def test_a_start_counts_as_measured_only_if_its_health_was_seen_where_one_is_declared() -> None:
    desired = two(health={"agent": True})
    for boot_s, measured in ((None, 0), (30.0, 2)):
        context = replace(HERE, boots={name: Boot(2.0, b.NOW_S, boot_s) for name in WHERE})
        assert paris(plan_of(desired, WHERE, context=context)).schedule.measured == measured


def test_each_host_is_predicted_alone() -> None:
    found = hosts(plan_of(two(), WHERE))
    assert set(found) == {"paris-1", "paris-2"}
    assert (found["paris-1"].protected, found["paris-1"].worst) == (1, "sql")
    assert said(found["paris-2"]).startswith("if paris-2 is lost now: 1 of 1 starts at milan in ")


def test_room_that_is_short_for_a_site_may_do_for_each_of_its_hosts() -> None:
    desired = estate(protected("sql", memory="80GiB"), protected("web", memory="80GiB"))
    plan = plan_of(desired, WHERE)
    assert paris(plan).returns == 1
    assert {name: one.returns for name, one in hosts(plan).items()} == {"paris-1": 1, "paris-2": 1}


def test_a_group_that_the_loss_of_a_host_would_tear_is_hindered_there_alone() -> None:
    desired = estate(protected("sql", group="shop"), protected("web", group="shop"))
    plan = plan_of(desired, WHERE)
    assert paris(plan).returns == 2
    assert [one.returns for one in hosts(plan).values()] == [0, 0]


def test_without_being_asked_hosts_are_not_predicted() -> None:
    plan = plan_of(two(), WHERE, context=replace(HERE, by_host=False))
    assert plan.host_predictions == ()
    assert paris(plan) == paris(plan_of(two(), WHERE))


@pytest.mark.parametrize(("policy", "host", "context", "words"), [
    ({"failover": "confirm"}, {}, HERE, "; once a person orders it"),
    ({"isolation": "run"}, {}, HERE, "; once a person orders it"),
    ({}, {"fencing": []}, HERE, "; once a person says that paris-1, paris-2 are off"),
    ({}, {"acceptFreeze": False}, HERE, "; once a person says that paris-1, paris-2 are off"),
    ({}, {}, replace(HERE, place=None), "; once a person orders it: two places have to agree that"
     " it is lost, and only hq could tell"),
    ({}, {}, replace(HERE, place="hq"), "; once a person orders it: two places have to agree that"
     " it is lost, and only hq could tell"),
    ({}, {}, replace(HERE, place="paris"), "; once a person orders it: this controller stands at"
     " paris itself"),
])
def test_what_needs_a_person_first_is_said(policy: dict[str, Any], host: dict[str, Any],
                                           context: Context, words: str) -> None:
    desired = estate(protected("sql"), protected("web"), host=host, **policy)
    assert said(paris(plan_of(desired, WHERE, context=context))).endswith(words)


def test_an_estate_that_grants_no_failover_leaves_it_to_a_person() -> None:
    desired = two()
    modest = replace(desired, estate=b.estate(
        autonomy="restart", failover={"guard": {"keyFile": "/etc/hotsite/guard.key"}}))
    assert said(paris(plan_of(modest, WHERE))).endswith("; once a person orders it")


def test_vms_that_nobody_protects_are_lost_and_counted() -> None:
    desired = estate(protected("sql"), b.vm("web", placement={"site": "paris"}))
    plan = plan_of(desired, WHERE, {"sql": "milan-1"})
    assert said(paris(plan)).endswith("; 1 VM is lost that no policy protects")
    assert said(hosts(plan)["paris-2"]) == (
        "if paris-2 is lost now: none of its VMs is protected;"
        " 1 VM is lost that no policy protects")


def test_a_vm_without_a_replica_is_named_and_starts_nowhere() -> None:
    one = paris(plan_of(two(), WHERE, {"sql": "milan-1"}))
    assert said(one).startswith("if paris is lost now: 1 of 2 starts at milan in ")
    assert said(one).endswith("; not web")


def test_a_vm_that_is_declared_off_is_not_counted_among_the_starts() -> None:
    desired = estate(protected("sql"), protected("web", power="off"))
    observed = b.with_domain(seen(desired, WHERE, dict.fromkeys(WHERE, "milan-1")), "paris-2",
                             "web", b.off("web", "paris-2", desired))
    one = paris(compute(desired, observed, HERE, b.NOW_S))
    assert (one.returns, one.schedule.starts) == (2, 1)
    assert "1 of 1 starts" in said(one)


@pytest.mark.parametrize(("lost", "name", "count"), [
    ({"Site/paris"}, "paris", 2), ({"Host/paris-2"}, "paris-2", 1),
    ({"Host/paris-1", "Host/paris-2"}, "paris", 2)])
def test_a_what_if_predicts_what_it_assumes_lost(lost: set[str], name: str, count: int) -> None:
    plan = plan_of(two(), WHERE, context=replace(HERE, assumed_down=frozenset(lost)))
    assert [(one.lost, one.returns, one.schedule.starts) for one in plan.assumed] == [
        (name, count, count)]
    assert plan_of(two(), WHERE).assumed == ()


def test_a_prediction_stays_the_same_while_only_time_passes() -> None:
    desired = two()
    observed = seen(desired, WHERE, dict.fromkeys(WHERE, "milan-1"))
    now, later = (compute(desired, observed, HERE, b.NOW_S + s).predictions for s in (0.0, 10.0))
    assert now == later
