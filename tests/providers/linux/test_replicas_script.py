"""What a poll reports of replicas made by the mover, sound and damaged in every way."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable

import pytest
from mover.replica import retire
from mover.replica.replica import create, locked
from mover.replica.scrub import Request, verify
from mover.replica.state import Point, State, parse_state, render_state

from controller.model.replica import IncomingFacts, ReplicaFacts
from controller.providers.linux.replica import parse_replicas
from tests.mover.replica.test_scrub import flip
from tests.mover.replicas import HASHER
from tests.mover.transfers import SECRET, Machine
from tests.providers.linux.conftest import PlayedHost

UUID = "fa4e398e-3f94-51e5-b7d7-6dbad2f2dab3"
OUTCOMES = ("proven", "proven", "failed", "unproven", "cut off")
SIZE = (4 << 20) + 512
CLUSTERS = 65       # of a disk


class Protected(Machine):
    """A VM whose replica lies in the pool of a played host."""

    def __init__(self, host: PlayedHost, sizes: dict[str, int]) -> None:
        folder = host.folder / "source"
        folder.mkdir()
        super().__init__(folder, sizes)
        self.root = host.folder / "pool/hotsite-replicas" / UUID
        create(str(self.root), UUID, HASHER.algorithm, SECRET,
               {"machine": "mail", "estate": "lab"})

    def state(self) -> State:
        """Return what state.json says."""
        path = self.root / "state.json"
        return parse_state(path.read_bytes(), str(path))

    def flat(self, sequence: int, disk: str) -> bytes:
        """Return what a disk was like at a point."""
        return self.flats[sequence, disk].read_bytes()


@pytest.fixture
def machine(host: PlayedHost) -> Protected:
    """A VM with two disks and a replica with three points."""
    machine = Protected(host, {"vda": SIZE, "vdb": 1 << 20})
    machine.cycle(12)
    machine.cycle(3)
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 2), "third")
    machine.publish(vda={"transfers": ["third"]}, vdb={"unchanged": True})
    return machine


def seen(host: PlayedHost) -> ReplicaFacts:
    """Return the one replica that a poll tells."""
    [replica] = parse_replicas(host.text("replicas")).values()
    return replica


def test_a_sound_replica_is_told_whole(host: PlayedHost, machine: Protected) -> None:
    replica = seen(host)
    assert (replica.uuid, replica.machine, replica.path) == (UUID, "mail", str(machine.root))
    assert [(p.sequence, p.checkpoint, p.started_at) for p in replica.points] == [
        (number, f"hotsite-{number:06d}-0a", 300.0 * number) for number in (1, 2, 3)]
    assert all(p.damaged_clusters == 0 and not p.quiesced for p in replica.points)
    stored = [sum(f.stored_bytes for f in p.files.values() if f) for p in machine.state().points]
    assert [p.stored_bytes for p in replica.points] == stored
    assert replica.disks == {"vda": SIZE, "vdb": 1 << 20}
    assert (replica.damaged_clusters, replica.lost_files, replica.incoming) == (0, (), ())
    assert (replica.pins, replica.scrubbed_at, replica.unreadable) == ({}, None, "")
    assert replica.compared_at is None
    assert 1 << 20 <= replica.stored_bytes <= 16 << 20


def test_when_it_was_last_compared_with_its_source_is_told(
        host: PlayedHost, machine: Protected) -> None:
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 2), "fourth")
    machine.open("vdb", "overlay")
    machine.send("vdb", machine.change("vdb", 2), "fourth")
    machine.publish(**{disk: {"transfers": ["fourth"], "compared": True}
                       for disk in machine.disks})
    assert seen(host).compared_at == 4 * 300.0


def test_a_host_without_replicas_is_known_to_have_none(host: PlayedHost) -> None:
    assert host.text("replicas") == "[]"


def test_nothing_is_sent_again_while_nothing_happens(host: PlayedHost, machine: Protected) -> None:
    known = {name: told["digest"] for name, told in host.ask()["sections"].items()}
    again = host.ask(known=known)["sections"]
    assert again == {name: {"digest": digest, "same": True} for name, digest in known.items()}
    machine.cycle(2)
    assert "text" in host.ask(known=known)["sections"]["replicas"]
    assert seen(host).points[-1].sequence == 4


def test_a_state_that_did_not_change_is_not_read_again(
        host: PlayedHost, machine: Protected) -> None:
    before, path = seen(host), machine.root / "state.json"
    times = path.stat()
    path.write_bytes(b"x" * times.st_size)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert seen(host) == before
    for copy in machine.root.glob("state.json.*"):
        copy.unlink()
    path.touch()
    assert "is not the state of a replica" in seen(host).unreadable


def rewritten(machine: Protected, **changes: object) -> None:
    """Write another state.json, with a check that fits."""
    outer = json.loads(render_state(machine.state()))
    outer["state"].update(changes)
    body = json.dumps(outer["state"], sort_keys=True, indent=1)
    outer["check"] = hashlib.sha256(body.encode()).hexdigest()
    (machine.root / "state.json").write_text(json.dumps(outer))


def flip_a_bit(machine: Protected) -> None:
    """Change one number without its check."""
    path = machine.root / "state.json"
    path.write_text(path.read_text().replace('"started_at": 300', '"started_at": 301'))


@pytest.mark.parametrize(("break_it", "sentence"), [
    (flip_a_bit, "does not have the check it was written with: put a good copy back, or move"),
    (lambda m: os.truncate(m.root / "state.json", 99), "is not the state of a replica"),
    (lambda m: (m.root / "state.json").write_text("[]"), "is not the state of a replica"),
    (lambda m: (m.root / "state.json").unlink(), "is missing and restore points are there"),
    (lambda m: ((m.root / "state.json").unlink(), (m.root / "state.json").mkdir()),
     "state.json is no file: put a good copy back"),
])
def test_a_replica_that_cannot_be_read_is_told_with_a_sentence(
        host: PlayedHost, machine: Protected, break_it: Callable[[Protected], object],
        sentence: str) -> None:
    for copy in machine.root.glob("state.json.*"):
        copy.unlink()
    break_it(machine)
    replica = seen(host)
    assert sentence in replica.unreadable
    assert replica.unreadable.startswith(str(machine.root))
    assert (replica.uuid, replica.path, replica.points) == (UUID, str(machine.root), ())


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"version": 3}, "was written by another version"),
    ({"vm": "another"}, "holds the replica of another"),
    ({"points": [{"sequence": "one"}]}, "is not understood (KeyError")])
def test_a_copy_does_not_stand_in_for_a_state_that_is_sound_but_of_something_else(
        host: PlayedHost, machine: Protected, changes: dict[str, object], sentence: str) -> None:
    rewritten(machine, **changes)
    assert sentence in seen(host).unreadable


@pytest.mark.parametrize("break_it", [
    flip_a_bit, lambda m: os.truncate(m.root / "state.json", 99),
    lambda m: (m.root / "state.json").unlink(),
    lambda m: shutil.copy(min(m.root.glob("state.json.*")), m.root / "state.json")])
def test_a_state_that_is_damaged_or_older_is_read_from_the_newest_copy(
        host: PlayedHost, machine: Protected, break_it: Callable[[Protected], object]) -> None:
    before = seen(host)
    break_it(machine)
    assert seen(host) == before


def test_a_finished_file_that_is_newer_than_the_state_is_told(
        host: PlayedHost, machine: Protected) -> None:
    kept = (machine.root / "state.json").read_bytes()
    machine.cycle(2)
    for copy in machine.root.glob("state.json.*"):
        copy.unlink()
    (machine.root / "state.json").write_bytes(kept)
    assert "newer than state.json, which ends at restore point 3" in seen(host).unreadable


def test_a_replica_that_is_only_being_made_has_no_points(host: PlayedHost) -> None:
    root = host.folder / "pool/hotsite-replicas" / UUID
    (root / "vda").mkdir(parents=True)
    assert (seen(host).points, seen(host).unreadable) == ((), "")


def test_late_points_without_a_state_are_no_replica_that_is_only_being_made(
        host: PlayedHost) -> None:
    root = host.folder / "pool/hotsite-replicas" / UUID
    (root / "vda").mkdir(parents=True)
    (root / "vda/base-1000000.raw").touch()
    assert "is missing and restore points are there" in seen(host).unreadable


def test_a_folder_that_no_vm_has_the_name_of_is_no_replica(
        host: PlayedHost, machine: Protected) -> None:
    shutil.copytree(machine.root, machine.root.with_name(UUID + ".old"))
    (machine.root.parent / "lost+found").mkdir()
    assert len(json.loads(host.text("replicas"))) == 1


@pytest.mark.parametrize(("name", "spoilt"), [
    ("vda/base-000001.raw", [CLUSTERS, CLUSTERS, CLUSTERS]),
    ("vda/rp-000002.qcow2", [0, CLUSTERS, CLUSTERS]),
    ("vdb/rp-000002.qcow2", [0, 16, 16]),
    ("vda/rp-000003.qcow2", [0, 0, CLUSTERS]),
])
@pytest.mark.parametrize("how", ["lost", "truncated"])
def test_a_lost_or_truncated_file_spoils_the_points_that_read_it(
        host: PlayedHost, machine: Protected, name: str, spoilt: list[int], how: str) -> None:
    assert seen(host).lost_files == ()
    path = machine.root / name
    if how == "lost":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 1)
    replica = seen(host)
    assert replica.lost_files == (name,)
    assert [point.damaged_clusters for point in replica.points] == spoilt
    assert (replica.damaged_clusters, replica.unreadable) == (0, "")


def test_a_base_without_its_hashes_cannot_be_compared(
        host: PlayedHost, machine: Protected) -> None:
    (machine.root / "vda/base-000001.man").unlink()
    assert seen(host).lost_files == ("vda/base-000001.man",)


def test_a_lost_folder_of_a_disk_loses_all_its_files(host: PlayedHost, machine: Protected) -> None:
    shutil.rmtree(machine.root / "vdb")
    assert seen(host).lost_files == (
        "vdb/base-000001.man", "vdb/base-000001.raw", "vdb/rp-000002.qcow2")


def test_what_a_scrub_found_and_when_it_ended_is_told(
        host: PlayedHost, machine: Protected) -> None:
    verify(Request(str(machine.root), at=7000.0))
    replica = seen(host)
    assert [point.verified_at for point in replica.points] == [7000.0] * 3
    assert replica.scrubbed_at == 7000.0
    flip(machine.root / "vda/base-000001.raw", next(
        at for at in range(CLUSTERS) if any(machine.flat(1, "vda")[at << 16:(at + 1) << 16])))
    (machine.root / "vda/rp-000003.qcow2").unlink()
    verify(Request(str(machine.root), at=8000.0))
    replica = seen(host)
    assert replica.damaged_clusters == 1
    assert replica.scrubbed_at == 8000.0
    assert replica.lost_files == ("vda/rp-000003.qcow2",)
    assert [point.damaged_clusters for point in replica.points] == [
        point.damaged for point in machine.state().points]
    assert replica.points[0].damaged_clusters == 1


def test_a_scrub_that_ended_before_that_was_noted_is_told_by_its_bookmark(
        host: PlayedHost, machine: Protected) -> None:
    flip(machine.root / "vda/base-000001.raw", next(
        at for at in range(CLUSTERS) if any(machine.flat(1, "vda")[at << 16:(at + 1) << 16])))
    verify(Request(str(machine.root), at=8000.0))
    with locked(str(machine.root)) as replica:
        facts = {name: fact for name, fact in replica.state.facts.items() if name != "scrubbed_at"}
        replica.commit(replica.state._replace(facts=facts))
    assert seen(host).scrubbed_at == int((machine.root / "scrub.json").stat().st_mtime)


def test_a_scrub_on_its_way_has_not_ended(host: PlayedHost, machine: Protected) -> None:
    verify(Request(str(machine.root), at=7000.0, budget_s=1e-9))
    assert json.loads((machine.root / "scrub.json").read_text())["disk"]
    assert seen(host).scrubbed_at is None


def test_what_is_on_its_way_is_told(host: PlayedHost, machine: Protected) -> None:
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 9), "cut")
    [incoming] = seen(host).incoming
    assert (incoming.disk, incoming.size_bytes) == ("vda", SIZE)
    assert 2 << 16 <= incoming.arrived_bytes <= 10 << 16
    (machine.root / "vda/incoming.json").write_text("torn")
    assert seen(host).incoming == ()


def test_a_seed_on_its_way_is_told_before_there_is_a_point(host: PlayedHost) -> None:
    machine = Protected(host, {"vda": SIZE})
    machine.open("vda", "base")
    assert seen(host).incoming == (IncomingFacts("vda", SIZE, 0),)
    assert seen(host).points == ()


def test_pins_are_told(host: PlayedHost, machine: Protected) -> None:
    with locked(str(machine.root)) as replica:
        replica.commit(replica.state._replace(pins={"drill": 2}))
    assert seen(host).pins == {"drill": 2}


def test_the_last_drill_and_the_last_proof_are_told(host: PlayedHost, machine: Protected) -> None:
    told = [{"at": float(at), "sequence": 2, "outcome": outcome, "sentence": "s", "content": "c",
             "by": "ann", "boot_s": 0.5} for at, outcome in enumerate(OUTCOMES)]
    with locked(str(machine.root)) as replica:
        for count, at in ((0, []), (1, [0]), (2, [1]), (3, [1, 2]), (4, [1, 3]), (5, [1, 3])):
            replica.commit(replica.state._replace(facts={"drills": told[:count]}))
            assert [(one.at, one.boot_s) for one in seen(host).drills] == [(no, 0.5) for no in at]


def test_a_replica_in_the_midst_of_a_merge_lacks_nothing(
        host: PlayedHost, machine: Protected) -> None:
    with locked(str(machine.root)) as replica:
        replica.commit(retire._without_oldest(replica.state))
        assert replica.state.floor
        os.truncate(machine.root / "vda/base-000001.raw", SIZE - 512)  # of a disk that shrank
        assert seen(host).lost_files == ()
        (machine.root / "vda/rp-000002.qcow2").unlink()
        assert [p.damaged_clusters for p in seen(host).points] == [CLUSTERS, CLUSTERS]


@pytest.mark.parametrize("retired", [1, 2])
def test_a_replica_whose_point_was_let_go_lacks_nothing(
        host: PlayedHost, machine: Protected, retired: int) -> None:
    assert len(seen(host).points) == 3
    with locked(str(machine.root)) as replica:
        retire.retire(replica, retired)
    replica_seen = seen(host)
    assert [p.sequence for p in replica_seen.points] == [n for n in (1, 2, 3) if n != retired]
    assert (replica_seen.lost_files, replica_seen.unreadable) == ((), "")
    assert set(replica_seen.disks) == {"vda", "vdb"}


def test_a_point_without_a_base_is_not_understood(host: PlayedHost, machine: Protected) -> None:
    points = machine.state().points
    bare: tuple[Point, ...] = tuple(p._replace(meta=()) for p in points[1:])
    with locked(str(machine.root)) as replica:
        (machine.root / "state.json").write_bytes(render_state(
            replica.state._replace(points=bare)))
    assert "is not understood" in seen(host).unreadable


def test_two_pools_in_one_folder_hold_one_replica(host: PlayedHost, machine: Protected) -> None:
    host.pools.append({"name": "again", "path": f"{host.folder}/pool/.", "active": True})
    host.set_libvirt()
    assert len(json.loads(host.text("replicas"))) == 1


def no_store(host: PlayedHost) -> None:
    """Put a file where the folder of replicas belongs."""
    (host.folder / "pool/hotsite-replicas").write_text("")


def no_pool(host: PlayedHost) -> None:
    """Take the folder of an active pool away."""
    (host.folder / "pool").rmdir()


def unmounted(host: PlayedHost) -> None:
    """Stop a pool whose file system is then not there."""
    host.pools[0].update(active=False, kind="netfs")
    host.set_libvirt()


def stopped(host: PlayedHost) -> None:
    """Stop a pool and take its folder away."""
    host.pools[0].update(active=False)
    host.set_libvirt()
    (host.folder / "pool").rmdir()


@pytest.mark.parametrize(("break_it", "sentence"), [
    (no_store, "hotsite-replicas cannot be read: Not a directory"),
    (no_pool, "cannot be read: No such file or directory"),
    (unmounted, "it is not active, so its files in"),
    (stopped, "cannot be read: No such file or directory: start the pool, or undefine it"),
])
def test_replicas_that_nobody_can_see_are_unknown_not_none(
        host: PlayedHost, break_it: Callable[[PlayedHost], None], sentence: str) -> None:
    host.pools.append({"name": "other", "path": str(host.folder / "other"), "active": True})
    (host.folder / "other").mkdir()
    break_it(host)
    host.set_libvirt()
    pools = {one["name"]: one for one in json.loads(host.texts("replicas pools")["pools"])}
    assert sentence in pools["default"]["replicas_unknown"]
    assert "replicas_unknown" not in pools["other"]


def test_without_libvirt_nobody_sees_any_replica(host: PlayedHost) -> None:
    host.set_libvirt("dead")
    assert "libvirt did not answer" in host.error("replicas")


def test_a_stopped_pool_whose_folder_is_there_is_looked_into(
        host: PlayedHost, machine: Protected) -> None:
    host.pools[0]["active"] = False
    host.set_libvirt()
    assert len(seen(host).points) == 3


def test_a_pool_that_is_no_folder_holds_no_replicas(host: PlayedHost) -> None:
    host.pools[0].update(active=False, kind="logical")
    host.set_libvirt()
    assert host.text("replicas") == "[]"
