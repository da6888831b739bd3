"""Missing or truncated files are noted before the next copy, not days later by a scrub."""

import os
import shutil
from pathlib import Path

import pytest
from mover.replica.replica import Replica
from mover.replica.scrub import note_missing_files
from mover.replica.verbs import describe

from tests.mover.replica.test_scrub import increment, look, made
from tests.mover.transfers import Machine, ask, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


def noticed(machine: Machine) -> dict[str, object]:
    """Look once, without reading anything that looks whole."""
    note_missing_files(str(machine.root))
    return describe(str(machine.root))


def everything(machine: Machine) -> list[int]:
    """Every cluster, as a comparison of the whole disk would send where all differs."""
    return list(range(-(-len(machine.disks["vda"]) // (64 << 10))))


def test_a_sound_replica_is_not_even_locked(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    generation = Replica(str(machine.root)).state.generation
    told = noticed(machine)
    assert (told["damage"], told["scan"], told["generation"]) == ([], [], generation)


def test_a_deleted_overlay_asks_for_a_comparison_and_no_point_hides_it(tmp_path: Path) -> None:
    machine = made(tmp_path, 4)
    (machine.root / "vda/rp-000003.qcow2").unlink()
    told = noticed(machine)
    assert told["scan"] == ["vda"]
    assert [point.damaged > 0 for point in Replica(str(machine.root)).state.points] == [
        False, False, True, True]
    increment(machine, everything(machine), whole=True)
    assert [point.damaged > 0 for point in Replica(str(machine.root)).state.points] == [
        False, False, True, True, False]
    assert_every_point_reads_as_its_disk(machine, but=(3, 4))


def test_a_base_without_its_manifest_is_lost(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    (machine.root / "vda/base-000001.man").unlink()
    assert noticed(machine)["scan"] == ["vda"]


def test_what_is_cut_off_a_base_is_damage_and_has_its_place_again(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    base = machine.root / "vda/base-000001.raw"
    size = base.stat().st_size
    os.truncate(base, 2 * (64 << 10))
    told = noticed(machine)
    assert told["scan"] == []
    assert told["repair"]["vda"][0][0] == 2 * (64 << 10)
    assert base.stat().st_size == size


@pytest.mark.parametrize("name", ["rp-000002.qcow2", "base-000001.raw"])
def test_a_tail_that_nothing_reads_is_put_back_without_a_word(tmp_path: Path, name: str) -> None:
    machine = made(tmp_path, 1)
    machine.disks["vda"][-3 * 512:] = bytes(3 * 512)
    increment(machine, [len(machine.disks["vda"]) // (64 << 10)])
    path = machine.root / "vda" / name
    size = path.stat().st_size
    os.truncate(path, size - 512)
    assert noticed(machine)["damage"] == []
    assert path.stat().st_size == size
    look(machine)
    assert path.stat().st_size == size


def test_what_was_lost_is_noted_once(tmp_path: Path) -> None:
    machine = made(tmp_path, 2)
    (machine.root / "vda/rp-000002.qcow2").unlink()
    noticed(machine)
    generation = Replica(str(machine.root)).state.generation
    assert noticed(machine)["scan"] == ["vda"]
    assert Replica(str(machine.root)).state.generation == generation


def test_the_last_point_that_reads_right_is_not_let_go(tmp_path: Path) -> None:
    machine = made(tmp_path, 3)
    (machine.root / "vda/rp-000002.qcow2").unlink()
    request = {"replica": str(machine.root), "sequences": [1]}
    status, told = ask("retire", request, tmp_path)
    assert (status, "the last that reads right" in str(told)) == (2, True)
    assert [point.sequence for point in Replica(str(machine.root)).state.points] == [1, 2, 3]
