"""
Serve the disks of a VM that is off, without a lock that would keep the VM from starting.

A VM at rest must be free to start at any instant. So qemu-nbd opens each image read-only with
`force-share`: it takes no image lock and QEMU never waits for us. The price is that the images may
change while they are read. Therefore the order of an offline copy is

    1. `traces`     size, mtime and ctime of every layer; write counters of block devices
    2. `serve`      one qemu-nbd per disk, with the bitmap of the last point if it is whole
    3. senders read over NBD, as from a running VM
    4. `stop`, then the VM's state and `traces` again

and if state or traces differ, the copy has moved: nothing that was read is used, the replica stays
at its last point, and the controller tries again. No scratch, job or checkpoint is needed, and
nothing is written to the images.

A disk that is surely unchanged since the last point is not opened at all. Only files prove that,
by the same stamps on every layer: a block device can be written to without a trace.

A qemu-nbd ends with its mover (PR_SET_PDEATHSIG); a crash leaves at most a stale socket in the run
folder, which the next copy replaces.
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
from typing import Any, Dict, List, NamedTuple

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


class DiskServers(NamedTuple):
    """The qemu-nbd processes of a copy or a drill; `sockets` and `bitmaps` by target."""

    sockets: Dict[str, str]
    bitmaps: Dict[str, str]         # the bitmap that is exported with it; empty: none
    servers: List["subprocess.Popen[bytes]"]
    left_out: Dict[str, str]        # disks that cannot be opened, and why


class Unopened(Exception):
    """A disk cannot be opened, for a reason that lies with the disk itself."""


def traces(domain: Domain, origins: Dict[str, Origin]) -> Dict[str, List[Any]]:
    """Return by target what a write during the copy would change."""
    return {target: [[layer.record(), [] if layer.stamp else writes_of(layer.path)]
                     for layer in origins[target].layers] for target in sorted(domain.disks)
            if target in origins}


def bitmap_of(disk: Disk, since: str) -> str:
    """Return `since` if the image holds a consistent, enabled bitmap of that name, else ""."""
    if disk.format != "qcow2" or not since:
        return ""
    argv = ["qemu-img", "info", "-U", "--output=json", "-f", "qcow2", disk.source]
    try:
        done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL,
                              timeout=INFO_S)
    except subprocess.TimeoutExpired:
        raise TryAgain("%s was not read within %d s" % (disk.source, INFO_S)) from None
    if done.returncode != 0:
        return ""           # qemu-nbd, which opens it next, reports why
    info: Dict[str, Any] = json.loads(done.stdout)
    data = info.get("format-specific", {}).get("data", {})
    whole = [bitmap["name"] for bitmap in data.get("bitmaps", ())
             if "in-use" not in bitmap.get("flags", ()) and "auto" in bitmap.get("flags", ())]
    return since if since in whole else ""


def serve(domain: Domain, targets: List[str], since: Dict[str, str]) -> DiskServers:
    """Start a server for each disk that can be opened; `since` is the bitmap to export, by target.
    """
    served = DiskServers({}, {}, [], {})
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    try:
        for target in targets:
            disk = domain.disks[target]
            path = os.path.join(FOLDER, "cold-%s-%s.sock" % (domain.uuid, target))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            bitmap = bitmap_of(disk, since.get(target, ""))
            served.servers.append(start_server(server_argv(disk, path, target, bitmap)))
            try:
                # its NBD greeting is awaited: qemu-nbd loses a SIGTERM that comes earlier
                server = served.servers[-1]
                until = time.monotonic() + START_S
                while not greets(path):
                    if server.poll() is not None:
                        assert server.stderr is not None, "it is a pipe"
                        raise _failure(disk, server.stderr.read().decode(errors="replace").strip())
                    if time.monotonic() > until:
                        raise TryAgain("%s was not opened within %d s" % (disk.source, START_S))
                    time.sleep(0.01)
            except Unopened as why:
                served.left_out[target] = str(why)
                continue
            served.sockets[target], served.bitmaps[target] = path, bitmap
    except BaseException:
        stop(served)
        raise
    return served


def start_server(argv: List[str]) -> "subprocess.Popen[bytes]":
    """Start a server that ends with this mover, however that ends."""
    mover = os.getpid()

    def end_with_mover() -> None:
        """Ask the kernel for it, in the server's process."""
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != mover:
            os._exit(1)     # the mover ended before the prctl

    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=end_with_mover)  # noqa: PLW1509 (a mover that serves has one thread)


def server_argv(disk: Disk, path: str, target: str, bitmap: str) -> List[str]:
    """Return the command that serves one disk."""
    form, driver = disk.format, "file" if disk.kind == "file" else "host_device"
    if form not in COPIED:
        raise Refused("%s is %s, a format that is not known here" % (disk.source, form))
    image = "driver=%s,force-share=on,read-only=on,file.driver=%s,file.filename=%s" % (
        form, driver, disk.source.replace(",", ",,"))
    with_bitmap = ["-B", bitmap] if bitmap else []
    return ["qemu-nbd", "--read-only", "--persistent", "--shared=8", "--socket=" + path,
            "--export-name=" + target, *with_bitmap, "--image-opts", image]


def _failure(disk: Disk, stderr: str) -> Exception:
    """Return why a server ended: Unopened for its disk, TryAgain for this host at this moment."""
    if OF_DISK in stderr and not any(word in stderr for word in OF_HOST):
        return Unopened("it cannot be opened: %s" % stderr.rpartition(OF_DISK)[2].partition(
            "': ")[2].replace("\n", "; "))
    return TryAgain("%s cannot be read: %s" % (disk.source, stderr))


def greets(path: str) -> bool:
    """Return whether an NBD server answers on a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            return bool(client.recv(1))
        except OSError:
            return False


def stop(served: DiskServers) -> None:
    """End the servers, which only read, and remove their sockets."""
    for server in served.servers:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
    for server in served.servers:
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()       # it only reads
            server.wait()
        if server.stderr is not None:
            server.stderr.close()
    for path in served.sockets.values():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
