"""Holes of files: what of a file has something in it, and how it is made a hole."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Iterator, Tuple

from mover.hashing import CLUSTER_BYTES
from mover.manifest import clusters_of, put_whole

# what a system call says that this kernel or file system does not know
CANNOT = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EPERM,
          errno.EBADF, errno.ETXTBSY, errno.ENODEV}
_PUNCH_AND_KEEP_SIZE = 3
_ZEROS_BYTES = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def filled(fd: int, first: int, stop: int) -> Iterator[Tuple[int, int]]:
    """Yield (first, stop) of the clusters that are not wholly a hole of the file."""
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
    """Make bytes read as zeros, giving their room back where the file system can."""
    if not length or _libc.fallocate(fd, _PUNCH_AND_KEEP_SIZE, offset, length) == 0:
        return
    if ctypes.get_errno() not in CANNOT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for at in range(0, length, _ZEROS_BYTES):
        zeros = bytes(min(_ZEROS_BYTES, length - at))
        if os.pread(fd, len(zeros), offset + at) != zeros:      # a file may be thin all the same
            put_whole(fd, zeros, offset + at)
