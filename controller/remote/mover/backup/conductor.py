"""
Conduct the source end of one restore point.

The controller starts one conductor per VM and cycle, on the VM's host, and sends it commands on
stdin, one line of JSON each; each is answered by one line on stdout with the command's `number`.

    {"uuid"}           {"ready": true}    the request; the VM's lock is held from here on
    {"begin": {…}}     {"begun": {…}}     open a copy, see CopyRequest; several, one after another
    {"end": true}      {"ended": {…}}     close it: nothing of the copy is left on the host
    {"drop": […]}      {"dropped": […]}   delete all checkpoints of ours but these

An open copy is a LiveCopy, a backup job of libvirt read over NBD, or an OfflineCopy, a qemu-nbd for
each disk of a VM that is off. The conductor only opens and closes; the controller starts `mover
send` processes that read from the sockets named in `begun`. The order of a LiveCopy:

    1. VM lock           no second conductor, no sweep, for as long as this process or its watchdog
                         lives
    2. scratch claim     or TryAgain: a job without room would end at once, and harm the guest
    3. watchdog          forked before the job begins, so that no instant of a job is unguarded;
                         it inherits the lock and the claim
    4. (freeze)          only around step 5; a process of its own thaws, see quiesce
    5. backup-begin      job and new checkpoint in one step of libvirt
    6. "begun" to watchdog, "begun" to the controller; senders connect
    7. "end" to watchdog: senders leave, domjobabort, scratch files and socket are deleted

The job ends at `end`, at the end of stdin (the controller or its connection is gone), when the
time limit is reached, or when the scratch nears its budget; in the last two cases `ended` is sent
unasked, with the number of its `begin`. The new checkpoint stays until a later `drop`: the
controller deletes old ones only after the point that replaces them is published.

What a crash leaves, and who removes it:

    this process     the watchdog ends the job; qemu-nbd servers die with their parent
    the watchdog     this process ends the job in its place
    both             the job runs on: the next conductor ends it before its own, or `sweep` does;
                     its scratch claim is void, since nobody holds its lock
    libvirtd, QEMU   the job is gone, or is aborted once libvirtd answers; the watchdog deletes the
                     scratch files, `sweep` those of a transient VM that is gone, too
    the host         scratch files: the next copy or `sweep`; the new checkpoint: the next copy
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
    OURS,
    Job,
    JobRequest,
    MayBegin,
    StartedJob,
    begin,
    clear,
    clear_scratch,
    end_stubbornly,
    scratch_path,
    socket_path,
)
from mover.backup.definition import read_definition
from mover.backup.offline_copy import OfflineCopy
from mover.backup.origins import guest_run_of, is_same_origin, origin_of
from mover.backup.quiesce import frozen
from mover.backup.reading import ELSEWHERE, Copy, CopyRequest, measured, size_of
from mover.backup.scratch import claim_room
from mover.backup.virsh import (
    OFF,
    Domain,
    DomainStatus,
    VirshError,
    answers,
    inspect,
    is_number,
    job_of,
    socket_of,
)
from mover.backup.watchdog import JobLimits, Watchdog
from mover.copy_mode import INCREMENT, MODES, SCAN
from mover.errors import Refused, TryAgain
from mover.locks import take_lock
from mover.requests import MOST_BYTES, parse_object
from mover.verbs import say

FOLDER = offline.FOLDER
KNOWN = "/var/lib/hotsite/known"    # where the controller has manifests of the replica put
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Commands:
    """Commands on stdin, and the report of the watchdog, whichever is first."""

    def __init__(self) -> None:
        self._buffer = b""

    def next(self, report: Optional[int] = None) -> Optional[Dict[str, Any]]:
        """Return the next command; {} when `report` can be read; None at the end of stdin."""
        while b"\n" not in self._buffer:
            watched = [0] if report is None else [0, report]
            ready = select.select(watched, [], [])[0]
            if report in ready:
                return {}
            received = os.read(0, 1 << 16)
            if not received:
                return None
            self._buffer += received
            if len(self._buffer) > MOST_BYTES:
                raise Refused("a command of more than %d bytes is not read" % MOST_BYTES)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return parse_object(line)


def lock(uuid: str) -> int:
    """Hold the VM's lock until this process and its watchdog have ended."""
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
    """Execute commands until stdin ends."""
    commands = Commands()
    request = commands.next() or {}
    uuid = str(request.get("uuid", ""))
    lock_fd = lock(uuid)
    copy: Optional[Copy] = None
    begin_number: Any = None
    reply({"ready": True})
    try:
        while True:
            command = commands.next(copy.report if copy else None)
            if command is None:
                return
            if copy is not None and (not command or "end" in command):
                reply({"number": begin_number, "ended": copy.end()})
                copy = None
            elif "begin" in command and copy is None:
                begin_number = command.get("number")
                copy = open_copy(uuid, _parse_begin(command["begin"]))
                reply({"number": begin_number, "begun": copy.begun})
            elif "drop" in command:
                reply({"number": command.get("number"), "dropped": _drop(uuid, command["drop"])})
            elif "end" not in command:
                raise Refused("what is asked for cannot be done now: %s" % ", ".join(command))
    except VirshError as error:
        raise TryAgain("libvirt did not do as asked: %s" % error) from None
    finally:
        if copy is not None:
            copy.end()
        for path in glob.glob(os.path.join(KNOWN, "known-%s-*.man" % glob.escape(uuid))):
            os.unlink(path)
        os.close(lock_fd)


