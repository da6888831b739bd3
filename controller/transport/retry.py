"""All retries of the program: connecting, and repeating a question that changes nothing.

Rule 1: a change is never repeated here: once its request is sent, only observing tells its effect.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from controller.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")

CONNECT_ATTEMPTS: Final = 3
ASK_ATTEMPTS: Final = 2


class ConnectionBroke(OutcomeUnknown):
    """The connection ended before the answer was complete; a question may be repeated."""


async def connecting(attempt: Callable[[], Awaitable[T]], limit_s: float) -> T:
    """Return what `attempt` returns; repeat it after Unavailable, within half of `limit_s`.

    An attempt that used up its time limit is not repeated: a silent host stays silent for a while.
    """
    async def _once() -> T:
        return await attempt()

    return await AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(CONNECT_ATTEMPTS) | stop_after_delay(limit_s / 2),
        wait=wait_random_exponential(multiplier=0.1, max=1.0),
        reraise=True,
    )(_once)


async def asking(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what `attempt` returns; repeat it once after the connection broke."""
    async def _once() -> T:
        return await attempt()

    return await AsyncRetrying(
        retry=retry_if_exception_type(ConnectionBroke),
        stop=stop_after_attempt(ASK_ATTEMPTS),
        reraise=True,
    )(_once)


def pauses(first_s: float = 0.25, most_s: float = 10.0) -> Iterator[float]:
    """Yield the waits before reconnecting: exponential back-off with jitter."""
    pause_s = first_s
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(most_s, 2 * pause_s)
