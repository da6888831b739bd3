"""Processes that a test ends."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes, each of which may end by itself between the look and the kill."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
