"""Received data becomes a restore point wholly or not at all, however often it is cut off."""

import json
import os
import random
import resource
import shutil
import time
from pathlib import Path

import pytest
from mover.errors import MoverError, Refused, TryAgain
from mover.image.hashing import CLUSTER_BYTES
from mover.replica.replica import Replica

from tests.mover.transfers import (
    ATTEMPT,
    Machine,
    ask,
    assert_every_point_reads_as_its_disk,
    feed,
    kill_after,
    start_mover,
    status_of,
    write_stream,
)

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = (8 << 20) + 3 * 512
KILLS = 24 if os.environ.get("SOAK") else 8


def names_of(machine: Machine) -> set[str]:
    """Return every file of the replica."""
    return {str(path.relative_to(machine.root)) for path in machine.root.rglob("*")
            if path.is_file()}


def test_every_point_reads_as_the_disks_were_then(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE, "vdb": 3 << 20})
    for _ in range(4):
        machine.cycle()
    assert_every_point_reads_as_its_disk(machine)
    assert not [name for name in names_of(machine) if "incoming" in name and "lock" not in name]
    assert (machine.root / "meta/000004/domain.xml").read_text() == "<domain/>"


def test_a_disk_without_a_change_needs_no_file(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE, "vdb": 3 << 20})
    machine.cycle()
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 3))
    machine.publish(vda={"transfers": ["t"]}, vdb={"unchanged": True})
    assert_every_point_reads_as_its_disk(machine)
    assert not (machine.root / "vdb/rp-000002.qcow2").exists()


@pytest.mark.parametrize("disks", [
    {"vda": {"transfers": ["t"]}, "vdb": {"unchanged": True}}, {"vda": {"transfers": ["t"]}},
], ids=["unchanged", "detached"])
def test_what_had_come_of_a_disk_goes_with_the_next_point(
        tmp_path: Path, disks: dict[str, dict[str, object]]) -> None:
    machine = Machine(tmp_path, {"vda": SIZE, "vdb": 3 << 20})
    machine.cycle()
    machine.open("vdb", "overlay")
    machine.send("vdb", [], "cut off")
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 3))
    machine.publish(**disks)
    assert not [name for name in names_of(machine) if "incoming" in name and "lock" not in name]


def test_it_is_noted_when_all_of_every_disk_was_compared(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    assert "compared_at" not in Replica(str(machine.root)).state.facts
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 3))
    machine.publish(vda={"transfers": ["t"], "compared": True})
    compared_at = machine.sequence * 300
    machine.cycle()
    assert Replica(str(machine.root)).state.facts["compared_at"] == compared_at


