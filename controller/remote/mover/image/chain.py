"""Read a disk through its chain, base below and overlays above, as QEMU would read it."""

from __future__ import annotations

import os
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from mover.errors import Damaged
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES
from mover.image.manifest import Header, Manifest, clusters_of
from mover.image.qcow2 import DATA, HOLE, ZERO, Overlay, Run
from mover.image.regular import open_regular


class Base:
    """A raw disk as the lowest layer of a chain; its hashes lie in a manifest beside it."""

    def __init__(self, path: str, manifest_path: Optional[str] = None) -> None:
        self.path = path
        self.fd = open_regular(path)
        self.size_bytes = os.lseek(self.fd, 0, os.SEEK_END)     # of a block device too
        self.clusters = clusters_of(self.size_bytes)
        self.manifest_path = manifest_path

    def __enter__(self) -> Base:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    def runs(self, first: int, count: int) -> Iterator[Run]:
        """Yield clusters [first, first+count): in a raw file each lies at its own offset."""
        inside = max(0, min(count, self.clusters - first))
        if inside:
            yield Run(DATA, first, inside, first * CLUSTER_BYTES)
        if inside < count:
            yield Run(ZERO, first + inside, count - inside)

    def hash_of(self, cluster: int) -> Optional[bytes]:
        """Return the hash of one cluster."""
        with self.manifest() as manifest:
            return manifest.hashes(cluster, 1)

    def manifest(self) -> Manifest:
        """Open the manifest beside the base."""
        if self.manifest_path is None or not os.path.exists(self.manifest_path):
            raise Damaged("%s has no manifest: scan it again" % self.path)
        return Manifest.open(self.manifest_path)


class Hashes(Base):
    """A base that lies elsewhere, of which only the hashes are at hand: its manifest's path."""

    def __init__(self, path: str) -> None:
        with Manifest.open(path) as manifest:
            size_bytes = manifest.header.size_bytes
        super().__init__(path, path)
        self.size_bytes, self.clusters = size_bytes, clusters_of(size_bytes)

    def runs(self, first: int, count: int) -> Iterator[Run]:
        """Yield a hole: no byte of the base can be read here."""
        yield Run(HOLE, first, count)


Layer = Union[Base, Overlay]


class Found(NamedTuple):
    """Clusters in a row and the layer that holds them; None: no layer does, they read as zeros."""

    run: Run
    layer: Optional[Layer]


def open_layer(path: str) -> Layer:
    """Open a file of a replica by its suffix: an overlay, the hashes of a base, or a base."""
    if path.endswith(".qcow2"):
        return Overlay(path)
    if path.endswith(".man"):
        return Hashes(path)
    return Base(path, manifest_path(path))


def manifest_path(base: str) -> str:
    """Return where the manifest of a base lies."""
    return (base[:-len(".raw")] if base.endswith(".raw") else base) + ".man"


class Chain:
    """Layers read as one disk; the last of `paths` is on top and says how large the disk is."""

    def __init__(self, paths: Sequence[str]) -> None:
        assert paths, "a chain has at least a base"
        self.layers: List[Layer] = []
        try:
            self._open(paths)
        except BaseException:
            self.close()
            raise
        self.size_bytes = self.layers[0].size_bytes
        self.clusters = clusters_of(self.size_bytes)

    def _open(self, paths: Sequence[str]) -> None:
        """Open every layer, the uppermost first; former disks are opened otherwise, see former."""
        for path in reversed(paths):
            self.layers.append(open_layer(path))

    def __enter__(self) -> Chain:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        for layer in self.layers:
            layer.close()

    def find(self, first: int, count: int) -> Iterator[Found]:
        """Yield the layers that hold clusters [first, first+count), in order and without gaps."""
        return self._find(0, first, count)

    def _find(self, level: int, first: int, count: int) -> Iterator[Found]:
        if level == len(self.layers):
            yield Found(Run(ZERO, first, count), None)
            return
        layer = self.layers[level]
        inside = max(0, min(count, layer.clusters - first))
        for run in layer.runs(first, inside):
            if run.kind == HOLE:
                yield from self._find(level + 1, run.cluster, run.clusters)
            else:
                yield Found(run, layer)
        if inside < count:      # past the end of a shorter layer nothing below it is visible
            yield Found(Run(ZERO, first + inside, count - inside), None)

    def read(self, offset: int, length: int) -> bytearray:
        """Return the disk's bytes [offset, offset+length); past its end come zeros."""
        out = bytearray(length)
        first = offset // CLUSTER_BYTES
        for found in self.find(first, -(-(offset + length) // CLUSTER_BYTES) - first):
            if found.run.kind == DATA and found.layer is not None:
                _fill(out, offset, found.run, found.layer, self.size_bytes)
        return out

    def hash_of(self, cluster: int) -> Optional[bytes]:
        """Return the hash with which one cluster was written; None: zeros in no layer."""
        for found in self.find(cluster, 1):
            return None if found.layer is None else found.layer.hash_of(cluster)
        return None


def _fill(out: bytearray, offset: int, run: Run, layer: Layer, size_bytes: int) -> None:
    start = run.cluster * CLUSTER_BYTES
    begin = max(start, offset)
    size = min(layer.size_bytes, size_bytes)
    end = min(start + run.clusters * CLUSTER_BYTES, offset + len(out), size)
    view, at = memoryview(out)[begin - offset:max(begin, end) - offset], run.position
    at += begin - start
    while view:
        got = os.preadv(layer.fd, [view], at)
        if not got:
            raise Damaged("%s is cut short at %d" % (layer.path, at))
        view, at = view[got:], at + got


def compose(paths: Sequence[str], into: str, generation: int = 0) -> Manifest:
    """Write the manifest of the disk that a chain of `paths` represents, and return it open."""
    with Chain(paths) as chain:
        below = chain.layers[-1]
        head = below.manifest().header if isinstance(below, Base) else _sums_header(below)
        header = Header(chain.size_bytes, head.algorithm, head.secret_id, generation)
        manifest = Manifest.create(into, header)
        for layer in reversed(chain.layers):
            if layer.clusters < manifest.clusters:  # past its end what is below is hidden: zeros
                manifest.resize(header._replace(size_bytes=layer.clusters * CLUSTER_BYTES))
                manifest.resize(header)
            for first, hashes in _hashes(layer, header):
                inside = max(0, manifest.clusters - first)
                manifest.put(first, hashes[:inside * HASH_BYTES])
    return manifest


def _sums_header(overlay: Overlay) -> Header:
    sums = overlay.header.sums
    if sums is None:
        raise Damaged("%s carries no hashes and has no base below" % overlay.path)
    return Header(overlay.size_bytes, sums.algorithm, sums.secret_id)


def _hashes(layer: Layer, header: Header) -> Iterator[Tuple[int, bytes]]:
    if isinstance(layer, Overlay):
        found = _sums_header(layer)
        for run, hashes in layer.sums():
            yield run.cluster, hashes
    else:
        with layer.manifest() as manifest:
            found = manifest.header
            for number, hashes in enumerate(manifest.groups()):
                if any(hashes):
                    first = number * len(hashes) // HASH_BYTES
                    yield first, hashes[:max(0, manifest.clusters - first) * HASH_BYTES]
    if (found.algorithm, found.secret_id) != (header.algorithm, header.secret_id):
        raise Damaged("%s was hashed another way than the layers above it" % layer.path)
