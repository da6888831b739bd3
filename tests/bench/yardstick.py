"""A fixed piece of work, similar to a plan, that shows how fast this machine is right now.

A time that was kept says nothing on another machine; how many yardsticks it was does.
"""

import time
from dataclasses import dataclass

ROWS = 40_000
TURNS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """Something to look up."""

    name: str
    kind: int
    parts: tuple[int, ...]


def yardstick_s() -> float:
    """Return the processor time of the work: the shortest of a few turns."""
    return min(_turn_s() for _ in range(TURNS))


def _turn_s() -> float:
    began = time.process_time()
    rows = {f"vm-{number:05}": Row(f"vm-{number:05}", number % 7, (number, number + 1))
            for number in range(ROWS)}
    found: list[Row] = []
    for name in sorted(rows):
        row = rows[name]
        if row.kind == 3 or sum(row.parts) % 11 == 5:
            found.append(Row(f"{row.name}/{row.kind}", row.kind, (*row.parts, len(found))))
    assert len({one.name for one in found}) == len(found)
    return time.process_time() - began
