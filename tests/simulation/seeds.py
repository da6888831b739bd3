"""How many storms are blown, in which order, and by which command one is blown again."""

import os
from collections.abc import Iterator


def how_many(variable: str, *, test: int, soak: int) -> int:
    """Return what the environment says, else what a test, or a soak, has time for."""
    return int(os.environ.get(variable, soak if os.environ.get("SOAK") else test))


def luckiest_first(lucky: int, enough: int) -> Iterator[int]:
    """Yield every seed, first the one that found it before: what is found is the same, sooner."""
    yield lucky
    yield from (seed for seed in range(enough) if seed != lucky)


def replay(module: str, *words: object) -> str:
    """Return the command that tells the story of one storm."""
    return " ".join(("python -m", module, *map(str, words)))
