"""Take a replica's file apart into pieces of bytes and the hashes that they should have."""

from __future__ import annotations

import os
from typing import Iterator, List, NamedTuple, Tuple

from mover.errors import Damaged, unreadable_is_damaged
from mover.image.chain import Base, open_layer
from mover.image.former import FormerDisk, in_steps
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES
from mover.image.manifest import Manifest, clusters_of
from mover.image.qcow2 import DATA, Overlay
from mover.image.sparse import filled
from mover.replica.state import DISK, File, former_of

STEP = 16                       # clusters of one piece
HOLE_STEP = 1 << 14


class Piece(NamedTuple):
    """Adjacent clusters; `position` below 0 is a hole, which reads as zeros without reading."""

    cluster: int
    position: int
    length: int
    hashes: bytes

    def wrong(self, found: bytes) -> List[int]:
        """Return the clusters that do not have their hash, given the hashes that were found."""
        return [] if found == self.hashes else [
            self.cluster + at // HASH_BYTES for at in range(0, len(found), HASH_BYTES)
            if found[at:at + HASH_BYTES] != self.hashes[at:at + HASH_BYTES]]


def pieces(path: str, file: File, first: int) -> "Iterator[Tuple[int, Piece]]":
    """Yield (descriptor, piece) for clusters from `first` on; Damaged when it cannot be read."""
    if file.kind == DISK:
        yield from _of_former(path, file, first)
        return
    with unreadable_is_damaged(path), open_layer(path) as layer:
        os.posix_fadvise(layer.fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        found = _of_base(layer, file) if isinstance(layer, Base) else _of_overlay(layer, file)
        for piece in found:
            if piece.cluster + len(piece.hashes) // HASH_BYTES > first:
                yield layer.fd, piece


def _of_former(path: str, file: File, first: int) -> Iterator[Tuple[int, Piece]]:
    """Yield the pieces of a former disk; `path` is that of its manifest."""
    with unreadable_is_damaged(path), FormerDisk(*former_of(file)) as disk, \
            Manifest.open(path) as manifest:
        if (disk.size_bytes, manifest.header.size_bytes) != (file.size_bytes, file.size_bytes):
            raise Damaged("%s is of a disk of %d bytes, not %d"
                          % (disk.layers[0].path, disk.size_bytes, file.size_bytes))
        for begin, stop in in_steps([(first, disk.clusters)]):
            at = begin
            for part in disk.pieces(begin, stop):
                yield from ((part.fd, hole) for hole in _hole(manifest, at, part.cluster))
                at = part.cluster + clusters_of(part.length)
                yield part.fd, Piece(part.cluster, part.position, part.length,
                                     manifest.hashes(part.cluster, at - part.cluster))
            yield from ((disk.layers[0].fd, hole) for hole in _hole(manifest, at, stop))


def _of_overlay(layer: Overlay, file: File) -> Iterator[Piece]:
    if layer.size_bytes != file.size_bytes:
        raise Damaged("%s is of a disk of %d bytes, not %d"
                      % (layer.path, layer.size_bytes, file.size_bytes))
    for run, hashes in layer.sums():
        if run.kind == DATA:
            yield from _split(run.cluster, run.position, hashes, file.size_bytes)
        else:       # a flipped bit in a table makes data read as zeros: the hashes tell
            yield Piece(run.cluster, -1, run.clusters * CLUSTER_BYTES, hashes)


def _of_base(layer: Base, file: File) -> Iterator[Piece]:
    with layer.manifest() as manifest:
        if manifest.header.size_bytes != file.size_bytes:
            raise Damaged("%s is of a disk of %d bytes, not %d"
                          % (manifest.path, manifest.header.size_bytes, file.size_bytes))
        at = 0
        for data, hole in filled(layer.fd, 0, manifest.clusters):
            yield from _hole(manifest, at, data)
            for first in range(data, hole, HOLE_STEP):
                hashes = manifest.hashes(first, min(HOLE_STEP, hole - first))
                yield from _split(first, first * CLUSTER_BYTES, hashes, file.size_bytes)
            at = hole
        yield from _hole(manifest, at, manifest.clusters)


def _hole(manifest: Manifest, first: int, stop: int) -> Iterator[Piece]:
    for at in range(first, stop, HOLE_STEP):
        count = min(HOLE_STEP, stop - at)
        yield Piece(at, -1, count * CLUSTER_BYTES, manifest.hashes(at, count))


def _split(first: int, position: int, hashes: bytes, size_bytes: int) -> Iterator[Piece]:
    for at in range(0, len(hashes), STEP * HASH_BYTES):
        part = hashes[at:at + STEP * HASH_BYTES]
        cluster = first + at // HASH_BYTES
        length = min(len(part) // HASH_BYTES * CLUSTER_BYTES,
                     size_bytes - cluster * CLUSTER_BYTES)
        yield Piece(cluster, position + at // HASH_BYTES * CLUSTER_BYTES, length, part)
