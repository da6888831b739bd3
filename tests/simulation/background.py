"""Many storms at once, in processes of their own that give way to everybody else."""

import ctypes
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, TypeVar

from tests.simulation.seeds import how_many
from tests.simulation.storm import blow_many

STORMS = how_many("HOTSITE_STORMS", test=250, soak=2000)
CHUNK = 25
LAST_IN_LINE = 19
PR_SET_PDEATHSIG = 1
Result = TypeVar("Result")
AUTOGROUP = Path("/proc/self/autogroup")
Lawless = list[tuple[int, str]]
"""Seeds that broke a law, with the first of these."""


def last_in_line() -> None:
    """Give way to everybody, and end with the tests, however they end.

    Niceness alone counts only within a session: the kernel shares out by sessions first.
    Source: sched(7), the autogroup feature.
    """
    os.nice(LAST_IN_LINE)
    os.setsid()
    if AUTOGROUP.exists():
        AUTOGROUP.write_text(str(LAST_IN_LINE))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Background(Generic[Result]):
    """Storms that are under way, one process per core, each last in line for it.

    On a machine that is busy otherwise they get almost nothing; so whoever waits for them blows
    those that are not over himself, at the rank of a test.
    """

    def __init__(self, blow_many: Callable[[int, int], Result], storms: int, chunk: int) -> None:
        self._blow_many = blow_many
        self._pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"),
                                         initializer=last_in_line)
        self._chunks = [(start, min(chunk, storms - start)) for start in range(0, storms, chunk)]
        self._under_way = [self._pool.submit(blow_many, *each) for each in self._chunks]

    def results(self) -> list[Result]:
        """Return what came of each chunk, once all have passed; the last are waited for least."""
        found: dict[int, Result] = {}
        last_first = sorted(range(len(self._chunks)), reverse=True)
        for taken in (Future.cancel, lambda one: not one.done()):
            for number in last_first:
                if number not in found and taken(self._under_way[number]):
                    found[number] = self._blow_many(*self._chunks[number])
        return [found[number] if number in found else one.result()
                for number, one in enumerate(self._under_way)]

    def end(self) -> None:
        """End those that nobody waits for any more."""
        for process in self._pool._processes.values():
            process.kill()
        self._pool.shutdown(cancel_futures=True)


def lawless(first: int, count: int) -> Lawless:
    """Blow some storms, and return those that broke a law."""
    return [(seed, broken[0]) for seed, broken in blow_many(first, count)]


def storms_of_the_loop() -> Background[Lawless]:
    """Begin the storms that every law of the loop must be kept in."""
    return Background(lawless, STORMS, CHUNK)
