"""
The guard of a host: it ends the guests that may be started elsewhere once nobody grants any more.

Probes prove nothing: that others cannot see this host does not mean that it cannot see them. So the
host asks, and whoever answers notes that he did before he does, and can refuse. Then whoever has
made every grantor refuse, and waits long enough after the last answer of each, knows without seeing
this host that its guests have been ended.

    never granted ──first grant──► content ──D after the ask of the last grant──► cut off
                                      ▲                                              │
                                      └────────────────── a grant ───────────────────┘

    never granted   nobody counts on this guard: nothing is ended, no watchdog is opened
    content         guests run; the watchdog is fed
    cut off         all guests that it may end are ended, again each tick; the watchdog is fed only
                    while none of them is left, and no more once one has not died in its time

A grant counts from when it was ASKED for, by this host's CLOCK_BOOTTIME, which runs while the host
sleeps and which nobody can set. The watchdog is fed only while the last grant is young enough, so a
host that is frozen and wakes up feeds once at most before it ends its guests or is reset.

It is two processes that do the same; each asks every second time, and each starts the other again
(pair.py). What both know is in the page (page.py). After the start nothing is imported, resolved,
logged or read from a disk: the disk may be what is broken. /run and /proc are memory.

One that was away asks first, for a second, before it judges: else it would end all guests because
nobody had guarded them. One that was only frozen judges at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import List, Optional

from guard import clock, config, message
from guard.config import GuardConfig
from guard.guests import Guests
from guard.message import Answer, Ask
from guard.page import CANDIDATE, Page
from guard.watchdog_device import WatchdogDevice, number_of

TICK_S = 0.2            # while it is cut off, and at least this often it looks at its orders
CALM_S = 1.0            # between two looks while nothing happens
ASK_FIRST_S = 1.0
MOST_AT_ONCE = 200      # datagrams of one round: a flood must not keep it from judging
STILL_S = 3.0           # a round begins at least so often, unless the host stood still
WHY = "nobody has granted %s for %.0f s"


class HostGuard:
    """One of the two processes; `row` is its place in the page."""

    def __init__(self, folder: str, boot: str, told: GuardConfig, generation: int) -> None:
        self.folder, self.boot, self.told = folder, boot, told
        self.page = Page(folder, boot)
        self.generation, self.row = generation, CANDIDATE
        self.guests = Guests(folder, told.pids, told.victims)
        self.device = WatchdogDevice(told.watchdog, told.watchdog_s)
        self._file = config.Watched(folder, config.GUARD)
        self._boxes: "dict[int, socket.socket]" = {}
        self._cut_off, self._asked_at, self._looked_at = False, 0.0, 0.0
        self._round_at, self._still_s = clock.now(), 0.0
        self.judge_at = clock.now() + ASK_FIRST_S
        self.heard = False
        """Whether somebody granted what this process has asked itself."""

    def begin_row(self, row: int) -> None:
        """Be the process of this row from now on, with sockets of its own."""
        self.row = row
        self._boxes = {}
        self.page.put_row("pid", row, os.getpid())
        self.page.put_row("beat_at", row, clock.now())

    # one round

    def round(self, others: "List[int]") -> "List[int]":
        """Judge, feed, ask, and wait for news; return which of `others` can be read."""
        now = clock.now()
        self._note_stillness(now)
        if now - self._looked_at >= TICK_S:
            self._looked_at = now
            self._read_orders()
        self.judge(now)
        self._ask(now)
        self.page.put_row("beat_at", self.row, now)
        boxes = {box.fileno(): box for box in self._boxes.values()}
        ready = readable([*boxes, *others], self._pause_s(clock.now()))
        for fd in ready:
            if fd in boxes:
                self._hear(boxes[fd])
        return [fd for fd in ready if fd in others]

    def _pause_s(self, now: float) -> float:
        until = [now + (TICK_S if self._cut_off else CALM_S), self._next_ask_at()]
        granted_at = self.page.granted_at
        if self._cut_off:
            until += [at for at in [self.guests.next_kill_at(self.told.kill_s)] if at is not None]
        elif granted_at:
            until.append(max(granted_at + self.told.deadline_s, self.judge_at))
            if self.told.watchdog is not None:
                until.append(self.device.fed_at + self.told.feed_s)
        return min(max(at - now, 0.001) for at in until)

    # judging

    def judge(self, now: float) -> None:
        """Let the guests run, or end them; feed the watchdog, or do not."""
        granted_at = self.page.granted_at
        if not granted_at:
            self.guests.look(now)
        elif now < granted_at + self.told.deadline_s:
            if self._cut_off:
                self._be_content()
            self.guests.look(now, granted=True)
            self._feed(now)
        elif now >= self.judge_at:
            self._end(now, granted_at)
        self.page.put("victims", len(self.guests.held))
        self.guests.say()

    def _note_stillness(self, now: float) -> None:
        """Take note of how long this process did not run before this round."""
        still_s, self._round_at = now - self._round_at, now
        if still_s > STILL_S:
            self._still_s = still_s

    def _be_content(self) -> None:
        self._cut_off, self._still_s = False, 0.0
        self.guests.spare()
        self.page.put("cut_at", 0.0)
        self.page.put("stubborn", 0)

    def _end(self, now: float, granted_at: float) -> None:
        if not self._cut_off:
            self._cut_off = True
            self.page.put("cut_at", now)
        limit_s = self.told.kill_s
        self.guests.look(now, closely=True)
        self.guests.end(now, limit_s, WHY % (self.told.host, now - granted_at), self._still_s)
        stubborn = self.guests.stubborn(now, limit_s)
        self.page.put("stubborn", stubborn)
        if not self.guests.held:
            self._feed(now)         # nothing is left that could run twice

    def _feed(self, now: float) -> None:
        if self.told.watchdog is None:
            return
        self.device.open(now)
        self.device.feed(now, self.told.feed_s)
        self.page.put("watchdog", number_of(self.device.kind))
        self.page.put("watchdog_timeout_s", self.device.timeout_s)
        self.page.put("fed_at", max(self.device.fed_at, self.page.get("fed_at")))
        if self.device.identity != self.page.text("identity"):
            self.page.say("identity", self.device.identity)

    # asking

    def _next_ask_at(self) -> float:
        """Return when this process asks next: the two take turns, `every_s` apart."""
        return self._asked_at + 2 * self.told.every_s

    def take_turns(self) -> None:
        """Ask between the asks of the process that this one was forked from."""
        self._asked_at = (self._asked_at or clock.now()) - self.told.every_s

    def _ask(self, now: float) -> None:
        if now < self._next_ask_at():
            return
        self._asked_at = now
        for peer in self.told.grantors:
            with contextlib.suppress(OSError):      # unreachable: no answer, no grant
                self._box(peer.family).sendto(self.sealed_ask(peer.name), peer.address)

    def _box(self, family: int) -> socket.socket:
        if family not in self._boxes:
            box = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            box.setblocking(False)
            self._boxes[family] = box
        return self._boxes[family]

    def sealed_ask(self, grantor: str) -> bytes:
        """Return an ask of this instant to one grantor."""
        return message.seal_ask(self.told.key, Ask(self.told.host, grantor, self.boot,
                                                   clock.now_ns()))

    def _hear(self, box: socket.socket) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                data = box.recv(message.MOST_BYTES + 1)
            except OSError:
                return
            answer = self.hear(data)
            self.heard = self.heard or (answer is not None and answer.granted)

    def hear(self, data: bytes) -> Optional[Answer]:
        """Take an answer, from wherever it came; return it if it is one to an ask of ours."""
        words = message.words_in(data)
        answer = None if words is None else message.parse_answer(words)
        if answer is None or not message.is_sealed(self.told.key, data):
            return None
        ask, now_ns = answer.ask, clock.now_ns()
        if (ask.host, ask.boot) != (self.told.host, self.boot) or ask.at_ns > now_ns:
            return None
        index = next((index for index, peer in enumerate(self.told.grantors)
                      if peer.name == ask.to), None)
        if index is None:
            return None
        asked_at = ask.at_ns / clock.NS
        self._note(index, "granted_at" if answer.granted else "refused_at", asked_at)
        if not answer.armed:
            self._note(index, "disarmed_at", asked_at)
        if answer.granted:
            self.page.grant(asked_at)
        return answer

    def _note(self, index: int, name: str, asked_at: float) -> None:
        if asked_at > self.page.of_grantor(name, index):
            self.page.put_of_grantor(name, index, asked_at)

    # orders

    def _read_orders(self) -> None:
        new = self._file.changed()
        if new is None:
            return
        try:
            told = config.parse_guard(new)
        except config.Refused:
            return
        if told.host == self.told.host:
            self.take(told)

    def take(self, told: GuardConfig) -> None:
        """Go by what it is told from now on."""
        before, self.told = self.told, told
        if told.grantors != before.grantors:
            self.page.forget_grantors()
        self.guests.are(told.pids, told.victims)
        if (told.watchdog, told.watchdog_s) != (before.watchdog, before.watchdog_s):
            self.device.wave()
            self.device = WatchdogDevice(told.watchdog, told.watchdog_s)
        self.page.say("digest", told.digest)

    def who_counts_on_it(self, now: float) -> "List[str]":
        """Return the grantors that have not said lately that they count on this guard no more."""
        return [peer.name for index, peer in enumerate(self.told.grantors)
                if now - self.page.of_grantor("disarmed_at", index) > self.told.deadline_s
                or self.page.of_grantor("disarmed_at", index) == 0]




def readable(fds: "List[int]", limit_s: float) -> "List[int]":
    """Wait until some of `fds` can be read, no longer than `limit_s`, and return them."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(limit_s * 1000)]
