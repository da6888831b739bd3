"""Small things about tasks and time that asyncio leaves to its users."""

import asyncio
from typing import Any


def now_s() -> float:
    """Return the event loop's time, which nobody can set."""
    return asyncio.get_running_loop().time()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` and wait until they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def is_set_within(event: asyncio.Event, pause_s: float | None) -> bool:
    """Wait until `event` is set, for `pause_s` at most, and return whether it is."""
    try:
        async with asyncio.timeout(pause_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def soonest_s(at_most_s: float, *edges: tuple[float | None, float]) -> float:
    """Return the seconds until the first of some instants, each given with its own clock's now."""
    return max(0.001, min([at_most_s, *(at - now for at, now in edges if at is not None)]))
