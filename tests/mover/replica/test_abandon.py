"""A merge ends even if one of its files is lost, and leaves every readable cluster."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.errors import TryAgain
from mover.replica import retire as replica_retire
from mover.replica.replica import Replica, locked
from mover.replica.scrub import Request, note_missing_files, verify

from tests.mover.replica.test_crashes import run_until
from tests.mover.transfers import Machine, ask, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A VM with two disks and four points."""
    made = Machine(tmp_path, {"vda": 2 << 20, "vdb": 1 << 20})
    for _ in range(4):
        made.cycle(6)
    return made


def gone(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def cut(path: Path) -> None:
    """Cut a file short."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def spoilt(path: Path) -> None:
    """Spoil a file's beginning."""
    with path.open("r+b") as file:
        file.write(b"rot" * 40)


def retire(machine: Machine, *sequences: int) -> None:
    """Let points go, as the verb does it."""
    status, told = ask("retire", {"replica": str(machine.root), "sequences": list(sequences)},
                       machine.folder)
    assert status == 0, told


def compared(machine: Machine) -> None:
    """Make a point for which both disks were sent as a whole."""
    for disk in machine.disks:
        machine.open(disk, "overlay")
        machine.change(disk, 3)
        machine.send(disk, machine.everything(disk), "whole")
    machine.publish(**{disk: {"transfers": ["whole"], "whole": True, "compared": True}
                       for disk in machine.disks})


@pytest.mark.parametrize("spoil", [gone, cut, spoilt])
def test_what_cannot_be_merged_is_not_begun(
        machine: Machine, spoil: Callable[[Path], None]) -> None:
    spoil(machine.root / "vda/rp-000002.qcow2")
    for _ in range(2):
        with pytest.raises(TryAgain, match="stays until"), \
                locked(str(machine.root)) as replica:
            replica_retire.retire(replica, 1)
    assert_every_point_reads_as_its_disk(machine, but=(2, 3, 4))
    told = verify(Request(str(machine.root), restart=True))
    assert told["scan"] == ["vda"]
    compared(machine)
    retire(machine, 1, 2, 3, 4)
    assert [point.sequence for point in Replica(str(machine.root)).state.points] == [5]
    assert_every_point_reads_as_its_disk(machine)
    assert not verify(Request(str(machine.root), restart=True))["found_clusters"]


def begun(machine: Machine, step: int) -> bool:
    """Let point 1 go in a process that dies at a write; say whether a merge was left undone."""
    def work() -> None:
        with locked(str(machine.root)) as replica:
            replica_retire.retire(replica, 1)
    run_until(step, work)
    return bool(Replica(str(machine.root)).state.floor)


@pytest.mark.parametrize("spoil", [gone, cut, spoilt])
def test_a_merge_whose_overlay_is_lost_in_the_middle_ends(
        machine: Machine, spoil: Callable[[Path], None]) -> None:
    kept, tried = machine.folder / "kept", 0
    shutil.copytree(machine.root, kept)
    for step in range(3, 60, 4):
        shutil.rmtree(machine.root)
        shutil.copytree(kept, machine.root)
        machine.sequence = 4
        if not begun(machine, step):
            continue
        tried += 1
        spoil(machine.root / "vda/rp-000002.qcow2")
        told = ask("retire", {"replica": str(machine.root), "sequences": []}, machine.folder)[1]
        assert told["given_up"] == ["vda"], told
        told = verify(Request(str(machine.root), restart=True))
        assert (told["merging"], told["scan"]) == ([], ["vda"])
        with pytest.raises(TryAgain, match="stays until the whole disk"), \
                locked(str(machine.root)) as replica:
            replica_retire.retire(replica, 2)
        compared(machine)
        retire(machine, 2, 3, 4)
        assert_every_point_reads_as_its_disk(machine)
        assert not verify(Request(str(machine.root), restart=True))["found_clusters"]
        assert not Replica(str(machine.root)).state.floor
    assert tried > 3


def test_a_copy_notices_it_before_it_builds_on_it(machine: Machine) -> None:
    assert begun(machine, 12)
    gone(machine.root / "vda/rp-000002.qcow2")
    note_missing_files(str(machine.root))
    assert [(one.file, one.lost) for one in Replica(str(machine.root)).state.damage
            if one.lost] == [("rp-000002.qcow2", True)]


@pytest.mark.parametrize("in_the_middle", [False, True])
def test_a_lost_base_is_merged_into_no_more_and_goes_with_what_lay_on_it(
        machine: Machine, *, in_the_middle: bool) -> None:
    if in_the_middle:
        assert begun(machine, 12)
    gone(machine.root / "vda/base-000001.raw")
    status, told = ask("retire", {"replica": str(machine.root),
                                  "sequences": [] if in_the_middle else [1]}, machine.folder)
    assert (status, told["given_up"]) == (0, ["vda"])
    machine.sequence = 4
    machine.open("vda", "base")
    machine.send("vda", machine.everything("vda"), "anew")
    machine.open("vdb", "overlay")
    machine.send("vdb", machine.change("vdb", 2), "more")
    machine.publish(vda={"transfers": ["anew"]}, vdb={"transfers": ["more"]})
    left = [point.sequence for point in Replica(str(machine.root)).state.points]
    retire(machine, *left[:-1])
    state = Replica(str(machine.root)).state
    assert ([point.sequence for point in state.points], state.floor) == ([5], {})
    assert_every_point_reads_as_its_disk(machine)
    assert {path.name for path in (machine.root / "vda").iterdir()} == {
        "base-000005.raw", "base-000005.man", "incoming.lock"}
