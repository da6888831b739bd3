"""The guard and the grantor of this machine, as the facts show them.

The guard says in its page how it is (guard/page.py), and nobody has to answer for it. The grantor
is asked, which also shows that it answers. Neither text changes while nothing happens: a digest of
it is what the controller compares.
"""

import json
import os
import socket

from guard.clock import boot_id
from guard.clock import now as boottime
from guard.config import GUARD, GuardConfig, Refused, load, parse_guard
from guard.errors import GuardError
from guard.guests import HELD, tombstones
from guard.page import WATCHDOGS, moves, read_page

FOLDER = "/run/hotsite/guard"
GRANTOR_SOCKET = "grantor.sock"
ANSWER_S = 2.0
FRESH_S = 5.0
LATELY_S = 10.0
MOST_TOMBSTONES = 1000
MOST_BYTES = 1 << 20


def guard_of(folder: str = FOLDER) -> str:
    """Return the guard as text: what it says of itself, and what it has left."""
    try:
        page = read_page(folder, boot_id())
        tombs = tombstones(folder, MOST_TOMBSTONES)
    except OSError as error:
        raise GuardError(f"the guard's folder cannot be read: {error}") from None
    found = {"running": False, "tombstones": tombs}
    if page is not None:
        found |= guard_row(page, told_in(folder), boottime())
        found["held"] = held_in(folder) if found["running"] else []
    return json.dumps(found, sort_keys=True)


def guard_row(page: dict, told: "GuardConfig | None", now: float) -> dict:
    """Return what a page says, and the numbers that the guard goes by."""
    rows = zip(page["row"]["pid"][:2], page["row"]["beat_at"][:2])
    processes = sum(moves(int(pid), beat_at, now) for pid, beat_at in rows)
    granted_at = min(page["granted_at"], page["granted_again_at"])
    row = {"running": processes > 0, "processes": processes, "program": page["program"],
           "digest": page["digest"], "since_at": int(page["started_at"]),
           "granted": granted_at > 0, "stubborn": int(page["stubborn"]),
           "watchdog": WATCHDOGS[int(page["watchdog"]) % len(WATCHDOGS)],
           "identity": page["identity"], "watchdog_timeout_s": page["watchdog_timeout_s"],
           "fed": page["fed_at"] > 0 and now - page["fed_at"] < FRESH_S}
    if told is None or told.digest != page["digest"]:
        return row      # its orders were replaced just now
    of = {name: [peer.name for index, peer in enumerate(told.grantors)
                 if page["grantor"][name][index] > 0 and
                 now - page["grantor"][name][index] < LATELY_S]
          for name in ("granted_at", "refused_at")}
    return {**row, "content": granted_at > 0 and now < granted_at + told.deadline_s,
            "grantors": [peer.name for peer in told.grantors],
            "addresses": {peer.name: peer.address[0] for peer in told.grantors},
            "granted_by": of["granted_at"], "refused_by": of["refused_at"],
            "deadline_s": told.deadline_s, "kill_s": told.kill_s, "feed_s": told.feed_s,
            "watchdog_s": told.watchdog_s}


def told_in(folder: str) -> "GuardConfig | None":
    """Return what the guard is told; None where that cannot be read."""
    try:
        return parse_guard(load(folder, GUARD))
    except Refused:
        return None


def held_in(folder: str) -> list:
    """Return the UUIDs of the guests that the guard holds."""
    try:
        with open(os.path.join(folder, HELD), encoding="utf-8") as file:
            return [str(one) for one in json.load(file)]
    except (OSError, ValueError):
        return []


def grantor_of(folder: str = FOLDER) -> str:
    """Return the grantor as text: its own answer, or that none runs."""
    try:
        return json.dumps({"running": True, **ask(os.path.join(folder, GRANTOR_SOCKET))},
                          sort_keys=True)
    except (FileNotFoundError, ConnectionRefusedError):
        return json.dumps({"running": False})
    except (OSError, ValueError) as error:
        raise GuardError(f"the grantor does not answer: {error}") from None


def ask(path: str) -> dict:
    """Return a grantor's answer to how it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as box:
        box.bind("")
        box.settimeout(ANSWER_S)
        box.sendto(b'{"verb": "state"}', path)
        answer = json.loads(box.recv(MOST_BYTES))
    if "failed" in answer:
        raise ValueError(answer["failed"])
    return answer
