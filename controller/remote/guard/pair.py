"""
Two processes that do the same; each watches the other, and forks it anew when it has ended.

Only killing both at once ends a guard; then the watchdog resets the host, and without one the loop
starts another guard at its next look. A fork needs no disk, and takes along what is held: the
pidfds of guests, the watchdog, the page.

    starting ──ask and answer, or the old one is gone──► in force ──┬── a newer one is ──► gone
        └── never granted in HANDOVER_S while an old one is ► gone   └── told to leave ───► gone

A newer program takes over while the older one still guards: it begins to ask, and only once it is
granted, too, it writes its generation into the page, by which the older one sees that it can go. So
there is no moment without a guard, and a new one that nobody answers changes nothing.

The control socket (`guard.sock`) is what `ask`, `answer` and `leave` come in by; see verbs.py.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import List, Optional

from guard import clock, control, launch
from guard.guarding import HostGuard, readable
from guard.page import moves

HANDOVER_S = 8.0
AGAIN_S = 0.2               # between two forks: a partner that cannot live must not cost a core
SURVIVED = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


class Pair:
    """This process of the two, and the pidfd of the other."""

    def __init__(self, guard: HostGuard) -> None:
        self.guard, self.page = guard, guard.page
        self._partner: Optional[int] = None
        self._forked_at = 0.0
        self._box: Optional[socket.socket] = None
        self._give_up_at = clock.now() + HANDOVER_S

    @property
    def _in_force(self) -> bool:
        return self.page.get("generation") == self.guard.generation

    def live(self, ready: int) -> None:
        """Guard until told to leave; write one byte to `ready` once in force."""
        launch.stay_in_memory()
        while not self._take_over():
            if clock.now() > self._give_up_at:
                os.write(ready, b"0")
                return
            self.guard.round([])
        os.write(ready, b"1")
        os.close(ready)
        while not self._is_over():
            self._revive()
            self._read(self._round())
        if self.page.get("leaves"):
            self.guard.device.wave()

    def _round(self) -> "List[int]":
        """Do one round; whatever is odd in it must not end the guard, which judges again then."""
        try:
            return self.guard.round(self._others())
        except SURVIVED:
            time.sleep(AGAIN_S)
            return readable(self._others(), 0)

    def _take_over(self) -> bool:
        """Be in force, if there is nobody else or this one is granted as well."""
        page = self.page
        if self._beats(clock.now()) and not page.get("leaves") and not self.guard.heard:
            return False
        if page.text("digest") != self.guard.told.digest:
            page.forget_grantors()
        self._box = control.listen(self.guard.folder)
        page.put("leaves", 0)
        page.put("started_at", control.wall_clock())
        page.put("restarts", 0)
        page.say("digest", self.guard.told.digest)
        page.say("program", control.program_version())
        page.put("generation", self.guard.generation)
        self.guard.begin_row(0)
        return True

    def _beats(self, now: float) -> bool:
        return any(moves(int(self.page.row("pid", row)), self.page.row("beat_at", row), now)
                   for row in (0, 1))

    def _is_over(self) -> bool:
        return not self._in_force or bool(self.page.get("leaves"))

    def _others(self) -> "List[int]":
        fds = [] if self._partner is None else [self._partner]
        return fds if self._box is None else [*fds, self._box.fileno()]

    def _read(self, ready: "List[int]") -> None:
        if self._partner in ready:
            os.close(self._partner)
            self._partner = None
        if self._box is not None and self._box.fileno() in ready:
            control.serve(self._box, self.guard)

    def _revive(self) -> None:
        """Fork the other process if there is none; both go on from the same state."""
        now = clock.now()
        if self._partner is not None or now - self._forked_at < AGAIN_S:
            return
        if self._forked_at or self.guard.row:
            self.page.put("restarts", self.page.get("restarts") + 1)
        self._forked_at = now
        mine = os.pidfd_open(os.getpid())
        try:
            child = os.fork()
        except OSError:             # no memory, no pids: again in a moment
            os.close(mine)
            return
        if child == 0:
            launch.stay_in_memory()
            self._partner = mine
            self.guard.begin_row(1 - self.guard.row)
            self.guard.take_turns()
            return
        os.close(mine)
        with contextlib.suppress(OSError):      # it ended at once
            self._partner = os.pidfd_open(child)
