"""Many storms at once, in processes of their own that give way to everybody else."""

import ctypes
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.storm import blow_many

STORMS = int(os.environ.get("HOTSITE_STORMS", "2000"))
CHUNK = 100
LAST_IN_LINE = 19
PR_SET_PDEATHSIG = 1
AUTOGROUP = Path("/proc/self/autogroup")
Broken = list[tuple[int, tuple[str, ...]]]


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


class Blowing:
    """The storms that are under way, one process per core, each last in line for it."""

    def __init__(self) -> None:
        step = min(CHUNK, STORMS)
        self._pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"),
                                         initializer=last_in_line)
        self._chunks: list[Future[Broken]] = [
            self._pool.submit(blow_many, start, step) for start in range(0, STORMS, step)]

    def broken(self) -> Broken:
        """Return every storm that broke a law, once all have passed."""
        return [found for chunk in self._chunks for found in chunk.result()]

    def end(self) -> None:
        """Let those that have not begun be."""
        self._pool.shutdown(cancel_futures=True)
