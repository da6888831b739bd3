"""What an image file's header says of it, and of its backing files.

A header counts only if the file is declared to be qcow2: into a raw disk its guest can write any
header, also one that names other people's files.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from typing import Any, Dict, Iterator, Optional

DEEPEST = 64            # layers; a chain that goes round has no end
HEAD_BYTES = 64 << 10   # a qcow2 header with its extensions and its backing file's name
BACKING_FORMAT = 0xE2792ACA
DATA_FILE = 1 << 2
SECTOR_BYTES = 512      # a guest sees whole ones: QEMU pads a raw file with zeros
SAME_SIZE = ("raw", "")     # formats of which a file's size is its disk's


def traits_of(path: str) -> Dict[str, Any]:
    """Return the uncommon properties of an image and its layers; an empty dict for most.

    Shapes: `version` of an old qcow2; `encrypted` if any layer is; `backing`, `data_file` and the
    number of `snapshots` of the top; `layers` below it, uppermost first; `unsaid`: the first layer
    that looks like qcow2 while the layer above does not name its format.
    """
    traits: Dict[str, Any] = {}
    for depth in range(DEEPEST):
        head = head_of(path)
        if head[:4] != b"QFI\xfb" or len(head) < 104:
            return traits
        version, offset, length = struct.unpack(">IQI", head[4:20])
        if depth == 0:
            traits.update(own_traits(head, version))
        if struct.unpack(">I", head[32:36])[0]:
            traits["encrypted"] = True
        if not offset:
            return traits
        below = os.fsdecode(head[offset:offset + length])
        below = below[len("file:"):] if below.startswith("file:") else below
        traits.setdefault("backing", below)
        path = os.path.join(os.path.dirname(path), below)   # beside a link, as for QEMU
        layers = traits.setdefault("layers", [])
        if path in layers:
            return traits
        layers.append(path)
        form = backing_format(head, version)
        if form == "luks":
            traits["encrypted"] = True
        if form not in ("qcow2", ""):       # what a guest wrote is no header
            return traits
        if not form and head_of(path)[:4] == b"QFI\xfb":
            traits.setdefault("unsaid", path)
    return traits


def own_traits(head: bytes, version: int) -> Dict[str, Any]:
    """Return the uncommon properties of one image, without its layers."""
    traits: Dict[str, Any] = {}
    if version < 3:
        traits["version"] = version
    elif DATA_FILE & struct.unpack(">Q", head[72:80])[0]:
        traits["data_file"] = True
    snapshots = struct.unpack(">I", head[60:64])[0]
    if snapshots:
        traits["snapshots"] = snapshots
    return traits


def backing_format(head: bytes, version: int) -> str:
    """Return the backing file's format by the header; empty where it names none."""
    at = struct.unpack(">I", head[100:104])[0] if version >= 3 else 72
    while at + 8 <= len(head):
        kind, length = struct.unpack(">II", head[at:at + 8])
        if kind == 0:
            break
        if kind == BACKING_FORMAT:
            return head[at + 8:at + 8 + length].decode(errors="replace")
        at += 8 + (length + 7 & ~7)
    return ""


def head_of(path: str) -> bytes:
    """Return the first bytes of a file or block device; empty where it cannot be read."""
    with contextlib.suppress(OSError, ValueError), opened(path) as handle:
        return os.pread(handle, HEAD_BYTES, 0)
    return b""


def virtual_size(path: str, form: str) -> Optional[int]:
    """Return how large a disk of a declared format is for its guest; None: not known.

    A device with nothing behind it any more is there, and has no bytes: its size is not known.
    """
    with contextlib.suppress(OSError, ValueError), opened(path) as handle:
        if form in SAME_SIZE:
            return -(-os.lseek(handle, 0, os.SEEK_END) // SECTOR_BYTES) * SECTOR_BYTES or None
        head = os.pread(handle, 32, 0)
        if form == "qcow2" and head[:4] == b"QFI\xfb" and len(head) == 32:
            size: int = struct.unpack(">Q", head[24:32])[0] // SECTOR_BYTES * SECTOR_BYTES
            return size
    return None


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a file or block device for reading; OSError, without opening it, where it is neither.

    Opening alone can have effects: a hardware watchdog starts, a tape rewinds.
    """
    _require_disk(path, os.stat(path))
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_disk(path, os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def _require_disk(path: str, seen: os.stat_result) -> None:
    if not (stat.S_ISREG(seen.st_mode) or stat.S_ISBLK(seen.st_mode)):
        raise OSError("%s is no file and no block device" % path)
