"""What is inside a stream, as values: data, blocks, zeros, marks, questions; and their tally."""

from __future__ import annotations

import hashlib
import struct
from typing import Callable, Dict, Iterator, NamedTuple, Sequence, Tuple, Union

from mover.errors import Damaged
from mover.image.hashing import HASH_BYTES, ZERO_HASH, Buffer, Hasher
from mover.transfer.blocks.masks import put_into
from mover.transfer.codec import decompress

EXTENT = struct.Struct(">QI")

Extents = Sequence[Tuple[int, int]]     # (offset, length), one after the other in the raw bytes


def bytes_of(extents: Extents) -> bytes:
    """Return extents as they stand in a frame."""
    return b"".join(EXTENT.pack(*extent) for extent in extents)


def placed(extents: Extents) -> Iterator[Tuple[int, int, int]]:
    """Yield (offset on the disk, offset in the raw bytes, length) of each extent."""
    done = 0
    for offset, length in extents:
        yield offset, done, length
        done += length


class Data(NamedTuple):
    """Clusters that are not zero, packed; `hashes` has 16 bytes for each."""

    extents: Extents
    length: int
    codec: int
    hashes: bytes
    packed: memoryview

    @property
    def raw_bytes(self) -> int:
        """How long the clusters are."""
        return self.length

    def expand(self, hasher: Hasher) -> Buffer:
        """Return the raw bytes; Damaged unless each cluster has the hash sent with it."""
        raw = decompress(self.codec, self.packed, self.length)
        if hasher.clusters(raw) != self.hashes:
            raise Damaged("the clusters at offset %d are not what was sent" % self.extents[0][0])
        return raw


class Blocks(NamedTuple):
    """Clusters of which only the blocks that the receiver lacks are sent; `length`: of these."""

    extents: Extents
    masks: bytes
    length: int
    codec: int
    hashes: bytes
    packed: Buffer

    @property
    def raw_bytes(self) -> int:
        """How long the clusters are."""
        return sum(length for _, length in self.extents)

    def expand(self, hasher: Hasher, read: Callable[[int, int], bytearray]) -> Buffer:
        """
        Return the raw bytes of the clusters; Damaged unless each has the hash sent with it.

        `read` returns a range of the disk as it was when the sender asked.
        """
        raw = bytearray().join(read(offset, length) for offset, length in self.extents)
        put_into(raw, decompress(self.codec, memoryview(self.packed), self.length), self.masks,
                 self.extents)
        if hasher.clusters(raw) != self.hashes:
            raise Damaged("the blocks at offset %d do not make the clusters that were sent"
                          % self.extents[0][0])
        return raw


class Zero(NamedTuple):
    """A range that reads as zeros."""

    offset: int
    length: int


class Mark(NamedTuple):
    """The sender has sent everything before `offset`, on this stream or on another."""

    offset: int
    number: int


class Ask(NamedTuple):
    """The sender asks for the hashes of the blocks of some clusters."""

    number: int
    extents: Extents


Frame = Union[Data, Blocks, Zero, Mark, Ask]


class Tally:
    """What one stream carries: counted at both ends, compared at END."""

    def __init__(self) -> None:
        self.clusters = self.data_bytes = self.zero_bytes = self.packed_bytes = self.frames = 0
        self._root = hashlib.sha256()

    def data(self, where: bytes, raw_bytes: int, hashes: bytes, packed_bytes: int) -> None:
        """Count a frame of clusters; `where`: its extents, and masks, as bytes of the frame."""
        self._root.update(where + hashes)
        self.frames += 1
        self.clusters += len(hashes) // HASH_BYTES
        self.data_bytes += raw_bytes
        self.packed_bytes += packed_bytes

    def zero(self, offset: int, length: int) -> None:
        """Count a ZERO frame."""
        self._root.update(struct.pack(">QQ", offset, length) + ZERO_HASH)
        self.frames += 1
        self.zero_bytes += length

    def end(self) -> Dict[str, object]:
        """Return the payload of END."""
        return {"root": self._root.hexdigest(), "totals": {
            "clusters": self.clusters, "data_bytes": self.data_bytes, "frames": self.frames,
            "zero_bytes": self.zero_bytes, "packed_bytes": self.packed_bytes}}
