"""A crash between any two writes: published points read as before, and a retry finishes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.image.chain import Chain
from mover.image.qcow2 import DATA, HOLE, Overlay
from mover.replica import damage, publish, retire
from mover.replica.replica import Replica, locked
from mover.replica.scrub import Request, verify

from tests.mover.transfers import ATTEMPT, Machine, assert_every_point_reads_as_its_disk, paths_of

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
WRITES = ("pwrite", "write", "rename", "unlink", "link", "fsync", "ftruncate", "truncate",
          "copy_file_range", "mkdir")
CRASHED = 9


def run_until(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that dies at its write number `step`; say whether it ended."""
    child = os.fork()
    if child == 0:
        left = [step]
        for name in WRITES:
            setattr(os, name, dying(getattr(os, name), left))
        try:
            work()
        finally:
            os._exit(0 if left[0] > 0 else CRASHED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def dying(real: Callable[..., object], left: list[int]) -> Callable[..., object]:
    """Return a system call that counts down, and at 0 does half of what it should and dies."""
    def call(*arguments: object, **more: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            if real.__name__ in {"pwrite", "write"}:
                data = memoryview(arguments[1])
                real(arguments[0], data[:len(data) // 2], *arguments[2:])
            os._exit(CRASHED)
        return real(*arguments, **more)
    return call


def assert_reads_as_before(machine: Machine) -> list[int]:
    """Compare every point that is left with its disks and return their numbers."""
    replica = Replica(str(machine.root))
    for point in replica.state.points:
        for disk in point.files:
            with Chain(paths_of(replica, disk, point.sequence)) as chain:
                assert chain.read(0, chain.size_bytes) == (
                    machine.flats[point.sequence, disk].read_bytes())
            above = paths_of(replica, disk, point.sequence)
            assert all(Path(path).exists() for path in above)
    return [point.sequence for point in replica.state.points]


STRIDE = 1 if os.environ.get("SOAK") else 4
"""A soak dies at every single write; a test at every fourth."""


def crash_everywhere(machine: Machine, work: Callable[[], object], at_least: int) -> None:
    """Do the work again and again, each time from the same start, dying one write later."""
    kept = machine.folder / "kept"
    shutil.copytree(machine.root, kept)
    step = 1
    while True:
        shutil.rmtree(machine.root)
        shutil.copytree(kept, machine.root)
        done = run_until(step, work)
        assert_reads_as_before(machine)
        if done:
            break
        assert run_until(10 ** 9, work)
        assert_reads_as_before(machine)
        step += STRIDE
    assert step > at_least, "the work wrote less than it must have"
    with locked(str(machine.root)) as replica:
        names = [path.name for disk in machine.disks
                 for path in Path(replica.disk_dir(disk)).iterdir()]
    assert_every_point_reads_as_its_disk(machine)
    assert not [name for name in names
                if ".new" in name or ("incoming" in name and "lock" not in name)]


def made(folder: Path, cycles: int) -> Machine:
    """Return a machine of two disks after some cycles."""
    machine = Machine(folder, {"vda": (3 << 20) + 512, "vdb": 1 << 20})
    for _ in range(cycles):
        machine.cycle(3)
    return machine


@pytest.mark.parametrize("sequence", [1, 2])
def test_letting_a_point_go(tmp_path: Path, sequence: int) -> None:
    machine = made(tmp_path, 4)

    def work() -> None:
        with locked(str(machine.root)) as replica:
            retire.finish(replica)
            if any(point.sequence == sequence for point in replica.state.points):
                retire.retire(replica, sequence)

    crash_everywhere(machine, work, at_least=15)
    assert [point.sequence for point in Replica(str(machine.root)).state.points] == [
        number for number in (1, 2, 3, 4) if number != sequence]


@pytest.mark.parametrize("cycles", [0, 2])
def test_publishing(tmp_path: Path, cycles: int) -> None:
    machine = made(tmp_path, cycles)
    for disk in machine.disks:
        machine.open(disk, "overlay" if cycles else "base")
        machine.send(disk, machine.change(disk, 8) if cycles else machine.everything(disk))
    machine.sequence += 1
    machine.remember()

    def work() -> None:
        points = Replica(str(machine.root)).state.points
        if not points or points[-1].sequence < machine.sequence:
            publish.publish(publish.Request(
                str(machine.root), machine.sequence,
                {disk: {"transfers": ["t"]} for disk in machine.disks}, reread="memory",
                attempt=ATTEMPT, meta={"domain.xml": {"text": "<domain/>"}}))
        else:
            for disk in machine.disks:      # what the next cycle does first
                machine.open(disk, "overlay")
                with locked(str(machine.root)) as replica:
                    publish.incoming.drop(replica.disk_dir(disk))

    crash_everywhere(machine, work, at_least=15)
    assert json.loads((machine.root / "state.json").read_text())["state"]["points"][-1][
        "sequence"] == machine.sequence


def test_opening_what_will_come(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)

    def work() -> None:
        machine.open("vda", "overlay")
        with locked(str(machine.root)) as replica:
            publish.incoming.drop(replica.disk_dir("vda"))

    crash_everywhere(machine, work, at_least=8)


def test_mending(tmp_path: Path) -> None:
    machine = made(tmp_path, 1)
    full = next(change for change in machine.everything("vda") if any(change[1]))
    with (machine.root / "vda/base-000001.raw").open("r+b") as base:
        base.seek(full[0] * 65536)
        base.write(b"rot!")
    assert verify(Request(str(machine.root)))["damage"]
    machine.open("vda", "overlay")
    machine.send("vda", [full])
    machine.publish(vda={"transfers": ["t"]}, vdb={"unchanged": True})

    def work() -> None:
        with locked(str(machine.root)) as replica:
            damage.repair(replica)

    step = 1
    while not run_until(step, work):
        with Chain(paths_of(Replica(str(machine.root)), "vda", 2)) as chain:
            assert chain.read(0, chain.size_bytes) == machine.flats[2, "vda"].read_bytes()
        step += STRIDE
    assert step > 2
    assert verify(Request(str(machine.root)))["damage"] == []
    assert_every_point_reads_as_its_disk(machine)


def test_what_rots_beside_a_merge_that_was_cut_off_is_not_vouched_for(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)

    def work() -> None:
        with locked(str(machine.root)) as replica:
            retire.retire(replica, 1)

    step = 1
    while not Replica(str(machine.root)).state.floor:
        assert not run_until(step, work)
        step += 1
    with Chain([str(machine.root / f"vda/rp-00000{number}.qcow2") for number in (2, 3)]) as above:
        below = [cluster for cluster, data in machine.everything("vda")
                 if any(data) and above.hash_of(cluster) is None]
    with (machine.root / "vda/base-000001.raw").open("r+b") as base:
        base.seek(below[0] * 65536)
        base.write(b"rot!")
    told = verify(Request(str(machine.root), at="early"))
    points = Replica(str(machine.root)).state.points
    assert [point.verified_at for point in points] == [None, None]
    assert told["merging"] == ["vda", "vdb"]
    with locked(str(machine.root)) as replica:
        retire.finish(replica)
    told = verify(Request(str(machine.root), at="late"))
    assert [(one["file"], one["first"]) for one in told["damage"]] == [
        ("base-000001.raw", below[0])]
    assert told["merging"] == []


def test_a_scrub_that_met_a_merge_cut_off_vouches_for_nothing_at_its_end(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    with locked(str(machine.root)) as replica:
        replica.commit(retire._without_oldest(replica.state))
    told = verify(Request(str(machine.root), budget_s=1e-9, at="early"))
    assert not told["complete"]
    with locked(str(machine.root)) as replica:
        retire.finish(replica)
    assert verify(Request(str(machine.root), at="early"))["complete"]
    points = Replica(str(machine.root)).state.points
    assert [point.verified_at for point in points] == [None, None]
    assert verify(Request(str(machine.root), at="late"))["whole"]
    points = Replica(str(machine.root)).state.points
    assert [point.verified_at for point in points] == ["late", "late"]


@pytest.mark.parametrize("scrubbed", [False, True])
def test_damage_moves_with_a_point_let_go(tmp_path: Path, *, scrubbed: bool) -> None:
    machine = made(tmp_path, 4)
    folder, kept = machine.root / "vda", tmp_path / "kept"
    with Overlay(str(folder / "rp-000002.qcow2")) as below, \
            Overlay(str(folder / "rp-000003.qcow2")) as above:
        run = next(run for run in below.mapped() if run.kind == DATA
                   and next(above.runs(run.cluster, 1)).kind == HOLE)
    with (folder / "rp-000002.qcow2").open("r+b") as overlay:
        overlay.seek(run.position)
        overlay.write(b"rot!")
    verify(Request(str(machine.root)))
    shutil.copytree(machine.root, kept)

    def work() -> None:
        with locked(str(machine.root)) as replica:
            if any(point.sequence == 2 for point in replica.state.points):
                retire.retire(replica, 2)

    step, done = 1, False
    while not done:
        shutil.rmtree(machine.root)
        shutil.copytree(kept, machine.root)
        done = run_until(step, work)
        assert Replica(str(machine.root)).state.points[-2].damaged
        if scrubbed:
            verify(Request(str(machine.root)))
        assert run_until(10 ** 9, work)
        state = Replica(str(machine.root)).state
        assert [(one.file, one.first, one.clusters) for one in state.damage] == [
            ("rp-000003.qcow2", run.cluster, 1)]
        assert [point.damaged for point in state.points[:2]] == [0, 1]
        step += STRIDE
    assert step > 15
