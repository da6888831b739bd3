"""
Which 4 KiB blocks of a 64 KiB cluster differ: a database writes 4 KiB, and the line is thin.

Change tracking and the files of a replica know clusters. Of a cluster that has changed the sender
gets the receiver's hash of each block (asking), sends the blocks that differ under a mask, and the
hash of the whole cluster. The receiver puts them into the cluster as its newest restore point has
it, and takes the result only if the whole has that hash. So a block's own hash may be short: two
blocks that are taken for equal by mistake fail there, and nothing wrong is ever written.

Bit N of a mask stands for block N of its cluster, lowest first. The last cluster of a disk, and
its last block, may be short.
"""

from __future__ import annotations

from typing import Iterable, Iterator, List, Sequence, Tuple

from mover.errors import Damaged
from mover.image.hashing import BLOCK_BYTES, BLOCK_HASH_BYTES, CLUSTER_BYTES, Buffer, cluster_spans

BLOCKS = CLUSTER_BYTES // BLOCK_BYTES
MASK_BYTES = BLOCKS // 8
_BITS = [format(byte, "b").count("1") for byte in range(256)]


def mask_of(own: bytes, theirs: bytes) -> int:
    """Return which blocks of one cluster have another hash here than there."""
    mask = 0
    for number, at in enumerate(range(0, len(own), BLOCK_HASH_BYTES)):
        if own[at:at + BLOCK_HASH_BYTES] != theirs[at:at + BLOCK_HASH_BYTES]:
            mask |= 1 << number
    return mask


def count_of(mask: int) -> int:
    """Return how many blocks a mask names."""
    return _BITS[mask & 255] + _BITS[mask >> 8]


def spans(mask: int, length: int) -> Iterator[Tuple[int, int]]:
    """Yield (offset, length) inside a cluster of `length` bytes of each block that a mask names."""
    for number in range(BLOCKS):
        if mask >> number & 1:
            at = number * BLOCK_BYTES
            if at >= length:
                raise Damaged("a mask names a block past the end of the disk")
            yield at, min(BLOCK_BYTES, length - at)


def chosen(mask: int, cluster: memoryview) -> List[memoryview]:
    """Return the blocks of a cluster that a mask names."""
    return [cluster[at:at + size] for at, size in spans(mask, len(cluster))]


def packed_masks(masks: Iterable[int]) -> bytes:
    """Return masks as they stand in a frame."""
    return b"".join(mask.to_bytes(MASK_BYTES, "big") for mask in masks)


def sent_bytes(masks: bytes, extents: Sequence[Tuple[int, int]]) -> int:
    """Return how long the blocks are that masks name of the clusters of some extents."""
    return sum(size for mask, _at, length in _masked(masks, extents)
               for _, size in spans(mask, length))


def put_into(raw: bytearray, blocks: Buffer, masks: bytes,
             extents: Sequence[Tuple[int, int]]) -> None:
    """Put blocks into the clusters that `raw` has of some extents, one after another."""
    into, given, done = memoryview(raw), memoryview(blocks), 0
    for mask, start, length in _masked(masks, extents):
        for at, size in spans(mask, length):
            into[start + at:start + at + size] = given[done:done + size]
            done += size


def _masked(masks: bytes, extents: Sequence[Tuple[int, int]]) -> Iterator[Tuple[int, int, int]]:
    """Yield (mask, offset in the raw bytes, length) of each cluster."""
    number = done = 0
    for _, length in extents:
        for at, size in cluster_spans(length):
            yield (int.from_bytes(masks[number * MASK_BYTES:(number + 1) * MASK_BYTES], "big"),
                   done + at, size)
            number += 1
        done += length
