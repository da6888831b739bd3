"""Storms begin when the tests do, on what the lab's tests leave of the processors."""

import ctypes
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.storm import blow_many

STORMS = int(os.environ.get("HOTSITE_STORMS", "2000"))
CHUNK = 100
NEEDED_BY = "test_every_law_is_kept_in_every_storm"
LAST_IN_LINE = 19
PR_SET_PDEATHSIG = 1
Broken = list[tuple[int, tuple[str, ...]]]


def last_in_line() -> None:
    """Give way to everybody, and end with the tests, however they end."""
    os.nice(LAST_IN_LINE)
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


BLOWING = pytest.StashKey[Blowing]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin, where the storms are asked for at all."""
    if not session.config.option.collectonly and any(
            item.name == NEEDED_BY for item in session.items):
        session.config.stash[BLOWING] = Blowing()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End also when the tests ended early."""
    if BLOWING in session.config.stash:
        session.config.stash[BLOWING].end()


@pytest.fixture
def storms(pytestconfig: pytest.Config) -> Blowing:
    """The storms that have raged since the tests began."""
    return pytestconfig.stash[BLOWING]