def test_parallel_streams_make_one_point_when_all_have_ended(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    machine.open("vda", "overlay")
    what = machine.change("vda", 60)
    parts = [write_stream(tmp_path / f"s{n}", "vda", SIZE, what[n::3], "t9", (n, 3))
             for n in range(3)]
    movers = [start_mover("receive", machine.root, stdin=part) for part in parts[:2]]
    assert [status_of(mover) for mover in movers] == [0, 0]
    with pytest.raises(TryAgain, match="2 of 3 streams ended"):
        machine.publish(vda={"transfers": ["t9"]})
    machine.sequence -= 1
    feed(machine.root, parts[2])
    machine.publish(vda={"transfers": ["t9"]})
    assert_every_point_reads_as_its_disk(machine)


def test_a_cut_stream_changes_nothing_and_the_next_one_goes_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    machine.open("vda", "overlay")
    whole = write_stream(tmp_path / "whole", "vda", SIZE, machine.change("vda", 40)).read_bytes()
    for size in (0, 30, 500, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(TryAgain):
            feed(machine.root, tmp_path / "cut")
        with pytest.raises(TryAgain, match="not complete"):
            machine.publish(vda={"transfers": ["t"]})
        machine.sequence -= 1
        assert_every_point_reads_as_its_disk(machine)
    opened = machine.open("vda", "overlay")
    assert opened["resumed"]
    assert opened["arrived_clusters"]
    feed(machine.root, tmp_path / "whole")
    machine.publish(vda={"transfers": ["t"]})
    assert_every_point_reads_as_its_disk(machine)


def test_no_flipped_bit_of_a_stream_gets_through(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    machine.open("vda", "overlay")
    whole = write_stream(tmp_path / "whole", "vda", SIZE, machine.change("vda", 5)).read_bytes()
    dice = random.Random(5)
    for _ in range(100):
        torn = bytearray(whole)
        torn[dice.randrange(len(torn))] ^= 1 << dice.randrange(8)
        (tmp_path / "torn").write_bytes(torn)
        with pytest.raises(MoverError):
            feed(machine.root, tmp_path / "torn")


def test_what_rots_before_it_is_published_is_sent_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    machine.open("vda", "overlay")
    what = [(3, b"a" * CLUSTER_BYTES), (9, b"b" * CLUSTER_BYTES)]
    for cluster, data in what:
        start = cluster * CLUSTER_BYTES
        machine.disks["vda"][start:start + CLUSTER_BYTES] = data
    machine.send("vda", what)
    with (machine.root / "vda/incoming.part").open("r+b") as part:
        part.seek(2 * CLUSTER_BYTES + 77)
        part.write(b"?")
    with pytest.raises(TryAgain, match="1 clusters of disk vda are not what was received"):
        machine.publish(vda={"transfers": ["t"]})
    machine.sequence -= 1
    machine.send("vda", what[1:], "again")
    with pytest.raises(TryAgain, match="transfer t .* not complete"):
        machine.publish(vda={"transfers": ["t", "again"]})
    machine.sequence -= 1
    machine.publish(vda={"transfers": ["again"]})
    assert_every_point_reads_as_its_disk(machine)


def test_a_seed_with_a_gap_is_not_published(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.open("vda", "base")
    machine.send("vda", machine.everything("vda")[:100])
    with pytest.raises(TryAgain, match="29 clusters from 100 on were not received yet"):
        machine.publish(vda={"transfers": ["t"]})


def test_a_stream_for_another_size_or_disk_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.open("vda", "base")
    with pytest.raises(Refused, match="the incoming of disk vda"):
        feed(machine.root, write_stream(tmp_path / "s", "vda", SIZE + 512, []))
    with pytest.raises(Refused, match="has no open incoming"):
        feed(machine.root, write_stream(tmp_path / "s", "vdz", SIZE, []))
    with pytest.raises(Refused, match="not the name of a disk"):
        feed(machine.root, write_stream(tmp_path / "s", "../vda", SIZE, []))


def test_a_resized_disk_is_replicated_at_its_new_size(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    for size in (SIZE + (1 << 20), SIZE - (2 << 20)):
        old = len(machine.disks["vda"])
        machine.disks["vda"] = machine.disks["vda"][:size].ljust(size, b"\0")
        machine.open("vda", "overlay")
        edge = min(old, size) // CLUSTER_BYTES
        machine.send("vda", [*machine.change("vda", 10), machine.at("vda", edge)])
        machine.publish(vda={"transfers": ["t"]})
    assert_every_point_reads_as_its_disk(machine)


def test_receivers_killed_at_any_moment_leave_every_point_as_it_was(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 32 << 20}, seed=3)
    machine.cycle()
    machine.open("vda", "overlay")
    what = machine.change("vda", 100)
    path = write_stream(tmp_path / "s", "vda", 32 << 20, what)
    begun = time.monotonic()
    assert status_of(start_mover("receive", machine.root, stdin=path)) == 0
    took = time.monotonic() - begun
    dice = random.Random(1)
    for _ in range(KILLS):
        kill_after(start_mover("receive", machine.root, stdin=path),
                   took * dice.uniform(0.2, 0.9))
        assert machine.open("vda", "overlay")["resumed"]
    feed(machine.root, path)
    machine.publish(vda={"transfers": ["t"]})
    assert_every_point_reads_as_its_disk(machine)


def test_publishing_killed_at_any_moment_is_done_again_or_was_done(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 16 << 20, "vdb": 2 << 20}, seed=4)
    machine.cycle()
    dice = random.Random(2)
    for number in range(2, KILLS // 2):
        for disk in machine.disks:
            machine.open(disk, "overlay")
            machine.send(disk, machine.change(disk, 15), f"t{number}")
        machine.sequence = number
        machine.remember()
        request = {"replica": str(machine.root), "sequence": number, "reread": "memory",
                   "attempt": ATTEMPT,
                   "disks": {disk: {"transfers": [f"t{number}"]} for disk in machine.disks}}
        (tmp_path / "request").write_text(json.dumps(request) + "\n")
        kill_after(start_mover("publish", stdin=tmp_path / "request"), dice.uniform(0.05, 0.4))
        if Replica(str(machine.root)).state.points[-1].sequence < number:
            status, told = ask("publish", request, tmp_path)
            assert (status, told.get("sequence")) == (0, number), told
    assert_every_point_reads_as_its_disk(machine)


def test_a_file_that_may_not_grow_is_told_and_leaves_every_point_as_it_was(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle()
    machine.open("vda", "overlay")
    path = write_stream(tmp_path / "s", "vda", SIZE, machine.change("vda", 100))
    size = (machine.root / "vda/incoming.idx").stat().st_size
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert size < 2 << 20
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limit[1]))
        with pytest.raises(TryAgain, match="File too large"):
            feed(machine.root, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert_every_point_reads_as_its_disk(machine)


def test_a_receiver_needs_little_memory(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 64 << 20})
    machine.open("vda", "base")
    block = os.urandom(4 << 20)
    path = write_stream(tmp_path / "s", "vda", 64 << 20, ((n * 64, block) for n in range(16)))
    process = start_mover("receive", machine.root, stdin=path)
    most = 0
    while process.poll() is None:       # what exec left of the parent would count in rusage
        words = Path(f"/proc/{process.pid}/status").read_text().split()
        most = max([most, *(int(words[at + 1]) for at, word in enumerate(words)
                            if word == "VmHWM:")])
    assert status_of(process) == 0
    assert 8 << 10 < most < 64 << 10
