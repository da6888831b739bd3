"""Take a replica's file apart into pieces of bytes and the hashes they should have."""

from __future__ import annotations

import errno
import os
from typing import Iterator, NamedTuple, Tuple

from mover.chain import Base, open_layer
from mover.errors import Damaged
from mover.hashing import CLUSTER_BYTES, HASH_BYTES
from mover.manifest import clusters_of
from mover.qcow2 import DATA, Overlay
from mover.state import File

STEP = 16                       # clusters of one piece
HOLE_STEP = 1 << 14


class Piece(NamedTuple):
    """Clusters in a row; `position` below 0 is a hole, which reads as zeros without reading."""

    cluster: int
    position: int
    length: int
    hashes: bytes


def pieces(path: str, file: File, first: int) -> "Iterator[Tuple[int, Piece]]":
    """Yield (descriptor, piece) for clusters from `first` on; Damaged when it cannot be read."""
    with open_layer(path) as layer:
        os.posix_fadvise(layer.fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        found = _of_base(layer, file) if isinstance(layer, Base) else _of_overlay(layer, file)
        for piece in found:
            if piece.cluster + len(piece.hashes) // HASH_BYTES > first:
                yield layer.fd, piece


def _of_overlay(layer: Overlay, file: File) -> Iterator[Piece]:
    if layer.size_bytes != file.size_bytes:
        raise Damaged("%s is of a disk of %d bytes, not %d"
                      % (layer.path, layer.size_bytes, file.size_bytes))
    for run, hashes in layer.sums():
        if run.kind == DATA:
            yield from _split(run.cluster, run.position, hashes, file.size_bytes)


def _of_base(layer: Base, file: File) -> Iterator[Piece]:
    with layer.manifest() as manifest:
        if manifest.header.size_bytes != file.size_bytes:
            raise Damaged("%s is of a disk of %d bytes, not %d"
                          % (manifest.path, manifest.header.size_bytes, file.size_bytes))
        at, end = 0, manifest.clusters
        while at < end:
            data, hole = _extent(layer.fd, at, end)
            for first in range(at, data, HOLE_STEP):
                count = min(HOLE_STEP, data - first)
                yield Piece(first, -1, count * CLUSTER_BYTES, manifest.hashes(first, count))
            for first in range(data, hole, HOLE_STEP):
                hashes = manifest.hashes(first, min(HOLE_STEP, hole - first))
                yield from _split(first, first * CLUSTER_BYTES, hashes, file.size_bytes)
            at = hole


def _extent(fd: int, at: int, end: int) -> Tuple[int, int]:
    """Return the next clusters [data, hole) that are not wholly a hole of the file."""
    try:
        data = os.lseek(fd, at * CLUSTER_BYTES, os.SEEK_DATA)
        hole = os.lseek(fd, data, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end, end
        raise
    return min(end, max(at, data // CLUSTER_BYTES)), min(end, clusters_of(hole))


def _split(first: int, position: int, hashes: bytes, size_bytes: int) -> Iterator[Piece]:
    for at in range(0, len(hashes), STEP * HASH_BYTES):
        part = hashes[at:at + STEP * HASH_BYTES]
        cluster = first + at // HASH_BYTES
        length = min(len(part) // HASH_BYTES * CLUSTER_BYTES,
                     size_bytes - cluster * CLUSTER_BYTES)
        yield Piece(cluster, position + at // HASH_BYTES * CLUSTER_BYTES, length, part)
