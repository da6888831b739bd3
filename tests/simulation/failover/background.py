"""Many storms at once, in processes of their own that give way to everybody else."""

import os
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.background import last_in_line
from tests.simulation.failover.storm import blow

STORMS = int(os.environ.get("HOTSITE_FAILOVER_STORMS",
                            "10000" if os.environ.get("SOAK") else "1000"))
CHUNK = 50
Broken = list[tuple[int, str]]


def blow_many(start: int, count: int) -> tuple[Broken, int, int]:
    """Return the storms that broke a law, how many promoted, and how many breaches were excused."""
    worlds = [(seed, blow(seed)) for seed in range(start, start + count)]
    return ([(seed, world.broken[0]) for seed, world in worlds if world.broken],
            sum(world.promotions > 0 for _, world in worlds),
            sum(breach.excused for _, world in worlds for breach in world.breaches))


class FailoverStorms:
    """The storms that are under way, one process per core, each last in line for it."""

    def __init__(self) -> None:
        step = min(CHUNK, STORMS)
        self._pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"),
                                         initializer=last_in_line)
        self._chunks: list[Future[tuple[Broken, int, int]]] = [
            self._pool.submit(blow_many, start, step) for start in range(0, STORMS, step)]

    def results(self) -> tuple[Broken, int, int]:
        """Return what came of all of them, once they have passed."""
        chunks = [chunk.result() for chunk in self._chunks]
        return ([found for broken, _, _ in chunks for found in broken],
                sum(promoted for _, promoted, _ in chunks),
                sum(excused for _, _, excused in chunks))

    def end(self) -> None:
        """Let those that have not begun be."""
        self._pool.shutdown(cancel_futures=True)
