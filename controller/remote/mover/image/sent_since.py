"""
The set of clusters sent since a checkpoint was made, as text; the disk's bitmap must cover them.

A copy of a VM that is off makes no checkpoint, so the next increment is taken from an older one,
and its bitmap holds everything that was sent in between. If it does not, the image was put back to
an earlier state, with the bitmap of then: the disk must be scanned.

The text is a compressed bit string, "" the empty set, and None a set too large to be kept.
"""

from __future__ import annotations

from typing import Iterable, Iterator, Optional, Tuple

from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import clusters_of
from mover.image.packed_file import TooLarge, pack_line, unpack_line
from mover.image.qcow2 import Run

Range = Tuple[int, int]     # offset and length in bytes
_DIGITS = bytes([48, 49, *range(2, 256)])
_FLAGS = bytes(1 if value == 49 else 0 for value in range(256))


def with_runs(text: Optional[str], runs: Iterable[Run]) -> Optional[str]:
    """Return the set with the clusters of some runs added."""
    return _text(_marked(
        _flags(text), ((run.cluster, run.cluster + run.clusters) for run in runs), b"\1"))


def of_ranges(ranges: Iterable[Range]) -> Optional[str]:
    """Return the set of the clusters of some ranges."""
    return _text(_marked(bytearray(), _clusters(ranges), b"\1"))


def without(text: Optional[str], ranges: Iterable[Range]) -> Optional[str]:
    """Return the set with the clusters of some ranges removed."""
    ranges = list(ranges)
    if not text or not ranges:
        return text
    return _text(_marked(_flags(text), _clusters(ranges), b"\0"))


def covers(ranges: Iterable[Range], text: Optional[str]) -> bool:
    """Return whether ranges, in ascending order, hold every cluster of a set; of None never."""
    if text is None:
        return False
    flags, at = _flags(text), 0
    for first, stop in _clusters(ranges):
        if flags.find(b"\1", at, first) >= 0:
            return False
        at = max(at, stop)
    return flags.find(b"\1", at) < 0


def _marked(flags: bytearray, spans: Iterable[Tuple[int, int]], flag: bytes) -> bytearray:
    for first, stop in spans:
        flags.extend(bytes(max(0, stop - len(flags))))
        flags[first:stop] = flag * (stop - first)
    return flags


def _text(flags: bytearray) -> Optional[str]:
    if not any(flags):
        return ""
    number = int(flags[::-1].translate(_DIGITS), 2)
    try:
        return pack_line(number.to_bytes(-(-len(flags) // 8), "little"))
    except TooLarge:
        return None


def _flags(text: Optional[str]) -> bytearray:
    """Return one byte for each cluster, 1 for those in the set."""
    number = int.from_bytes(unpack_line(text), "little") if text else 0
    digits = format(number, "b").encode()[::-1] if number else b""
    return bytearray(digits.translate(_FLAGS))


def _clusters(ranges: Iterable[Range]) -> Iterator[Tuple[int, int]]:
    for offset, length in ranges:
        yield offset // CLUSTER_BYTES, clusters_of(offset + length)
