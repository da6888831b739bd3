"""
Read a qcow2 overlay: its header, where each cluster lies, and the hash of each.

Supported is what this mover and a plain `qemu-img create` write: version 3, 64 KiB clusters, no
compression or encryption. A header extension of our own, which QEMU ignores, says where in the file
the hashes lie: 16 bytes for each mapped cluster, in the order of the disk.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import Iterator, List, NamedTuple, Optional, Tuple

from mover.errors import Damaged, Refused
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES
from mover.image.manifest import clusters_of
from mover.image.regular import open_regular

MAGIC = 0x514649FB
HEADER_LENGTH = 104
SECTOR_BYTES = 512
TABLE_ENTRIES = CLUSTER_BYTES // 8
TABLE_BYTES = CLUSTER_BYTES
COPIED = 1 << 63            # the cluster has exactly one reference
COMPRESSED = 1 << 62
ZERO_FLAG = 1
OFFSET_MASK = 0x00FFFFFFFFFFFE00
BACKING_FORMAT = 0xE2792ACA
SUMS = 0x48534D31           # "HSM1": where the hashes lie
DIRTY = 1                   # the one incompatible feature that does not change what is read
HOLE, ZERO, DATA = "hole", "zero", "data"
TABLE = struct.Struct(">%dQ" % TABLE_ENTRIES)
_FIXED = struct.Struct(">IIQIIQIIQQIIQQQQII")
_SUMS = struct.Struct(">QQ16s16s16s")
_EMPTY_TABLE = bytes(TABLE_BYTES)
MOST_L1_BYTES = 32 << 20    # QEMU reads no larger one either: 2 PiB of disk
MOST_NAME_BYTES = 1023


class Sums(NamedTuple):
    """Where the hashes of an overlay lie, and how they were made; `check` is over all of them."""

    offset: int
    clusters: int
    algorithm: str
    secret_id: str
    check: bytes


class Header(NamedTuple):
    """The fields of a qcow2 header that are used here."""

    size_bytes: int
    l1_offset: int
    l1_entries: int
    refcount_offset: int
    refcount_clusters: int
    backing: str = ""
    backing_format: str = ""
    sums: Optional[Sums] = None


class Run(NamedTuple):
    """Consecutive clusters of one kind; DATA is consecutive in the file too, from `position` on."""

    kind: str
    cluster: int
    clusters: int
    position: int = 0


def render_header(header: Header) -> bytes:
    """Return the header, padded to one sector: a disk writes that whole or not at all."""
    extensions = b""
    if header.backing_format:
        extensions += _render_extension(BACKING_FORMAT, header.backing_format.encode())
    if header.sums is not None:
        sums = header.sums
        extensions += _render_extension(SUMS, _SUMS.pack(
            sums.offset, sums.clusters, sums.algorithm.encode(), sums.secret_id.encode(),
            sums.check))
    extensions += struct.pack(">II", 0, 0)
    backing = header.backing.encode(errors="surrogateescape")
    at = HEADER_LENGTH + len(extensions) if backing else 0
    fixed = _FIXED.pack(MAGIC, 3, at, len(backing), 16, header.size_bytes, 0, header.l1_entries,
                        header.l1_offset, header.refcount_offset, header.refcount_clusters,
                        0, 0, 0, 0, 0, 4, HEADER_LENGTH)
    whole = fixed + extensions + backing
    if len(whole) > SECTOR_BYTES:
        raise Refused("a header of %d bytes could be torn: the name of the file below is too long"
                      % len(whole))
    return whole.ljust(SECTOR_BYTES, b"\0")


def _render_extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0")


def parse_header(data: bytes, name: str) -> Header:
    """Return the header; Damaged if it is none, Refused if the file has unsupported features."""
    if len(data) < HEADER_LENGTH or struct.unpack_from(">I", data)[0] != MAGIC:
        raise Damaged("%s has no qcow2 header: it was never finished or is overwritten" % name)
    (_, version, backing_at, backing_size, cluster_bits, size, crypt, l1_entries, l1_at, refs_at,
     refs, _, _, incompatible, _, _, _, length) = _FIXED.unpack_from(data)
    unsupported = [feature for feature, present in (
        ("version %d" % version, version != 3), ("cluster bits %d" % cluster_bits,
                                                 cluster_bits != 16),
        ("encryption", crypt != 0), ("incompatible features %#x" % incompatible,
                                     incompatible & ~DIRTY != 0)) if present]
    if unsupported:
        raise Refused("%s has %s, which the mover does not read: serve it with qemu-nbd"
                      % (name, ", ".join(unsupported)))
    if l1_entries < -(-clusters_of(size) // TABLE_ENTRIES):
        raise Damaged("%s has %d table entries, too few for its size" % (name, l1_entries))
    if l1_entries * 8 > MOST_L1_BYTES:
        raise Damaged("%s has an L1 table of %d bytes, which is too large"
                      % (name, l1_entries * 8))
    if backing_size > MOST_NAME_BYTES or (backing_at and backing_at + backing_size > len(data)):
        raise Damaged("%s has a backing file name of %d bytes at %d, which cannot be"
                      % (name, backing_size, backing_at))
    backing_format, sums = _parse_extensions(data, length, name)
    backing = data[backing_at:backing_at + backing_size].decode(errors="surrogateescape")
    return Header(size, l1_at, l1_entries, refs_at, refs, backing if backing_at else "",
                  backing_format, sums)


def _parse_extensions(data: bytes, at: int, name: str) -> Tuple[str, Optional[Sums]]:
    backing_format, sums = "", None
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(">II", data, at)
        body = data[at + 8:at + 8 + size]
        if kind == 0:
            break
        if kind == BACKING_FORMAT:
            backing_format = body.decode(errors="replace")
        if kind == SUMS and size == _SUMS.size and len(body) == size:
            offset, count, algorithm, secret_id, check = _SUMS.unpack(body)
            sums = Sums(offset, count, _text(algorithm), _text(secret_id), check)
        at += 8 + -(-size // 8) * 8
    else:
        raise Damaged("%s has header extensions without an end" % name)
    return backing_format, sums


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode(errors="replace")


def entry_runs(table: bytes, first: int, name: str) -> Iterator[Run]:
    """Yield the runs of one table, whose first entry is that of cluster `first`."""
    kind, start, count, position = HOLE, first, 0, 0
    for cluster, entry in enumerate(struct.unpack(">%dQ" % (len(table) // 8), table), start=first):
        new, at = _kind(entry, cluster, name) if entry else (HOLE, 0)
        if new == kind and (new != DATA or at == position + count * CLUSTER_BYTES):
            count += 1
            continue
        if count:
            yield Run(kind, start, count, position)
        kind, start, count, position = new, cluster, 1, at
    if count:
        yield Run(kind, start, count, position)


def joined(runs: Iterator[Run]) -> Iterator[Run]:
    """Yield the same runs, joined where one begins at the end of the one before."""
    held: Optional[Run] = None
    for run in runs:
        if held is not None and run.kind == held.kind and (
                run.cluster == held.cluster + held.clusters) and (
                run.kind != DATA
                or run.position == held.position + held.clusters * CLUSTER_BYTES):
            held = held._replace(clusters=held.clusters + run.clusters)
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def _kind(entry: int, cluster: int, name: str) -> Tuple[str, int]:
    if entry & COMPRESSED:
        raise Refused("%s is compressed, which the mover does not read: serve it with qemu-nbd"
                      % name)
    if entry & ZERO_FLAG:
        return ZERO, 0
    at = entry & OFFSET_MASK
    if at % CLUSTER_BYTES:
        raise Damaged("%s: cluster %d has the odd offset %#x" % (name, cluster, at))
    return (DATA, at) if at else (HOLE, 0)


class Overlay:
    """An open qcow2 file as one layer of a chain."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = open_regular(path)
        try:
            self.header = parse_header(os.pread(self.fd, 4096, 0), path)
            size = self.header.l1_entries * 8
            if self.header.l1_offset + size > os.fstat(self.fd).st_size:
                raise Damaged("%s is cut short: the L1 table is missing" % self.path)
            data = os.pread(self.fd, size, self.header.l1_offset)
            self._tables = [entry & OFFSET_MASK
                            for entry in struct.unpack(">%dQ" % (size // 8), data)]
        except BaseException:
            os.close(self.fd)
            raise
        self.size_bytes = self.header.size_bytes
        self.clusters = clusters_of(self.size_bytes)
        self._before: Optional[List[int]] = None

    def __enter__(self) -> Overlay:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    def runs(self, first: int, count: int) -> Iterator[Run]:
        """Yield the runs of clusters [first, first+count) in this file alone, in order."""
        end = first + count
        while first < end:
            number, inside = divmod(first, TABLE_ENTRIES)
            take = min(end - first, TABLE_ENTRIES - inside)
            if number >= len(self._tables) or not self._tables[number]:
                yield Run(HOLE, first, take)
            else:
                table = self.table(number)[inside * 8:(inside + take) * 8]
                yield from entry_runs(table, first, self.path)
            first += take

    def mapped(self) -> Iterator[Run]:
        """Yield every run that is not a hole."""
        for number, at in enumerate(self._tables):
            if at:
                first = number * TABLE_ENTRIES
                count = min(TABLE_ENTRIES, self.clusters - first)
                yield from (run for run in self.runs(first, count) if run.kind != HOLE)

    def table(self, number: int) -> bytes:
        """Return one table of 8192 entries, of which zeros are holes."""
        at = self._tables[number] if number < len(self._tables) else 0
        if not at:
            return _EMPTY_TABLE
        table = os.pread(self.fd, TABLE_BYTES, at)
        if len(table) != TABLE_BYTES:
            raise Damaged("%s is cut short: table %d is missing" % (self.path, number))
        return table

    def places(self) -> Iterator[int]:
        """Yield where each table lies."""
        return (at for at in self._tables if at)

    def sums(self) -> Iterator[Tuple[Run, bytes]]:
        """Yield every mapped run with its hashes; Damaged if their checksum is wrong."""
        place = self._sums()
        self._check_sums(place)
        at = place.offset
        for run in self.mapped():
            yield run, os.pread(self.fd, run.clusters * HASH_BYTES, at)
            at += run.clusters * HASH_BYTES

    def hash_of(self, cluster: int) -> Optional[bytes]:
        """Return the hash of one cluster; None if this file does not map it."""
        place = self._sums()
        number, inside = divmod(cluster, TABLE_ENTRIES)
        if cluster >= self.clusters or not self._tables[number]:
            return None
        entries = TABLE.unpack(self.table(number))
        if not entries[inside]:
            return None
        rank = self._ranks()[number] + sum(map(bool, entries[:inside]))
        return os.pread(self.fd, HASH_BYTES, place.offset + rank * HASH_BYTES)

    def is_alone(self, cluster: int, position: int) -> bool:
        """Return whether a position is before all tables and belongs to no other cluster."""
        number, inside = divmod(cluster, TABLE_ENTRIES)
        used = [at for at in range(len(self._tables)) if self._tables[at]]
        named = sum(TABLE.unpack(self.table(at)).count(position | COPIED) for at in used)
        own = TABLE.unpack(self.table(number))[inside] == position | COPIED
        end = min((self._tables[at] for at in used), default=self.header.l1_offset)
        return named == own and position + CLUSTER_BYTES <= end

    def _sums(self) -> Sums:
        if self.header.sums is None:
            raise Refused("%s carries no hashes: it was not written by the mover" % self.path)
        return self.header.sums

    def _check_sums(self, place: Sums) -> None:
        mapped = self._ranks()[-1]
        digest, at, left = hashlib.sha256(), place.offset, place.clusters * HASH_BYTES
        if at + left > os.fstat(self.fd).st_size:
            raise Damaged("%s is cut short: hashes are missing" % self.path)
        while left > 0:
            piece = os.pread(self.fd, min(left, 1 << 20), at)
            if not piece:
                break
            digest.update(piece)
            at, left = at + len(piece), left - len(piece)
        if left or mapped != place.clusters or digest.digest()[:HASH_BYTES] != place.check:
            raise Damaged("%s: its own list of hashes is damaged" % self.path)

    def _ranks(self) -> List[int]:
        if self._before is None:
            self._before = [0]
            for number, at in enumerate(self._tables):
                mapped = sum(map(bool, TABLE.unpack(self.table(number)))) if at else 0
                self._before.append(self._before[-1] + mapped)
        return self._before
