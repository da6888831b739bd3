"""
Identify the files that a guest's disk is made of, so that a bitmap is trusted only for them.

A path names a file; tomorrow it may name another. So a file is identified by inode and generation,
a device by its WWID or its device-mapper UUID. What cannot be identified is never the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import struct
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mover.backup.virsh import Disk, Domain
from mover.image.header import opened

HEAD_BYTES = 1 << 16            # of a qcow2 file: its header and the backing file's name
MOST_LAYERS = 64
FRESH_NS = 2_000_000_000        # a file may be written to again within one tick of its clock
_GET_GENERATION = 0x80087601    # FS_IOC_GETVERSION
_FIXED = struct.Struct(">4sIQI")
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT, _DATA_FILE = 0xE2792ACA, 0x44415441
_PROTOCOL = re.compile(r"[A-Za-z0-9+.-]+:")
_RUNNING = "/run/libvirt/qemu/%s.pid"


class Layer(NamedTuple):
    """One file or device; `identity` and `stamp` are empty where it has none."""

    path: str
    identity: str
    stamp: List[int]            # of a file: its size, mtime and ctime

    def record(self) -> List[Any]:
        """Return it as state.json keeps it with a point."""
        return [self.identity, *self.stamp]


class Origin(NamedTuple):
    """What a disk is made of: the topmost file first."""

    layers: List[Layer]
    whole: bool                 # every layer was found and identified
    apart: bool                 # contents lie in an external data file
    form: str = ""              # the format in which QEMU opens the topmost file

    def record(self) -> Dict[str, Any]:
        """Return it as state.json keeps it with a point."""
        return {"layers": [layer.record() for layer in self.layers], "whole": self.whole,
                "apart": self.apart}


def origin_of(disk: Disk) -> Origin:
    """Return what a disk is made of now."""
    found = _origin_of(disk)
    return found._replace(form=disk.format)


def _origin_of(disk: Disk) -> Origin:
    layers: List[Layer] = []
    apart, form, path = False, disk.format, disk.source
    while path and len(layers) < MOST_LAYERS:
        layer, head = _read_layer(path)
        if layer is None:
            return Origin(layers, False, apart)
        layers.append(layer)
        if form == "raw" or head[:4] != b"QFI\xfb":
            sound = form == "raw" or (not form and head[:4] != b"QFI\xfb")
            return Origin(layers, sound and _are_distinct(layers), apart)
        below, form, data = _backing(head)
        apart = apart or data
        if _PROTOCOL.match(below):
            return Origin(layers, False, apart)
        path = os.path.join(os.path.dirname(path), below) if below else ""
    return Origin(layers, not path and _are_distinct(layers), apart)


def _are_distinct(layers: List[Layer]) -> bool:
    names = [layer.identity for layer in layers]
    return bool(names) and all(names) and len(set(names)) == len(names)


def _read_layer(path: str) -> Tuple[Optional[Layer], bytes]:
    try:
        with opened(path) as fd:
            seen = os.fstat(fd)     # of the open file: a network file system revalidates then
            if stat.S_ISREG(seen.st_mode):
                stamp = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]
                layer = Layer(path, "%d.%d" % (seen.st_ino, _generation(fd)), stamp)
            else:
                layer = Layer(path, _device(seen.st_rdev), [])
            return layer, os.pread(fd, HEAD_BYTES, 0)
    except (OSError, ValueError):
        return None, b""


def _generation(fd: int) -> int:
    """Return the generation, which tells a file from an earlier one with its inode; 0: unknown."""
    try:
        got = fcntl.ioctl(fd, _GET_GENERATION, bytes(8))
    except OSError:
        return 0
    number: int = struct.unpack("<i", got[:4])[0]
    return number


def _device(number: int) -> str:
    folder = "/sys/dev/block/%d:%d" % (os.major(number), os.minor(number))
    for name in ("dm/uuid", "wwid", "device/wwid"):
        with contextlib.suppress(OSError), open(os.path.join(folder, name), encoding="utf-8",
                                                errors="replace") as file:
            return file.read().strip()
    return ""


def _backing(head: bytes) -> Tuple[str, str, bool]:
    """Return the backing file's name and format, and whether there is an external data file."""
    _, version, at, length = _FIXED.unpack_from(head)
    name = os.fsdecode(head[at:at + length]) if at else ""
    if version < 3 or len(head) < 104:
        return name, "", False
    data = bool(struct.unpack_from(">Q", head, 72)[0] & 4)
    form, place = "", struct.unpack_from(">I", head, 100)[0]
    while place + _EXTENSION.size <= len(head):
        kind, size = _EXTENSION.unpack_from(head, place)
        if kind == 0:
            break
        if kind == _BACKING_FORMAT:
            form = head[place + 8:place + 8 + size].decode(errors="replace")
        data = data or kind == _DATA_FILE
        place += 8 + -(-size // 8) * 8
    return name, form, data


def fingerprint_of(origin: Origin) -> Optional[List[List[Any]]]:
    """Return what any write to the disk would change; None where a write may leave no trace."""
    if not origin.whole or origin.apart or not all(layer.stamp for layer in origin.layers):
        return None
    return [*(layer.record() for layer in origin.layers), [origin.form, 0, 0, 0]]


def is_settled(fingerprint: List[List[Any]]) -> bool:
    """Return whether a later write would surely change it: the last was over a clock tick ago."""
    newest = max(max(layer[2], layer[3]) for layer in fingerprint)
    return bool(newest + FRESH_NS < time.time_ns())


def is_same_origin(then: Any, now: Origin, *, same_run: bool) -> bool:
    """
    Return whether a disk is made of the files on which its bitmap was begun, `then`.

    In one run of its guest (`same_run`) QEMU itself moves the bitmap when layers change, by a
    snapshot or a block commit: one common top layer is enough. Otherwise anybody may have changed
    anything in between: the top must be the same file, and every layer below unchanged.
    """
    if not isinstance(then, dict) or not then.get("whole") or not now.whole or not then["layers"]:
        return False
    mine = [layer.identity for layer in now.layers]
    theirs = [str(layer[0]) for layer in then["layers"]]
    if same_run:
        return mine[0] in theirs or theirs[0] in mine
    below = [layer.record() for layer in now.layers[1:]]
    return (mine[0] == theirs[0] and below == then["layers"][1:] and not now.apart
            and not then["apart"] and all(layer.stamp for layer in now.layers[1:]))


def guest_run_of(domain: Domain) -> str:
    """Return boot id, pid and start time of a guest's QEMU, unique for ever; empty: unknown."""
    if not domain.id:
        return ""
    try:
        with open(_RUNNING % domain.name, encoding="ascii") as file:
            pid = int(file.read())
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            started = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return "%s.%d.%s" % (file.read().strip(), pid, started)
    except (OSError, ValueError, IndexError):
        return ""


def writes_of(path: str) -> List[int]:
    """Return the kernel's write counters of a block device."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        number = os.stat(path).st_rdev
        with open("/sys/dev/block/%d:%d/stat" % (os.major(number), os.minor(number)),
                  encoding="ascii") as file:
            counts = [int(word) for word in file.read().split()]
        return [counts[4], counts[6], *counts[11:12]]
    return []
