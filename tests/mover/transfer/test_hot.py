"""A disk under constant writes: every increment is one point in time."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mover.disks import MIB, archive, filled, received, send, tool

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-storage-daemon") is None or shutil.which("qemu-io") is None,
    reason="qemu-storage-daemon is not installed: live bitmaps cannot be tested")
__all__ = ["archive"]


class Daemon:
    """A running block layer, spoken to over QMP as libvirt does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """Run one command; an error of it is an error of the test."""
        line = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        self._socket.sendall(line.encode())
        for answer in map(json.loads, self._lines):
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]
        raise AssertionError("the daemon went away")

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


@contextmanager
def daemon(disk: Path, folder: Path) -> Iterator[Daemon]:
    """Serve a qcow2 disk for writing as `guest`, with a QMP socket beside it."""
    qmp = folder / "qmp"
    process = subprocess.Popen([
        "qemu-storage-daemon", "--chardev", f"socket,id=q,path={qmp},server=on,wait=off",
        "--monitor", "chardev=q", "--nbd-server", f"addr.type=unix,addr.path={folder}/nbd",
        "--blockdev", f"driver=qcow2,node-name=disk,file.driver=file,file.filename={disk}",
        "--export", "type=nbd,id=guest,node-name=disk,name=guest,writable=on",
        "--pidfile", str(folder / "pid")])
    try:
        while not (folder / "pid").exists():
            assert process.poll() is None
        spoken = Daemon(qmp)
        yield spoken
        spoken.close()
    finally:
        process.terminate()
        process.wait()


def begin(spoken: Daemon, folder: Path, number: int) -> None:
    """Freeze a point in time and export it as `vda`, with what changed since the last one."""
    scratch = folder / f"scratch{number}"
    tool("qemu-img", "create", "-q", "-f", "qcow2", scratch, str(8 * MIB))
    spoken.ask("blockdev-add", **{
        "driver": "qcow2", "node-name": "scratch", "backing": "disk",
        "file": {"driver": "file", "filename": str(scratch)}})
    actions: list[dict[str, Any]] = [
        {"type": "block-dirty-bitmap-add", "data": {"node": "disk", "name": f"point{number}"}},
        {"type": "blockdev-backup", "data": {"job-id": "backup", "device": "disk",
                                             "target": "scratch", "sync": "none"}}]
    if number:
        actions += [
            {"type": "block-dirty-bitmap-add",
             "data": {"node": "scratch", "name": "since", "disabled": True}},
            {"type": "block-dirty-bitmap-merge",
             "data": {"node": "scratch", "target": "since",
                      "bitmaps": [{"node": "disk", "name": f"point{number - 1}"}]}}]
    spoken.ask("transaction", actions=actions)
    spoken.ask("block-export-add", **{
        "type": "nbd", "id": "copy", "node-name": "scratch", "name": "vda",
        **({"bitmaps": ["since"]} if number else {})})


def end(spoken: Daemon) -> None:
    """Give the point in time up."""
    spoken.ask("block-export-del", id="copy")
    spoken.ask("block-job-cancel", device="backup")
    while spoken.ask("query-jobs"):
        for job in spoken.ask("query-jobs"):
            if job["status"] == "concluded":
                spoken.ask("job-dismiss", id=job["id"])
    spoken.ask("blockdev-del", **{"node-name": "scratch"})


def guest_writes(folder: Path, *writes: str) -> None:
    """Write as the guest would."""
    commands = [word for write in writes for word in ("-c", write)]
    said = tool("qemu-io", "-f", "raw", *commands, f"nbd+unix:///guest?socket={folder}/nbd")
    assert "failed" not in said.lower(), said


def copied(folder: Path) -> bytes:
    """The disk as it reads now, for the guest."""
    tool("qemu-img", "convert", "-f", "raw", "-O", "raw",
         f"nbd+unix:///guest?socket={folder}/nbd", folder / "now.raw")
    return (folder / "now.raw").read_bytes()


def test_every_increment_is_one_point_in_time_under_a_guest_that_writes(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", bytes(range(256)) * (8 * MIB // 256))
    wire, replica = tmp_path / "wire", tmp_path / "replica.raw"
    with daemon(disk, tmp_path) as spoken:
        for number in range(4):
            guest_writes(tmp_path, f"write -P {number + 1} {number * 700}k 100k",
                         f"discard {number + 3}M 256k")
            then = copied(tmp_path)
            begin(spoken, tmp_path, number)
            writer = threading.Thread(target=guest_writes, args=(
                tmp_path, *[f"write -P {200 + number} {at * 300}k 40k" for at in range(27)]))
            writer.start()
            sent = send(archive, [wire], socket=str(tmp_path / "nbd"),
                        mode="increment" if number else "seed", bitmap="since" if number else "")
            writer.join()
            assert sent.status == 0, sent.error
            end(spoken)
            received([wire], replica)
            assert replica.read_bytes() == then, f"increment {number} is not its point in time"
            if number:
                assert sent.result["planned_bytes"] < 8 * MIB
