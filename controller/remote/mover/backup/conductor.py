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

import contextlib
import glob
import os
import re
import select
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from mover.backup import offline
from mover.backup.backup_job import (
    FULL,
    INCREMENT,
    OURS,
    Begun,
    Job,
    MayBegin,
    Wanted,
    begin,
    clear,
    clear_scratch,
    end_stubbornly,
    scratch_path,
    socket_path,
)
from mover.backup.definition import papers
from mover.backup.offline_copy import ColdCopy
from mover.backup.origins import are_those, origin_of, run_of
from mover.backup.quiesce import frozen
from mover.backup.reading import ELSEWHERE, Begin, Copy, measured, size_of
from mover.backup.scratch import take_room
from mover.backup.virsh import (
    OFF,
    Domain,
    Seen,
    VirshError,
    answers,
    is_number,
    job_of,
    look,
    socket_of,
)
from mover.backup.watchdog import Limits, Watchdog
from mover.errors import Refused, TryAgain
from mover.locks import take_lock
from mover.requests import MOST_BYTES, parse_order
from mover.verbs import say

FOLDER = offline.FOLDER
KNOWN = "/var/lib/hotsite/known"    # where the conductor has manifests of the replica put
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


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
            if len(self._held) > MOST_BYTES:
                raise Refused("an order of more than %d bytes is not read" % MOST_BYTES)
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
        for path in glob.glob(os.path.join(KNOWN, "known-%s-*.man" % glob.escape(uuid))):
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
    (number, names), complaint = answers("domid " + uuid, "checkpoint-list --name " + uuid)
    if not number.strip():
        raise VirshError(complaint)
    return clear(uuid, names.split(), set(keep)) if is_number(number) else []


def open_copy(uuid: str, wanted: Begin) -> Copy:
    """Open a copy of a VM, whether it runs or not."""
    seen = look(uuid, wanted.since)
    state, domain = seen.state, seen.domain
    missing = sorted(set(wanted.modes) - set(domain.disks))
    if missing:
        raise Refused("%s has no disk %s on this host" % (domain.name, ", ".join(missing)))
    left = {target: domain.disks[target].why_not for target in sorted(wanted.modes)
            if domain.disks[target].why_not}
    wanted = wanted._replace(modes={target: mode for target, mode in wanted.modes.items()
                                    if target not in left})
    # what is not copied may change as it likes meanwhile
    seen = seen._replace(domain=domain._replace(disks={
        target: domain.disks[target] for target in wanted.modes}))
    if not wanted.modes:
        raise Refused("no disk of %s can be copied: %s" % (
            domain.name, ", ".join("%s (%s)" % one for one in left.items())))
    if state in OFF and not domain.id:      # a guest that crashed may have kept its QEMU
        return _telling(ColdCopy(seen, wanted), left)
    if state not in ("running", "paused", "pmsuspended", "crashed"):
        raise TryAgain("%s is %s: it is copied when it runs or is off" % (domain.name, state))
    return _telling(HotCopy(seen, wanted), left)


def _telling(copy: Copy, left: Dict[str, str]) -> Copy:
    """Return a copy that tells which disks are not in it, and why."""
    copy.told["left_out"] = {**copy.told.get("left_out", {}), **left}
    return copy