def reply(line: Dict[str, Any]) -> None:
    """Write one line; a controller that is gone has closed stdin, too, which ends everything."""
    with contextlib.suppress(BrokenPipeError):
        say(line, sys.stdout.fileno())


def _parse_begin(fields: Dict[str, Any]) -> CopyRequest:
    try:
        request = CopyRequest(**{**fields, "keep": tuple(fields.get("keep", ()))})
    except TypeError as error:
        raise Refused("the command cannot be read: %s" % error) from None
    if not request.modes or not set(request.modes.values()) <= set(MODES):
        raise Refused("a copy names its disks, each with one of %s" % ", ".join(MODES))
    for name in (request.checkpoint, request.since):    # the replica's host may have put it so
        if name != "" and not (isinstance(name, str) and OURS.match(name)):
            raise Refused("%r is not the name of a checkpoint of ours" % (name,))
    return request


def _drop(uuid: str, keep: List[str]) -> List[str]:
    """Delete all checkpoints of ours but these; of a VM that is off libvirt can delete none."""
    (number, names), complaint = answers("domid " + uuid, "checkpoint-list --name " + uuid)
    if not number.strip():
        raise VirshError(complaint)
    return clear(uuid, names.split(), set(keep)) if is_number(number) else []


def open_copy(uuid: str, request: CopyRequest) -> Copy:
    """Open a copy of a VM, whether it runs or not; disks that cannot be copied are left out."""
    status = inspect(uuid, request.since)
    state, domain = status.state, status.domain
    missing = sorted(set(request.modes) - set(domain.disks))
    if missing:
        raise Refused("%s has no disk %s on this host" % (domain.name, ", ".join(missing)))
    left_out = {target: domain.disks[target].why_not for target in sorted(request.modes)
                if domain.disks[target].why_not}
    request = request._replace(modes={target: mode for target, mode in request.modes.items()
                                      if target not in left_out})
    # disks that are not copied may change during the copy
    status = status._replace(domain=domain._replace(disks={
        target: domain.disks[target] for target in request.modes}))
    if not request.modes:
        raise Refused("no disk of %s can be copied: %s" % (
            domain.name, ", ".join("%s (%s)" % one for one in left_out.items())))
    if state in OFF and not domain.id:      # a guest that crashed may have kept its QEMU
        copy: Copy = OfflineCopy(status, request)
    elif state in ("running", "paused", "pmsuspended", "crashed"):
        copy = LiveCopy(status, request)
    else:
        raise TryAgain("%s is %s: it is copied when it runs or is off" % (domain.name, state))
    copy.begun["left_out"] = {**copy.begun["left_out"], **left_out}
    return copy


