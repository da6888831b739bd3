"""Copy clusters between files cheaply: by reflink, else by a copy in the kernel, else by hand."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import Callable, Iterator, List, Tuple

from mover.errors import Damaged
from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import clusters_of, put_whole

# errors of a system call that this kernel or file system does not support
CANNOT = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EPERM,
          errno.EBADF, errno.ETXTBSY, errno.ENODEV}
_PUNCH_AND_KEEP_SIZE = 3
_ZEROS_BYTES = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def filled(fd: int, first: int, stop: int) -> Iterator[Tuple[int, int]]:
    """Yield (first, stop) of the clusters that hold data; holes of the file are skipped."""
    while first < stop:
        try:
            data = os.lseek(fd, first * CLUSTER_BYTES, os.SEEK_DATA)
            hole = os.lseek(fd, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        begun = max(first, data // CLUSTER_BYTES)
        if begun >= stop:
            return
        first = min(stop, clusters_of(hole))
        yield begun, first


def punch(fd: int, offset: int, length: int) -> None:
    """Make bytes read as zeros, and free their space where the file system can."""
    if not length or _libc.fallocate(fd, _PUNCH_AND_KEEP_SIZE, offset, length) == 0:
        return
    if ctypes.get_errno() not in CANNOT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for at in range(0, length, _ZEROS_BYTES):
        zeros = bytes(min(_ZEROS_BYTES, length - at))
        if os.pread(fd, len(zeros), offset + at) != zeros:      # do not fill holes
            put_whole(fd, zeros, offset + at)


FICLONERANGE = 0x4020940D
_CARRY_BYTES = 1 << 20


class Copier:
    """Copies between one pair of file systems, and remembers which methods they do not support."""

    def __init__(self) -> None:
        self._ways: List[Callable[[int, int, int, int, int], None]] = [_share, _inside, _carry]

    @property
    def way(self) -> str:
        """The method in use: share, inside or carry."""
        return self._ways[0].__name__.strip("_")

    def copy(self, source: int, start: int, target: int, to: int, length: int) -> None:
        """Copy bytes within the length of the target file."""
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
