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
import signal
import time
from typing import Any, Dict, List, Optional

from mover.drill.remains import take_away_stubbornly

AWAY_S = 6 * 3600.0


class Watchdog:
    """The conductor's end: start the process, tell it to end the drill, read what stays."""

    def __init__(self, roots: List[str], limit_s: float) -> None:
        commands, self._commands = os.pipe()
        self._report, report = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            if os.fork() == 0:
                os.close(self._commands)
                os.close(self._report)
                _run(roots, limit_s, commands, report)
            os._exit(0)
        os.close(commands)
        os.close(report)
        os.waitpid(child, 0)
        if _read(self._report) != {"ready": True}:
            raise OSError(None, "the watchdog of the drill did not start")

    def end(self, results: Dict[str, Dict[str, Any]]) -> Optional[Dict[str, str]]:
        """Have the drill taken away; return why parts stay, and None if the watchdog was killed."""
        try:
            os.write(self._commands, json.dumps(results).encode() + b"\n")
            os.close(self._commands)
            return _read(self._report)
        except OSError:
            return None
        finally:
            os.close(self._report)


def _read(fd: int) -> Optional[Dict[str, Any]]:
    held = b""
    while not held.endswith(b"\n"):
        received = os.read(fd, 1 << 16)
        if not received:
            return None
        held += received
    found: Dict[str, Any] = json.loads(held)
    return found


def _run(roots: List[str], limit_s: float, commands: int, report: int) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.chdir("/")
        os.write(report, b'{"ready": true}\n')
        results = _wait(commands, limit_s)
        stays = take_away_stubbornly(roots, results, AWAY_S)
        os.write(report, json.dumps(stays).encode() + b"\n")
    except BrokenPipeError:
        pass            # the conductor is gone; the drill has been taken away all the same
    finally:
        os._exit(0)


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
