"""
Every verb: (folder, words, what was said on stdin) -> the answer, one line of JSON on stdout.

    guard FOLDER                 write guard.json (its text is stdin); start a guard, or let a newer
                                 program take over, unless one of this program runs
    grantor FOLDER DURABLE       the same for a grantor and grantor.json
    revoke|restore|disarm|arm|ages|state FOLDER      asked of the grantor; see grantor.py
    leave FOLDER                 the guard ends, if no grantor counts on it any more
    stop FOLDER                  the grantor ends

Keys come over stdin alone. An error is {"failed": sentence} on stderr, and its exit status.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List

from guard import clock, config, control, launch
from guard.errors import GuardError, Refused, TryAgain
from guard.granting.grantor import live as grant_on
from guard.guarding import HostGuard
from guard.page import moves, read_page
from guard.pair import Pair

MOST_REQUEST = 1 << 22
APPLIED_S = 5.0
POLL_S = 0.05
Answer = Dict[str, Any]


def main(words: "List[str]") -> int:
    """Run one verb and return its exit status."""
    try:
        if len(words) < 2 or words[0] not in VERBS:
            raise Refused("use one of %s, and a folder" % ", ".join(sorted(VERBS)))
        answer = VERBS[words[0]](words[1], words[2:])
        if answer is not None:
            _say(answer)
    except GuardError as error:
        print(json.dumps({"failed": str(error)}), file=sys.stderr)
        return error.status
    except OSError as error:
        print(json.dumps({"failed": "%s: %s" % (error.filename or "the system", error.strerror)}),
              file=sys.stderr)
        return TryAgain.status
    return 0


def _say(answer: Answer) -> None:
    os.write(sys.stdout.fileno(), json.dumps(answer, sort_keys=True).encode() + b"\n")


def _request() -> Answer:
    try:
        said = json.loads(sys.stdin.buffer.read(MOST_REQUEST))
    except (ValueError, RecursionError) as error:
        raise Refused("the request makes no sense: %s" % error) from None
    if not isinstance(said, dict):
        raise Refused("the request makes no sense")
    return said


def guard(folder: str, words: "List[str]") -> Answer:
    """Write what the guard is told, and see to it that a guard of this program goes by it."""
    said = _request()
    told = config.parse_guard(said)
    config.write(folder, config.GUARD, said)
    if running_guard(folder) != control.program_version():
        launch.start(folder, "guard", ["run-guard", folder], _unit("guard"))
    until = time.monotonic() + APPLIED_S
    while time.monotonic() < until:
        page = read_page(folder, clock.boot_id())
        if page is not None and page["digest"] == told.digest:
            _sweep()
            return {"digest": told.digest}
        time.sleep(POLL_S)
    raise TryAgain("the guard runs and does not take what it is told")


def _sweep() -> None:
    """Remove older programs; who runs one has it in memory."""
    ours = os.path.abspath(sys.argv[0])
    for path in glob.glob(os.path.join(os.path.dirname(ours), "guard-*.pyz")):
        if path != ours:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _unit(name: str) -> str:
    return "hotsite-%s-%d" % (name, clock.now_ns() // 1000)


def running_guard(folder: str) -> str:
    """Return the version of the guard that runs here; empty where none does."""
    page = read_page(folder, clock.boot_id())
    if page is None or page["leaves"]:
        return ""
    row, now = page["row"], clock.now()
    there = any(moves(int(pid), beat_at, now) for pid, beat_at in zip(row["pid"][:2],
                                                                     row["beat_at"][:2]))
    return str(page["program"]) if there else ""


def run_guard(folder: str, words: "List[str]") -> None:
    """Be a guard, detached; return once it guards."""
    def _live(ready: int) -> None:
        told = config.parse_guard(config.load(folder, config.GUARD))
        Pair(HostGuard(folder, clock.boot_id(), told, clock.now_ns() // 1000)).live(ready)
    launch.detach(folder, "guard", _live)


def start_grantor(folder: str, words: "List[str]") -> Answer:
    """Write what the grantor is told, and see to it that one of this program goes by it."""
    said = _request()
    told = config.parse_grantor(said)
    config.write(folder, config.GRANTOR, said)
    try:
        state = control.ask(folder, control.GRANTOR_SOCKET, {"verb": "state"}, "grantor")
        if state["program"] != control.program_version():
            _stop_grantor(folder)
            state = {}
    except TryAgain:
        state = {}
    if not state:
        launch.start(folder, "grantor", ["run-grantor", folder, *words[:1]], _unit("grantor"))
    until = time.monotonic() + APPLIED_S
    while time.monotonic() < until:
        state = control.ask(folder, control.GRANTOR_SOCKET, {"verb": "state"}, "grantor")
        if state["digest"] == told.digest:
            return {"digest": told.digest}
        time.sleep(POLL_S)
    _stop_grantor(folder)       # it has another address now: one that listens there takes its place
    launch.start(folder, "grantor", ["run-grantor", folder, *words[:1]], _unit("grantor"))
    return {"digest": told.digest}


def _stop_grantor(folder: str) -> None:
    """End the grantor, and return once nobody answers for it; hosts have others meanwhile."""
    until = time.monotonic() + APPLIED_S
    try:
        while time.monotonic() < until:
            control.ask(folder, control.GRANTOR_SOCKET, {"verb": "stop"}, "grantor")
            time.sleep(POLL_S)
    except TryAgain:
        return
    raise TryAgain("the grantor that runs here does not end")


def run_grantor(folder: str, words: "List[str]") -> None:
    """Be a grantor, detached; return once it listens."""
    launch.detach(folder, "grantor", lambda ready: grant_on(folder, words[0], ready))


def leave(folder: str, words: "List[str]") -> Answer:
    """End the guard, if every grantor knows that there is none from now on."""
    return control.ask(folder, control.GUARD_SOCKET, {"verb": "leave"}, "guard")


def of_grantor(verb: str) -> "Callable[[str, List[str]], Answer]":
    """Return the verb that puts its stdin to the grantor."""
    def _put(folder: str, words: "List[str]") -> Answer:
        request = {} if verb in ("state", "stop") else _request()
        return control.ask(folder, control.GRANTOR_SOCKET, {**request, "verb": verb}, "grantor")
    return _put


VERBS: "Dict[str, Callable[[str, List[str]], Any]]" = {
    "guard": guard, "run-guard": run_guard, "grantor": start_grantor, "run-grantor": run_grantor,
    "leave": leave,
    **{verb: of_grantor(verb) for verb in ("revoke", "restore", "disarm", "arm", "ages", "state",
                                           "stop")},
}
