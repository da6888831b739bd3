"""Bring a file to its disk while more of it is on its way, so that its last sync is short."""

from __future__ import annotations

import os
import threading
from typing import Optional

ENOUGH_BYTES = 32 << 20


class Early:
    """
    A thread that syncs what was written whenever there is enough of it, one sync at a time.

    A sync's failure is told only once, to whoever syncs first: so it is kept, and raised by the
    next `wrote`, or by the end of the block.
    Source: fsync(2), errors since Linux 4.13
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._bytes = 0
        self._due = threading.Condition()
        self._ended = False
        self._failure: Optional[OSError] = None
        self._thread = threading.Thread(target=self._sync, daemon=True)

    def __enter__(self) -> Early:       # noqa: PYI034  (Self came with 3.11)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._due:
            self._ended = True
            self._due.notify()
        self._thread.join()
        if kind is None:
            self._look()

    def wrote(self, size_bytes: int) -> None:
        """Note that so much was written."""
        self._look()
        with self._due:
            self._bytes += size_bytes
            if self._bytes >= ENOUGH_BYTES:
                self._due.notify()

    def _look(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _sync(self) -> None:
        while True:
            with self._due:
                self._due.wait_for(lambda: self._ended or self._bytes >= ENOUGH_BYTES)
                if self._ended:
                    return
                self._bytes = 0
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._failure = error
                return
