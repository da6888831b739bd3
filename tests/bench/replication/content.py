"""The content of the disks and its changes: half text, half noise, at seeded places."""

import os
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
STRETCH_BYTES = 16 * MIB
"""Text, nothing, noise, nothing, and so on: half of the disk is full."""
SYLLABLES = ("ba", "con", "de", "er", "fi", "in", "lo", "re", "ser", "tion", "un", "ver", "tab",
             "que", "sel", "log")
WORDS = [(SYLLABLES[n % 16] + SYLLABLES[n // 16] + " \n:=/"[n % 5]).encode() for n in range(256)]


@cache
def corpus() -> bytes:
    """Return so many words that no frame on the wire meets the same ones twice."""
    return b"".join(map(WORDS.__getitem__, random.Random(0).randbytes(8 * MIB // 5)))


def text(size: int, dice: random.Random) -> bytes:
    """Return bytes like a log: words of little order."""
    words = corpus()
    starts = (dice.randrange(len(words) - KIB) for _ in range(-(-size // KIB)))
    return b"".join(words[start:start + KIB] for start in starts)[:size]


def noise(size: int, dice: random.Random) -> bytes:
    """Return bytes that do not compress."""
    return os.urandom(size)


KINDS: dict[str, Callable[[int, random.Random], bytes]] = {"text": text, "noise": noise}


class Change(NamedTuple):
    """So many bytes of a kind, written in pieces of one size at places drawn by lot."""

    kind: str
    total_bytes: int
    piece_bytes: int

    @property
    def title(self) -> str:
        """Return it in a few words."""
        return f"{self.total_bytes // MIB} MiB of {self.kind} in {self.piece_bytes // KIB} KiB"

    def pieces(self, size_bytes: int, seed: int) -> Iterator[tuple[int, bytes]]:
        """Yield where to write what, each place once, in stretches of its own kind."""
        dice = random.Random(f"{self} {seed}")
        phase = 0 if self.kind == "text" else 2
        each = STRETCH_BYTES // self.piece_bytes
        slots = each * (size_bytes // (4 * STRETCH_BYTES))
        for slot in sorted(dice.sample(range(slots), self.total_bytes // self.piece_bytes)):
            stretch, inside = divmod(slot, each)
            offset = (4 * stretch + phase) * STRETCH_BYTES + inside * self.piece_bytes
            yield offset, KINDS[self.kind](self.piece_bytes, dice)


def half_full(size_bytes: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield all that a new disk holds, in ascending order."""
    dice = random.Random(f"disk {seed}")
    for number, offset in enumerate(range(0, size_bytes, 2 * STRETCH_BYTES)):
        make = text if number % 2 == 0 else noise
        yield offset, make(min(STRETCH_BYTES, size_bytes - offset), dice)
