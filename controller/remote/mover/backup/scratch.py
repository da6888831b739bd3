"""
How much room the old contents of a disk may take while a copy reads it, on a host that others use.

While a job runs, QEMU copies what a guest overwrites into the scratch before it lets the guest go
on. A scratch that cannot grow fails the guest's own write. So three things are kept apart:

    reserve   stays free: what the guest can write, at the rate that was measured of it, while its
              job is being ended
    budget    what this job may gather; beyond most of it the watchdog ends the job
    claims    what the other jobs of this host may still gather on the same disk: one ledger for
              all, an entry each, that counts as long as the job's watchdog holds its lock

A job that was ended for want of room is not begun again soon: it would hurt the guest each time.
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

FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")
LEAST_SCRATCH, SHARE = 256 << 20, 4
LEAST_FREE = 64 << 20       # beside the scratch, however little the guest writes
LEAST_BUDGET = 32 << 20     # less is not worth the guest's while
FIRST_BYTES_PER_S = 64 << 20        # of a guest that has not been measured yet
END_S = 2.0                 # from trouble seen to the job gone
BURST = 4.0                 # of a mean over minutes that a guest may write at
BACK_OFF_S, BACK_OFF_MOST_S = 900.0, 6 * 3600.0
PATIENCE_S = 10.0
WRITTEN = re.compile(r"^\s*block\.\d+\.wr\.bytes=(\d+)\s*$", re.MULTILINE)


class Room(NamedTuple):
    """What one job may take, and the entry of the ledger that says so while it is open."""

    budget_bytes: int
    reserve_bytes: int
    rate_bytes_per_s: float
    entry: int


class Free(NamedTuple):
    """How much is free on the scratch's disk, and which disk that is."""

    free_bytes: int
    disk: int


def written_bytes(stats: str) -> Optional[int]:
    """Return how much a guest has written since it began, of what `domstats --block` says."""
    found = [int(count) for count in WRITTEN.findall(stats)]
    return sum(found) if found else None


def take_room(uuid: str, scratch: Sequence[str], sizes: Sequence[int], wanted: Optional[int],
              written: Optional[int] = None) -> Room:
    """
    Claim room for a job that is to begin; TryAgain where it would end as soon as it began.

    Shapes: `wanted` is the budget that was asked for; `written` as `written_bytes`.
    """
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    with _ledger():
        rate = _expected(uuid, written)
        reserve = max(LEAST_FREE, int(rate * END_S))
        free = free_for(scratch)
        spare = free.free_bytes - reserve - _claimed(uuid, free.disk)
        _require(uuid, free.free_bytes, spare, reserve)
        asked = wanted or sum(max(LEAST_SCRATCH, size // SHARE) for size in sizes)
        budget = min(asked, spare // 2)
        return Room(budget, reserve, rate, _claim(uuid, budget, free.disk, scratch))


def free_for(scratch: Sequence[str]) -> Free:
    """Return what is free where the scratch goes, on the fullest disk of these."""
    found = [os.statvfs(os.path.dirname(path)) for path in scratch]
    least = min(found, key=lambda one: one.f_bavail * one.f_frsize)
    return Free(least.f_bavail * least.f_frsize, least.f_fsid)


def used_bytes(scratch: Sequence[str]) -> int:
    """Return how much the scratch files take up now."""
    total = 0
    for path in scratch:
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(path).st_blocks * 512
    return total


def note(uuid: str, peak_bytes_per_s: float, needed_bytes: Optional[int]) -> None:
    """Remember how fast the guest wrote, and what the scratch needed where it had no room."""
    told = _told(uuid)
    told["peak"] = max(peak_bytes_per_s, float(told.get("peak", 0)) / 2)    # old bursts fade
    if needed_bytes is None:
        told.pop("short", None)
    else:
        times = int(told.get("short", {}).get("times", 0)) + 1
        told["short"] = {"times": times, "at": time.monotonic(), "bytes": needed_bytes}
    _tell(uuid, told)


def _require(uuid: str, free: int, spare: int, reserve: int) -> None:
    """Raise TryAgain where there is too little room, or was a while ago."""
    if spare < LEAST_BUDGET:
        raise TryAgain(
            "the disk that the scratch would be on has %d MiB left, of which %d MiB stay free for"
            " the guest's own writes and other copies take their part: free some room there"
            % (free >> 20, reserve >> 20))
    short = _told(uuid).get("short")
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


def _expected(uuid: str, written: Optional[int]) -> float:
    """Return how fast the guest may write: as it was seen to, or a burst of what it does usually.
    """
    told, now = _told(uuid), time.monotonic()
    rate = max(float(told.get("peak", 0)), float(told.get("mean", 0)) * BURST)
    before = told.get("written")
    if written is not None:
        if before is not None and now > float(before["at"]) and written >= int(before["bytes"]):
            told["mean"] = (written - int(before["bytes"])) / (now - float(before["at"]))
            rate = max(rate, told["mean"] * BURST)
        told["written"] = {"at": now, "bytes": written}
        _tell(uuid, told)
    return rate or float(FIRST_BYTES_PER_S)


@contextlib.contextmanager
def _ledger() -> Iterator[None]:
    fd = os.open(os.path.join(FOLDER, "scratch.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TryAgain("another copy has held the ledger of scratch room for %g s"
                                   % PATIENCE_S) from None
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _claim(uuid: str, budget: int, disk: int, scratch: Sequence[str]) -> int:
    """Write an entry and return it, locked: it counts as long as somebody holds it open."""
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
    """Return what other jobs may still gather on a disk."""
    total = 0
    for path in glob.glob(_path("*", "claim")):
        if path == _path(uuid, "claim"):
            continue
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                told = _parsed(file.read())
                if told.get("disk") == disk:
                    total += max(0, int(told["bytes"]) - used_bytes(told["scratch"]))
    return total


def _path(uuid: str, what: str) -> str:
    return os.path.join(FOLDER, "scratch-%s.%s" % (uuid, what))


def _told(uuid: str) -> Dict[str, Any]:
    try:
        with open(_path(uuid, "json"), "rb") as file:
            return _parsed(file.read())
    except FileNotFoundError:
        return {}


def _parsed(text: bytes) -> Dict[str, Any]:
    """Return what was written down; nothing where a loss of power left no JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tell(uuid: str, told: Dict[str, Any]) -> None:
    part = "%s.%d" % (_path(uuid, "json"), os.getpid())
    with open(part, "w", encoding="utf-8") as file:
        json.dump(told, file)
    os.rename(part, _path(uuid, "json"))
