"""A replica is removed as a whole; neither it nor a point of it while a guest uses its files."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mover.replicas import qemu_img
from tests.mover.transfers import Machine, ask, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"


@pytest.fixture(name="machine")
def machine_fixture(tmp_path: Path) -> Machine:
    """A machine with three points in a pool."""
    machine = Machine(tmp_path / "made", {"vda": 2 << 20})
    for _ in range(3):
        machine.cycle()
    return moved(machine, tmp_path / "pool/hotsite-replicas" / UUID)


def moved(machine: Machine, root: Path) -> Machine:
    """Put a machine's replica where a pool's replicas are."""
    root.parent.mkdir(parents=True)
    machine.root.rename(root)
    machine.root = root
    return machine


def asked(machine: Machine, verb: str, **request: object) -> tuple[int, dict[str, Any]]:
    """Ask for something of a machine's replica."""
    return ask(verb, {"replica": str(machine.root), **request}, machine.folder)


def removed(machine: Machine, **other: str) -> tuple[int, dict[str, Any]]:
    """Ask for its removal."""
    return asked(machine, "remove", **{"store": "hotsite-replicas", "uuid": UUID} | other)


@contextmanager
def guest_on(file: Path, tmp_path: Path, name: str) -> Iterator[None]:
    """Run a process that looks like a guest's, or a server's, and has a file open."""
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / name)
    with file.open("rb") as disk, subprocess.Popen([program, "600"], stdin=disk) as process:
        try:
            yield
        finally:
            process.kill()


def test_a_replica_goes_whole_and_what_is_gone_stays_so(machine: Machine) -> None:
    assert removed(machine) == (0, {"removed": True})
    assert not machine.root.exists()
    assert machine.root.parent.exists()
    assert removed(machine) == (0, {"removed": False})


@pytest.mark.parametrize("other", [{"uuid": "another"}, {"uuid": ""}, {"store": "images"}],
                         ids=["uuid", "no uuid", "store"])
def test_a_folder_that_is_none_is_left_alone(machine: Machine, other: dict[str, str]) -> None:
    status, told = removed(machine, **other)
    assert status == 1, told
    assert "is not where replicas are kept" in told["sentence"]
    assert_every_point_reads_as_its_disk(machine)


def test_a_replica_under_a_guests_overlay_stays_with_all_its_points(machine: Machine) -> None:
    overlay = machine.root.parent.parent / "sql-by-hand.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
             f"hotsite-replicas/{UUID}/vda/rp-000002.qcow2", overlay)
    for status, told in (removed(machine), asked(machine, "retire", sequences=[1])):
        assert status == 1, told
        assert f"is in use by {overlay}, which lies over it: end that first" in told["sentence"]
        assert_every_point_reads_as_its_disk(machine)
    overlay.unlink()
    assert removed(machine)[0] == 0


@pytest.mark.parametrize("name", ["qemu-system-x86", "qemu-nbd", "qemu-storage-daemon"])
def test_a_replica_that_is_open_as_a_disk_stays(
        machine: Machine, tmp_path: Path, name: str) -> None:
    with guest_on(machine.root / "vda/rp-000003.qcow2", tmp_path, name):
        for status, told in (removed(machine), asked(machine, "retire", sequences=[1])):
            assert status == 1, told
            assert f"({name[:15]}), which has it open" in told["sentence"]
    assert_every_point_reads_as_its_disk(machine)
    assert asked(machine, "retire", sequences=[1])[0] == 0
