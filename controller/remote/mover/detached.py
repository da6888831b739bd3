"""
A process that outlives its maker, and whatever ends its maker's session.

It is forked twice into a session of its own and is deaf to the signals that end sessions. It keeps
every open file of its maker, and so the locks on them, but for standard input, output and error.

    maker ──commands──►  lines of the maker's own; the end of the pipe: the maker is dead, whatever
                         killed it
          ◄───report───  {"ready": true}, then one line of its own; the end of the pipe without it:
                         the process is dead

Both ends of a pipe are held by nobody else, so its end always says the truth.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Callable, Dict, NamedTuple, Optional

DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
READY = {"ready": True}


class Ends(NamedTuple):
    """The maker's ends of the two pipes."""

    commands: int
    report: int


def detach(work: Callable[[int], Dict[str, Any]], name: str) -> Ends:
    """
    Start a process that does `work`, which reads commands, and reports what that returns.

    Errors: OSError where it does not start.
    """
    commands, commands_end = os.pipe()
    report_end, report = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                os.close(commands_end)
                os.close(report_end)
                _live(work, commands, report)
        finally:
            os._exit(0)     # never on in what the maker does
    os.close(commands)
    os.close(report)
    os.waitpid(child, 0)
    if read_line(report_end) != READY:
        os.close(commands_end)
        os.close(report_end)
        raise OSError(None, "%s did not start" % name)
    return Ends(commands_end, report_end)


def read_line(fd: int) -> Optional[Dict[str, Any]]:
    """Wait for one line and return it; None where the other end is closed before it."""
    held = b""
    while not held.endswith(b"\n"):
        received = os.read(fd, 1 << 16)
        if not received:
            return None
        held += received
    found: Dict[str, Any] = json.loads(held)
    return found


def _live(work: Callable[[int], Dict[str, Any]], commands: int, report: int) -> None:
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.chdir("/")
        write_line(report, READY)
        write_line(report, work(commands))
    except BrokenPipeError:
        pass            # the maker is gone; the work is done all the same
    finally:
        os._exit(0)


def write_line(fd: int, line: Dict[str, Any]) -> None:
    """Write one line; OSError where nobody has the other end."""
    os.write(fd, json.dumps(line).encode() + b"\n")
