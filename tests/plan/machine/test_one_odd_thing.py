"""One domain or pool that could not be seen: it is left alone, and all others are planned."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DomainState, Known, Observed, PoolFacts
from controller.plan.actions.machine import MigrateDomain, StartDomain
from controller.plan.actions.storage import CreateDisk
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import actions, ids, plan_of, sentences

WHY = "libvirt did not answer within 2 s when it was asked about it"
HOME = {"sql": "paris-1", "web": "paris-1"}


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


def with_pool(observed: Observed, host: str, pool: PoolFacts) -> Observed:
    """The same, but one pool of one host."""
    fact = observed.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {**fact.value.pools.value, pool.name: pool}
    return b.with_node(observed, host, Known(
        replace(fact.value, pools=Known(pools, b.NOW_S)), b.NOW_S))


def dim(observed: Observed, host: str, name: str = "default") -> Observed:
    """The same, but a pool of a host could not be looked into."""
    return with_pool(observed, host, PoolFacts(
        name, "/var/lib/libvirt/images", True, 0, 0, unknown=WHY, replicas_unknown=WHY))


@pytest.mark.parametrize("state", [DomainState.RUNNING, DomainState.SHUT_OFF])
@pytest.mark.parametrize("remembered", [False, True])
def test_nothing_is_done_about_a_domain_that_could_not_be_read(
        lab: Any, state: DomainState, remembered: bool) -> None:
    odd = b.domain("sql", "paris-1", lab, state=state, unknown=WHY)
    if not remembered:
        odd = replace(odd, live=None, config=None, ownership=None)
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql", odd)
    seen = b.with_domain(seen, "paris-1", "web", b.off("web", "paris-1", lab))
    plan = plan_of(lab, seen)
    assert ids(plan) == ["start:VirtualMachine/web@paris-1"]
    assert f"sql on paris-1 could not be read: {WHY}" in sentences(plan)


def test_nor_is_its_running_copy_overlooked(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-2", "sql", b.domain(
        "sql", "paris-2", lab, unknown=WHY, live=None, config=None))
    assert "TWO RUNNING COPIES of sql" in sentences(plan_of(lab, seen))


def test_what_such_a_domain_takes_up_is_not_given_away() -> None:
    lab = b.small(b.vm("sql", memory="100GiB", placement={"site": "paris"}),
                  b.vm("web", memory="100GiB", placement={"host": "paris-1"}))
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "sql", b.domain(
        "sql", "paris-1", lab, unknown=WHY))
    assert not [one for one in actions(plan_of(lab, seen)) if isinstance(one, StartDomain)]


def test_nothing_is_deleted_that_a_domain_nobody_could_read_may_use(lab: Any) -> None:
    old = b.domain("old", "paris-1", b.small(b.vm("old", deletion="delete")))
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "old", old)
    riddle = replace(b.domain("web", "paris-1", lab), name="riddle", uuid="riddle", unknown=WHY,
                     live=None, config=None, ownership=None)
    plan = plan_of(lab, b.with_domain(seen, "paris-1", "riddle", riddle))
    assert ids(plan) == []
    assert "riddle on paris-1 could not be read and may use its disks" in sentences(plan)


def test_a_pool_that_could_not_be_seen_is_not_made_and_the_vms_on_it_are_healed(lab: Any) -> None:
    seen = b.with_domain(dim(b.as_declared(lab, HOME), "paris-1"), "paris-1", "web",
                         b.off("web", "paris-1", lab))
    plan = plan_of(lab, seen)
    assert ids(plan) == ["start:VirtualMachine/web@paris-1"]
    assert f"pool default of paris-1 could not be seen ({WHY})" in sentences(plan)


def test_a_pool_that_is_not_started_is_started_first_and_used_once_it_is_seen(lab: Any) -> None:
    off = PoolFacts("default", "/var/lib/libvirt/images", False, 0, 0, unknown="it is not active")
    seen = with_pool(b.as_declared(lab, {"web": "paris-1"}), "paris-2", off)
    assert ids(plan_of(lab, seen)) == ["create-pool:Host/paris-2@paris-2/default"]


def test_another_pool_that_could_not_be_seen_holds_nothing_back(lab: Any) -> None:
    seen = dim(b.as_declared(lab, {"sql": "paris-1"}), "paris-2", "Downloads")
    assert "start:VirtualMachine/web@paris-1" in " ".join(ids(plan_of(lab, seen))).replace(
        "paris-2", "paris-1").replace("milan-1", "paris-1").replace("milan-2", "paris-1")


def test_a_vm_is_not_made_anew_while_its_disks_may_lie_where_nobody_sees(lab: Any) -> None:
    plan = plan_of(lab, dim(b.as_declared(lab, {"web": "paris-1"}), "milan-2"))
    assert ids(plan) == []
    assert "sql is not created: pool default of milan-2 might hold its disks" in sentences(plan)


def test_nor_is_one_disk_of_it(lab: Any) -> None:
    bare = replace(b.config_of("sql", "paris-1", lab), disks=())
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql", b.domain(
        "sql", "paris-1", lab, live=bare, config=bare))
    seen = with_pool(seen, "paris-1", PoolFacts("default", "/var/lib/libvirt/images", True, 9, 9))
    assert any(isinstance(one, CreateDisk) for one in actions(plan_of(lab, seen)))
    plan = plan_of(lab, dim(seen, "paris-1"))
    assert ids(plan) == []
    assert "its file may lie there, so nothing is made" in sentences(plan)


def test_nothing_moves_into_a_pool_that_could_not_be_seen() -> None:
    lab = b.small(b.vm("sql", placement={"host": "paris-2"}))
    seen = b.as_declared(lab, {"sql": "paris-1"})
    [move] = plan_of(lab, seen).steps
    assert isinstance(move.action, MigrateDomain)
    assert move.ruling.verdict == "allowed"
    [move] = plan_of(lab, dim(seen, "paris-2")).steps
    assert (move.ruling.verdict, move.ruling.rule) == ("refused", "unread")


def test_no_new_replica_is_put_there_nor_made_while_one_may_be_there() -> None:
    lab = b.small(b.vm("sql", protection="gold", placement={"site": "paris"}))
    seen = r.asked(b.as_declared(lab, {"sql": "paris-1"}), lab)
    assert [one.rpartition("@")[0] for one in ids(plan_of(lab, seen))] == ["replicate:Replica/sql"]
    plan = plan_of(lab, dim(seen, "milan-1"))
    assert ids(plan) == []
    assert "the replicas in pool default of milan-1 could not be seen" in sentences(plan)
    assert len(ids(plan_of(lab, dim(seen, "milan-1", "Downloads")))) == 1


def test_a_pool_that_is_no_folder_is_told_by_its_type(lab: Any) -> None:
    seen = with_pool(b.as_declared(lab, HOME), "paris-1",
                     PoolFacts("default", "", True, 0, 0, type="rbd"))
    assert "is of type rbd, which has no folder" in sentences(plan_of(lab, seen))
