"""A pinned point keeps every file that it reads, whatever else is done to its replica."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from mover.errors import Refused, TryAgain
from mover.image.chain import Chain
from mover.replica import retire as replica_retire
from mover.replica.replica import Replica, locked
from mover.replica.scrub import note_missing_files

from tests.mover.replica.test_remove import UUID, asked, guest_on, moved, removed
from tests.mover.replicas import identical, qemu_img
from tests.mover.transfers import Machine, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


@pytest.fixture(name="machine")
def machine_fixture(tmp_path: Path) -> Machine:
    """A machine with four points in a pool."""
    machine = Machine(tmp_path / "made", {"vda": 2 << 20, "vdb": 1 << 20})
    for _ in range(4):
        machine.cycle(8)
    return moved(machine, tmp_path / "pool/hotsite-replicas" / UUID)


def merge_begun(machine: Machine) -> None:
    """Retire the oldest point up to its first commit, as a crash would leave it."""
    with locked(str(machine.root)) as replica:
        replica.commit(replica_retire._without_oldest(replica.state))


def pinned(machine: Machine, sequence: int | None, holder: str = "drill"
           ) -> tuple[int, dict[str, Any]]:
    """Pin a point as the controller does."""
    return asked(machine, "pin", holder=holder, sequence=sequence)


def put_pin(machine: Machine, sequence: int) -> None:
    """Pin a point, and nothing else."""
    with locked(str(machine.root)) as replica:
        replica.commit(replica.state._replace(pins={"drill": sequence}))


def test_a_pin_finishes_first_what_a_crash_left_of_a_merge(machine: Machine) -> None:
    merge_begun(machine)
    assert pinned(machine, 2) == (0, {"pins": {"drill": 2}})
    assert Replica(str(machine.root)).state.floor == {}
    overlay = machine.folder / "drill.qcow2"
    below = machine.paths("vda", 2)[-1]
    qemu_img("create", "-q", "-f", "qcow2", "-b", below, "-F", "raw", overlay)
    assert asked(machine, "retire", sequences=())[0] == 0
    assert identical(overlay, machine.flats[2, "vda"])


def test_a_pin_waits_for_who_reads_below_a_merge(machine: Machine, tmp_path: Path) -> None:
    merge_begun(machine)
    with guest_on(machine.root / "vda/rp-000003.qcow2", tmp_path, "qemu-system-x86"):
        status, told = pinned(machine, 2)
    assert status == 2
    assert "a merge that was cut off, and is in use by process" in told["sentence"]
    assert Replica(str(machine.root)).state.pins == {}
    assert pinned(machine, 2)[0] == 0


def test_an_unfinished_merge_leaves_a_pinned_point_alone(machine: Machine) -> None:
    merge_begun(machine)
    put_pin(machine, 2)
    overlay = machine.folder / "drill.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", machine.root / "vda/rp-000002.qcow2",
             "-F", "qcow2", overlay)
    status, told = asked(machine, "retire", sequences=())
    assert (status, told["merged"], told["waiting"]) == (0, [], ["drill"])
    assert asked(machine, "verify")[0] == 0
    assert pinned(machine, 3, "another")[0] == 0
    machine.cycle(5)
    assert identical(overlay, machine.flats[2, "vda"])
    assert_every_point_reads_as_its_disk(machine)
    pinned(machine, None)
    status, told = pinned(machine, None, "another")
    assert (status, told) == (0, {"pins": {}})
    status, told = asked(machine, "retire", sequences=())
    assert ([one["disk"] for one in told["merged"]], told["waiting"]) == (["vda", "vdb"], [])
    assert_every_point_reads_as_its_disk(machine)


def test_a_merge_cut_off_in_its_middle_is_left_as_it_is(machine: Machine) -> None:
    merge_begun(machine)
    base, overlay = (machine.root / "vda" / name
                     for name in ("base-000001.raw", "rp-000002.qcow2"))
    put_pin(machine, 2)
    held = overlay.read_bytes(), base.read_bytes()
    with locked(str(machine.root)) as replica:
        assert replica_retire.finish(replica) == []
        with pytest.raises(Refused, match="is pinned by drill"):
            replica_retire.retire(replica, 2)
    assert (overlay.read_bytes(), base.read_bytes()) == held


def test_points_above_a_pin_still_go(machine: Machine) -> None:
    put_pin(machine, 1)
    status, told = asked(machine, "retire", sequences=[3, 2])
    assert (status, told["points"]) == (0, [1, 4])
    assert_every_point_reads_as_its_disk(machine)


def test_a_copy_does_not_leave_out_a_file_that_a_pinned_point_reads(machine: Machine) -> None:
    put_pin(machine, 3)
    lost = machine.root / "vda/rp-000002.qcow2"
    kept = lost.read_bytes()
    lost.write_bytes(kept[:-(64 << 10)])        # it has lost hashes; QEMU reads it as before
    note_missing_files(str(machine.root))
    for disk in machine.disks:
        machine.open(disk, "overlay")
        machine.send(disk, machine.everything(disk))
    whole = {disk: {"transfers": ["t"], "compared": True, "whole": True} for disk in machine.disks}
    with pytest.raises(TryAgain, match="drill has pinned restore point 3, which reads it"):
        machine.publish(**whole)
    assert lost.exists()
    pinned(machine, None)
    machine.sequence -= 1
    machine.publish(**whole)
    assert not lost.exists()
    with Chain(machine.paths("vda", 5)) as chain:
        assert chain.read(0, chain.size_bytes) == machine.flats[5, "vda"].read_bytes()


def test_a_replica_with_a_pin_is_not_removed(machine: Machine) -> None:
    assert pinned(machine, 4, "failover-7")[0] == 0
    status, told = removed(machine)
    assert (status, told["sentence"]) == (
        1, f"{machine.root} has restore points that are pinned by failover-7: unpin them first")
    assert_every_point_reads_as_its_disk(machine)
    pinned(machine, None, "failover-7")
    assert removed(machine) == (0, {"removed": True})


def test_a_point_that_is_not_there_is_not_pinned(machine: Machine) -> None:
    merge_begun(machine)
    assert pinned(machine, 1)[0] == 1
    assert Replica(str(machine.root)).state.floor.keys() == {"vda", "vdb"}
