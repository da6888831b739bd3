"""
Choose the ranges of a disk to look at: whole clusters, in order, to read or known to be zeros.

Allocation is queried only within dirty ranges: for the whole of a large disk it takes minutes.
"""

from __future__ import annotations

import bisect
import heapq
from array import array
from typing import Iterable, Iterator, NamedTuple, Optional, Tuple

from mover.image.hashing import CLUSTER_BYTES
from mover.transfer.nbd import ALLOCATION, DIRTY, READS_ZERO, Nbd, bitmap_context

Range = Tuple[int, int]         # offset, length


class Piece(NamedTuple):
    """A range to read, or one known to be zeros."""

    offset: int
    length: int
    zero: bool


class Ranges:
    """Ranges of whole clusters in ascending order, none touching, in 16 bytes each."""

    def __init__(self, size_bytes: int, ranges: Iterable[Range] = ()) -> None:
        self._size_bytes = size_bytes
        self._bounds = array("Q")
        for offset, length in ranges:
            self._add(offset, length)

    def __iter__(self) -> Iterator[Range]:
        for at in range(0, len(self._bounds), 2):
            yield self._bounds[at], self._bounds[at + 1] - self._bounds[at]

    @property
    def total_bytes(self) -> int:
        """The sum of all lengths."""
        return sum(self._bounds[1::2]) - sum(self._bounds[::2])

    def holds(self, offset: int, length: int) -> bool:
        """Return whether one of the ranges holds all of another."""
        at = bisect.bisect_right(self._bounds, offset)
        return at % 2 == 1 and self._bounds[at] >= offset + length

    def _add(self, offset: int, length: int) -> None:
        start = offset - offset % CLUSTER_BYTES
        end = min(self._size_bytes, offset + length + -(offset + length) % CLUSTER_BYTES)
        if end <= start:
            return
        if not self._bounds or start > self._bounds[-1]:
            self._bounds.extend((start, end))
            return
        assert start >= self._bounds[-2], "ranges come in ascending order"
        self._bounds[-1] = max(self._bounds[-1], end)


def dirty(nbd: Nbd, bitmap: str, also: Iterable[Range] = ()) -> Ranges:
    """Return the ranges that the bitmap says have changed, merged with others, in order."""
    found = nbd.extents(0, nbd.size_bytes, bitmap_context(bitmap))
    changed = ((offset, length) for offset, length, flags in found if flags & DIRTY)
    return Ranges(nbd.size_bytes, heapq.merge(changed, also))


def pieces(nbd: Nbd, ranges: Iterable[Range], most_bytes: int) -> Iterator[Piece]:
    """Yield the ranges as pieces: reads of at most `most_bytes`, and whole zero clusters."""
    for offset, length in ranges:
        end, cursor = offset + length, offset
        for start, size, flags in nbd.extents(offset, length, ALLOCATION):
            zero = _zero_clusters(start, start + size, end) if flags & READS_ZERO else None
            if zero is not None:
                yield from _reads(cursor, zero[0], most_bytes)
                yield Piece(zero[0], zero[1] - zero[0], zero=True)
                cursor = zero[1]
        yield from _reads(cursor, end, most_bytes)


def _zero_clusters(start: int, stop: int, end: int) -> Optional[Tuple[int, int]]:
    first = start + -start % CLUSTER_BYTES
    last = stop if stop == end else stop - stop % CLUSTER_BYTES
    return (first, last) if first < last else None


def _reads(start: int, stop: int, most_bytes: int) -> Iterator[Piece]:
    for at in range(start, stop, most_bytes):
        yield Piece(at, min(most_bytes, stop - at), zero=False)
