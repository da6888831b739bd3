"""The lock that keeps two loops from using one state folder; it ends with its process."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from controller.errors import JournalUnavailable


class FolderLock:
    """An advisory lock on a file beside the journal, with the holder's pid inside for people."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Hold the lock until `release` or the end of the process.

        Errors: JournalUnavailable when another process holds it, naming its pid.
        """
        if not self.try_take():
            try:
                pid = self._path.read_text(encoding="ascii", errors="replace").strip()
            except OSError:
                pid = ""
            holder = f"pid {pid}" if pid.isdigit() else "unknown pid"
            raise JournalUnavailable(
                f"another hotsite ({holder}) uses {self._path.parent}: "
                "stop that one, or give this one its own --state folder")

    def try_take(self) -> bool:
        """Take the lock unless another process holds it, and return whether it is ours."""
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalUnavailable(f"the lock {self._path} cannot be opened: {error.strerror}; "
                                     "check its folder and who may write there") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        with suppress(OSError):     # for people: a full disk must not keep us from the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def release(self) -> None:
        """Release the lock; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
