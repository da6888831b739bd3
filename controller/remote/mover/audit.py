"""A sending end that sends nothing: it remembers what would have been sent."""

from __future__ import annotations

from typing import Iterable, List, Tuple

from mover.extents import Ranges
from mover.hashing import Buffer, Hasher
from mover.stream import Extents, Writer

MOST_RANGES = 10000         # of a disk so damaged that a list of places no longer helps


class Auditor(Writer):
    """Takes what a Writer takes."""

    def __init__(self, hasher: Hasher) -> None:
        super().__init__(-1, hasher)
        self._found: List[Tuple[int, int]] = []

    def data(self, extents: Extents, hashes: bytes, codec: int, packed: Buffer) -> None:
        """Remember clusters that are not what the other end has."""
        super().data(extents, hashes, codec, packed)
        self._found += extents

    def zero(self, offset: int, length: int) -> None:
        """Remember zeros that are not zeros at the other end."""
        super().zero(offset, length)
        self._found.append((offset, length))

    def differences(self, size_bytes: int) -> List[Tuple[int, int]]:
        """Return the first ranges that differ, in ascending order."""
        return list(Ranges(size_bytes, sorted(self._found)))[:MOST_RANGES]

    def _put(self, kind: int, a: int, b: int, *payload: Buffer) -> None:
        pass

    def _write(self, parts: Iterable[Buffer]) -> None:
        raise AssertionError("an audit has no wire")
