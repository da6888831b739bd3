"""
The guard of a backup job: a process of its own that ends the job whatever becomes of all others.

It stands before the job begins and outlives the connection, the controller and its own parent. It
hears from its parent by a pipe: `begun`, `end`, or silence for ever, which means end as well; but
where that comes before either word, libvirt may be about to begin the job, and the guard stays.
It looks at the scratch, the more often the sooner it could be full at the rate at which the guest
writes: a scratch that fills up would fail the guest's writes, so the job is ended long before, see
scratch.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mover.backup.backup_job import CLIENT_S, Job, end_stubbornly
from mover.backup.scratch import LEAST_FREE, free_for, note, used_bytes
from mover.processes import is_at_work

LOOK_S = 1.0
ASKED = "asked"
AT_ONCE_S = 0.5         # for a sender to leave by itself where the guest is at risk
ENOUGH = 0.7            # of the budget
SHORT_S = 0.02          # between two looks where there is little room
SOON = 4                # looks at least before the room is gone
AWAY_S = 6 * 3600       # how long libvirt may be away before the guard gives up
LOOKS = 3               # for a job that may yet begin, after nobody asks for it any more


class Verdict(NamedTuple):
    """Why the job must end."""

    reason: str
    may_begin: bool = False     # it was, or may have been, asked for and is not known to run
    short_bytes: Optional[int] = None   # what the scratch held when there was no more room for it


class Limits(NamedTuple):
    """When the guard ends the job by itself; how fast its guest is known to write."""

    until_s: float
    scratch_bytes: int
    reserve_bytes: int = LEAST_FREE
    rate_bytes_per_s: float = 0.0


class Watchdog:
    """The parent's end: tell the guard, hear from it."""

    def __init__(self, job: Job, limits: Limits) -> None:
        self._orders, orders = os.pipe()[::-1]
        self.news, news = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            if os.fork() == 0:
                os.close(self._orders)
                os.close(self.news)
                _stand(job, limits, orders, news)
            os._exit(0)
        os.close(orders)
        os.close(news)
        os.waitpid(child, 0)
        if _line(self.news) != {"stands": True}:
            raise OSError(None, "the guard of the job did not start")

    def tell(self, word: str) -> bool:
        """Tell the guard `begun` or `end`; return whether it is still there."""
        try:
            return bool(os.write(self._orders, word.encode() + b"\n"))
        except OSError:
            return False

    def leave(self) -> None:
        """Say no more: the guard ends the job."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def ended(self) -> Optional[Dict[str, Any]]:
        """Return how the job ended, once it has; None when the guard was killed."""
        told = _line(self.news)
        os.close(self.news)
        self.leave()
        return told


def _line(fd: int) -> Optional[Dict[str, Any]]:
    held = b""
    while not held.endswith(b"\n"):
        got = os.read(fd, 1 << 16)
        if not got:
            return None
        held += got
    found: Dict[str, Any] = json.loads(held)
    return found


def _stand(job: Job, limits: Limits, orders: int, news: int) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.chdir("/")
        os.write(news, b'{"stands": true}\n')
        look = Look(job, limits)
        verdict = _reason_to_end(look, orders)
        told = {"reason": verdict.reason, **_end(job, verdict)}
        with contextlib.suppress(OSError):      # it only makes the next copy wiser
            note(job.uuid, look.peak, verdict.short_bytes)
        os.write(news, json.dumps(told).encode() + b"\n")
    except BrokenPipeError:
        pass            # nobody is left to be told, and the job has been ended
    finally:
        os._exit(0)


def _end(job: Job, verdict: Verdict) -> Dict[str, Any]:
    """End the job; one that may yet begin is waited for until nobody asks libvirt for it."""
    patience_s = CLIENT_S if verdict.reason == ASKED else AT_ONCE_S
    until, looks = time.monotonic() + AWAY_S, 0
    told = end_stubbornly(job, AWAY_S, patience_s)
    while verdict.may_begin and told["was"] in ("gone", "foreign") and looks < LOOKS and (
            time.monotonic() < until):
        time.sleep(LOOK_S)
        looks = 0 if is_at_work("backup-begin", job.uuid) else looks + 1
        told = end_stubbornly(job, AWAY_S, patience_s)
    return told


class Look:
    """What is seen of the scratch, and how fast it grows."""

    def __init__(self, job: Job, limits: Limits) -> None:
        self.job, self.limits = job, limits
        self.peak = 0.0             # bytes a second
        self._rate = limits.rate_bytes_per_s
        self._at: Optional[float] = None
        self._used = self._free = 0

    def take(self) -> None:
        """Look anew."""
        used, at = used_bytes(self.job.scratch), time.monotonic()
        free = free_for(self.job.scratch).free_bytes
        if self._at is not None:
            since_s = max(at - self._at, SHORT_S)
            took = max(used - self._used, self._free - free) / since_s
            self.peak = max(self.peak, (used - self._used) / since_s)
            self._rate = max(self.limits.rate_bytes_per_s, took)
        self._used, self._free, self._at = used, free, at

    def trouble(self, *, begun: bool) -> str:
        """Return what is wrong with the scratch."""
        if begun and self._free < self.limits.reserve_bytes:
            return "the disk that the scratch is on has %d MiB left" % (self._free >> 20)
        if self._used > ENOUGH * self.limits.scratch_bytes:
            return "the scratch holds %d MiB, of %d MiB allowed" % (
                self._used >> 20, self.limits.scratch_bytes >> 20)
        return ""

    @property
    def used(self) -> int:
        """Return how much the scratch took at the last look."""
        return self._used

    def pause_s(self) -> float:
        """Return how long to wait for the next look; the first one is due at once."""
        if self._at is None:
            return 0.0
        spare = min(self._free - self.limits.reserve_bytes,
                    ENOUGH * self.limits.scratch_bytes - self._used)
        if self._rate <= 0:
            return LOOK_S
        return min(LOOK_S, max(SHORT_S, spare / self._rate / SOON))


def _reason_to_end(look: Look, orders: int) -> Verdict:
    """Return why the job must end now; one that cannot be watched must."""
    try:
        return _watch(look, orders)
    except OSError as error:
        return Verdict("its scratch cannot be watched: %s" % error.strerror, may_begin=True)


def _watch(look: Look, orders: int) -> Verdict:
    """Return why the job must end now; it may run a while before its guard is told so."""
    until, begun = time.monotonic() + look.limits.until_s, False
    while True:
        ready: Tuple[List[int], List[int], List[int]] = select.select(
            [orders], [], [], look.pause_s())
        if ready[0]:
            said = os.read(orders, 4096)
            if not said:
                return Verdict("nobody conducts it any more", may_begin=not begun)
            if b"end" in said.split():
                return Verdict(ASKED)
            begun = True
        if time.monotonic() > until:
            return Verdict("its time is up", may_begin=not begun)
        look.take()
        trouble = look.trouble(begun=begun)
        if trouble:
            return Verdict(trouble, may_begin=not begun, short_bytes=look.used)
