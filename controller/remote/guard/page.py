"""
The page that both processes of a guard share, and that says to readers how it is.

It is one page of memory in a file of /run: it outlives the processes and not the boot. What it says
of another boot counts for nothing. Numbers are written without locks: each of the two processes
has a row of its own, and what both write may only grow. `granted_at` is there twice; after a crash
in the middle of writing the smaller one counts, which is the earlier deadline.

All times but `started_at` are by CLOCK_BOOTTIME; 0 stands for never.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
from typing import Any, Dict, Optional, Tuple

from guard.config import MOST_GRANTORS

NAME = "guard.page"
LAYOUT = b"hotsite1"
BYTES = 4096
FRESH_S = 5.0           # a process that has not moved for so long is gone, or stopped
ROWS = 3
CANDIDATE = 2          # the row of one that is about to take over

SINGLE = ("generation", "granted_at", "granted_again_at", "started_at", "restarts", "leaves",
          "victims", "fed_at", "watchdog", "watchdog_timeout_s", "stubborn", "cut_at")
TEXTS = {"boot": 40, "digest": 64, "identity": 64, "program": 32}
OF_ROW = ("pid", "beat_at")
OF_GRANTOR = ("granted_at", "refused_at", "disarmed_at")
"""The time of the last ask that this grantor answered so."""

WATCHDOGS = ("none", "hardware", "software", "fifo", "missing")


def _places() -> "Dict[Tuple[str, Any], int]":
    places: "Dict[Tuple[str, Any], int]" = {}
    at = len(LAYOUT)
    for name, size in TEXTS.items():
        places["text", name] = at
        at += size
    for name in SINGLE:
        places["one", name] = at
        at += 8
    for name in OF_ROW:
        places["row", name] = at
        at += 8 * ROWS
    for name in OF_GRANTOR:
        places["grantor", name] = at
        at += 8 * MOST_GRANTORS
    assert at <= BYTES, at
    return places


PLACES = _places()
NUMBER = struct.Struct("<d")


class Page:
    """The page, open for writing; `folder` lies in /run."""

    def __init__(self, folder: str, boot: str) -> None:
        fd = os.open(os.path.join(folder, NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, BYTES)
        self._bytes = mmap.mmap(fd, BYTES)
        os.close(fd)
        if self._bytes[:len(LAYOUT)] != LAYOUT or self.text("boot") != boot:
            self._bytes[:] = bytes(BYTES)
            self.say("boot", boot)
            self._bytes[:len(LAYOUT)] = LAYOUT

    def text(self, name: str) -> str:
        """Return one of the texts."""
        return _text(self._bytes, name)

    def say(self, name: str, text: str) -> None:
        """Write one of the texts, cut to its place."""
        size, at = TEXTS[name], PLACES["text", name]
        self._bytes[at:at + size] = text.encode("utf-8")[:size - 1].ljust(size, b"\0")

    def get(self, name: str) -> float:
        """Return one of the numbers."""
        return _number(self._bytes, PLACES["one", name])

    def put(self, name: str, value: float) -> None:
        """Write one of the numbers."""
        NUMBER.pack_into(self._bytes, PLACES["one", name], value)

    def row(self, name: str, row: int) -> float:
        """Return a number of one of the two processes."""
        return _number(self._bytes, PLACES["row", name] + 8 * row)

    def put_row(self, name: str, row: int, value: float) -> None:
        """Write a number of one of the two processes."""
        NUMBER.pack_into(self._bytes, PLACES["row", name] + 8 * row, value)

    def of_grantor(self, name: str, index: int) -> float:
        """Return a time of one grantor."""
        return _number(self._bytes, PLACES["grantor", name] + 8 * index)

    def put_of_grantor(self, name: str, index: int, value: float) -> None:
        """Write a time of one grantor."""
        NUMBER.pack_into(self._bytes, PLACES["grantor", name] + 8 * index, value)

    @property
    def granted_at(self) -> float:
        """Return when it asked for what it was granted last, by anybody; 0: it never was."""
        return min(self.get("granted_at"), self.get("granted_again_at"))

    def grant(self, asked_at: float) -> None:
        """Note a grant by the time of its ask; what was granted for a later ask stays."""
        if asked_at > self.granted_at:
            self.put("granted_at", asked_at)
            self.put("granted_again_at", asked_at)

    def forget_grantors(self) -> None:
        """Forget who answered, since the list of grantors is another one now."""
        for name in OF_GRANTOR:
            for index in range(MOST_GRANTORS):
                self.put_of_grantor(name, index, 0.0)


def moves(pid: int, beat_at: float, now: float) -> bool:
    """Return whether a process of the guard is there, and has moved lately.

    Once it has ended, another process may have its pid.
    """
    return pid > 0 and now - beat_at < FRESH_S and alive(pid)


def alive(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, OverflowError, ValueError):
        return False
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return not poll.poll(0)
    finally:
        os.close(fd)


def _number(whole: Any, at: int) -> float:
    return float(NUMBER.unpack_from(whole, at)[0])


def _text(whole: Any, name: str) -> str:
    at = PLACES["text", name]
    return bytes(whole[at:at + TEXTS[name]]).split(b"\0")[0].decode("utf-8", "replace")


def read_page(folder: str, boot: str) -> "Optional[Dict[str, Any]]":
    """Return what the page says, None where there is none of this boot."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            whole = file.read(BYTES)
    except FileNotFoundError:
        return None
    if len(whole) < BYTES or whole[:len(LAYOUT)] != LAYOUT or _text(whole, "boot") != boot:
        return None
    said: "Dict[str, Any]" = {name: _text(whole, name) for name in TEXTS}
    said.update((name, _number(whole, PLACES["one", name])) for name in SINGLE)
    for kind, names, count in (("row", OF_ROW, ROWS), ("grantor", OF_GRANTOR, MOST_GRANTORS)):
        said[kind] = {name: [_number(whole, PLACES[kind, name] + 8 * index)
                             for index in range(count)] for name in names}
    return said
