"""
A disk that a VM had on this host before it failed over: an image of its own, which is only read.

It may be a qcow2 file, with whatever lies below it, or a raw one; nothing in it was written by a
mover, so its hashes are made here, once. Read are what libvirt and `qemu-img create` make: version
3, clusters of 64 KiB, not compressed and not encrypted.
"""

from __future__ import annotations

import os
from typing import Iterator, List, NamedTuple, Sequence, Tuple

from mover.errors import Refused
from mover.image.chain import Base, Chain, Found, Layer, compose, manifest_path
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.manifest import Manifest
from mover.image.qcow2 import DATA, Overlay
from mover.image.sparse import Copier, filled, punch

MOST_LAYERS = 256
PIECE_CLUSTERS = 16
STEP_CLUSTERS = 1 << 13


class Piece(NamedTuple):
    """Clusters in a row in one file, and how many bytes of the disk they are."""

    fd: int
    cluster: int
    position: int
    length: int


class FormerDisk(Chain):
    """A disk read through its own chain of images, by the format that is declared of the top."""

    def __init__(self, path: str, form: str) -> None:
        self._form = form
        super().__init__([path])

    def _open(self, paths: Sequence[str]) -> None:
        path, form = paths[0], self._form
        while path:
            if len(self.layers) >= MOST_LAYERS:
                raise Refused("%s has more than %d layers" % (paths[0], MOST_LAYERS))
            path, form = self._open_layer(path, form)

    def _open_layer(self, path: str, form: str) -> Tuple[str, str]:
        """Open one layer; return the path and the format of the one below it."""
        if form == "raw":
            self.layers.append(Base(path))
            return "", ""
        if form != "qcow2":
            raise Refused("%s is %s: only qcow2 and raw files are taken back" % (
                path, form or "of a format that the layer above it does not name"))
        layer = Overlay(path)
        self.layers.append(layer)
        below = layer.header.backing
        return below and os.path.join(os.path.dirname(path), below), layer.header.backing_format

    def pieces(self, first: int, stop: int) -> Iterator[Piece]:
        """Yield what is not zeros of clusters [first, stop)."""
        for found in self.find(first, stop - first):
            if found.run.kind == DATA and found.layer is not None:
                for begin, end in _written(found, found.layer):
                    for at in range(begin, end, PIECE_CLUSTERS):
                        size = min(PIECE_CLUSTERS, end - at) * CLUSTER_BYTES
                        yield Piece(found.layer.fd, at,
                                    found.run.position + (at - found.run.cluster) * CLUSTER_BYTES,
                                    min(size, self.size_bytes - at * CLUSTER_BYTES))

    def names(self) -> List[Tuple[str, str]]:
        """Return the path and the format of each layer, the uppermost first."""
        return [(layer.path, "qcow2" if isinstance(layer, Overlay) else "raw")
                for layer in self.layers]


def _written(found: Found, layer: Layer) -> Iterator[Tuple[int, int]]:
    """Yield which clusters of a run to read: of a raw file its holes are left out."""
    first, stop = found.run.cluster, found.run.cluster + found.run.clusters
    return iter([(first, stop)]) if isinstance(layer, Overlay) else filled(layer.fd, first, stop)


def hash_disk(disk: FormerDisk, manifest: Manifest, hasher: Hasher,
              spans: Sequence[Tuple[int, int]]) -> int:
    """Write the hashes of the clusters in `spans`, as (first, stop); return the bytes read."""
    read_bytes = 0
    buffer = memoryview(bytearray(PIECE_CLUSTERS * CLUSTER_BYTES))
    for first, stop in in_steps(spans):
        at = first
        for piece in disk.pieces(first, stop):
            manifest.put(at, bytes((piece.cluster - at) * HASH_BYTES))
            hashes = hash_piece(piece, buffer, hasher)
            manifest.put(piece.cluster, hashes)
            at = piece.cluster + len(hashes) // HASH_BYTES
            read_bytes += piece.length
        manifest.put(at, bytes((stop - at) * HASH_BYTES))
    return read_bytes


def in_steps(spans: Sequence[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    """Yield the same spans in parts that are small enough for memory."""
    for first, stop in spans:
        for begin in range(first, stop, STEP_CLUSTERS):
            yield begin, min(stop, begin + STEP_CLUSTERS)


def hash_piece(piece: Piece, buffer: memoryview, hasher: Hasher) -> bytes:
    """Return the hashes of a piece; what lies past the end of its file reads as zeros."""
    data = buffer[:piece.length]
    got = os.preadv(piece.fd, [data], piece.position)
    data[got:] = bytes(piece.length - got)
    return hasher.clusters(data)


def stamp_of(path: str) -> List[int]:
    """Return what a write to a file changes, or its replacement by another."""
    seen = os.stat(path)
    return [seen.st_ino, seen.st_size, seen.st_mtime_ns]


def make_base(disk: FormerDisk, sums: Sequence[str], path: str) -> int:
    """
    Write a base and its manifest, of a former disk and an overlay over it; return bytes of data.

    `sums`: the disk's manifest and the overlay. Files of that name are replaced.
    """
    copier, size_bytes, new = Copier(), 0, path + ".new"
    fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with disk, Overlay(sums[1]) as above:
            os.ftruncate(fd, disk.size_bytes)
            for piece in disk.pieces(0, disk.clusters):
                copier.copy(piece.fd, piece.position, fd, piece.cluster * CLUSTER_BYTES,
                            piece.length)
                size_bytes += piece.length
            for run in above.mapped():
                at = run.cluster * CLUSTER_BYTES
                length = min(run.clusters * CLUSTER_BYTES, disk.size_bytes - at)
                if run.kind == DATA:
                    copier.copy(above.fd, run.position, fd, at, length)
                    size_bytes += length
                else:
                    punch(fd, at, length)
        with compose(sums, new + ".man") as manifest:
            manifest.sync()
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(new + ".man", manifest_path(path))
    os.rename(new, path)
    sync_names(os.path.dirname(path))
    return size_bytes


def sync_names(folder: str) -> None:
    """Return when the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
