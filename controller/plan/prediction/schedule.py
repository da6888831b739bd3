"""When the last VM would have started, from the moment at which they may start.

The same rules as in `failover/waves.py`, on paper: waves by `startOrder`; on a host so many boots
at a time as its width says. A VM that is watched takes a place until it is healthy, or until its
limit has passed. One of which nothing is wanted but that it runs is started with the others of its
host in one request.

Rule 1: the times of single starts are given: this adds them up, and knows nothing of estates.
Rule 2: the last start ends the prediction. Whether it serves comes later.
"""

import heapq
from collections.abc import Mapping
from itertools import groupby
from typing import Final

BEGIN_S: Final = 2.0
"""Until a wave is decided, written down and asked for."""

Watched = tuple[float, float]
"""Of one VM: until it has started, and until it is healthy, from when it is asked for."""


class Batch:
    """The VMs of one wave that start on one host."""

    __slots__ = ("at_once_s", "watched")

    def __init__(self) -> None:
        self.at_once_s = 0.0
        """Until all have started that nobody watches: each has its share in this."""
        self.watched: list[Watched] = []

    def add(self, other: "Batch") -> None:
        """Add the VMs of another one."""
        self.at_once_s += other.at_once_s
        self.watched += other.watched

    def times_s(self, width: int) -> tuple[float, float]:
        """Return when the last has started, and when all of them are over."""
        started_s = over_s = self.at_once_s
        places = [0.0] * max(1, width)
        for start_s, boot_s in self.watched:
            began_s = heapq.heappop(places)
            started_s = max(started_s, began_s + min(start_s, boot_s))
            over_s = max(over_s, began_s + boot_s)
            heapq.heappush(places, began_s + boot_s)
        return started_s, over_s


Batches = Mapping[tuple[int, str], Batch]
"""By start order and host."""


def last_start_s(batches: Batches, widths: Mapping[str, int]) -> float | None:
    """Return when the last VM has started; None if there is none."""
    begun_s, last_s = 0.0, None
    for _, keys in groupby(sorted(batches), key=lambda key: key[0]):
        times = [batches[key].times_s(widths.get(key[1], 1)) for key in keys]
        last_s = begun_s + BEGIN_S + max(started_s for started_s, _ in times)
        begun_s += BEGIN_S + max(over_s for _, over_s in times)
    return last_s
