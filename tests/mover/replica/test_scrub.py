"""Damage is found, named by cluster and point, and repaired with the least data."""

import errno
import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.image.chain import Chain
from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import UNKNOWN_HASH
from mover.image.qcow2 import COPIED, DATA, ZERO_FLAG, Overlay
from mover.replica.damage import repair_set
from mover.replica.replica import Replica
from mover.replica.scrub import Request, verify
from mover.replica.verbs import describe, known

from tests.mover.replicas import HASHER
from tests.mover.transfers import Machine, ask, assert_every_point_reads_as_its_disk, start_mover

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = (8 << 20) + 3 * 512


def made(folder: Path, cycles: int) -> Machine:
    """Return a machine whose changes are known: cycle n writes clusters 10n to 10n+4."""
    machine = Machine(folder, {"vda": SIZE})
    for number in range(cycles):
        machine.open("vda", "overlay" if number else "base")
        for cluster in range(10 * number, 10 * number + 5):
            start = cluster * CLUSTER_BYTES
            machine.disks["vda"][start:start + CLUSTER_BYTES] = machine.dice.randbytes(
                CLUSTER_BYTES)
        machine.send("vda", [machine.at("vda", cluster) for cluster in range(
            10 * number, 10 * number + 5)] if number else machine.everything("vda"))
        machine.publish(vda={"transfers": ["t"]})
    return machine


def flip(path: Path, cluster: int, *, at: int = 100) -> None:
    """Flip a bit of one cluster of a base or an overlay."""
    position = cluster * CLUSTER_BYTES
    if path.suffix == ".qcow2":
        with Overlay(str(path)) as overlay:
            position = next(run.position for run in overlay.runs(cluster, 1) if run.kind == DATA)
    with path.open("r+b") as file:
        file.seek(position + at)
        byte = file.read(1)[0]
        file.seek(position + at)
        file.write(bytes([byte ^ 4]))


def look(machine: Machine, **how: object) -> dict[str, object]:
    """Verify the replica."""
    return verify(Request(str(machine.root), **how))


def increment(machine: Machine, clusters: list[int], *, whole: bool = False) -> None:
    """Send some clusters as they are now and publish."""
    machine.open("vda", "overlay")
    machine.send("vda", [machine.at("vda", cluster) for cluster in clusters], "inc")
    machine.publish(vda={"transfers": ["inc"], "whole": whole})


