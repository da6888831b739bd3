"""Listen to whoever started this mover: the request first, then changes; silence means stop."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Callable, Dict, Iterator

from mover.errors import Refused

MOST_BYTES = 64 << 20       # of one line: a set of clusters may be long, not endless


def lines(fd: int) -> Iterator[bytes]:
    """Yield each whole line that comes over a descriptor until it ends."""
    held = bytearray()
    while True:
        got = os.read(fd, 1 << 16)
        if not got:
            return
        held += got
        while b"\n" in held:
            line, _, held = held.partition(b"\n")
            yield bytes(line)
        if len(held) > MOST_BYTES:
            raise Refused("a request of more than %d bytes is not read" % MOST_BYTES)


def parse_order(line: bytes) -> Dict[str, Any]:
    """Return one JSON object."""
    try:
        order = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused("the request is not JSON: %s" % error) from None
    if not isinstance(order, dict):
        raise Refused("the request is not a JSON object")
    return order


class Orders:
    """The request, and a thread that hears what comes after it."""

    def __init__(self, fd: int = 0) -> None:
        self._lines = lines(fd)
        first = next(self._lines, None)
        if first is None:
            raise Refused("no request came: one line of JSON on stdin")
        self.request = parse_order(first)

    def next(self) -> Dict[str, Any]:
        """Return one more, from whoever has to say more before it is gone about."""
        line = next(self._lines, None)
        if line is None:
            raise Refused("whoever asked went away before all was asked")
        return parse_order(line)

    def follow(self, order: Callable[[Dict[str, Any]], None], ended: Callable[[], None]) -> None:
        """Call `order` for each line that follows and `ended` when no more can come."""
        threading.Thread(target=self._follow, args=(order, ended), daemon=True).start()

    def _follow(self, order: Callable[[Dict[str, Any]], None], ended: Callable[[], None]) -> None:
        try:
            for line in self._lines:
                order(parse_order(line))
        except (Refused, OSError):
            pass            # who speaks nonsense now is no longer there to be obeyed
        finally:
            ended()
