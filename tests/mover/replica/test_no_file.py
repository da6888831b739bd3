"""A folder or device in the place of a replica's file is damage: nothing hangs, nothing breaks.

A pipe would never answer, a device might never end.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.replica.replica import Replica
from mover.replica.scrub import note_missing_files
from mover.replica.verbs import describe

from tests.mover.replica.test_scrub import increment, made
from tests.mover.transfers import Machine, ask, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
Put = Callable[[Path], object]


def folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.mkdir()


def loop(path: Path) -> None:
    """Put a link that leads to itself."""
    path.symlink_to(path.name)


def endless(path: Path) -> None:
    """Put a link to what can be read for ever."""
    path.symlink_to("/dev/zero")


KINDS = pytest.mark.parametrize("put", [os.mkfifo, folder, loop, endless])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A replica with three points."""
    return made(tmp_path, 3)


@pytest.mark.parametrize(("put", "name"), [
    (os.mkfifo, "rp-000002.qcow2"), (loop, "rp-000002.qcow2"), (folder, "base-000001.raw"),
    (endless, "base-000001.raw"), (os.mkfifo, "base-000001.man")])
def test_a_point_s_file(machine: Machine, tmp_path: Path, put: Put, name: str) -> None:
    path = machine.root / "vda" / name
    path.unlink()
    put(path)
    status, told = ask("verify", {"replica": str(machine.root), "at": 5.0}, tmp_path)
    assert (status, told["complete"]) == (0, True)
    [damage] = told["damage"]
    assert damage["lost"]
    assert damage["file"] == name.replace(".man", ".raw")
    assert all(point.verified_at is None for point in Replica(str(machine.root)).state.points
               if point.damaged)


@KINDS
def test_a_copy_does_not_wait_for_it_either(machine: Machine, put: Put) -> None:
    path = machine.root / "vda/rp-000002.qcow2"
    path.unlink()
    put(path)
    note_missing_files(str(machine.root))
    assert describe(str(machine.root))["scan"] == ["vda"]
    increment(machine, list(range(129)), whole=True)
    assert describe(str(machine.root))["scan"] == []


@pytest.mark.parametrize(("put", "name"), [
    (os.mkfifo, "state.json"), (loop, "state.json"), (folder, "state.json"),
    (endless, "state.json"), (os.mkfifo, "state.json.3")])
def test_a_state(machine: Machine, put: Put, name: str) -> None:
    path = machine.root / name
    path.unlink()
    put(path)
    assert [point.sequence for point in Replica(str(machine.root)).state.points] == [1, 2, 3]
    if put is not folder:
        increment(machine, [7])
        assert path.is_file() or name != "state.json"
        assert_every_point_reads_as_its_disk(machine)


@KINDS
def test_a_secret_and_a_bookmark(machine: Machine, tmp_path: Path, put: Put) -> None:
    if put is not folder:
        put(machine.root / "scrub.json")
        status, _ = ask("verify", {"replica": str(machine.root), "at": 5.0}, tmp_path)
        assert status == 0
    (machine.root / "secret").unlink()
    put(machine.root / "secret")
    status, told = ask("verify", {"replica": str(machine.root)}, tmp_path)
    assert (status, "/secret" in str(told["sentence"])) == (2, True)


@KINDS
def test_what_is_newer_than_the_state_and_no_file_is_not_removed(
        machine: Machine, tmp_path: Path, put: Put) -> None:
    path = machine.root / "vda/rp-000099.qcow2"
    put(path)
    status, told = ask("verify", {"replica": str(machine.root)}, tmp_path)
    assert (status, "rp-000099.qcow2 is newer than" in str(told["sentence"])) == (1, True)
    assert path.is_symlink() or path.exists()