class HotCopy(Copy):
    """A backup job of a running VM."""

    def __init__(self, seen: Seen, wanted: Begin) -> None:
        self._domain = domain = seen.domain
        self.job = Job(domain.uuid, socket_path(domain),
                       [scratch_path(domain, target) for target in wanted.modes])
        if not seen.idle:
            _require_idle(domain, self.job)
        clear_scratch(self.job.scratch)
        sizes = [size_of(domain.disks[target]) for target in wanted.modes]
        room = take_room(domain.uuid, self.job.scratch, sizes, wanted.scratch_bytes, seen.written)
        try:
            self._guard = Watchdog(self.job, Limits(
                wanted.limit_s, room.budget_bytes, room.reserve_bytes, room.rate_bytes_per_s))
        finally:
            os.close(room.entry)    # from here on the guard holds it, for as long as it stands
        self.news = self._guard.news
        self._origins = {target: origin_of(domain.disks[target]) for target in wanted.modes}
        try:
            begun, quiesced, why, begun_at = _begin(seen, self._believed(wanted))
            if not self._guard.tell("begun"):
                raise TryAgain("the copy of %s was not begun: its guard has ended, or it took"
                               " longer than the copy may last" % domain.name)
            self.told = {
                "state": "running", "checkpoint": wanted.checkpoint if begun.tracked else "",
                "quiesced": quiesced, "unquiesced_because": why, "scratch_bytes": room.budget_bytes,
                "disks": _measured(begun, wanted, guarded=self._is_same_run(wanted)),
                **papers(seen), "run": run_of(domain), "left_out": begun.left,
                "origins": {target: one.told() for target, one in sorted(self._origins.items())},
                "ago_s": round(time.monotonic() - begun_at, 3)}
        except MayBegin:
            self._guard.leave()     # it stays until the job has begun, or surely will not
            raise
        except BaseException:
            self.end()
            raise

    def _believed(self, wanted: Begin) -> "Tuple[Begin, Dict[str, str]]":
        """Return what is asked for, in full where a record may be of other contents; and why."""
        same_run = self._is_same_run(wanted)
        strange = {target for target, mode in wanted.modes.items() if mode == INCREMENT and (
            (wanted.unbroken and not same_run) or not are_those(
                wanted.origins.get(target), self._origins[target], same_run=same_run))}
        modes = {target: FULL if target in strange else mode
                 for target, mode in wanted.modes.items()}
        return wanted._replace(modes=modes), dict.fromkeys(strange, ELSEWHERE)

    def _is_same_run(self, wanted: Begin) -> bool:
        return bool(wanted.run) and wanted.run == run_of(self._domain)

    def end(self) -> Dict[str, Any]:
        """End the job by its guard, or in its place where that was killed or came too early."""
        self._guard.tell("end")
        told = self._guard.ended() or {"reason": "its guard was killed", "was": "gone"}
        if told["was"] == "gone":
            told = {**told, **end_stubbornly(self.job, 60)}
        return told


def _begin(seen: Seen, believed: "Tuple[Begin, Dict[str, str]]"
           ) -> Tuple[Begun, bool, str, float]:
    wanted, doubts = believed
    asked = Wanted(wanted.checkpoint, wanted.since, wanted.keep, wanted.modes, doubts)
    if not wanted.quiesce:
        at = time.monotonic()
        return begin(seen, asked), False, "", at
    why = _unfreezable(seen)
    if why:
        at = time.monotonic()
        return begin(seen, asked), False, why, at
    with frozen(seen.domain.uuid) as still:
        at = time.monotonic()
        begun = begin(seen, asked)
    return begun, still.quiesced, still.why, at


def _unfreezable(seen: Seen) -> str:
    """Return why nobody can hold a guest's file systems still; empty where its agent may."""
    if seen.state != "running":
        return "libvirt says that it is %s (%s)" % (seen.state, seen.reason or "unknown")
    return "" if seen.domain.agent else "no guest agent answers"


def _require_idle(domain: Domain, job: Job) -> None:
    """Raise TryAgain unless no job runs; one of ours that nobody conducts is ended first."""
    running = job_of(domain.uuid)
    if not running:
        return
    if socket_of(running) != job.socket:
        raise TryAgain("the copy of %s was not begun: another job runs on it (%s)" % (
            domain.name, "a backup that is not ours" if running.startswith("<") else running))
    end_stubbornly(job, 60)


def _measured(begun: Begun, wanted: Begin, *, guarded: bool) -> Dict[str, Dict[str, Any]]:
    return {target: measured(
        begun.socket, target, "backup-" + target if mode == INCREMENT else "",
        wanted.sent.get(target, ""), begun.why.get(target, ""), guarded=guarded)
        for target, mode in begun.modes.items()}
