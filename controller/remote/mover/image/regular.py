"""Open files that may have been replaced by something else: opening a pipe would block for ever."""

from __future__ import annotations

import os
import stat

from mover.errors import Damaged, unreadable_is_damaged


def open_regular(path: str, flags: int = os.O_RDONLY) -> int:
    """
    Open a file, or a block device, and return its descriptor.

    Errors: Damaged if something else has its name; FileNotFoundError.
    """
    with unreadable_is_damaged(path):
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    kind = os.fstat(fd).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
        os.close(fd)
        raise Damaged("%s is no file: something else has its name" % path)
    return fd


def read_regular(path: str, most_bytes: int) -> bytes:
    """Return the contents of a small file; Damaged if it is no file, or larger than `most_bytes`.
    """
    with os.fdopen(open_regular(path), "rb") as file, unreadable_is_damaged(path):
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise Damaged("%s has more than %d KiB, which it cannot have" % (path, most_bytes >> 10))
    return data
