"""Points are retired without a change to the others, whenever the merge is killed."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from mover.errors import Refused, TryAgain
from mover.image.sparse import Copier
from mover.replica import retire as replica_retire
from mover.replica.replica import Replica, locked
from mover.replica.scrub import note_missing_files

from tests.mover.transfers import Machine, assert_every_point_reads_as_its_disk, kill_after
from tests.mover.transfers import start_mover as start

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = (8 << 20) + 3 * 512
KILLS = 24 if os.environ.get("SOAK") else 8


def retire(machine: Machine, *sequences: int) -> list[int]:
    """Let points go and return those that are left."""
    with locked(str(machine.root)) as replica:
        for sequence in sequences:
            replica_retire.finish(replica)
            replica_retire.retire(replica, sequence)
        return [point.sequence for point in replica.state.points]


def made(folder: Path, cycles: int, **sizes: int) -> Machine:
    """Return a machine after some cycles."""
    machine = Machine(folder, sizes or {"vda": SIZE, "vdb": 2 << 20})
    for _ in range(cycles):
        machine.cycle()
    return machine


def test_the_oldest_points_go_one_after_the_other(tmp_path: Path) -> None:
    machine = made(tmp_path, 5)
    for left in ([2, 3, 4, 5], [3, 4, 5], [4, 5], [5]):
        assert retire(machine, left[0] - 1) == left
        assert_every_point_reads_as_its_disk(machine)
    assert sorted(path.name for path in (machine.root / "vda").iterdir()) == [
        "base-000001.man", "base-000001.raw", "incoming.lock"]
    assert [path.name for path in (machine.root / "meta").iterdir()] == ["000005"]


def test_a_point_in_the_middle_goes(tmp_path: Path) -> None:
    machine = made(tmp_path, 5)
    assert retire(machine, 3) == [1, 2, 4, 5]
    assert_every_point_reads_as_its_disk(machine)
    assert retire(machine, 2, 4, 1) == [5]
    assert_every_point_reads_as_its_disk(machine)


def test_cycles_go_on_while_points_go(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    for _ in range(4):
        retire(machine, Replica(str(machine.root)).state.points[0].sequence)
        machine.cycle()
        assert_every_point_reads_as_its_disk(machine)


def test_points_of_a_disk_without_changes_go(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    for _ in range(2):
        machine.publish(vda={"unchanged": True}, vdb={"unchanged": True})
    machine.cycle()
    for gone, left in ((1, [2, 3, 4, 5]), (3, [2, 4, 5]), (2, [4, 5]), (4, [5])):
        assert retire(machine, gone) == left
        assert_every_point_reads_as_its_disk(machine)


@pytest.mark.parametrize("step", [(1 << 20) + 512, -(2 << 20) - 512])
def test_points_across_a_resize_go(tmp_path: Path, step: int) -> None:
    machine = made(tmp_path, 2, vda=SIZE)
    size = SIZE + step
    machine.disks["vda"] = machine.disks["vda"][:size].ljust(size, b"\0")
    machine.open("vda", "overlay")
    machine.send("vda", [*machine.change("vda", 10), machine.at("vda", min(SIZE, size) >> 16)])
    machine.publish(vda={"transfers": ["t"]})
    with pytest.raises(Refused, match="was resized"):
        retire(machine, 2)
    assert retire(machine, 1, 2) == [3]
    assert_every_point_reads_as_its_disk(machine)


def test_the_newest_and_the_pinned_stay(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    with pytest.raises(Refused, match="is the newest"):
        retire(machine, 3)
    with locked(str(machine.root)) as replica:
        replica.commit(replica.state._replace(pins={"a drill": 2}))
    for sequence in (1, 2):
        with pytest.raises(Refused, match="is pinned by a drill"):
            retire(machine, sequence)


def test_a_point_whose_file_is_lost_stays_until_its_disk_is_compared(tmp_path: Path) -> None:
    machine = made(tmp_path, 4)
    (machine.root / "vda/rp-000002.qcow2").unlink()
    note_missing_files(str(machine.root))
    before = Replica(str(machine.root)).state
    with pytest.raises(TryAgain, match="rp-000002.qcow2 of disk vda cannot be read"):
        retire(machine, 2)
    assert Replica(str(machine.root)).state == before


def test_merges_killed_at_any_moment_change_no_point(tmp_path: Path) -> None:
    machine = made(tmp_path, 3, vda=24 << 20)
    dice = random.Random(7)
    took = 0.5
    for kill in range(KILLS):
        points = [point.sequence for point in Replica(str(machine.root)).state.points]
        if len(points) < 4:
            machine.cycle(200)
            points.append(machine.sequence)
        request = {"replica": str(machine.root), "sequences": [points[kill % 2]]}
        (tmp_path / "request").write_text(json.dumps(request) + "\n")
        begun = time.monotonic()
        kill_after(start("retire", stdin=tmp_path / "request"), took * dice.uniform(0.3, 1.0))
        took = max(0.2, min(took, time.monotonic() - begun) * 1.1)
        assert_every_point_reads_as_its_disk(machine)
    retire(machine)
    assert_every_point_reads_as_its_disk(machine)


def test_every_way_of_copying_carries_the_same_bytes(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "from").write_bytes(data)
    copier = Copier()
    ways = set()
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("w+b") as target:
        while True:
            target.truncate(0)
            target.truncate(4 << 20)
            copier.copy(source.fileno(), 1 << 20, target.fileno(), 1 << 16, 1 << 20)
            target.seek(0)
            assert target.read() == bytes(1 << 16) + data[1 << 20:2 << 20] + bytes(
                (4 << 20) - (1 << 16) - (1 << 20))
            ways.add(copier.way)
            if copier.way == "carry":
                break
            del copier._ways[0]
    assert "carry" in ways
