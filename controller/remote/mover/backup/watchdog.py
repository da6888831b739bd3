"""
The watchdog of a backup job: a process that ends the job even if every other process of ours dies.

An open job slows its guest and grows a scratch file; a scratch that cannot grow fails the guest's
own writes. So no job may outlive its use, and none may fill a disk. The watchdog is forked before
libvirt is asked for the job; it ignores the signals that end a session, and inherits the VM's lock
and the claim on scratch room, which hold until the job is gone.

    conductor ──commands──►  begun | end | (end of the pipe)
    conductor ◄───report───  {"ready"}, then one line: why and how the job ended

    starting ──begun──► running ──┬── end, or the pipe ends ──────────┐
        │                         ├── time limit ─────────────────────┤
        │                         └── scratch near its budget, or its │
        │                             disk near its reserve           ▼
        └── any of these ("may begin", but for `end`) ─────────► ending ──► note, report, exit

While it runs the watchdog measures the scratch every second, and more often the sooner its room
could be gone at the rate at which the guest writes: at least SOON times before it is.

Ending is end_stubbornly: it retries for hours while libvirt is away, since nobody else would. If
neither `begun` nor `end` was received, libvirt may still be about to begin the job: the watchdog
then stays, and ends it again, until LOOKS times in a row no `virsh backup-begin` for this VM is at
work and no job of ours runs. If the watchdog itself is killed, the report pipe ends without a line,
and the conductor ends the job in its place.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mover.backup.backup_job import CLIENT_S, Job, end_stubbornly
from mover.backup.scratch import LEAST_FREE, free_for, note, used_bytes
from mover.detached import detach, read_line
from mover.processes import is_at_work

LOOK_S = 1.0
ASKED = "asked"
AT_ONCE_S = 0.5         # for a sender to disconnect by itself where the guest is at risk
ENOUGH = 0.7            # of the budget
SHORT_S = 0.02          # between two measurements where there is little room
SOON = 4                # measurements at least before the room is gone
AWAY_S = 6 * 3600       # how long libvirt may be away before the watchdog gives up
LOOKS = 3               # for a job that may still begin, after no virsh asks for it any more


class EndReason(NamedTuple):
    """Why the job must end."""

    reason: str
    may_begin: bool = False     # it was, or may have been, asked for and is not known to run
    short_bytes: Optional[int] = None   # the size of the scratch when its room ran out


class JobLimits(NamedTuple):
    """When the watchdog ends the job by itself; how fast its guest is known to write."""

    until_s: float
    scratch_bytes: int
    reserve_bytes: int = LEAST_FREE
    rate_bytes_per_s: float = 0.0


class Watchdog:
    """The conductor's end: start the process, command it, read its report."""

    def __init__(self, job: Job, limits: JobLimits) -> None:
        self._commands, self.report = detach(
            lambda commands: _guard(job, limits, commands), "the watchdog of the job")

    def tell(self, command: str) -> bool:
        """Send `begun` or `end`; return whether the watchdog is still there."""
        try:
            return bool(os.write(self._commands, command.encode() + b"\n"))
        except OSError:
            return False

    def leave(self) -> None:
        """End the pipe of commands: the watchdog ends the job."""
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1

    def ended(self) -> Optional[Dict[str, Any]]:
        """Wait for the job's end and return how it ended; None when the watchdog was killed."""
        ended = read_line(self.report)
        os.close(self.report)
        self.leave()
        return ended


def _guard(job: Job, limits: JobLimits, commands: int) -> Dict[str, Any]:
    """Wait until the job must end, end it, and return why and how it ended."""
    watch = ScratchWatch(job, limits)
    why = _wait_for_end(watch, commands)
    ended = {"reason": why.reason, **_end(job, why)}
    with contextlib.suppress(OSError):      # only the next claim is less exact without it
        note(job.uuid, watch.peak, why.short_bytes)
    return ended


def _end(job: Job, why: EndReason) -> Dict[str, Any]:
    """End the job; wait for one that may still begin until no virsh asks libvirt for it."""
    patience_s = CLIENT_S if why.reason == ASKED else AT_ONCE_S
    until, looks = time.monotonic() + AWAY_S, 0
    ended = end_stubbornly(job, AWAY_S, patience_s)
    while why.may_begin and ended["was"] in ("gone", "foreign") and looks < LOOKS and (
            time.monotonic() < until):
        time.sleep(LOOK_S)
        looks = 0 if is_at_work("backup-begin", job.uuid) else looks + 1
        ended = end_stubbornly(job, AWAY_S, patience_s)
    return ended


class ScratchWatch:
    """Measures the scratch, and how fast it grows."""

    def __init__(self, job: Job, limits: JobLimits) -> None:
        self.job, self.limits = job, limits
        self.peak = 0.0             # bytes a second
        self.used = self._free = 0
        self._rate = limits.rate_bytes_per_s
        self._at: Optional[float] = None

    def measure(self) -> None:
        """Measure once more."""
        used, at = used_bytes(self.job.scratch), time.monotonic()
        free = free_for(self.job.scratch).free_bytes
        if self._at is not None:
            since_s = max(at - self._at, SHORT_S)
            taken = max(used - self.used, self._free - free) / since_s
            self.peak = max(self.peak, (used - self.used) / since_s)
            self._rate = max(self.limits.rate_bytes_per_s, taken)
        self.used, self._free, self._at = used, free, at

    def trouble(self, *, begun: bool) -> str:
        """Return why the scratch may not grow further; empty where it may."""
        if begun and self._free < self.limits.reserve_bytes:
            return "the disk that the scratch is on has %d MiB left" % (self._free >> 20)
        if self.used > ENOUGH * self.limits.scratch_bytes:
            return "the scratch holds %d MiB, of %d MiB allowed" % (
                self.used >> 20, self.limits.scratch_bytes >> 20)
        return ""

    def pause_s(self) -> float:
        """Return how long to wait before the next measurement; the first is due at once."""
        if self._at is None:
            return 0.0
        spare = min(self._free - self.limits.reserve_bytes,
                    ENOUGH * self.limits.scratch_bytes - self.used)
        if self._rate <= 0:
            return LOOK_S
        return min(LOOK_S, max(SHORT_S, spare / self._rate / SOON))


def _wait_for_end(watch: ScratchWatch, commands: int) -> EndReason:
    """Return why the job must end now; a job that cannot be watched must."""
    try:
        return _watch(watch, commands)
    except OSError as error:
        return EndReason("its scratch cannot be watched: %s" % error.strerror, may_begin=True)


def _watch(watch: ScratchWatch, commands: int) -> EndReason:
    """Return why the job must end now; `begun` may be received a while after it has begun."""
    until, begun = time.monotonic() + watch.limits.until_s, False
    while True:
        ready: Tuple[List[int], List[int], List[int]] = select.select(
            [commands], [], [], watch.pause_s())
        if ready[0]:
            received = os.read(commands, 4096)
            if not received:
                return EndReason("nobody conducts it any more", may_begin=not begun)
            if b"end" in received.split():
                return EndReason(ASKED)
            begun = True
        if time.monotonic() > until:
            return EndReason("its time is up", may_begin=not begun)
        watch.measure()
        trouble = watch.trouble(begun=begun)
        if trouble:
            return EndReason(trouble, may_begin=not begun, short_bytes=watch.used)
