"""
The watchdog of a drill: it takes the drill away even if every other process of ours dies.

It is forked before anything is made, ignores the signals that end a session, and inherits the locks
of the drill, which hold until all of it is gone.

    conductor ──results, or the end of the pipe──►  takes all away ──{replica: why it stays}──►

The end of the pipe means that the conductor is dead, for whatever reason; it also acts by itself
once the time is up. It retries for hours while libvirt is away, since nobody else would.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any, Dict, List, Optional

from mover.detached import detach, read_line
from mover.drill.remains import take_away_stubbornly

AWAY_S = 6 * 3600.0


class Watchdog:
    """The conductor's end: start the process, tell it to end the drill, read what stays."""

    def __init__(self, roots: List[str], limit_s: float) -> None:
        self._commands, self._report = detach(
            lambda commands: take_away_stubbornly(roots, _wait(commands, limit_s), AWAY_S),
            "the watchdog of the drill")

    def end(self, results: Dict[str, Dict[str, Any]]) -> Optional[Dict[str, str]]:
        """Have the drill taken away; return why parts stay, and None if the watchdog was killed."""
        try:
            os.write(self._commands, json.dumps(results).encode() + b"\n")
            os.close(self._commands)
            return read_line(self._report)
        except OSError:
            return None
        finally:
            os.close(self._report)


def _wait(commands: int, limit_s: float) -> Dict[str, Dict[str, Any]]:
    """Return the results once the drill is over; empty where nobody says any."""
    until, held = time.monotonic() + limit_s, b""
    while time.monotonic() < until:
        ready = select.select([commands], [], [], max(0.0, until - time.monotonic()))
        if not ready[0]:
            break
        received = os.read(commands, 1 << 16)
        held += received
        if not received or held.endswith(b"\n"):
            break
    found: Dict[str, Dict[str, Any]] = json.loads(held) if held.endswith(b"\n") else {}
    return found
