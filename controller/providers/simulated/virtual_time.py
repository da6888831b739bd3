"""An event loop on which waiting costs nothing: when every task waits, the clock jumps.

Rule 1: nothing real may be waited for inside it: no threads, sockets or child processes.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from controller.errors import HotsiteError

T = TypeVar("T")
START_AT: Final = 1_790_000_000.0
"""The instant at which every simulation begins, in epoch seconds: 2026-09-21T14:13:20Z."""


class Deadlock(HotsiteError):
    """Every task waits for another one and no timer is set: the simulation would wait for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of sleeping, moves the clock; with a pace it also sleeps a share of it."""

    def __init__(self, pace: Callable[[], float]) -> None:
        super().__init__()
        self.now_s = 0.0
        self._pace = pace

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Jump `timeout` ahead and say that no file became ready.

        Errors: Deadlock.
        """
        if timeout is None:
            raise Deadlock("every task waits and no timer is set; nothing can ever happen again")
        if timeout > 0:
            self.now_s += timeout
            speed = self._pace()
            if speed > 0:
                time.sleep(timeout / speed)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose time begins at 0 and jumps.

    Shapes: `pace()` is the number of virtual seconds per real second; 0 is as fast as it goes.
    """

    def __init__(self, pace: Callable[[], float] = lambda: 0.0) -> None:
        self._jumping = _JumpingSelector(pace)
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.now_s


def epoch_clock() -> float:
    """Return the virtual instant, in epoch seconds, of the loop that runs now."""
    return START_AT + asyncio.get_running_loop().time()


def run_virtual(main: Coroutine[Any, Any, T], pace: Callable[[], float] = lambda: 0.0) -> T:
    """Run `main` to its end on a loop of its own and return its result."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(pace)) as runner:
        return runner.run(main)


async def end_quietly(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and wait until it is gone."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
