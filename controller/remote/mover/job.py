"""
Conduct the source end of one restore point: hold the VM's lock, begin and end copies, clean up.

The request is one line {"uuid"}; then orders, one line each, each answered by one line:

    {"begin": {…}}     {"begun": {…}}     see BEGIN; a VM that is off is opened at rest
    {"end": true}      {"ended": {…}}     nothing of the copy is left after it
    {"drop": […]}      {"dropped": […]}   delete all checkpoints of ours but these

An order has a "number", and so has its answer; `ended` has that of the copy's `begin`. A copy that
ends by itself (scratch, time) is told at once by the same {"ended": …}. The end of stdin ends
everything; so does the guard, should this process die.
"""

from __future__ import annotations

import abc
import contextlib
import glob
import os
import re
import select
import struct
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mover import cold
from mover.begin import (
    FULL,
    INCREMENT,
    OURS,
    Begun,
    MayBegin,
    Wanted,
    begin,
    clear,
    clear_scratch,
    scratch_path,
    socket_path,
)
from mover.ending import Job, clients, end_stubbornly, part_with_clients
from mover.errors import Refused, TryAgain
from mover.extents import dirty
from mover.freeze import frozen
from mover.guard import Guard, Limits, require_room, scratch_budget
from mover.nbd import Nbd, bitmap_context
from mover.orders import parse_order
from mover.papers import papers
from mover.replica import take_lock
from mover.verbs import say
from mover.virsh import (
    OFF,
    Domain,
    Seen,
    VirshError,
    answers,
    job_of,
    look,
    socket_of,
    state_of,
)

FOLDER = cold.FOLDER
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Begin(NamedTuple):
    """What a copy is asked to be; see begin.Wanted."""

    modes: Dict[str, str]
    checkpoint: str = ""
    since: str = ""
    keep: Tuple[str, ...] = ()
    quiesce: bool = False
    limit_s: float = 600
    scratch_bytes: Optional[int] = None
    known: Dict[str, Any] = {}      # noqa: RUF012  fingerprints of disks at rest, at the last point


class Orders:
    """Lines that come on stdin, and news of the guard, whichever is first."""

    def __init__(self) -> None:
        self._held = b""

    def line(self, news: Optional[int] = None) -> Optional[Dict[str, Any]]:
        """Return the next order; {} when there is news from `news`; None when none can come."""
        while b"\n" not in self._held:
            watched = [0] if news is None else [0, news]
            ready = select.select(watched, [], [])[0]
            if news in ready:
                return {}
            got = os.read(0, 1 << 16)
            if not got:
                return None
            self._held += got
        line, _, self._held = self._held.partition(b"\n")
        return parse_order(line)


