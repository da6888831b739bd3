"""
The sockets by which programs on this machine speak to a guard or a grantor: one datagram each way.

    guard.sock      {"verb": "leave"}       -> {} or {"failed": …}
    grantor.sock    see grantor.py

Only root can reach them: their folder is 0700. An answer that cannot be given is
{"failed": sentence, "status": N}, with the exit status that the asking program then has.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from typing import Any, Callable, Dict

from guard import clock
from guard.errors import STATUSES, GuardError, Refused, TryAgain
from guard.guarding import HostGuard

GUARD_SOCKET, GRANTOR_SOCKET = "guard.sock", "grantor.sock"
MOST_BYTES = 1 << 17
ANSWER_S = 10.0
MOST_AT_ONCE = 50
Request = Dict[str, Any]


def listen(folder: str, name: str = GUARD_SOCKET) -> socket.socket:
    """Return a new socket of this name; whoever had it before hears nothing more."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    part = "%s.%d" % (path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    box.setblocking(False)
    box.bind(part)
    os.chmod(part, 0o600)
    os.rename(part, path)
    return box


def answer_all(box: socket.socket, respond: "Callable[[Request], Request]") -> None:
    """Answer what waits on a socket, up to a bound; whoever asks and goes gets nothing."""
    for _ in range(MOST_AT_ONCE):
        try:
            data, whence = box.recvfrom(MOST_BYTES)
        except OSError:
            return
        try:
            said = json.loads(data)
            answer = respond(said if isinstance(said, dict) else {})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            answer = {"failed": "the request makes no sense: %r" % error, "status": Refused.status}
        except GuardError as error:
            answer = {"failed": str(error), "status": error.status}
        if whence:
            with contextlib.suppress(OSError):
                box.sendto(json.dumps(answer).encode(), whence)


def serve(box: socket.socket, guard: HostGuard) -> None:
    """Answer what waits on the guard's socket."""
    answer_all(box, lambda request: respond(guard, request))


def respond(guard: HostGuard, request: Request) -> Request:
    """Return the guard's answer to one request."""
    verb = request.get("verb")
    if verb == "leave":
        counting = guard.who_counts_on_it(clock.now())
        if counting and guard.page.granted_at:
            raise Refused("%s still counts on this guard: disarm the host there first"
                          % " and ".join(counting))
        guard.page.put("leaves", 1)
        return {}
    raise Refused("a guard knows no verb %r" % (verb,))


def ask(folder: str, name: str, request: Request, who: str) -> Request:
    """Return the answer of whoever listens; the error that it names where it failed."""
    box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    with contextlib.closing(box):
        box.bind("")                    # Linux gives it a name that ends with it
        box.settimeout(ANSWER_S)
        try:
            box.sendto(json.dumps(request).encode(), os.path.join(folder, name))
            answer = json.loads(box.recv(MOST_BYTES))
        except (FileNotFoundError, ConnectionRefusedError):
            raise TryAgain("no %s runs here" % who) from None
        except (socket.timeout, ValueError, OSError) as error:
            raise TryAgain("the %s here does not answer: %s" % (who, error)) from None
    if "failed" in answer:
        raise STATUSES.get(answer.get("status"), GuardError)(answer["failed"])
    found: Request = answer
    return found


def wall_clock() -> float:
    """Return the time of day, for people."""
    return time.time()


def program_version() -> str:
    """Return which program runs: the end of its archive's name, its hash."""
    return os.path.splitext(os.path.basename(sys.argv[0]))[0].rpartition("-")[2][:31]
