"""How another process on this machine has the branch looked at now instead of at the next poll.

It touches a file in the state folder. That says nothing else: what is then fetched and put in force
is judged as ever, so that a wake of anybody costs one `ls-remote` at most every LEAST_S.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.5
LEAST_S: Final = 5.0
"""Looks at the remote are so far apart at least, however often a wake comes."""


def wake_file(state_folder: Path) -> Path:
    """Return the file whose time says when somebody last asked for a look."""
    return state_folder / "git" / "wake"


def wake(state_folder: Path) -> None:
    """Ask for a look.

    Errors: OSError if the state folder cannot be written to.
    """
    path = wake_file(state_folder)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def woken_at(state_folder: Path) -> int:
    """Return a number that differs after each wake."""
    try:
        return wake_file(state_folder).stat().st_mtime_ns
    except OSError:
        return 0


async def sleep_or_wake(state_folder: Path, seen: int, pause_s: float,
                        least_s: float) -> int:
    """Wait for a while, or until there is a wake after the one that was seen; return the last one.

    Shapes: it waits `least_s` in any case, or `pause_s` where that is less.
    """
    await asyncio.sleep(min(least_s, pause_s))
    left_s = pause_s - least_s
    while left_s > 0 and woken_at(state_folder) == seen:
        await asyncio.sleep(min(LOOK_S, left_s))
        left_s -= LOOK_S
    return woken_at(state_folder)
