"""What an image file's own header says of it, and of the files below it."""

from __future__ import annotations

import os
import stat
import struct
from typing import Any, Dict

DEEPEST = 64            # layers; a chain that goes round has no end
HEAD_BYTES = 64 << 10   # a qcow2 header with its extensions and its backing file's name
BACKING_FORMAT = 0xE2792ACA
DATA_FILE = 1 << 2


def traits_of(path: str) -> Dict[str, Any]:
    """Return what is out of the ordinary of an image and its layers; nothing of most.

    Shapes: `version` of an old qcow2, `encrypted` of any layer, `backing`, `data_file` and how
    many `snapshots` of the top, `layers` below it from the uppermost down.
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
        path = os.path.join(os.path.dirname(os.path.realpath(path)), below)
        layers = traits.setdefault("layers", [])
        if path in layers:
            return traits
        layers.append(path)
        form = backing_format(head, version)
        if form == "luks":
            traits["encrypted"] = True
        if form not in ("qcow2", ""):       # what a guest wrote is no header
            return traits
    return traits


def own_traits(head: bytes, version: int) -> Dict[str, Any]:
    """Return what is out of the ordinary of one image, whatever lies below it."""
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
    """Return what format the file below is said to have; empty where nothing is said."""
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
    """Return the beginning of a file or block device; nothing where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        kind = os.fstat(handle).st_mode
        return os.pread(handle, HEAD_BYTES, 0) if stat.S_ISREG(kind) or stat.S_ISBLK(kind) else b""
    except OSError:
        return b""
    finally:
        os.close(handle)