def lock(uuid: str) -> int:
    """Hold the VM's lock until this process and its guard have ended."""
    if not UUID.match(uuid):
        raise Refused("%r is not the UUID of a VM" % uuid)
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    fd = os.open(os.path.join(FOLDER, "replicate-%s.lock" % uuid),
                 os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:        # whoever only looks whether it is held holds it for an instant
        take_lock(fd, "another copy of this VM is still under way on its host", patience_s=1)
    except TryAgain:
        os.close(fd)
        raise
    return fd


def run(words: List[str]) -> None:
    """Obey orders until there are no more."""
    orders = Orders()
    request = orders.line() or {}
    uuid = str(request.get("uuid", ""))
    held = lock(uuid)
    copy: Optional[Copy] = None
    begun_by: Any = None
    tell({"ready": True})
    try:
        while True:
            order = orders.line(copy.news if copy else None)
            if order is None:
                return
            if copy is not None and (not order or "end" in order):
                tell({"number": begun_by, "ended": copy.end()})
                copy = None
            elif "begin" in order and copy is None:
                begun_by = order.get("number")
                copy = open_copy(uuid, _parse_begin(order["begin"]))
                tell({"number": begun_by, "begun": copy.told})
            elif "drop" in order:
                tell({"number": order.get("number"), "dropped": _drop(uuid, order["drop"])})
            elif "end" not in order:
                raise Refused("what is asked for cannot be done now: %s" % ", ".join(order))
    except VirshError as error:
        raise TryAgain("libvirt did not do as asked: %s" % error) from None
    finally:
        if copy is not None:
            copy.end()
        for path in glob.glob(os.path.join(FOLDER, "known-%s-*.man" % glob.escape(uuid))):
            os.unlink(path)
        os.close(held)


def tell(line: Dict[str, Any]) -> None:
    """Say one line; whoever does not listen any more ends stdin, too."""
    with contextlib.suppress(BrokenPipeError):
        say(line, sys.stdout.fileno())


def _parse_begin(told: Dict[str, Any]) -> Begin:
    try:
        wanted = Begin(**{**told, "keep": tuple(told.get("keep", ()))})
    except TypeError as error:
        raise Refused("the order cannot be read: %s" % error) from None
    if not wanted.modes or not set(wanted.modes.values()) <= {INCREMENT, FULL}:
        raise Refused("a copy names disks, each as increment or full")
    for name in (wanted.checkpoint, wanted.since):      # the replica's host may have put it so
        if name != "" and not (isinstance(name, str) and OURS.match(name)):
            raise Refused("%r is not the name of a checkpoint of ours" % (name,))
    return wanted


def _drop(uuid: str, keep: List[str]) -> List[str]:
    """Delete what is no longer needed; while the VM is off libvirt cannot, and it waits."""
    (state, names), complaint = answers("domstate " + uuid, "checkpoint-list --name " + uuid)
    if not state.strip():
        raise VirshError(complaint)
    return [] if state.strip() in OFF else clear(uuid, names.split(), set(keep))


class Copy(abc.ABC):
    """A copy that is open: `told` is what the conductor must know, `end` closes it."""

    told: Dict[str, Any]
    news: Optional[int] = None

    @abc.abstractmethod
    def end(self) -> Dict[str, Any]:
        """Close it and return how it ended."""


def open_copy(uuid: str, wanted: Begin) -> Copy:
    """Open a copy of a VM, whether it runs or not."""
    seen = look(uuid, wanted.since)
    state, domain = seen.state, seen.domain
    missing = sorted(set(wanted.modes) - set(domain.disks))
    if missing:
        raise Refused("%s has no disk %s on this host" % (domain.name, ", ".join(missing)))
    if state in OFF:
        return ColdCopy(seen, wanted)
    if state not in ("running", "paused", "pmsuspended"):
        raise TryAgain("%s is %s: it is copied when it runs or is off" % (domain.name, state))
    return HotCopy(seen, wanted)


class HotCopy(Copy):
    """A backup job of a running VM."""

    def __init__(self, seen: Seen, wanted: Begin) -> None:
        domain = seen.domain
        self.job = Job(domain.uuid, socket_path(domain),
                       [scratch_path(domain, target) for target in wanted.modes])
        if not seen.idle:
            _require_idle(domain, self.job)
        clear_scratch(self.job.scratch)
        require_room(self.job.scratch)
        sizes = [virtual_size(domain.disks[target].source) for target in wanted.modes]
        budget = scratch_budget(self.job.scratch, sizes, wanted.scratch_bytes)
        self._guard = Guard(self.job, Limits(wanted.limit_s, budget))
        self.news = self._guard.news
        try:
            begun, quiesced, why, begun_at = _begin(seen, wanted)
            if not self._guard.tell("begun"):
                raise TryAgain("the copy of %s was not begun: its guard has ended, or it took"
                               " longer than the copy may last" % domain.name)
            self.told = {
                "state": "running", "checkpoint": wanted.checkpoint if begun.tracked else "",
                "quiesced": quiesced, "unquiesced_because": why, "scratch_bytes": budget,
                "disks": _measured(begun), **papers(seen),
                "ago_s": round(time.monotonic() - begun_at, 3)}
        except MayBegin:
            self._guard.leave()     # it stays until the job has begun, or surely will not
            raise
        except BaseException:
            self.end()
            raise

    def end(self) -> Dict[str, Any]:
        """End the job by its guard, or in its place where that was killed or came too early."""
        self._guard.tell("end")
        told = self._guard.ended() or {"reason": "its guard was killed", "was": "gone"}
        if told["was"] == "gone":
            told = {**told, **end_stubbornly(self.job, 60)}
        return told


def _begin(seen: Seen, wanted: Begin) -> Tuple[Begun, bool, str, float]:
    asked = Wanted(wanted.checkpoint, wanted.since, wanted.keep, wanted.modes)
    if not wanted.quiesce:
        at = time.monotonic()
        return begin(seen, asked), False, "", at
    if not seen.domain.agent:
        at = time.monotonic()
        return begin(seen, asked), False, "no guest agent answers", at
    with frozen(seen.domain.uuid) as still:
        at = time.monotonic()
        begun = begin(seen, asked)
    return begun, still.quiesced, still.why, at


def _require_idle(domain: Domain, job: Job) -> None:
    """Raise TryAgain unless no job runs; one of ours that nobody conducts is ended first."""
    running = job_of(domain.uuid)
    if not running:
        return
    if socket_of(running) != job.socket:
        raise TryAgain("the copy of %s was not begun: another job runs on it (%s)" % (
            domain.name, "a backup that is not ours" if running.startswith("<") else running))
    end_stubbornly(job, 60)


def _measured(begun: Begun) -> Dict[str, Dict[str, Any]]:
    found = {}
    for target, mode in begun.modes.items():
        bitmap = "backup-" + target if mode == INCREMENT else ""
        found[target] = {"mode": mode, "why": begun.why.get(target, ""), "socket": begun.socket,
                         "export": target, "bitmap": bitmap,
                         **measure(begun.socket, target, bitmap)}
    return found


def measure(socket: str, export: str, bitmap: str) -> Dict[str, Any]:
    """Return how large an export is, and how much of it the bitmap says has changed."""
    contexts = (bitmap_context(bitmap),) if bitmap else ()
    with Nbd(socket, export, contexts) as nbd:
        changed = dirty(nbd, bitmap).total_bytes if bitmap else nbd.size_bytes
        return {"size_bytes": nbd.size_bytes, "dirty_bytes": changed}


def virtual_size(path: str) -> int:
    """Return how large a disk is for its guest, by the file's own word."""
    try:
        with open(path, "rb") as file:
            head = file.read(32)
            if head[:4] == b"QFI\xfb":
                size: int = struct.unpack(">Q", head[24:32])[0]
                return size
            return file.seek(0, os.SEEK_END)
    except OSError:
        return 0


class ColdCopy(Copy):
    """The disks of a VM that is off."""

    def __init__(self, seen: Seen, wanted: Begin) -> None:
        domain = seen.domain
        self._domain, self._before = domain, (domain.id, cold.fingerprints(domain))
        begun_at = time.monotonic()
        self._open = cold.serve(domain, [target for target in wanted.modes if not self._same(
            target, wanted)], wanted.since)
        try:
            self.told = {"state": "off", "checkpoint": wanted.since, "quiesced": True,
                         "unquiesced_because": "", "fingerprints": self._before[1],
                         "disks": {target: self._disk(target, mode)
                                   for target, mode in sorted(wanted.modes.items())},
                         **papers(seen), "ago_s": round(time.monotonic() - begun_at, 3)}
        except BaseException:
            cold.stop(self._open)
            raise

    def _same(self, target: str, wanted: Begin) -> bool:
        return bool(wanted.known) and wanted.known.get(target) == self._before[1].get(target)

    def _disk(self, target: str, mode: str) -> Dict[str, Any]:
        if target not in self._open.sockets:
            size = virtual_size(self._domain.disks[target].source)
            return {"mode": INCREMENT, "why": "", "size_bytes": size, "dirty_bytes": 0}
        socket, bitmap = self._open.sockets[target], self._open.bitmaps[target]
        wanted = mode == INCREMENT
        return {"mode": INCREMENT if wanted and bitmap else FULL, "socket": socket,
                "why": "its change tracking is lost" if wanted and not bitmap else "",
                "export": target, "bitmap": bitmap if wanted else "",
                **measure(socket, target, bitmap if wanted else "")}

    def end(self) -> Dict[str, Any]:
        """Stop the servers; what was read counts only if the VM was off all the while."""
        uuid = self._domain.uuid
        for socket in self._open.sockets.values():
            if clients(socket):
                part_with_clients(socket, uuid)
        cold.stop(self._open)
        try:
            off = state_of(uuid)[0] in OFF
        except VirshError:
            off = False
        after = ("" if off else "started", cold.fingerprints(self._domain))
        moved = not cold.unmoved(self._before, after)
        return {"reason": "asked", "was": "moved" if moved else "ended", "incident": ""}
