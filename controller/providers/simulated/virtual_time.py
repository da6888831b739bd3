"""An event loop with a virtual clock: when every task waits, the clock jumps to the next timer.

Rule 1: nothing real may be waited for in it: no threads, sockets or child processes.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from controller.errors import HotsiteError

T = TypeVar("T")
START_AT: Final = 1_790_000_000.0
"""The instant at which every simulation begins, in epoch seconds: 2026-09-21T14:13:20Z."""


class Deadlock(HotsiteError):
    """Every task waits and no timer is set: the simulation would never continue."""


class _JumpingSelector(selectors.SelectSelector):
    """Moves the clock instead of sleeping; with a speed, no faster than real time allows."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self._speed = speed
        self._began_s = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Advance the clock by `timeout` and return that no file is ready.

        Errors: Deadlock.
        """
        if timeout is None:
            raise Deadlock("every task waits and no timer is set; nothing can ever happen again")
        if timeout > 0:
            self.now_s += timeout
        if timeout > 0 and self._speed > 0:
            ahead_s = self._began_s + self.now_s / self._speed - time.monotonic()
            time.sleep(max(0.0, ahead_s))
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose time begins at 0 and jumps.

    Shapes: `speed` is the number of virtual seconds per real second; 0 is as fast as it goes.
    """

    def __init__(self, speed: float = 0.0) -> None:
        self._jumping = _JumpingSelector(speed)
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.now_s


def epoch_clock() -> float:
    """Return the virtual instant, in epoch seconds, of the loop that runs now."""
    return START_AT + asyncio.get_running_loop().time()


def run_virtual(main: Coroutine[Any, Any, T], speed: float = 0.0) -> T:
    """Run `main` to its end on a loop of its own and return its result."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(speed)) as runner:
        return runner.run(main)
