"""
The guard of a backup job: a process of its own that ends the job whatever becomes of all others.

It stands before the job begins and outlives the connection, the controller and its own parent. It
hears from its parent by a pipe: `begun`, `end`, or silence for ever, which means end as well; but
where that comes before either word, libvirt may be about to begin the job, and the guard stays.
Every second it looks at the scratch: a scratch that fills up would fail the guest's writes, so
the job is ended long before.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from mover.ending import CLIENT_S, Job, end_stubbornly
from mover.errors import TryAgain
from mover.processes import is_at_work

LOOK_S = 1.0
ASKED = "asked"
AT_ONCE_S = 0.5         # for a sender to leave by itself where the guest is at risk
ENOUGH = 0.7            # of the budget
LEAST_FREE = 16 << 20   # beside the scratch of a job that runs, whoever filled the rest
AWAY_S = 6 * 3600       # how long libvirt may be away before the guard gives up
LEAST_SCRATCH, SHARE = 256 << 20, 4
LOOKS = 3               # for a job that may yet begin, after nobody asks for it any more


class Verdict(NamedTuple):
    """Why the job must end."""

    reason: str
    may_begin: bool = False     # it was, or may have been, asked for and is not known to run


class Limits(NamedTuple):
    """When the guard ends the job by itself."""

    until_s: float
    scratch_bytes: int


def scratch_budget(scratch: Sequence[str], sizes: Sequence[int], wanted: Optional[int]) -> int:
    """Return how much old content may gather: a share of the disks, never half of what is free."""
    free = min(_free(os.path.dirname(path)) for path in scratch)
    asked = wanted or sum(max(LEAST_SCRATCH, size // SHARE) for size in sizes)
    return min(asked, free // 2)


def require_room(scratch: Sequence[str]) -> None:
    """Raise TryAgain where a job would end as soon as it began."""
    free = min(_free(os.path.dirname(path)) for path in scratch)
    if free < 2 * LEAST_FREE:
        raise TryAgain("the disk that the scratch would be on has %d MiB left: free some room there"
                       % (free >> 20))


def _free(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def scratch_used(scratch: Sequence[str]) -> int:
    """Return how much the scratch files take up now."""
    total = 0
    for path in scratch:
        try:
            total += os.stat(path).st_blocks * 512
        except FileNotFoundError:
            continue
    return total


class Guard:
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
        verdict = _reason_to_end(job, limits, orders)
        told = {"reason": verdict.reason, **_end(job, verdict)}
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


def _reason_to_end(job: Job, limits: Limits, orders: int) -> Verdict:
    """Return why the job must end now; one that cannot be watched must."""
    try:
        return _watch(job, limits, orders)
    except OSError as error:
        return Verdict("its scratch cannot be watched: %s" % error.strerror, may_begin=True)


def _watch(job: Job, limits: Limits, orders: int) -> Verdict:
    """Return why the job must end now; it may run a while before its guard is told so."""
    until, begun = time.monotonic() + limits.until_s, False
    while True:
        ready: Tuple[List[int], List[int], List[int]] = select.select([orders], [], [], LOOK_S)
        if ready[0]:
            said = os.read(orders, 4096)
            if not said:
                return Verdict("nobody conducts it any more", may_begin=not begun)
            if b"end" in said.split():
                return Verdict(ASKED)
            begun = True
        if time.monotonic() > until:
            return Verdict("its time is up", may_begin=not begun)
        trouble = _trouble(job, limits, begun)
        if trouble:
            return Verdict(trouble, may_begin=not begun)


def _trouble(job: Job, limits: Limits, begun: bool) -> str:
    """Return what is wrong with the scratch."""
    free = min(_free(os.path.dirname(path)) for path in job.scratch)
    if begun and free < LEAST_FREE:
        return "the disk that the scratch is on has %d MiB left" % (free >> 20)
    used = scratch_used(job.scratch)
    if used > ENOUGH * limits.scratch_bytes:
        return "the scratch holds %d MiB, of %d MiB allowed" % (
            used >> 20, limits.scratch_bytes >> 20)
    return ""
