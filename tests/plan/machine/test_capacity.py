"""Capacity and demand: the larger of declared and seen, huge pages, arriving VMs, pools."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.document import Rung
from controller.model.facts import DomainState, Known, Observed, VolumeFacts
from controller.plan.actions.machine import MigrateDomain, StartDomain
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Context, InFlight
from tests.plan import builders as b

GIB = b.GIB
PARIS = {"site": "paris"}


def with_hardware(seen: Observed, host: str, **changes: int) -> Observed:
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.hardware, Known)
    hardware = replace(fact.value.hardware.value, **changes)
    return b.with_node(seen, host, Known(
        replace(fact.value, hardware=Known(hardware, b.NOW_S)), b.NOW_S))


def with_pool(seen: Observed, host: str, free: int, **volumes: int) -> Observed:
    """The same, with so much left in a host's pool, and files that take up so much of it."""
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pool = fact.value.pools.value["default"]
    files = {f"{name}-vda.qcow2": VolumeFacts(f"{name}-vda.qcow2", "qcow2", 900 * GIB, size)
             for name, size in volumes.items()}
    pool = replace(pool, available_bytes=free, volumes={**pool.volumes, **files})
    return b.with_node(seen, host, Known(
        replace(fact.value, pools=Known({"default": pool}, b.NOW_S)), b.NOW_S))


def starts(plan: Plan) -> dict[str, str]:
    return {step.action.domain: step.action.node for step in plan.steps
            if isinstance(step.action, StartDomain)}


def moves(plan: Plan) -> dict[str, str]:
    return {step.action.domain: step.action.to for step in plan.steps
            if isinstance(step.action, MigrateDomain)}


def about(plan: Plan, name: str) -> str:
    return " ".join(one.sentence for one in plan.remarks if one.target.endswith(f"/{name}"))


def test_a_guest_that_has_not_shrunk_yet_counts_with_what_it_has() -> None:
    old = b.small(b.vm("big", memory="10GiB", placement=PARIS), hosts_per_site=1)
    new = b.small(b.vm("big", memory="4GiB", placement=PARIS),
                  b.vm("new", memory="7GiB", placement=PARIS), hosts_per_site=1)
    seen = b.as_declared(old, {"big": "paris-1"}, memory_bytes=12 * GIB)
    plan = compute(new, seen, b.APPLIED, b.NOW_S)
    assert starts(plan) == {}
    assert "the most that is free on one is 1.5 GiB" in about(plan, "new")
    shrunk = b.as_declared(new, {"big": "paris-1"}, memory_bytes=12 * GIB)
    assert starts(compute(new, b.with_domain(shrunk, "paris-1", "new", None), b.APPLIED,
                          b.NOW_S)) == {"new": "paris-1"}


def test_no_host_takes_more_than_its_kernel_has_left_and_nothing_leaves_because_of_that() -> None:
    desired = b.small(b.vm("old", memory="60GiB", placement={"host": "paris-1"}),
                      b.vm("new", memory="40GiB", placement=PARIS))
    seen = b.as_declared(desired, {"old": "paris-1"}, memory_bytes=128 * GIB)
    for host in ("paris-1", "paris-2"):
        seen = with_hardware(seen, host, memory_available_bytes=3 * GIB)
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    assert [step.action.target for step in plan.steps] == []
    assert "the most that is free on one is 3 GiB" in about(plan, "new")


