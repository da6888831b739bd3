"""Disks that are block devices, on real ones: read whole, as large as they are, never empty."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover.backup import offline, origins, virsh
from mover.backup.virsh import Disk
from mover.image.header import virtual_size

from tests.mover.disks import MIB, needs_qemu, tool
from tests.mover.offline_machine import OfflineVm

pytestmark = [needs_qemu, pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/loop-control", os.W_OK),
    reason="no root, or no loop devices here: there is no block device to try")]


@pytest.fixture(name="device")
def device_fixture(tmp_path: Path) -> Iterator[str]:
    """A block device of 8 MiB."""
    (tmp_path / "behind").touch()
    os.truncate(tmp_path / "behind", 8 * MIB)
    path = tool("losetup", "--find", "--show", tmp_path / "behind").strip()
    yield path
    subprocess.run(["losetup", "--detach", path], capture_output=True, check=False)


@pytest.fixture(name="vm")
def vm_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> OfflineVm:
    """A VM on it that was copied while it ran, and is off."""
    monkeypatch.setattr(offline, "FOLDER", str(tmp_path))
    made = OfflineVm(tmp_path, vda=Disk(device, "raw", "block"))
    made.ran()
    return made


def write(device: str, mib: int, content: str = "x") -> None:
    """Write one MiB as a guest does."""
    with Path(device).open("r+b", buffering=0) as file:
        file.seek(mib * MIB)
        file.write(content.encode() * MIB)
        os.fsync(file.fileno())


def test_it_is_compared_each_time_since_nothing_tells_what_changed(vm: OfflineVm,
                                                                   device: str) -> None:
    for written in (None, 1, 3):
        if written is not None:
            write(device, written)
        assert vm.copy() == {"vda": "scan"}
        assert vm.is_right()


def test_a_write_while_it_is_copied_is_noticed(vm: OfflineVm, device: str) -> None:
    domain = virsh.Domain("u", "sql", "", vm.disks, "", False)
    found = {"vda": origins.origin_of(vm.disks["vda"])}
    before = offline.traces(domain, found)
    assert offline.traces(domain, found) == before
    write(device, 2)
    assert offline.traces(domain, found) != before


def test_its_size_is_that_of_the_device_also_when_it_has_grown(vm: OfflineVm, device: str,
                                                               tmp_path: Path) -> None:
    assert virtual_size(device, "raw") == 8 * MIB
    os.truncate(tmp_path / "behind", 9 * MIB)
    tool("losetup", "--set-capacity", device)
    assert virtual_size(device, "raw") == 9 * MIB
    with vm.opened() as told:
        assert told["disks"]["vda"]["size_bytes"] == 9 * MIB


def test_a_device_with_nothing_behind_it_is_unknown_and_not_an_empty_disk(device: str) -> None:
    disk = Disk(device, "raw", "block")
    assert virsh._inspected(disk).why_not == ""
    tool("losetup", "--detach", device)
    assert virtual_size(device, "raw") is None
    assert "nothing is behind" in virsh._inspected(disk).why_not
    assert virsh._inspected(disk, running=True).why_not == "", "a guest that runs has it open"


def test_a_file_that_is_empty_or_gone_is_no_disk_either(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    for name in ("empty.img", "gone.img"):
        disk = Disk(str(tmp_path / name), "raw", "file")
        assert "nothing is behind" in virsh._inspected(disk).why_not
