"""Read what the process that started this mover sends on stdin: lines of JSON, the request first.

The end of stdin means that the sender of the request is gone.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Callable, Dict, Iterator

from mover.errors import Refused

MOST_BYTES = 64 << 20       # of one line: a list of ranges may be long, not endless


def lines(fd: int) -> Iterator[bytes]:
    """Yield each whole line from a descriptor until it ends."""
    held = bytearray()
    while True:
        received = os.read(fd, 1 << 16)
        if not received:
            return
        held += received
        while b"\n" in held:
            line, _, held = held.partition(b"\n")
            yield bytes(line)
        if len(held) > MOST_BYTES:
            raise Refused("a request of more than %d bytes is not read" % MOST_BYTES)


def parse_object(line: bytes) -> Dict[str, Any]:
    """Return one JSON object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused("the request is not JSON: %s" % error) from None
    if not isinstance(found, dict):
        raise Refused("the request is not a JSON object")
    return found


class Requests:
    """The first request, and the lines that follow it."""

    def __init__(self, fd: int = 0) -> None:
        self._lines = lines(fd)
        first = next(self._lines, None)
        if first is None:
            raise Refused("no request came: one line of JSON on stdin")
        self.request = parse_object(first)

    def next(self) -> Dict[str, Any]:
        """Return the next line, for a request that comes in two."""
        line = next(self._lines, None)
        if line is None:
            raise Refused("the request ended after its first line: one more was expected")
        return parse_object(line)

    def follow(self, on_line: Callable[[Dict[str, Any]], None],
               on_end: Callable[[], None]) -> None:
        """In a thread of its own, call `on_line` for each further line and `on_end` at the end."""
        threading.Thread(target=self._follow, args=(on_line, on_end), daemon=True).start()

    def _follow(self, on_line: Callable[[Dict[str, Any]], None],
                on_end: Callable[[], None]) -> None:
        try:
            for line in self._lines:
                on_line(parse_object(line))
        except (Refused, OSError):
            pass            # a sender of nonsense counts as gone
        finally:
            on_end()