@pytest.mark.parametrize("how", ["ours", "by hand"])
def test_a_vm_that_is_on_its_way_counts_where_it_arrives(how: str) -> None:
    desired = b.small(b.vm("a", memory="40GiB"), b.vm("c", memory="40GiB", placement=PARIS),
                      b.vm("x", memory="30GiB", placement={"host": "paris-1"}))
    seen = b.as_declared(desired, {"a": "paris-1", "x": "paris-1"}, memory_bytes=64 * GIB)
    seen = with_hardware(seen, "paris-1", memory_available_bytes=64 * GIB)
    policy = Context(applied_revision="r1")
    seen = b.with_domain(seen, "paris-1", "a", b.domain("a", "paris-1", desired,
                                                        job="Outgoing migration"))
    assert starts(compute(desired, seen, policy, b.NOW_S)) == {"c": "paris-2"}
    if how == "ours":
        policy = Context(applied_revision="r1", in_flight=(InFlight(
            "migrate:VirtualMachine/a@paris-1/paris-2", "VirtualMachine/a",
            ("paris-1", "paris-2"), Rung.MIGRATE),))
    else:
        seen = b.with_domain(seen, "paris-2", "a", b.domain(
            "a", "paris-2", desired, state=DomainState.INCOMING))
    assert starts(compute(desired, seen, policy, b.NOW_S)) == {}


def huge(desired: Any, name: str, host: str, **changes: Any) -> Any:
    config = replace(b.config_of(name, host, desired), hugepages=True)
    return b.domain(name, host, desired, live=config, config=config, **changes)


def test_a_guest_in_huge_pages_goes_where_enough_of_them_are_left() -> None:
    desired = b.small(b.vm("sql", memory="16GiB", placement={"site": "milan"}))
    seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                         huge(desired, "sql", "paris-1"))
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    assert moves(plan) == {}
    assert "has 16GiB of huge pages left" in about(plan, "sql")
    seen = with_hardware(seen, "milan-2", huge_bytes=16 * GIB, huge_free_bytes=16 * GIB)
    assert moves(compute(desired, seen, b.APPLIED, b.NOW_S)) == {"sql": "milan-2"}


def test_what_is_set_aside_as_huge_pages_is_no_memory_for_others() -> None:
    desired = b.small(b.vm("new", memory="40GiB", placement=PARIS))
    seen = b.as_declared(desired, {}, memory_bytes=64 * GIB)
    for host in ("paris-1", "paris-2"):
        seen = with_hardware(seen, host, huge_bytes=32 * GIB, huge_free_bytes=32 * GIB)
    assert starts(compute(desired, seen, b.APPLIED, b.NOW_S)) == {}


def mover(*names: str) -> Any:
    return b.small(*(b.vm(name, placement={"site": "milan"},
                          disks=[{"name": "vda", "size": "900GiB"}]) for name in names))


def test_disks_go_only_where_the_pool_has_room_for_what_they_take_up() -> None:
    desired = mover("sql")
    seen = b.as_declared(desired, {"sql": "paris-1"})
    for host in ("milan-1", "milan-2"):
        seen = with_pool(seen, host, 1 * GIB)
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    assert moves(plan) == {}
    assert "room for its disks (900GiB in pool default)" in about(plan, "sql")
    thin = with_pool(seen, "paris-1", 500 * GIB, sql=GIB // 2)
    assert set(moves(compute(desired, thin, b.APPLIED, b.NOW_S))) == {"sql"}


def test_two_that_move_at_once_share_what_is_left_of_a_pool_and_so_does_one_under_way() -> None:
    desired = mover("sql", "web")
    seen = with_pool(b.as_declared(desired, {"sql": "paris-1", "web": "paris-1"}), "paris-1",
                     500 * GIB, sql=60 * GIB, web=60 * GIB)
    seen = with_pool(with_pool(seen, "milan-1", 100 * GIB), "milan-2", 100 * GIB)
    assert sorted(moves(compute(desired, seen, b.APPLIED, b.NOW_S)).values()) == [
        "milan-1", "milan-2"]
    full = with_pool(seen, "milan-2", 1 * GIB)
    flight = InFlight("migrate:VirtualMachine/sql@paris-1/milan-1", "VirtualMachine/sql",
                      ("paris-1", "milan-1"), Rung.MIGRATE)
    full = b.with_domain(full, "paris-1", "sql", b.domain("sql", "paris-1", desired,
                                                          job="Outgoing migration"))
    plan = compute(desired, full, Context(applied_revision="r1", in_flight=(flight,)), b.NOW_S)
    assert "web" not in moves(plan)
    assert "room for its disks (60GiB" in about(plan, "web")
