"""
Read the disks of a VM that is off, without a lock that would keep it from starting.

qemu-nbd opens each image read-only and shares it by force. What was read counts only if the VM is
still off afterwards and its images are as they were: `unmoved` says so. That nothing has changed
since an earlier copy is said only by files, all those that a disk is made of: a device is written
to by many ways that leave no trace on it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Tuple

from mover.backup.origins import Origin, writes_of
from mover.backup.parts import COPIED
from mover.backup.virsh import Disk, Domain
from mover.errors import Refused, TryAgain

FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")
START_S, STOP_S, INFO_S = 10.0, 5.0, 60.0
OF_DISK = "Failed to blk_new_open '"
OF_HOST = ("Cannot allocate memory", "Too many open files")
PR_SET_PDEATHSIG = 1    # sent to a process when the one that started it is gone

_libc = ctypes.CDLL(None)


class Cold(NamedTuple):
    """Servers of disks at rest: by target, the socket, the bitmap that is open with it, the pid."""

    sockets: Dict[str, str]
    bitmaps: Dict[str, str]
    servers: List["subprocess.Popen[bytes]"]
    left: Dict[str, str]            # disks that cannot be opened, and what is said of each


class Unopened(Exception):
    """A disk cannot be opened, by a word about the disk itself."""


def traces(domain: Domain, origins: Dict[str, Origin]) -> Dict[str, List[Any]]:
    """Return by target what shows a write that comes while a disk is read."""
    return {target: [[layer.told(), [] if layer.stamp else writes_of(layer.path)]
                     for layer in origins[target].layers] for target in sorted(domain.disks)
            if target in origins}


def bitmap_of(disk: Disk, since: str) -> str:
    """Return `since` where the image holds a whole bitmap of that name that records, or ""."""
    if disk.format != "qcow2" or not since:
        return ""
    argv = ["qemu-img", "info", "-U", "--output=json", "-f", "qcow2", disk.source]
    try:
        done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL,
                              timeout=INFO_S)
    except subprocess.TimeoutExpired:
        raise TryAgain("%s was not read within %d s" % (disk.source, INFO_S)) from None
    if done.returncode != 0:
        return ""           # whoever opens it next says why
    told: Dict[str, Any] = json.loads(done.stdout)
    data = told.get("format-specific", {}).get("data", {})
    whole = [bitmap["name"] for bitmap in data.get("bitmaps", ())
             if "in-use" not in bitmap.get("flags", ()) and "auto" in bitmap.get("flags", ())]
    return since if since in whole else ""


def serve(domain: Domain, targets: List[str], since: Dict[str, str]) -> Cold:
    """Start a server for each disk that can be opened, with `since` where that may be believed."""
    cold = Cold({}, {}, [], {})
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    try:
        for target in targets:
            disk = domain.disks[target]
            path = os.path.join(FOLDER, "cold-%s-%s.sock" % (domain.uuid, target))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            bitmap = bitmap_of(disk, since.get(target, ""))
            cold.servers.append(_start(server_argv(disk, path, target, bitmap)))
            try:
                _await_greeting(cold.servers[-1], path, disk)
            except Unopened as why:
                cold.left[target] = str(why)
                continue
            cold.sockets[target], cold.bitmaps[target] = path, bitmap
    except BaseException:
        stop(cold)
        raise
    return cold


def _start(argv: List[str]) -> "subprocess.Popen[bytes]":
    """Start a server that ends with this mover, however that ends."""
    mover = os.getpid()

    def end_with_mover() -> None:
        """Have the kernel see to it, in the server's process."""
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != mover:
            os._exit(1)     # it had gone before

    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=end_with_mover)  # noqa: PLW1509 (a mover that serves has one thread)


def server_argv(disk: Disk, path: str, target: str, bitmap: str) -> List[str]:
    """Return the server of one disk."""
    form, driver = disk.format, "file" if disk.kind == "file" else "host_device"
    if form not in COPIED:
        raise Refused("%s is %s, a format that is not known here" % (disk.source, form))
    image = "driver=%s,force-share=on,read-only=on,file.driver=%s,file.filename=%s" % (
        form, driver, disk.source.replace(",", ",,"))
    with_bitmap = ["-B", bitmap] if bitmap else []
    return ["qemu-nbd", "--read-only", "--persistent", "--shared=8", "--socket=" + path,
            "--export-name=" + target, *with_bitmap, "--image-opts", image]


def _await_greeting(server: "subprocess.Popen[bytes]", path: str, disk: Disk) -> None:
    """Wait until the server greets: qemu-nbd loses a SIGTERM that comes before that."""
    until = time.monotonic() + START_S
    while not _greets(path):
        if server.poll() is not None:
            assert server.stderr is not None, "it is a pipe"
            raise _trouble(disk, server.stderr.read().decode(errors="replace").strip())
        if time.monotonic() > until:
            raise TryAgain("%s was not opened within %d s" % (disk.source, START_S))
        time.sleep(0.01)


def _trouble(disk: Disk, said: str) -> Exception:
    """Return what the end of a server means: of its disk, or of this host at this moment."""
    if OF_DISK in said and not any(word in said for word in OF_HOST):
        return Unopened("it cannot be opened: %s" % said.rpartition(OF_DISK)[2].partition(
            "': ")[2].replace("\n", "; "))
    return TryAgain("%s cannot be read: %s" % (disk.source, said))


def _greets(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(1.0)
        try:
            talk.connect(path)
            return bool(talk.recv(1))
        except OSError:
            return False


def stop(cold: Cold) -> None:
    """End the servers and wait for their end."""
    for server in cold.servers:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
    for server in cold.servers:
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()       # it only reads
            server.wait()
        if server.stderr is not None:
            server.stderr.close()
    for path in cold.sockets.values():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def unmoved(before: Tuple[str, Dict[str, List[Any]]], after: Tuple[str, Dict[str, List[Any]]]
            ) -> bool:
    """Return whether a VM has been off, and its images untouched, all the while."""
    return before == after
