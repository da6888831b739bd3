"""Locks on open files: given back by the kernel when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import time

from mover.errors import TryAgain


def take_lock(fd: int, otherwise: str, shared: bool = False, patience_s: float = 0) -> None:
    """Take a lock, or raise TryAgain when it does not become free in time."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TryAgain(otherwise) from None
            time.sleep(0.05)
