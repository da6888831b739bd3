"""What a receiving process writes to its stdout: lines, kept within bounds, answers passed on."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Callable

MOST_OUTPUT_BYTES = 1 << 20     # kept in memory, and another machine's text
MOST_LINE_BYTES = 1 << 16       # of an answer about blocks
READ_BYTES = 1 << 16
END_S = 5.0                     # for the rest of the output of a process that has ended
ANSWER = b'{"blocks": '


class Output:
    """A thread that reads a pipe to its end; `answered` is called with each answer about blocks."""

    def __init__(self, fd: int, answered: Callable[[Any], None], ended: Callable[[], None]) -> None:
        self._fd, self._answered, self._ended = fd, answered, ended
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> bytes:
        """Return what was written so far, without answers, up to MOST_OUTPUT_BYTES."""
        with self._lock:
            return bytes(self._kept)

    def rest(self) -> bytes:
        """Return everything, once the process has ended."""
        self._thread.join(END_S)
        return self.text()

    def _read(self) -> None:
        line = b""
        try:
            while True:
                data = os.read(self._fd, READ_BYTES)
                if not data:
                    break
                *whole, line = (line + data).split(b"\n")
                for one in whole:
                    self._take(one + b"\n")
                if len(line) > MOST_LINE_BYTES:
                    self._keep(line)
                    line = b""
            self._keep(line)
        except OSError:
            return
        finally:
            self._ended()
            os.close(self._fd)

    def _take(self, line: bytes) -> None:
        if not line.startswith(ANSWER):
            self._keep(line)
            return
        try:
            self._answered(json.loads(line)["blocks"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return      # it is asked no more, and its clusters go whole

    def _keep(self, data: bytes) -> None:
        with self._lock:
            self._kept += data[:MOST_OUTPUT_BYTES - len(self._kept)]
