"""
How much disk space a backup job's scratch files may take, on a host that runs other jobs, too.

While a job runs, QEMU copies what a guest overwrites into the scratch before it lets the guest go
on. A scratch that cannot grow fails the guest's own write. So three things are kept apart:

    reserve   stays free: what the guest can write, at the rate that was measured of it, while its
              job is being ended
    budget    what this job's scratch may grow to; beyond most of it the watchdog ends the job
    claims    what the other jobs' scratches may still grow by on the same disk: a file for each
              job, which counts as long as the job's watchdog holds the lock on it

A job that was ended for want of room is not begun again soon: each attempt slows the guest. A crash
of the watchdog voids its claim, since the kernel drops its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import time
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence

from mover.errors import TryAgain
from mover.locks import take_lock

FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")
LEAST_SCRATCH, SHARE = 256 << 20, 4
LEAST_FREE = 64 << 20       # beside the scratch, however little the guest writes
LEAST_BUDGET = 32 << 20     # less is not worth the guest's while
FIRST_BYTES_PER_S = 64 << 20        # of a guest that has not been measured yet
END_S = 2.0                 # from trouble seen to the job gone
BURST = 4.0                 # times its mean rate, that a guest may write at
BACK_OFF_S, BACK_OFF_MOST_S = 900.0, 6 * 3600.0
PATIENCE_S = 10.0
WRITTEN = re.compile(r"^\s*block\.\d+\.wr\.bytes=(\d+)\s*$", re.MULTILINE)


class Room(NamedTuple):
    """The space one job may take; the claim counts while its descriptor is open somewhere."""

    budget_bytes: int
    reserve_bytes: int
    rate_bytes_per_s: float
    claim: int


class FreeSpace(NamedTuple):
    """How much is free on the scratch's disk, and which disk that is."""

    free_bytes: int
    disk: int


def written_bytes(stats: str) -> Optional[int]:
    """Return how much a guest has written since its start, by the output of `domstats --block`."""
    found = [int(count) for count in WRITTEN.findall(stats)]
    return sum(found) if found else None


def claim_room(uuid: str, scratch: Sequence[str], sizes: Sequence[int], wanted: Optional[int],
              written: Optional[int] = None) -> Room:
    """
    Claim room for a job that is to begin; TryAgain where it would be ended right away.

    Shapes: `wanted` is the budget that was asked for; `written` as `written_bytes`.
    """
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    with _claims_locked():
        rate = _expected_rate(uuid, written)
        reserve = max(LEAST_FREE, int(rate * END_S))
        free = free_for(scratch)
        spare = free.free_bytes - reserve - _claimed(uuid, free.disk)
        _require(uuid, free.free_bytes, spare, reserve)
        asked = wanted or sum(max(LEAST_SCRATCH, size // SHARE) for size in sizes)
        budget = min(asked, spare // 2)
        return Room(budget, reserve, rate, _claim(uuid, budget, free.disk, scratch))


def free_for(scratch: Sequence[str]) -> FreeSpace:
    """Return what is free where the scratch goes, on the fullest disk of these."""
    found = [os.statvfs(os.path.dirname(path)) for path in scratch]
    least = min(found, key=lambda one: one.f_bavail * one.f_frsize)
    return FreeSpace(least.f_bavail * least.f_frsize, least.f_fsid)


def used_bytes(scratch: Sequence[str]) -> int:
    """Return how much the scratch files take up now."""
    total = 0
    for path in scratch:
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(path).st_blocks * 512
    return total


def note(uuid: str, peak_bytes_per_s: float, needed_bytes: Optional[int]) -> None:
    """Remember how fast the guest wrote, and how large the scratch was when its room ran out."""
    history = _history(uuid)
    history["peak"] = max(peak_bytes_per_s, float(history.get("peak", 0)) / 2)  # old bursts fade
    if needed_bytes is None:
        history.pop("short", None)
    else:
        times = int(history.get("short", {}).get("times", 0)) + 1
        history["short"] = {"times": times, "at": time.monotonic(), "bytes": needed_bytes}
    _save(uuid, history)


def _require(uuid: str, free: int, spare: int, reserve: int) -> None:
    """Raise TryAgain where there is too little room, or was not long ago."""
    if spare < LEAST_BUDGET:
        raise TryAgain(
            "the disk that the scratch would be on has %d MiB left, of which %d MiB stay free for"
            " the guest's own writes and other copies take their part: free some room there"
            % (free >> 20, reserve >> 20))
    short = _history(uuid).get("short")
    if short is None:
        return
    wait_s = min(BACK_OFF_MOST_S, BACK_OFF_S * 2 ** min(int(short["times"]) - 1, 10))
    left_s = float(short["at"]) + wait_s - time.monotonic()
    if 0 < left_s <= wait_s and spare < 4 * int(short["bytes"]):
        raise TryAgain(
            "the scratch of an earlier copy found no more room at %d MiB: for the guest's sake it"
            " is tried again in %d min, or once %d MiB are free there"
            % (int(short["bytes"]) >> 20, left_s // 60 + 1,
               (4 * int(short["bytes"]) + reserve) >> 20))


def _expected_rate(uuid: str, written: Optional[int]) -> float:
    """Return how fast the guest may write: the highest seen, or BURST times its mean."""
    history, now = _history(uuid), time.monotonic()
    rate = max(float(history.get("peak", 0)), float(history.get("mean", 0)) * BURST)
    before = history.get("written")
    if written is not None:
        if before is not None and now > float(before["at"]) and written >= int(before["bytes"]):
            history["mean"] = (written - int(before["bytes"])) / (now - float(before["at"]))
            rate = max(rate, history["mean"] * BURST)
        history["written"] = {"at": now, "bytes": written}
        _save(uuid, history)
    return rate or float(FIRST_BYTES_PER_S)


@contextlib.contextmanager
def _claims_locked() -> Iterator[None]:
    fd = os.open(os.path.join(FOLDER, "scratch.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        take_lock(fd, "another copy has held the lock on scratch claims for %g s" % PATIENCE_S,
                  patience_s=PATIENCE_S)
        yield
    finally:
        os.close(fd)


def _claim(uuid: str, budget: int, disk: int, scratch: Sequence[str]) -> int:
    """Write a claim and return its descriptor, locked: it counts while a process holds it open."""
    fd = os.open(_path(uuid, "claim"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise TryAgain("an earlier copy of this VM is still being ended") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"bytes": budget, "disk": disk, "scratch": list(scratch)}).encode(), 0)
    return fd


def _claimed(uuid: str, disk: int) -> int:
    """Return what the scratches of other jobs may still grow by on a disk."""
    total = 0
    for path in glob.glob(_path("*", "claim")):
        if path == _path(uuid, "claim"):
            continue
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                claim = _parsed(file.read())
                if claim.get("disk") == disk:
                    total += max(0, int(claim["bytes"]) - used_bytes(claim["scratch"]))
    return total


def _path(uuid: str, what: str) -> str:
    return os.path.join(FOLDER, "scratch-%s.%s" % (uuid, what))


def _history(uuid: str) -> Dict[str, Any]:
    try:
        with open(_path(uuid, "json"), "rb") as file:
            return _parsed(file.read())
    except FileNotFoundError:
        return {}


def _parsed(text: bytes) -> Dict[str, Any]:
    """Return a JSON object; an empty one where a loss of power left something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _save(uuid: str, history: Dict[str, Any]) -> None:
    part = "%s.%d" % (_path(uuid, "json"), os.getpid())
    with open(part, "w", encoding="utf-8") as file:
        json.dump(history, file)
    os.rename(part, _path(uuid, "json"))
