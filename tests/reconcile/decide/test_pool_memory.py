"""The contents of a pool count only while the pool's own file system is mounted."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Fact, Known, NodeFacts, PoolFacts, Unknown, VolumeFacts
from controller.model.replica import ReplicaFacts
from controller.plan.actions.storage import AcceptPool
from controller.reconcile.decide.pool_memory import PoolMemory
from controller.reconcile.observe.view import View
from controller.store.store import Store
from tests.plan import builders as b
from tests.plan import replicas as r

LAB = b.small(b.vm("sql"))
NODE = "paris-1"
HELD = r.replica("web", r.series(5, 60))


def answer(*, full: bool = True, **pool: Any) -> Known[NodeFacts]:
    """What the host says: with a disk and a replica in its pool, or with nothing at all."""
    known = b.node(NODE, LAB).value
    volumes = {"sql-vda.qcow2": VolumeFacts("sql-vda.qcow2", "qcow2", b.GIB, 0)} if full else {}
    facts = replace(PoolFacts("default", "/var/lib/libvirt/images", True, 1, 1, volumes,
                              identity="xfs 1234"), **pool)
    replicas = {HELD.uuid: HELD} if full else {}
    return Known(replace(known, pools=Known({"default": facts}, b.NOW_S),
                         replicas=Known(replicas, b.NOW_S)), b.NOW_S)


def view_of(store: Store) -> tuple[View, PoolMemory]:
    memory = PoolMemory(store)
    view = View(lambda: b.NOW_S, screen=memory.screen)
    memory.read()
    view.declare([NODE])
    return view, memory


def pool_of(fact: Fact[NodeFacts]) -> PoolFacts:
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    return fact.value.pools.value["default"]


def replicas_of(fact: Fact[NodeFacts]) -> Any:
    assert isinstance(fact, Known)
    assert isinstance(fact.value.replicas, Known)
    return fact.value.replicas.value


@pytest.mark.parametrize(("pool", "words"), [
    ({"identity": "ext4 of-the-root"}, "lies on ext4 of-the-root, and it lay on xfs 1234"),
    ({"identity": "", "active": False}, "is not there, and it lay on xfs 1234"),
    ({"identity": "ext4 of-the-root", "unmounted": "/var/lib/libvirt"},
     "nothing is mounted at /var/lib/libvirt"),
    ({"identity": "xfs 1234", "unmounted": "/var/lib/libvirt/images"},
     "nothing is mounted at /var/lib/libvirt/images"),
], ids=["another", "no folder", "not mounted", "its place not mounted"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_empty_folder_on_another_file_system_is_as_it_was(
        pool: dict[str, Any], words: str, restarted: bool) -> None:
    store = Store.open(":memory:")
    view, memory = view_of(store)
    view.put(NODE, answer(), b.NOW_S)
    memory.write()
    if restarted:
        view, memory = view_of(store)
        view.remember({NODE: answer()})
    view.put(NODE, answer(full=False, **pool), b.NOW_S)
    seen = pool_of(view.fact(NODE))
    assert words in seen.unknown
    assert seen.replicas_unknown
    assert f"hotsite approve accept-pool:Host/{NODE}@{NODE}/default" in seen.unknown
    assert list(seen.volumes) == ["sql-vda.qcow2"]
    kept: ReplicaFacts = replicas_of(view.fact(NODE))[HELD.uuid]
    assert kept.points == HELD.points
    assert kept.unreadable
    view.put(NODE, answer(), b.NOW_S)
    assert not pool_of(view.fact(NODE)).unknown
    assert replicas_of(view.fact(NODE)) == {HELD.uuid: HELD}


def test_what_is_missing_by_the_hosts_own_tables_is_seen_by_who_remembers_nothing() -> None:
    view, _ = view_of(Store.open(":memory:"))
    view.put(NODE, answer(full=False, identity="ext4 of-the-root", unmounted="/srv"), b.NOW_S)
    assert "nothing is mounted at /srv, where its files should be" in (
        pool_of(view.fact(NODE)).unknown)


def test_a_persons_word_makes_it_count_for_ever() -> None:
    store = Store.open(":memory:")
    view, memory = view_of(store)
    view.put(NODE, answer(), b.NOW_S)
    other = answer(full=False, identity="ext4 of-the-root", unmounted="/srv")
    view.put(NODE, other, b.NOW_S)
    dim = pool_of(view.fact(NODE))
    memory.accept(AcceptPool(target=f"Host/{NODE}", node=NODE, reason="", pool="default",
                             path=dim.path, identity=dim.identity))
    memory.write()
    for again in (view, view_of(store)[0]):
        again.put(NODE, other, b.NOW_S)
        assert not pool_of(again.fact(NODE)).unknown
        assert pool_of(again.fact(NODE)).volumes == {}


def test_a_pool_that_tells_nothing_and_a_host_that_is_silent_are_as_ever() -> None:
    view, _ = view_of(Store.open(":memory:"))
    view.put(NODE, answer(identity=""), b.NOW_S)
    assert not pool_of(view.fact(NODE)).unknown
    view.put(NODE, Unknown("no route to host", b.NOW_S), b.NOW_S)
    assert isinstance(view.fact(NODE), Unknown)
