"""Move clusters between files as cheaply as the file system can: share, copy inside, or carry."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Callable, List

from mover.errors import Damaged
from mover.holes import CANNOT
from mover.manifest import put_whole

FICLONERANGE = 0x4020940D
_CARRY_BYTES = 1 << 20


class Copier:
    """Copies between one pair of file systems; what they cannot do is tried only once."""

    def __init__(self) -> None:
        self._ways: List[Callable[[int, int, int, int, int], None]] = [_share, _inside, _carry]

    @property
    def way(self) -> str:
        """How it copies: share, inside or carry."""
        return self._ways[0].__name__.strip("_")

    def copy(self, source: int, start: int, target: int, to: int, length: int) -> None:
        """Copy bytes; the target's file must be long enough for them."""
        while True:
            try:
                return self._ways[0](source, start, target, to, length)
            except OSError as error:
                if error.errno not in CANNOT or len(self._ways) == 1:
                    raise
                del self._ways[0]


def _share(source: int, start: int, target: int, to: int, length: int) -> None:
    fcntl.ioctl(target, FICLONERANGE, struct.pack("qQQQ", source, start, length, to))


def _inside(source: int, start: int, target: int, to: int, length: int) -> None:
    while length:
        done = os.copy_file_range(source, target, length, start, to)
        if not done:
            raise Damaged("a file ended at %d in the middle of a copy" % start)
        start, to, length = start + done, to + done, length - done


def _carry(source: int, start: int, target: int, to: int, length: int) -> None:
    while length:
        data = os.pread(source, min(length, _CARRY_BYTES), start)
        if not data:
            raise Damaged("a file ended at %d in the middle of a copy" % start)
        put_whole(target, data, to)
        start, to, length = start + len(data), to + len(data), length - len(data)
