"""What the wire waits for goes as it is only while half of it is saved all the same."""

import random

from mover.sparing import SHARE, SMALL_BYTES, Sparing

MIB = 1 << 20


def played(total_bytes: int, packed_share: float, seed: int = 1) -> float:
    """Return what share of all goes over a wire that always waits, four batches under way."""
    sparing, dice, under_way, wire = Sparing(allowed=True), random.Random(seed), [], 0.0
    for _ in range(total_bytes // MIB):
        may_skip = sparing.take(MIB)
        under_way.append(MIB if may_skip else round(MIB * packed_share))
        if len(under_way) == 4 or dice.random() < 0.3:
            wire += (packed := under_way.pop(0))
            sparing.passed(MIB, packed)
    return (wire + sum(under_way)) / total_bytes


def test_text_is_spared_in_part_and_stays_below_half() -> None:
    assert 0.34 < played(100 * MIB, 0.34) <= SHARE
    assert 0.10 < played(100 * MIB, 0.10) <= SHARE


def test_a_short_transfer_and_what_hardly_shrinks_are_squeezed_whole() -> None:
    assert played(4 * MIB, 0.34) == round(MIB * 0.34) / MIB
    assert played(100 * MIB, 0.9) == round(MIB * 0.9) / MIB


def test_what_is_large_is_spared_whatever_it_comes_to() -> None:
    assert played(3 * SMALL_BYTES, 0.9) > 0.95


def test_without_leave_nothing_is_spared() -> None:
    sparing = Sparing(allowed=False)
    assert not any(sparing.take(MIB) for _ in range(1000))
