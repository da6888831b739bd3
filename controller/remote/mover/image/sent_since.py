"""
Remember which clusters were sent since a checkpoint was made: its record must know all of them.

A copy of a VM at rest makes no checkpoint; the next still builds on the one before. An image that
was put back to an earlier state has a record that is right of itself and knows nothing of what was
sent from the later one.
"""

from __future__ import annotations

from typing import Iterable, Iterator, Optional, Tuple

from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import clusters_of
from mover.image.packed_file import TooLarge, squeezed, unsqueezed
from mover.image.qcow2 import Run

Range = Tuple[int, int]     # offset and length in bytes


def with_runs(told: Optional[str], runs: Iterable[Run]) -> Optional[str]:
    """Return the same set with more clusters in it; None where it is too large to be told."""
    return _told(_marked(
        _flags(told), ((run.cluster, run.cluster + run.clusters) for run in runs), b"\1"))


def of_ranges(ranges: Iterable[Range]) -> Optional[str]:
    """Return the set of the clusters of ranges; None where it is too large to be told."""
    return _told(_marked(bytearray(), _clusters(ranges), b"\1"))


def without(told: Optional[str], ranges: Iterable[Range]) -> Optional[str]:
    """Return the set less the clusters of some ranges."""
    ranges = list(ranges)
    if not told or not ranges:
        return told
    return _told(_marked(_flags(told), _clusters(ranges), b"\0"))


def _marked(flags: bytearray, spans: Iterable[Tuple[int, int]], flag: bytes) -> bytearray:
    for first, stop in spans:
        flags.extend(bytes(max(0, stop - len(flags))))
        flags[first:stop] = flag * (stop - first)
    return flags


def _told(flags: bytearray) -> Optional[str]:
    if not any(flags):
        return ""
    number = int(flags[::-1].translate(_DIGITS), 2)
    try:
        return squeezed(number.to_bytes(-(-len(flags) // 8), "little"))
    except TooLarge:
        return None


def _flags(told: Optional[str]) -> bytearray:
    """Return one byte for each cluster, the last that is in the set last."""
    number = int.from_bytes(unsqueezed(told), "little") if told else 0
    digits = format(number, "b").encode()[::-1] if number else b""
    return bytearray(digits.translate(_FLAGS))


_DIGITS = bytes([48, 49, *range(2, 256)])
_FLAGS = bytes(1 if value == 49 else 0 for value in range(256))


def are_within(told: Optional[str], ranges: Iterable[Range]) -> bool:
    """Return whether ranges, in ascending order, hold every cluster of the set; None is any."""
    if told is None:
        return False
    flags, at = _flags(told), 0
    for first, stop in _clusters(ranges):
        if flags.find(b"\1", at, first) >= 0:
            return False
        at = max(at, stop)
    return flags.find(b"\1", at) < 0


def _clusters(ranges: Iterable[Range]) -> Iterator[Tuple[int, int]]:
    for offset, length in ranges:
        yield offset // CLUSTER_BYTES, clusters_of(offset + length)
