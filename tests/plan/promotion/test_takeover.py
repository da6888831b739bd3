"""Takeover: who comes back where, from which point, in which wave, and who waits and why."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, PortFacts
from controller.plan.compute import locate_all
from controller.plan.machine.layout import lay_out
from controller.plan.promotion.point import NEWEST, Asked
from controller.plan.promotion.surroundings import surroundings_of
from controller.plan.promotion.takeover import take_over
from controller.plan.replication.protected_machine import find_protected
from controller.plan.steps.draft import Draft
from controller.plan.steps.takeover import Outcome, Promotion, Takeover
from controller.plan.survey.context import Context
from controller.plan.survey.replicas import index_replicas
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.conditions.test_survivable import seen, with_hardware

PARIS = {"placement": {"site": "paris"}}


def estate(*more: Any, policy: dict[str, Any] | None = None, **sql: Any) -> Any:
    return b.small(b.vm("sql", protection="gold", **(PARIS | sql)), *more,
                   b.document("ProtectionPolicy", "gold", **({"rpo": "5m"} | (policy or {}))))


def takeover(desired: Any, observed: Observed, target: str = "Site/paris", asked: Asked = NEWEST,
             context: Context = b.APPLIED) -> Takeover:
    survey = take_survey(desired, observed, context, b.NOW_S)
    draft = Draft()
    locations = locate_all(survey, draft)
    layout, index = lay_out(locations, survey, draft), index_replicas(survey)
    place = target.partition("/")[2]
    lost = [one for one in find_protected(locations, index, survey, draft)
            if place in {one.site, one.host}]
    there = surroundings_of("milan", [one.name for one in lost], layout, index, survey)
    return take_over(lost, there, {} if asked == NEWEST else {one.name: asked for one in lost})


def one(found: Takeover, name: str = "sql") -> Promotion:
    (promotion,) = [each for each in found.promotions if each.machine == name]
    return promotion


def gates(promotion: Promotion) -> list[str]:
    return [gate.reason for gate in promotion.gates]


def test_a_vm_comes_back_on_the_host_of_its_replica_from_its_newest_point() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    for each in (observed, b.silenced(observed, "paris-1")):
        found = one(takeover(desired, each))
        assert (found.outcome, found.home, found.host) == (Outcome.RETURNS, "paris-1", "milan-1")
        assert found.path.startswith("/var/lib/libvirt/images/hotsite-replicas/")
        assert found.point is not None
        assert (found.point.sequence, found.wave, found.gates, found.notes) == (12, 1, (), ())


def test_taken_as_lost_in_a_what_if_it_is_the_same() -> None:
    desired = estate(memory="100GiB")
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    found = one(takeover(desired, observed, context=replace(
        b.APPLIED, assumed_down=frozenset({"Site/paris"}))))
    assert (found.outcome, found.host, found.wave) == (Outcome.RETURNS, "milan-1", 1)


def test_waves_follow_the_start_order_and_count_only_who_starts() -> None:
    vms = [b.vm(name, protection="gold", startOrder=order, **PARIS)
           for name, order in (("dns", 0), ("lost", 5), ("app", 200))]
    desired = estate(*vms)
    where = dict.fromkeys(("sql", "dns", "lost", "app"), "paris-1")
    observed = seen(desired, where, {"sql": "milan-1", "dns": "milan-2", "app": "milan-1"})
    found = takeover(desired, observed)
    assert [(each.machine, each.outcome.value, each.wave) for each in found.promotions] == [
        ("dns", "returns", 1), ("sql", "returns", 2), ("app", "returns", 3), ("lost", "waits", 0)]
    assert gates(one(found, "lost")) == ["NoReplica"]


def test_the_highest_class_stays_off_first_where_capacity_is_short() -> None:
    desired = estate(
        b.document("ProtectionPolicy", "bronze", rpo="5m", shedding=2),
        b.document("ProtectionPolicy", "tin", rpo="5m", shedding=9),
        b.vm("web", protection="bronze", memory="20GiB", startOrder=1, **PARIS),
        b.vm("wiki", protection="tin", memory="20GiB", startOrder=0, **PARIS), memory="100GiB")
    where = dict.fromkeys(("sql", "web", "wiki"), "paris-1")
    found = takeover(desired, seen(desired, where, dict.fromkeys(where, "milan-1")))
    assert {each.machine: each.outcome.value for each in found.promotions} == {
        "sql": "returns", "web": "returns", "wiki": "shed"}
    assert one(found, "wiki").gates[0].sentence == \
        "milan-1 has 7.5GiB of memory left and it needs 20GiB"


def test_what_may_not_be_shed_waits_where_capacity_is_short() -> None:
    desired = estate(memory="200GiB")
    found = one(takeover(desired, seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})))
    assert (found.outcome, gates(found), found.gates[0].yields) == (
        Outcome.WAITS, ["MemoryShort"], False)


def test_the_disks_need_room_to_grow_by_what_was_written_before() -> None:
    desired = estate()
    points = tuple(r.point(number, (4 - number) * 3600.0, stored_bytes=b.GIB // 24 + 1)
                   for number in (1, 2, 3, 4))
    observed = r.with_replica(seen(desired, {"sql": "paris-1"}, {}), "milan-1",
                              r.replica("sql", points))
    assert one(takeover(desired, observed)).growth.size_bytes == pytest.approx(b.GIB, rel=1e-6)
    full = with_pool_space(observed, "milan-1", b.GIB // 2)
    found = one(takeover(desired, full))
    assert [gate.sentence for gate in found.gates] == [
        "/var/lib/libvirt/images of milan-1 has 512MiB left and it may grow by 1GiB"]
    assert found.gates[0].yields
    longer = replace(desired, estate=b.estate(failover={"growth": {"horizon": "3d"}}))
    assert one(takeover(longer, observed)).growth.size_bytes == pytest.approx(3 * b.GIB, rel=1e-6)


@pytest.mark.parametrize(("minimum", "expected"), [("1GiB", 1), ("900GiB", 10)])
def test_a_minimum_counts_up_to_the_size_of_the_disks(minimum: str, expected: int) -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {})
    observed = r.with_replica(observed, "milan-1", r.replica("sql", r.series(1, 60, 1)))
    strict = replace(desired, estate=b.estate(failover={"growth": {"minimum": minimum}}))
    assert one(takeover(strict, observed)).growth.size_bytes == expected * b.GIB


@pytest.mark.parametrize(("node", "port", "word"), [
    ("milan-1", "up0", "does not pass up0 of milan-1"),
    ("milan-sw", "h0", "does not pass h0 of milan-sw, to milan-1")])
def test_a_vlan_that_does_not_reach_the_host_is_in_the_way(node: str, port: str,
                                                          word: str) -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    cut = b.with_port(observed, node, PortFacts(port, None, (200,), "trunk", True), port)
    found = one(takeover(desired, cut))
    assert gates(found) == ["NetworkMissing"]
    assert found.gates[0].sentence == f"network office (VLAN 100) {word}"
    missing = b.with_port(observed, node, None, port)
    assert gates(one(takeover(desired, missing))) == ["NetworkMissing"]


def test_members_of_a_group_come_from_one_instant_and_tell_of_those_that_stay() -> None:
    desired = estate(b.vm("app", protection="gold", group="shop", **PARIS), group="shop")
    observed = seen(desired, {"sql": "paris-1", "app": "paris-2"}, {})
    observed = r.with_replica(observed, "milan-1", r.replica("sql", r.series(12, 60)))
    observed = r.with_replica(observed, "milan-2", r.replica("app", r.series(40, 302)))
    both = takeover(desired, observed)
    points = {each.machine: each.point.sequence for each in both.promotions if each.point}
    assert points == {"sql": 11, "app": 40}
    assert all(each.outcome is Outcome.RETURNS for each in both.promotions)
    alone = one(takeover(desired, observed, "Host/paris-1"))
    assert gates(alone) == ["GroupSplit"]
    assert alone.gates[0].sentence == \
        "app of its group shop is not lost with it and would go on as of now"


def test_an_older_point_may_be_asked_for_a_site() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    found = one(takeover(desired, observed, asked=Asked(until_at=b.NOW_S - 300)))
    assert found.point is not None
    assert (found.point.sequence, found.gates) == (11, ())


def test_a_vm_that_is_declared_off_stays_off() -> None:
    desired = estate(power="off", memory="200GiB")
    observed = r.with_replica(r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired),
                              "milan-1", r.replica("sql", r.series(12, 60)))
    assert one(takeover(desired, observed)).outcome is Outcome.STAYS_OFF


def test_a_host_that_cannot_be_seen_leaves_it_unknown() -> None:
    desired = estate()
    observed = b.silenced(seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"}), "milan-1")
    assert one(takeover(desired, observed)).outcome is Outcome.UNKNOWN


def test_equal_arguments_give_an_equal_answer() -> None:
    desired = estate(*(b.vm(name, protection="gold", memory="60GiB", **PARIS) for name in "zyx"))
    where = dict.fromkeys(("sql", *"xyz"), "paris-1")
    observed = with_hardware(seen(desired, where, dict.fromkeys(where, "milan-1")), "milan-1")
    found = takeover(desired, observed)
    assert takeover(desired, observed) == found
    assert [each.machine for each in found.of(Outcome.WAITS)] == ["z"]


def with_pool_space(observed: Observed, host: str, left_bytes: int) -> Observed:
    fact = observed.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {name: replace(pool, available_bytes=left_bytes)
             for name, pool in fact.value.pools.value.items()}
    return b.with_node(observed, host, Known(
        replace(fact.value, pools=Known(pools, b.NOW_S)), b.NOW_S))