def test_a_sound_replica_is_vouched_for(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    told = look(machine, at="2026-01-01")
    assert (told["complete"], told["damage"]) == (True, [])
    points = Replica(str(machine.root)).state.points
    assert [point.verified_at for point in points] == ["2026-01-01"] * 3


def test_that_all_was_read_outlasts_the_points_that_it_dates(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    assert not look(machine, at=7000.0, budget_s=1e-9)["complete"]
    assert "scrubbed_at" not in Replica(str(machine.root)).state.facts
    for _ in range(2):      # it goes on while points come and go
        machine.cycle()
    assert ask("retire", {"replica": str(machine.root), "sequences": [1, 2, 3]}, tmp_path)[0] == 0
    assert look(machine, at=8000.0)["complete"]
    state = Replica(str(machine.root)).state
    assert state.facts["scrubbed_at"] == 8000.0
    assert [point.verified_at for point in state.points] == [None, None]
    machine.cycle()
    assert Replica(str(machine.root)).state.facts["scrubbed_at"] == 8000.0


def test_rot_in_an_overlay_is_named_with_the_points_that_read_it(tmp_path: Path) -> None:
    machine = made(tmp_path, 4)
    flip(machine.root / "vda/rp-000002.qcow2", 12)
    told = look(machine, at="now")
    assert told["damage"] == [{"disk": "vda", "file": "rp-000002.qcow2", "first": 12,
                               "clusters": 1, "sequence": 2, "lost": False, "until": None}]
    assert told["points"] == {"1": 0, "2": 1, "3": 1, "4": 1}
    assert told["repair"] == {"vda": [(12 * CLUSTER_BYTES, CLUSTER_BYTES)]}
    points = Replica(str(machine.root)).state.points
    assert [point.verified_at for point in points] == ["now", None, None, None]


def test_the_repair_set_heals_the_newest_point_and_then_the_older_ones(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    flip(machine.root / "vda/rp-000002.qcow2", 12)
    flip(machine.root / "vda/base-000001.raw", 3)
    sent = [offset // CLUSTER_BYTES
            for offset, _ in look(machine)["repair"]["vda"]]
    assert sent == [3, 12]
    increment(machine, sent)
    replica = Replica(str(machine.root))
    assert repair_set(replica) == {"vda": []}
    assert [point.damaged for point in replica.state.points] == [1, 2, 2, 0]
    told = look(machine)
    assert told["repaired_clusters"] == 2
    assert look(machine)["damage"] == []
    assert_every_point_reads_as_its_disk(machine)


def test_what_changed_since_cannot_repair_an_older_point_which_stays_flagged(
        tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    flip(machine.root / "vda/base-000001.raw", 3)
    look(machine)
    start = 3 * CLUSTER_BYTES
    machine.disks["vda"][start:start + CLUSTER_BYTES] = b"n" * CLUSTER_BYTES
    increment(machine, [3])
    assert look(machine)["repaired_clusters"] == 0
    assert [point.damaged for point in Replica(str(machine.root)).state.points] == [1, 1, 0]
    assert look(machine)["repair"] == {}


def test_damage_moves_with_a_merge_and_goes_with_the_points_that_read_it(tmp_path: Path) -> None:
    machine = made(tmp_path, 4)
    flip(machine.root / "vda/rp-000002.qcow2", 12)
    flip(machine.root / "vda/base-000001.raw", 13)
    look(machine)
    start = 12 * CLUSTER_BYTES
    machine.disks["vda"][start:start + CLUSTER_BYTES] = b"n" * CLUSTER_BYTES
    increment(machine, [12])
    ask("retire", {"replica": str(machine.root), "sequences": [1]}, tmp_path)
    told = look(machine)
    assert [(one["file"], one["first"]) for one in told["damage"]] == [("base-000001.raw", 12)]
    assert told["points"] == {"2": 1, "3": 1, "4": 1, "5": 0}


def test_a_truncated_base_is_damage_that_the_repair_set_heals(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    os.truncate(machine.root / "vda/base-000001.raw", 2 * CLUSTER_BYTES)
    told = look(machine)
    assert told["damage"][0]["first"] == 2
    increment(machine, [offset // CLUSTER_BYTES + step for offset, length in told["repair"]["vda"]
                        for step in range(length // CLUSTER_BYTES)])
    look(machine)
    assert look(machine)["damage"] == []
    assert_every_point_reads_as_its_disk(machine)


@pytest.mark.parametrize("how", ["deleted", "overwritten", "cut short"])
def test_a_lost_overlay_is_healed_by_comparing_the_disk(tmp_path: Path, how: str) -> None:
    machine = made(tmp_path, 4)
    path = machine.root / "vda/rp-000003.qcow2"
    if how == "deleted":
        path.unlink()
    elif how == "cut short":
        os.truncate(path, 70_000)
    else:
        path.write_bytes(b"not what it was" * 9999)
    told = look(machine)
    assert told["scan"] == ["vda"]
    assert {number: count > 0 for number, count in told["points"].items()} == {
        "1": False, "2": False, "3": True, "4": True}
    replica = Replica(str(machine.root))
    with known(replica, "vda", str(tmp_path / "known"), {}) as manifest:
        there = manifest.hashes(0, manifest.clusters)
    here = HASHER.clusters(machine.disks["vda"])
    differing = [at // 16 for at in range(0, len(here), 16)
                 if here[at:at + 16] != there[at:at + 16]]
    assert differing == [20, 21, 22, 23, 24]
    increment(machine, differing, whole=True)
    for number in (3, 4):
        del machine.flats[number, "vda"]
    assert [point.damaged > 0 for point in Replica(str(machine.root)).state.points] == [
        False, False, True, True, False]
    assert_every_point_reads_as_its_disk(machine, but=(3, 4))
    status, told = ask("retire", {"replica": str(machine.root), "sequences": [3, 4]}, tmp_path)
    assert status == 0, told
    assert look(machine)["damage"] == []


def test_rot_in_a_cluster_of_zeros_is_repaired_at_once(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    flip(machine.root / "vda/base-000001.raw", 100)
    told = look(machine)
    assert (told["found_clusters"], told["repaired_clusters"], told["damage"]) == (1, 1, [])
    assert_every_point_reads_as_its_disk(machine)


def test_a_compared_manifest_knows_no_damaged_cluster(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    flip(machine.root / "vda/rp-000002.qcow2", 12)
    look(machine)
    with known(Replica(str(machine.root)), "vda", str(tmp_path / "known"), {}) as manifest:
        assert manifest.hashes(12, 1) == UNKNOWN_HASH
        assert manifest.hashes(11, 1) == HASHER.clusters(machine.at("vda", 11)[1])


def test_a_scrub_in_pieces_comes_to_the_end_and_misses_nothing(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    flip(machine.root / "vda/rp-000003.qcow2", 24)
    rounds = [look(machine, budget_s=1e-9)]
    while not rounds[-1]["complete"]:
        rounds.append(look(machine, budget_s=1e-9))
        assert len(rounds) < 100
    whole = look(machine, restart=True)
    assert len(rounds) > 2
    assert sum(told["read_bytes"] for told in rounds) == whole["read_bytes"]
    assert rounds[-1]["damage"] == whole["damage"]
    assert describe(str(machine.root))["damage"][0]["first"] == 24


def test_a_scrub_holds_to_its_rate(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 8 << 20})
    machine.cycle(120)
    stored = look(machine)["read_bytes"]
    begun = time.monotonic()
    look(machine, rate_bps=stored * 8)
    assert time.monotonic() - begun > 0.85


def test_a_damaged_state_is_told_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    machine = made(tmp_path, 1)
    path = machine.root / "state.json"
    for copy in machine.root.glob("state.json.*"):
        copy.unlink()
    path.write_bytes(path.read_bytes().replace(b'"sequence": 1', b'"sequence": 2'))
    status, told = ask("verify", {"replica": str(machine.root)}, tmp_path)
    assert (status, told["error"]) == (2, "try again")
    path.unlink()
    status, told = ask("replica-make", {"replica": str(machine.root), "vm": "a-vm"}, tmp_path)
    assert (status, told["error"]) == (1, "refused")
    assert "has files of vda but no state.json" in told["sentence"]
    assert (machine.root / "vda/base-000001.raw").exists()


def test_the_manifest_crosses_to_the_other_host_whole(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    (tmp_path / "r").write_text(json.dumps({"replica": str(machine.root), "disk": "vda"}) + "\n")
    out = start_mover("manifest-out", stdin=tmp_path / "r")
    (tmp_path / "wire").write_bytes(out.communicate()[0])
    come = start_mover("manifest-in", tmp_path / "copy", 1 << 30, stdin=tmp_path / "wire")
    assert come.communicate()[1] == b""
    assert come.returncode == 0
    with known(Replica(str(machine.root)), "vda", str(tmp_path / "known"), {}) as manifest:
        size = manifest.clusters
        mine = manifest.hashes(0, size)
    with Chain(machine.paths("vda", 2)) as chain:
        assert HASHER.clusters(chain.read(0, SIZE)) == mine
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "known").read_bytes()


def test_a_manifest_that_explodes_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    compressor = zlib.compressobj(9)
    wire = b"".join(compressor.compress(b"\1" * (1 << 20)) for _ in range(64)) + compressor.flush()
    (tmp_path / "wire").write_bytes(wire)
    assert len(wire) < 1 << 20
    come = start_mover("manifest-in", tmp_path / "known" / "a.man", 8192, stdin=tmp_path / "wire")
    _, said = come.communicate()
    assert come.returncode == 1
    assert "has more than the 8192 bytes of this disk's manifest" in said.decode()
    assert list((tmp_path / "known").iterdir()) == []


class BadSectors:
    """A disk that cannot give back, or take, the bytes of a file from some place on."""

    def __init__(self, patch: pytest.MonkeyPatch, path: Path, start: int, number: int) -> None:
        self._path, self._start, self._number = path, start, number
        for name in ("pread", "preadv", "pwrite"):
            patch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(fd: int, what: object, at: int) -> object:
            if at >= self._start and Path(f"/proc/self/fd/{fd}").resolve() == self._path:
                raise OSError(self._number, os.strerror(self._number))
            return real(fd, what, at)
        return call


def tables_at(path: Path) -> int:
    """Return where the tables of an overlay lie, behind its clusters."""
    with Overlay(str(path)) as overlay:
        return min(at for at in overlay._tables if at)


def sums_at(path: Path) -> int:
    """Return where the hashes of an overlay lie, behind all else."""
    with Overlay(str(path)) as overlay:
        assert overlay.header.sums is not None
        return overlay.header.sums.offset


@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.EBADMSG])
@pytest.mark.parametrize(("name", "where", "spoilt"), [
    ("rp-000002.qcow2", tables_at, [1, 2, 3]), ("rp-000002.qcow2", sums_at, [1, 2, 3]),
    ("base-000001.man", lambda _: 4096, [1, 2, 3])])
def test_a_file_whose_own_tables_cannot_be_read_is_noted_with_all_else_that_was_found(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int,
        where: Callable[[Path], int], spoilt: list[int]) -> None:
    machine = made(tmp_path, 3)
    flip(machine.root / "vda/rp-000003.qcow2", 22)
    flip(machine.root / "vda/base-000001.raw", 3)
    path = machine.root / "vda" / name
    BadSectors(monkeypatch, path, where(path), number)
    told = look(machine, at="now")
    assert told["complete"]
    lost = {"base-000001.man": "base-000001.raw"}.get(name, name)
    assert {(one["file"], one["lost"]) for one in told["damage"]} >= {
        (lost, True), ("rp-000003.qcow2", False)}
    points = Replica(str(machine.root)).state.points
    assert [point.sequence for point in points if point.damaged] == spoilt
    assert all(point.verified_at is None for point in points if point.damaged)
    assert look(machine)["damage"] == told["damage"]


def test_a_good_copy_that_cannot_be_read_is_none(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = made(tmp_path, 2)
    increment(machine, [3])
    flip(machine.root / "vda/base-000001.raw", 3)
    BadSectors(monkeypatch, machine.root / "vda/rp-000003.qcow2", CLUSTER_BYTES, errno.EIO)
    told = look(machine)
    assert (told["complete"], told["repaired_clusters"]) == (True, 0)
    assert {one["file"] for one in told["damage"]} == {"base-000001.raw", "rp-000003.qcow2"}


def test_a_place_that_cannot_be_written_stays_noted(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = made(tmp_path, 2)
    path = machine.root / "vda/base-000001.raw"
    flip(path, 100)
    BadSectors(monkeypatch, path, 100 * CLUSTER_BYTES, errno.EIO)
    told = look(machine)
    assert (told["complete"], told["repaired_clusters"]) == (True, 0)
    assert [(one["file"], one["first"]) for one in told["damage"]] == [("base-000001.raw", 100)]


def test_data_that_a_damaged_table_calls_zeros_is_found(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    path = machine.root / "vda/rp-000002.qcow2"
    with path.open("r+b") as file:
        file.seek(tables_at(path) + 12 * 8)
        (entry,) = struct.unpack(">Q", file.read(8))
        file.seek(tables_at(path) + 12 * 8)
        file.write(struct.pack(">Q", entry | ZERO_FLAG))
    told = look(machine)
    assert [(one["file"], one["lost"]) for one in told["damage"]] == [("rp-000002.qcow2", True)]
    compared(machine)
    assert look(machine)["points"] == {"1": 0, "2": -(-SIZE // CLUSTER_BYTES), "3": 0}


def compared(machine: Machine) -> None:
    """Make a point for which the whole disk was sent."""
    machine.open("vda", "overlay")
    machine.send("vda", machine.everything("vda"), "whole")
    machine.publish(vda={"transfers": ["whole"], "whole": True})


def place_at(path: Path, cluster: int) -> int:
    """Return where a cluster lies in an overlay."""
    with Overlay(str(path)) as overlay:
        return next(overlay.runs(cluster, 1)).position


@pytest.mark.parametrize("where", [
    pytest.param(lambda path: place_at(path, 4), id="another cluster's place"),
    pytest.param(tables_at, id="the tables"), pytest.param(os.path.getsize, id="behind the end")])
def test_nothing_is_repaired_where_a_damaged_table_points(
        tmp_path: Path, where: Callable[[Path], int]) -> None:
    machine = made(tmp_path, 1)
    start = 4 * CLUSTER_BYTES
    machine.disks["vda"][start:start + CLUSTER_BYTES] = b"n" * CLUSTER_BYTES
    increment(machine, [3, 4])
    path = machine.root / "vda/rp-000002.qcow2"
    with path.open("r+b") as file:
        file.seek(tables_at(path) + 3 * 8)
        file.write(struct.pack(">Q", where(path) | COPIED))
    before = path.read_bytes()
    told = look(machine)
    assert [(one["file"], one["lost"]) for one in told["damage"]] == [("rp-000002.qcow2", True)]
    assert told["repaired_clusters"] == 0
    assert path.read_bytes() == before
    compared(machine)
    assert look(machine)["points"] == {"1": 0, "2": -(-SIZE // CLUSTER_BYTES), "3": 0}
    with Chain(machine.paths("vda", 3)) as chain:
        assert chain.read(0, SIZE) == machine.flats[3, "vda"].read_bytes()
