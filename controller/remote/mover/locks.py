"""Locks on open files: the kernel releases them when the last process that holds the file ends."""

from __future__ import annotations

import fcntl
import os
import time

from mover.errors import TryAgain

FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")


def lock_of_drill(root: str) -> str:
    """Return the path of the lock of a replica's drill; a replica's folder is named by its VM."""
    return os.path.join(FOLDER, "drill-%s.lock" % os.path.basename(root))


def take_lock(fd: int, otherwise: str, shared: bool = False, patience_s: float = 0) -> None:
    """Take a lock; raise TryAgain with the sentence `otherwise` if it is not free in time."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TryAgain(otherwise) from None
            time.sleep(0.05)
