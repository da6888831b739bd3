"""A VM that is off whose disks somebody changes, and a replica in memory that follows them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mover.backup import offline, offline_copy
from mover.backup.reading import CopyRequest
from mover.backup.virsh import Disk, Domain, DomainStatus
from mover.transfer.extents import dirty
from mover.transfer.nbd import ALLOCATION, READS_ZERO, Nbd, bitmap_context

from tests.mover.disks import MIB, tool

UUID = "u"
NAME = "hotsite-000005-0badcafe"
"""The checkpoint of the last copy of the VM while it ran."""


class OfflineVm:
    """Copies of a VM that is off, each built on the one before as the conductor does it."""

    def __init__(self, folder: Path, size: int = 8 * MIB, **disks: Disk) -> None:
        self.folder, self.size, self.disks = folder, size, disks
        self.held = {target: bytearray() for target in disks}
        self.since = self.said = ""
        self.reason = "shutdown"
        self.facts: dict[str, Any] = {"origins": {}, "fingerprints": {}, "changed": {}}
        self.disks_told: dict[str, dict[str, Any]] = {}

    def contents(self, target: str) -> bytes:
        """Return what a guest would read."""
        disk = self.disks[target]
        raw = self.folder / "now.raw"
        tool("qemu-img", "convert", "-f", disk.format, "-O", "raw", disk.source, raw)
        return raw.read_bytes()

    def ran(self, name: str = NAME) -> None:
        """Copy all as if the VM had run: each disk that can have one has the point's checkpoint."""
        for target, disk in self.disks.items():
            if disk.format == "qcow2":
                tool("qemu-img", "bitmap", "--add", disk.source, name)
            self.held[target][:] = self.contents(target)
        self.since = name
        origins = {target: offline_copy.origin_of(disk).record()
                   for target, disk in self.disks.items()}
        self.facts = {"origins": origins, "fingerprints": {}, "changed": {}}

    def copy(self) -> dict[str, str]:
        """Make the next point; return by target how: unchanged, increment, or why it was full."""
        found = {}
        with self.opened() as told:
            for target, disk in told["disks"].items():
                found[target] = self._read(target, disk)
            self.disks_told = told["disks"]
        self.since = told["checkpoint"]
        self.facts = {"origins": told["origins"], "fingerprints": told["fingerprints"],
                      "changed": {target: disk.get("changed", "")
                                  for target, disk in told["disks"].items()} if self.since else {}}
        return found

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """Open a copy, as a session of the mover would."""
        facts = self.facts
        wanted = CopyRequest(
            {target: "increment" if self.since and disk.format == "qcow2" else "scan"
             for target, disk in self.disks.items()}, since=self.since,
            known=facts["fingerprints"], origins=facts["origins"], sent=facts["changed"])
        domain = Domain(UUID, "sql", "", self.disks, "", agent=False)
        status = DomainStatus("shut off", domain, "<domain/>", True, [], set(), self.reason)
        copy = offline_copy.OfflineCopy(status, wanted)
        try:
            yield copy.begun
        finally:
            offline.stop(copy._served)

    def _read(self, target: str, disk: dict[str, Any]) -> str:
        if disk["tracked"] and not disk["dirty_bytes"] and not disk.get("holes"):
            return "unchanged"
        contexts = (bitmap_context(disk["bitmap"]),) if disk["bitmap"] else ()
        with Nbd(disk["socket"], target, (*contexts, ALLOCATION)) as nbd:
            holes = [(offset, length) for offset, length, flags in nbd.extents(
                0, nbd.size_bytes, ALLOCATION) if disk.get("holes") and flags & READS_ZERO]
            ranges = dirty(nbd, disk["bitmap"], holes) if disk["bitmap"] else [
                (0, nbd.size_bytes)]
            wanted = [(at, min(MIB, offset + length - at)) for offset, length in ranges
                      for at in range(offset, offset + length, MIB)]
            for read in nbd.reads(iter(wanted)):
                self.held[target][read.offset:read.offset + len(read.data)] = read.data
        return "increment" if disk["bitmap"] else disk["why"] or "scan"

    def is_right(self) -> bool:
        """Say whether the replica holds what a guest would read."""
        return all(bytes(held) == self.contents(target) for target, held in self.held.items())


def qcow2(folder: Path, name: str, byte: str = "A", size: int = 8 * MIB) -> Disk:
    """Make a disk that is full of one byte."""
    raw, path = folder / "made.raw", folder / f"{name}.qcow2"
    raw.write_bytes(byte.encode() * size)
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path)
    return Disk(str(path), "qcow2", "file")


def write(path: str, at_mib: int, byte: int = 7) -> None:
    """Write as a guest would, whose QEMU notes it in every record of changes."""
    said = tool("qemu-io", "-f", "qcow2", "-c", f"write -P {byte} {at_mib}M 64k", path)
    assert "failed" not in said.lower(), said


def put_back(copy: Path, path: str) -> None:
    """Give a file the contents of an earlier copy of it; it stays the same file."""
    with copy.open("rb") as source, Path(path).open("r+b") as target:
        target.truncate(0)
        shutil.copyfileobj(source, target)


def crash_while_open(path: str) -> None:
    """Have a QEMU die that has the disk open for writing."""
    socket = Path(path).with_suffix(".sock")
    server = subprocess.Popen(["qemu-nbd", "-f", "qcow2", "-k", socket, "-x", "x", path],
                              stdin=subprocess.DEVNULL)
    while not socket.exists():
        assert server.poll() is None
        os.sched_yield()
    with Nbd(str(socket), "x"):
        server.kill()
        server.wait()
    socket.unlink()
