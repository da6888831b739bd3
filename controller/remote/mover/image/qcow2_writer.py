"""
Turn a `.part` file, to which clusters were only ever appended, into a qcow2 overlay: header last.

    header | clusters as received | L2 tables | L1 table | reference counts | hashes

Without its header nobody can take the file for an overlay. Clusters left unused by a crash, or sent
again, have a reference count of 0. The hashes lie beyond everything that QEMU counts.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import List, NamedTuple

from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES
from mover.image.index import Index
from mover.image.manifest import Manifest, clusters_of, put_whole
from mover.image.qcow2 import (
    COPIED,
    DATA,
    OFFSET_MASK,
    TABLE,
    TABLE_BYTES,
    TABLE_ENTRIES,
    ZERO_FLAG,
    Header,
    Sums,
    parse_header,
    render_header,
)
from mover.image.regular import open_regular

_COUNTS_PER_BLOCK = CLUSTER_BYTES // 2
_WRITE_BYTES = 1 << 20


class Backing(NamedTuple):
    """An overlay's backing file by its header: its name is relative to the overlay."""

    name: str
    format: str


class Finished(NamedTuple):
    """The finished overlay."""

    header: Header
    clusters: int
    file_bytes: int


def finish_overlay(fd: int, index: Index, manifest: Manifest, backing: Backing) -> Finished:
    """Append tables, reference counts and hashes, sync, then write the header and sync again."""
    at = max(index.end, CLUSTER_BYTES)
    live = bytearray(at // CLUSTER_BYTES)
    live[0] = 1
    tables, at = _write_tables(fd, index, live, at)
    table_bytes = struct.pack(">%dQ" % len(tables), *tables)
    l1_at, at = at, at + _whole(len(table_bytes))
    put_whole(fd, table_bytes, l1_at)
    live += b"\1" * (at // CLUSTER_BYTES - len(live))
    refs_at, refs, at = _write_counts(fd, live, at)
    sums, at = _write_sums(fd, index, manifest, at)
    os.ftruncate(fd, at)
    os.fsync(fd)
    header = Header(index.size_bytes, l1_at, len(tables), refs_at, refs,
                    backing.name, backing.format, sums)
    os.pwrite(fd, render_header(header), 0)
    os.fsync(fd)
    return Finished(header, sums.clusters, at)


def write_empty(fd: int, size_bytes: int, backing: Backing) -> None:
    """Make a file the overlay that a guest will write to: all is read from below; header last."""
    live = bytearray(b"\1")
    l1_entries = -(-clusters_of(size_bytes) // TABLE_ENTRIES)
    l1_at, at = CLUSTER_BYTES, CLUSTER_BYTES + _whole(l1_entries * 8)
    live += b"\1" * (at // CLUSTER_BYTES - 1)
    refs_at, refs, at = _write_counts(fd, live, at)
    os.ftruncate(fd, at)
    os.fsync(fd)
    os.pwrite(fd, render_header(Header(size_bytes, l1_at, l1_entries, refs_at, refs,
                                       backing.name, backing.format)), 0)
    os.fsync(fd)


def rebase(path: str, backing: Backing) -> None:
    """Set an overlay's backing file; the header is one sector, so this is atomic."""
    fd = open_regular(path, os.O_RDWR)
    try:
        header = parse_header(os.pread(fd, 4096, 0), path)
        if (header.backing, header.backing_format) != backing:
            os.pwrite(fd, render_header(header._replace(
                backing=backing.name, backing_format=backing.format)), 0)
            os.fsync(fd)
    finally:
        os.close(fd)


def _whole(size: int) -> int:
    return -(-size // CLUSTER_BYTES) * CLUSTER_BYTES


def _write_tables(fd: int, index: Index, live: bytearray, at: int) -> tuple[List[int], int]:
    tables = [0] * index.tables
    for number, table in index.used():
        for entry in TABLE.unpack(table):
            if entry & OFFSET_MASK and not entry & ZERO_FLAG:
                live[(entry & OFFSET_MASK) // CLUSTER_BYTES] = 1
        put_whole(fd, table, at)
        tables[number] = at | COPIED
        at += TABLE_BYTES
    return tables, at


def _write_counts(fd: int, live: bytearray, at: int) -> tuple[int, int, int]:
    """Return the refcount table's offset and clusters, and the end of the counted part."""
    blocks, tables = 1, 1
    while True:     # the tables and blocks need counts, too
        total = len(live) + blocks + tables
        need = -(-total // _COUNTS_PER_BLOCK), _whole(8 * blocks) // CLUSTER_BYTES
        if need == (blocks, tables):
            break
        blocks, tables = need
    live += b"\1" * (blocks + tables)
    first_block = at + tables * CLUSTER_BYTES
    put_whole(fd, struct.pack(">%dQ" % blocks, *(
        first_block + number * CLUSTER_BYTES for number in range(blocks))), at)
    for number in range(blocks):
        counts = live[number * _COUNTS_PER_BLOCK:(number + 1) * _COUNTS_PER_BLOCK]
        block = bytearray(CLUSTER_BYTES)
        block[1:2 * len(counts):2] = counts     # 16 bits each, big end first
        put_whole(fd, block, first_block + number * CLUSTER_BYTES)
    return at, tables, first_block + blocks * CLUSTER_BYTES


def _write_sums(fd: int, index: Index, manifest: Manifest, at: int) -> tuple[Sums, int]:
    start, digest, waiting, count = at, hashlib.sha256(), bytearray(), 0
    for run in index.mapped():
        count += run.clusters
        waiting += (manifest.hashes(run.cluster, run.clusters) if run.kind == DATA
                    else bytes(run.clusters * HASH_BYTES))
        if len(waiting) >= _WRITE_BYTES:
            digest.update(waiting)
            put_whole(fd, waiting, at)
            at, waiting = at + len(waiting), bytearray()
    digest.update(waiting)
    put_whole(fd, waiting, at)
    header = manifest.header
    sums = Sums(start, count, header.algorithm, header.secret_id, digest.digest()[:HASH_BYTES])
    return sums, _whole(at + len(waiting))
