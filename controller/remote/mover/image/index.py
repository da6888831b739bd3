"""
The index of a `.part` file: where each received cluster lies, so that a cut transfer can resume.

    page 0   magic, version, kind, disk size, end of the allocated part of the `.part` file
    then     8 bytes per cluster, as in a qcow2 table: 0 missing, 1 zeros, else its offset

Several receivers write to one index at once: each allocates room in the `.part` file under a lock,
then sets entries of clusters that no other receives. The index is not trusted: when a restore point
is made, every cluster is read again and compared with its hash, so whatever a crash left half
written is found and sent again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Iterator, Tuple

from mover.errors import Damaged
from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import clusters_of, put_whole
from mover.image.qcow2 import COPIED, TABLE_BYTES, TABLE_ENTRIES, Run, entry_runs
from mover.image.regular import open_regular

MAGIC = b"HSI1"
VERSION = 1
OVERLAY, BASE = "overlay", "base"
_KINDS = {OVERLAY: 1, BASE: 2}
_HEAD = struct.Struct(">4sIIQ")
_END_AT = 64
_ENTRIES_AT = 4096
SPARE_BYTES = 64 << 20
_ZERO_ENTRY = struct.pack(">Q", 1)


class Index:
    """An open index of one `.part` file."""

    def __init__(self, path: str, fd: int, kind: str, size_bytes: int) -> None:
        self.path = path
        self.fd = fd
        self.kind = kind
        self.size_bytes = size_bytes
        self.clusters = clusters_of(size_bytes)
        self.tables = -(-self.clusters // TABLE_ENTRIES)

    @classmethod
    def create(cls, path: str, kind: str, size_bytes: int) -> Index:
        """Create an empty index, replacing any that exists."""
        fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        index = cls(path, fd, kind, size_bytes)
        os.ftruncate(fd, _ENTRIES_AT + index.tables * TABLE_BYTES)
        os.pwrite(fd, struct.pack(">Q", CLUSTER_BYTES), _END_AT)    # the header's place
        os.pwrite(fd, _HEAD.pack(MAGIC, VERSION, _KINDS[kind], size_bytes), 0)
        return index

    @classmethod
    def open(cls, path: str) -> Index:
        """Open an existing index; Damaged if it is not a whole one."""
        fd = open_regular(path, os.O_RDWR)
        try:
            head = os.pread(fd, _HEAD.size, 0).ljust(_HEAD.size, b"\0")
            magic, version, number, size_bytes = _HEAD.unpack(head)
            kind = {number: kind for kind, number in _KINDS.items()}.get(number, "")
            if (magic, version) != (MAGIC, VERSION) or not kind:
                raise Damaged("%s is not an index of this mover" % path)
            index = cls(path, fd, kind, size_bytes)
            if os.fstat(fd).st_size != _ENTRIES_AT + index.tables * TABLE_BYTES:
                raise Damaged("%s is cut short" % path)
        except BaseException:
            os.close(fd)
            raise
        return index

    def __enter__(self) -> Index:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    @property
    def most_bytes(self) -> int:
        """Limit of a `.part` file, to which each interrupted attempt adds."""
        return 3 * self.clusters * CLUSTER_BYTES + SPARE_BYTES

    @property
    def end(self) -> int:
        """Offset of the next cluster in the `.part` file."""
        end: int = struct.unpack(">Q", os.pread(self.fd, 8, _END_AT))[0]
        return end

    def start_after(self, end: int) -> None:
        """Allocate only from `end` on: entries may still point to what a crash left before it."""
        end = max(self.end, -(-end // CLUSTER_BYTES) * CLUSTER_BYTES)
        os.pwrite(self.fd, struct.pack(">Q", end), _END_AT)

    def reserve(self, count: int) -> int:
        """Allocate room for `count` clusters in a row and return its offset."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            at = self.end
            if at > self.most_bytes:
                raise Damaged("%s: more than %d bytes were received for it" % (self.path, at))
            os.pwrite(self.fd, struct.pack(">Q", at + count * CLUSTER_BYTES), _END_AT)
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        return at

    def put_data(self, first: int, count: int, position: int) -> None:
        """Record clusters that lie in a row in the `.part` file from `position` on."""
        self._put(first, struct.pack(">%dQ" % count, *(
            position + at * CLUSTER_BYTES | COPIED for at in range(count))))

    def put_zero(self, first: int, count: int) -> None:
        """Record clusters of zeros."""
        for at in range(first, first + count, TABLE_ENTRIES):
            self._put(at, _ZERO_ENTRY * min(TABLE_ENTRIES, first + count - at))

    def forget(self, first: int, count: int) -> None:
        """Record clusters as missing."""
        for at in range(first, first + count, TABLE_ENTRIES):
            self._put(at, bytes(8 * min(TABLE_ENTRIES, first + count - at)))

    def _put(self, first: int, entries: bytes) -> None:
        assert first + len(entries) // 8 <= self.clusters, "an entry past the disk's end"
        put_whole(self.fd, entries, _ENTRIES_AT + first * 8)

    def table(self, number: int) -> bytes:
        """Return one table of 8192 entries, in the format of the overlay."""
        return os.pread(self.fd, TABLE_BYTES, _ENTRIES_AT + number * TABLE_BYTES)

    def used(self) -> Iterator[Tuple[int, bytes]]:
        """Yield (number, table) of each table with a received cluster."""
        number = 0
        while number < self.tables:
            try:    # what was never written is a hole, and a hole is not read
                at = os.lseek(self.fd, _ENTRIES_AT + number * TABLE_BYTES, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            number = max(number, (at - _ENTRIES_AT) // TABLE_BYTES)
            if number < self.tables:
                table = self.table(number)
                if table.count(0) != TABLE_BYTES:
                    yield number, table
            number += 1

    def mapped(self) -> Iterator[Run]:
        """Yield every received run, in the order of the disk."""
        for number, table in self.used():
            for run in entry_runs(table, number * TABLE_ENTRIES, self.path):
                if run.kind != "hole":
                    yield run

    def arrived(self) -> int:
        """Return how many clusters have been received."""
        return sum(run.clusters for run in self.mapped())

    def missing(self) -> Iterator[Tuple[int, int]]:
        """Yield (first, count) of the missing clusters."""
        at = 0
        for run in self.mapped():
            if run.cluster > at:
                yield at, run.cluster - at
            at = run.cluster + run.clusters
        if at < self.clusters:
            yield at, self.clusters - at
