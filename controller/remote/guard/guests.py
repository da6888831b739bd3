"""
The guests that this host may have to end: their QEMU processes, held so that none is mistaken.

A pid is a number that another process may have tomorrow, and libvirt's pid file outlives QEMU
while libvirtd is dead. So each process is first held by a pidfd, and then asked who it is; it is
held from peacetime on, while libvirt and the disks still answer.

    seen ──held──► running ──SIGTERM──► asked to end ──SIGKILL, again each time──► gone
                                            └──────────────── it ended ────────────►

SIGTERM comes first, since QEMU then stores which clusters the guest has changed. What is left after
half the time is killed. Before either a tombstone is written, so that nobody takes the guest for
one that shut itself down and starts it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

from guard.clock import now as boottime

TOMBSTONES = "tombstones"
HELD = "held.json"
LOOK_S = 5.0            # between two looks at pid files although none seems to have changed
MOST_TOMBSTONE_BYTES = 4096


class Held(NamedTuple):
    """One QEMU process."""

    pid: int
    fd: int
    uuid: str


class Guests:
    """The guests of this host that it may end; `names` are theirs in libvirt."""

    def __init__(self, folder: str, pids: str, names: "Tuple[str, ...]") -> None:
        self.held: Dict[str, Held] = {}
        self._folder, self._list = os.path.join(folder, TOMBSTONES), os.path.join(folder, HELD)
        self._said: Optional[List[str]] = None
        self._pids, self._names = pids, names
        self._asked: Dict[str, float] = {}
        self._looked: "Tuple[float, int]" = (0.0, -1)

    def are(self, pids: str, names: "Tuple[str, ...]") -> None:
        """Take another list of guests; those that are on it no more are let go."""
        for name in set(self.held) - set(names):
            self._drop(name)
        self._pids, self._names, self._looked = pids, names, (0.0, -1)

    def look(self, now: float, *, closely: bool = False, granted: bool = False) -> None:
        """Hold every process of theirs, and let go of those that have ended.

        One that is seen while grants come is alive by right: its tombstone goes.
        """
        for name in self._ended():
            self._drop(name)
        try:
            version = os.stat(self._pids).st_mtime_ns   # libvirt makes and removes files there
        except OSError:
            return                                      # what is held stays held
        seen_at, seen = self._looked
        if not closely and version == seen and now - seen_at < LOOK_S:
            return
        self._looked = now, version
        for name in self._names:
            if self._hold(name) and granted:
                with contextlib.suppress(OSError):
                    os.unlink(self._tombstone(self.held[name].uuid))

    def say(self) -> None:
        """Write down whom it holds, if that has changed: for readers."""
        uuids = sorted(held.uuid for held in self.held.values())
        if uuids == self._said:
            return
        self._said = uuids
        part = "%s.%d.part" % (self._list, os.getpid())
        with contextlib.suppress(OSError):
            with open(part, "w", encoding="utf-8") as file:
                json.dump(uuids, file)
            os.rename(part, self._list)

    def _hold(self, name: str) -> bool:
        """Hold the process of one; return whether it is one that was not held before."""
        try:
            with open("%s/%s.pid" % (self._pids, name), "rb") as file:
                pid = int(file.read(32))
        except (OSError, ValueError):
            return False
        if name in self.held and self.held[name].pid == pid:
            return False
        try:
            fd = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return False
        uuid = uuid_of(pid, name)
        if uuid is None:
            os.close(fd)
            return False
        self._drop(name)
        self.held[name] = Held(pid, fd, uuid)
        return True

    def _ended(self) -> List[str]:
        if not self.held:
            return []
        poll = select.poll()
        names = {}
        for name, held in self.held.items():
            names[held.fd] = name
            poll.register(held.fd, select.POLLIN)
        return [names[fd] for fd, _ in poll.poll(0)]

    def _drop(self, name: str) -> None:
        held = self.held.pop(name, None)
        self._asked.pop(name, None)
        if held is not None:
            os.close(held.fd)

    def end(self, now: float, limit_s: float, why: str, still_s: float = 0.0) -> None:
        """End all: ask those that were not asked yet, kill those that took half the time.

        `still_s` is how long this host stood still before, as far as its guard can tell.
        """
        for name, held in list(self.held.items()):
            if name not in self._asked:
                self._bury(name, held.uuid, why, still_s)
                self._asked[name] = now
                self._signal(held, signal.SIGTERM)
            elif now - self._asked[name] >= limit_s / 2:
                self._signal(held, signal.SIGKILL)

    def stubborn(self, now: float, limit_s: float) -> int:
        """Return how many should have ended and have not."""
        return sum(now - at >= limit_s for at in self._asked.values())

    def next_kill_at(self, limit_s: float) -> Optional[float]:
        """Return when the first of them has had half the time."""
        return min((at + limit_s / 2 for at in self._asked.values()), default=None)

    def spare(self) -> None:
        """Let all run that run: a grant has come; one that was asked to end may still do so."""
        self._asked.clear()

    @staticmethod
    def _signal(held: Held, number: int) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(held.fd, number)

    def _tombstone(self, uuid: str) -> str:
        return os.path.join(self._folder, "%s.json" % uuid)

    def _bury(self, name: str, uuid: str, why: str, still_s: float) -> None:
        """Write down that it was ended here; a /run that is full or gone must not save it."""
        path = self._tombstone(uuid)
        part = "%s.%d.part" % (path, os.getpid())
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(part, "w", encoding="utf-8") as file:
                json.dump({"uuid": uuid, "name": name, "at": time.time(), "why": why,
                           "boottime_s": boottime(), "still_s": still_s}, file)
            os.rename(part, path)


def uuid_of(pid: int, name: str) -> Optional[str]:
    """Return the UUID of the guest that a process is, None where it is not the guest `name`."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return None
    if not any(word.startswith(b"guest=%s," % os.fsencode(name)) for word in words):
        return None
    for flag, value in zip(words, words[1:]):
        if flag == b"-uuid":
            return value.decode("ascii", "replace").replace("/", "_")
    return None


def tombstones(folder: str, most: int) -> "List[Dict[str, object]]":
    """Return what is written on the tombstones, by UUID; one that cannot be read says so."""
    place, found = os.path.join(folder, TOMBSTONES), []
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith(".json"))
    except FileNotFoundError:
        return []
    for name in names[:most]:
        try:
            with open(os.path.join(place, name), encoding="utf-8") as file:
                told = json.loads(file.read(MOST_TOMBSTONE_BYTES))
            found.append({"uuid": str(told["uuid"]), "name": str(told["name"]),
                          "at": float(told["at"]), "why": str(told["why"]),
                          "still_s": float(told.get("still_s", 0.0))})
        except (OSError, ValueError, KeyError, TypeError) as error:
            found.append({"uuid": name[:-len(".json")], "name": "", "at": 0.0,
                          "why": "its tombstone cannot be read: %r" % error})
    return found
