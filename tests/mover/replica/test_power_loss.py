"""A target loses power in a first copy: unsynced data is sent again, and nothing is lost."""

import os
from pathlib import Path

import pytest
from mover.errors import TryAgain
from mover.image.hashing import CLUSTER_BYTES

from tests.mover.transfers import Machine, assert_every_point_reads_as_its_disk

SIZE = 16 * CLUSTER_BYTES


class Storage:
    """What of a folder's files is on the disk: all there is now, and then what is synced."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._kept = folder, dict[int, bytes]()
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._keep)
        self.write_back(*(path.name for path in folder.rglob("*")))

    def write_back(self, *names: str) -> None:
        """Let the kernel bring some files to the disk by itself."""
        for path in self._folder.rglob("*"):
            if path.is_file() and path.name in names:
                self._kept[path.stat().st_ino] = path.read_bytes()

    def lose_power(self) -> None:
        """Take away what is not on the disk."""
        for path in self._folder.rglob("*"):
            if path.is_file():
                data = self._kept.get(path.stat().st_ino, b"")
                os.truncate(path, 0)
                os.truncate(path, len(data))
                with path.open("r+b") as file:
                    for at in range(0, len(data), CLUSTER_BYTES):
                        if any(data[at:at + CLUSTER_BYTES]):
                            os.pwrite(file.fileno(), data[at:at + CLUSTER_BYTES], at)

    def _keep(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}")
        if path.is_file():
            self._kept[path.stat().st_ino] = path.read_bytes()


def write(machine: Machine, cluster: int, data: bytes) -> None:
    """Let the guest write a cluster."""
    start = cluster * CLUSTER_BYTES
    machine.disks["vda"][start:start + CLUSTER_BYTES] = data.ljust(CLUSTER_BYTES, data[:1])


def half_sent(folder: Path) -> Machine:
    """Return a machine after the first slice of its first copy."""
    machine = Machine(folder, {"vda": SIZE})
    machine.change("vda", 16)
    machine.open("vda", "base")
    write(machine, 0, b"old")
    machine.send("vda", machine.everything("vda")[:8])
    return machine


def missing(opened: dict[str, object]) -> list[int]:
    """Return the clusters that have not come."""
    assert isinstance(opened["missing"], list)
    return [first + step for first, count in opened["missing"] for step in range(count)]


def test_what_a_note_vouches_for_outlasts_a_loss_of_power(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = half_sent(tmp_path)
    storage = Storage(machine.root, monkeypatch)
    write(machine, 0, b"new")
    machine.send("vda", [machine.at("vda", cluster) for cluster in (0, 8, 9, 10, 11)])
    note = {"checkpoint": "cp.2", "covered": 12 * CLUSTER_BYTES}
    machine.open("vda", "base", note)
    storage.lose_power()
    opened = machine.open("vda", "base")
    assert opened["note"] == note
    machine.send("vda", [machine.at("vda", cluster) for cluster in missing(opened)], "rest")
    machine.publish(vda={"transfers": ["rest"]})
    assert_every_point_reads_as_its_disk(machine)


def test_what_was_trimmed_is_zeros_though_only_its_old_data_came_to_the_disk(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.change("vda", 16)
    machine.open("vda", "base")
    storage = Storage(machine.root, monkeypatch)
    machine.send("vda", machine.everything("vda")[:8], "cut")
    storage.write_back("incoming.part")
    storage.lose_power()
    write(machine, 3, b"\0")
    assert len(missing(machine.open("vda", "base"))) == 16
    machine.send("vda", machine.everything("vda"), "whole")
    machine.publish(vda={"transfers": ["whole"]})
    assert_every_point_reads_as_its_disk(machine)


def test_zeros_whose_old_data_came_back_are_sent_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = half_sent(tmp_path)
    storage = Storage(machine.root, monkeypatch)
    for cluster in (3, 4):
        write(machine, cluster, b"\0")
    machine.send("vda", [machine.at("vda", cluster) for cluster in (3, 4)], "trimmed")
    storage.write_back("incoming.idx", "incoming.man")
    storage.lose_power()
    machine.send("vda", machine.everything("vda")[8:], "rest")
    with pytest.raises(TryAgain, match="2 clusters of disk vda are not what was received"):
        machine.publish(vda={"transfers": ["rest"]})
    machine.sequence -= 1
    assert missing(machine.open("vda", "base")) == [3, 4]
    machine.send("vda", [machine.at("vda", cluster) for cluster in (3, 4)], "again")
    machine.publish(vda={"transfers": ["again"]})
    assert_every_point_reads_as_its_disk(machine)
