"""
Remember where each cluster that arrived lies in a `.part` file: a cut transfer goes on from there.

    page 0   magic, version, kind, disk size, end of what is taken in the `.part` file
    then     8 bytes per cluster, as in a qcow2 table: 0 is not here, 1 is zeros, else where it lies

Several receivers write to one index at once: each takes its room in the `.part` file under a lock
and then sets entries that nobody else sets. Nothing in it is believed: when a restore point is
made, every cluster is read again and compared with its hash, so whatever a crash left half
written is found there and sent again.
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
        """Make an index in which nothing has arrived, in place of any that is there."""
        fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        index = cls(path, fd, kind, size_bytes)
        os.ftruncate(fd, _ENTRIES_AT + index.tables * TABLE_BYTES)
        os.pwrite(fd, struct.pack(">Q", CLUSTER_BYTES), _END_AT)    # the header's place
        os.pwrite(fd, _HEAD.pack(MAGIC, VERSION, _KINDS[kind], size_bytes), 0)
        return index

    @classmethod
    def open(cls, path: str) -> Index:
        """Open an index that is there; Damaged when it is not a whole one."""
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
        """Let the file go."""
        os.close(self.fd)

    @property
    def most_bytes(self) -> int:
        """How far a `.part` file may grow by attempts that were cut off, each of which adds to it.
        """
        return 3 * self.clusters * CLUSTER_BYTES + SPARE_BYTES

    @property
    def end(self) -> int:
        """Where the next cluster would go in the `.part` file."""
        end: int = struct.unpack(">Q", os.pread(self.fd, 8, _END_AT))[0]
        return end

    def start_after(self, end: int) -> None:
        """Take no room before `end`: what a crash left there may still be pointed to."""
        end = max(self.end, -(-end // CLUSTER_BYTES) * CLUSTER_BYTES)
        os.pwrite(self.fd, struct.pack(">Q", end), _END_AT)

    def reserve(self, count: int) -> int:
        """Take room for `count` clusters in a row and return where it begins."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            at = self.end
            if at > self.most_bytes:
                raise Damaged("%s: more than %d bytes have come for it" % (self.path, at))
            os.pwrite(self.fd, struct.pack(">Q", at + count * CLUSTER_BYTES), _END_AT)
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        return at

    def put_data(self, first: int, count: int, position: int) -> None:
        """Note that clusters lie in the `.part` file, in a row from `position` on."""
        self._put(first, struct.pack(">%dQ" % count, *(
            position + at * CLUSTER_BYTES | COPIED for at in range(count))))

    def put_zero(self, first: int, count: int) -> None:
        """Note that clusters are zeros."""
        for at in range(first, first + count, TABLE_ENTRIES):
            self._put(at, _ZERO_ENTRY * min(TABLE_ENTRIES, first + count - at))

    def forget(self, first: int, count: int) -> None:
        """Note that clusters are not here after all."""
        for at in range(first, first + count, TABLE_ENTRIES):
            self._put(at, bytes(8 * min(TABLE_ENTRIES, first + count - at)))

    def _put(self, first: int, entries: bytes) -> None:
        assert first + len(entries) // 8 <= self.clusters, "an entry past the disk's end"
        put_whole(self.fd, entries, _ENTRIES_AT + first * 8)

    def table(self, number: int) -> bytes:
        """Return one table of 8192 entries as it will stand in the overlay."""
        return os.pread(self.fd, TABLE_BYTES, _ENTRIES_AT + number * TABLE_BYTES)

    def used(self) -> Iterator[Tuple[int, bytes]]:
        """Yield (number, table) of each table in which anything has arrived."""
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
        """Yield every run that has arrived, in the order of the disk."""
        for number, table in self.used():
            for run in entry_runs(table, number * TABLE_ENTRIES, self.path):
                if run.kind != "hole":
                    yield run

    def arrived(self) -> int:
        """Return how many clusters have arrived."""
        return sum(run.clusters for run in self.mapped())

    def missing(self) -> Iterator[Tuple[int, int]]:
        """Yield (first, count) of the clusters that have not arrived."""
        at = 0
        for run in self.mapped():
            if run.cluster > at:
                yield at, run.cluster - at
            at = run.cluster + run.clusters
        if at < self.clusters:
            yield at, self.clusters - at