class LiveCopy(Copy):
    """A backup job of a VM that has a QEMU process."""

    def __init__(self, status: DomainStatus, request: CopyRequest) -> None:
        self._domain = domain = status.domain
        self.job = Job(domain.uuid, socket_path(domain),
                       [scratch_path(domain, target) for target in request.modes])
        if not status.idle:
            _require_idle(domain, self.job)
        clear_scratch(self.job.scratch)
        sizes = [size_of(domain.disks[target]) for target in request.modes]
        room = claim_room(domain.uuid, self.job.scratch, sizes, request.scratch_bytes,
                          status.written)
        try:
            self._watchdog = Watchdog(self.job, JobLimits(
                request.limit_s, room.budget_bytes, room.reserve_bytes, room.rate_bytes_per_s))
        finally:
            os.close(room.claim)    # from here on the watchdog alone holds it open
        self.report = self._watchdog.report
        self._origins = {target: origin_of(domain.disks[target]) for target in request.modes}
        try:
            job, quiesced, why, begun_at = _begin(status, *self._trusted(request))
            if not self._watchdog.tell("begun"):
                raise TryAgain("the copy of %s was not begun: its watchdog has ended, or it took"
                               " longer than the copy may last" % domain.name)
            self.begun = {
                "state": "running", "checkpoint": request.checkpoint if job.tracked else "",
                "quiesced": quiesced, "unquiesced_because": why, "scratch_bytes": room.budget_bytes,
                "disks": _measured(job, request, guarded=self._is_same_run(request)),
                **read_definition(status), "run": guest_run_of(domain), "left_out": job.left_out,
                "origins": {target: one.record() for target, one in sorted(self._origins.items())},
                "ago_s": round(time.monotonic() - begun_at, 3)}
        except MayBegin:
            self._watchdog.leave()  # it stays until the job has begun, or surely will not
            raise
        except BaseException:
            self.end()
            raise

    def _trusted(self, request: CopyRequest) -> "Tuple[CopyRequest, Dict[str, str]]":
        """
        Return the request without the increments whose bitmap cannot be trusted, and why each.

        A bitmap counts only for the files that it was begun on, see origins.
        """
        same_run = self._is_same_run(request)
        foreign = {target for target, mode in request.modes.items() if mode == INCREMENT and (
            (request.unbroken and not same_run) or not is_same_origin(
                request.origins.get(target), self._origins[target], same_run=same_run))}
        modes = {target: SCAN if target in foreign else mode
                 for target, mode in request.modes.items()}
        return request._replace(modes=modes), dict.fromkeys(foreign, ELSEWHERE)

    def _is_same_run(self, request: CopyRequest) -> bool:
        return bool(request.run) and request.run == guest_run_of(self._domain)

    def end(self) -> Dict[str, Any]:
        """End the job through its watchdog, or here if that was killed or ended too early."""
        self._watchdog.tell("end")
        ended = self._watchdog.ended() or {"reason": "its watchdog was killed", "was": "gone"}
        if ended["was"] == "gone":
            ended = {**ended, **end_stubbornly(self.job, 60)}
        return ended


def _begin(status: DomainStatus, request: CopyRequest, why_scanned: Dict[str, str]
           ) -> Tuple[StartedJob, bool, str, float]:
    """Begin the job, quiesced if asked for and possible; also return whether, why not, and when."""
    wanted = JobRequest(request.checkpoint, request.since, request.keep, request.modes,
                        why_scanned)
    why = _unfreezable(status) if request.quiesce else ""
    if why or not request.quiesce:
        at = time.monotonic()
        return begin(status, wanted), False, why, at
    with frozen(status.domain.uuid) as freeze:
        at = time.monotonic()
        job = begin(status, wanted)
    return job, freeze.quiesced, freeze.why, at


def _unfreezable(status: DomainStatus) -> str:
    """Return why a guest's file systems cannot be frozen; empty where its agent may do it."""
    if status.state != "running":
        return "libvirt says that it is %s (%s)" % (status.state, status.reason or "unknown")
    return "" if status.domain.agent else "no guest agent answers"


def _require_idle(domain: Domain, job: Job) -> None:
    """Raise TryAgain while another job runs; a job of ours that was left over is ended first."""
    running = job_of(domain.uuid)
    if not running:
        return
    if socket_of(running) != job.socket:
        raise TryAgain("the copy of %s was not begun: another job runs on it (%s)" % (
            domain.name, "a backup that is not ours" if running.startswith("<") else running))
    end_stubbornly(job, 60)


def _measured(job: StartedJob, request: CopyRequest, *, guarded: bool
              ) -> Dict[str, Dict[str, Any]]:
    return {target: measured(
        job.socket, target, "backup-" + target if mode == INCREMENT else "",
        request.sent.get(target, ""), job.why.get(target, ""), guarded=guarded)
        for target, mode in job.modes.items()}
