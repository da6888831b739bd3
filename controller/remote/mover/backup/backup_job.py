"""
Begin and end a backup job of libvirt (`backup-begin` in pull mode, `domjobabort`).

An increment is taken since the checkpoint `since`, if libvirt still has it and the disk's bitmap is
whole; else that disk, and only that one, is scanned, and the reason is reported. So `begin` asks
libvirt, learns from its refusal which disk it cannot do, changes that disk's mode, and asks again.

A job is ours by its socket: hotsite.sock in the domain's own folder. Before `domjobabort` every NBD
client must have left: QEMU has been seen to crash when its NBD server is stopped under a client.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from mover.backup.virsh import (
    GONE,
    Domain,
    DomainStatus,
    Unanswered,
    VirshError,
    abort_job,
    answers,
    job_of,
    socket_of,
    state_of,
    virsh,
)
from mover.copy_mode import INCREMENT, SCAN
from mover.errors import Refused, TryAgain
from mover.processes import senders

OURS = re.compile(r"hotsite-[0-9]{6,}(-[0-9a-f]+)?(\.[0-9]+)?\Z")      # a checkpoint
SCRATCH = "hotsite-scratch"
QEMU = "/var/lib/libvirt/qemu"
ELSEWHERE = "/var/lib/libvirt/images"       # for the scratch of a disk that is no file
ATTEMPTS = 6
BEGIN_S = 60
BROKEN = re.compile(r"broken bitmap '(?P<bitmap>[^']+)' for disk '(?P<disk>[^']+)'")
TAKEN = re.compile(r"Bitmap already exists: (?P<bitmap>[\w.-]+)")
UNCOPIED = re.compile(r"(?i)(?:unsupported configuration|not supported|read-?only).*?"
                      r"disk '(?P<disk>[^']+)'")
UNCOVERED = re.compile(r"for incremental backup of disk '(?P<disk>[^']+)'")


class MayBegin(TryAgain):
    """Libvirt was asked to begin the job and has not answered: the job may still begin."""


class JobRequest(NamedTuple):
    """The job that is asked for."""

    checkpoint: str                 # to be made; empty: none
    since: str                      # the checkpoint that increments are taken from; empty: none
    keep: Tuple[str, ...]           # checkpoints that stay even if this job fails
    modes: Dict[str, str]           # by target, see copy_mode
    why: Dict[str, str] = {}        # noqa: RUF012  (by target: why an increment became a scan)


class StartedJob(NamedTuple):
    """The job as libvirt began it: the mode of each disk, and why it is not the one asked for."""

    socket: str
    modes: Dict[str, str]
    why: Dict[str, str]
    scratch: Dict[str, str]
    tracked: bool                   # a checkpoint was made
    left_out: Dict[str, str]        # disks that libvirt does not copy, and what it says


def quoteattr(text: str) -> str:
    """Return an attribute's value as XML has it; xml.sax would load all of urllib for this."""
    for plain, quoted in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"),
                          ("\n", "&#10;"), ("\r", "&#13;"), ("\t", "&#9;")):
        text = text.replace(plain, quoted)
    return '"%s"' % text


def socket_path(domain: Domain) -> str:
    """Return where the job's socket belongs: the one folder that QEMU's AppArmor profile allows."""
    names = [name for name in os.listdir(QEMU) if name.startswith("domain-%s-" % domain.id)]
    if not names:
        raise TryAgain("%s has no folder in %s: it is only just starting" % (domain.name, QEMU))
    return os.path.join(QEMU, names[0], "hotsite.sock")


def scratch_path(domain: Domain, target: str) -> str:
    """Return where the old contents of a disk go while the job runs."""
    disk = domain.disks[target]
    folder = os.path.dirname(disk.source) if disk.kind == "file" else ELSEWHERE
    return os.path.join(folder, SCRATCH, "%s-%s.qcow2" % (domain.uuid, target))


def clear_scratch(scratch: Sequence[str]) -> None:
    """Delete scratch files left by an earlier job; only while no job runs."""
    for path in scratch:
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)         # libvirt refuses to overwrite one


def begin(status: DomainStatus, wanted: JobRequest) -> StartedJob:
    """Begin the job, falling back disk by disk. After any error but MayBegin no job runs."""
    domain, modes, since = status.domain, dict(wanted.modes), wanted.since
    why = dict(wanted.why)
    clear(domain.uuid, status.checkpoints, {*wanted.keep, since})
    covered = status.tracked
    if since and since not in status.checkpoints:
        covered = set(restore_checkpoint(domain, since))
    for target, mode in sorted(modes.items()):
        if mode == INCREMENT and target not in covered:
            modes[target] = SCAN
            why[target] = ("checkpoint %s is lost" % since if since and not covered
                           else "it has not been tracked since the last point")
    scratch = {target: scratch_path(domain, target) for target in modes}
    left_out: Dict[str, str] = {}
    for _ in range(ATTEMPTS + len(modes)):
        tracked = bool(wanted.checkpoint) and any(
            domain.disks[target].trackable for target in modes)
        documents = [backup_xml(domain, since, modes, scratch)]
        if tracked:
            documents.append(checkpoint_xml(domain, wanted.checkpoint, modes))
        try:
            virsh("backup-begin", domain.uuid, files=tuple(documents), patience_s=BEGIN_S,
                  leave=True)
        except Unanswered as error:
            raise MayBegin("the copy of %s was not begun: %s; should it yet begin, it is ended at"
                           " once" % (domain.name, error)) from None
        except VirshError as error:
            if not _leave_out(str(error), modes, left_out):
                _fall_back(domain, str(error), modes, why)
            continue
        return StartedJob(socket_path(domain), modes, why, scratch, tracked, left_out)
    raise TryAgain("the copy of %s could not be begun in %d attempts" % (
        domain.name, ATTEMPTS + len(scratch)))


def backup_xml(domain: Domain, since: str, modes: Dict[str, str], scratch: Dict[str, str]) -> str:
    """Return the <domainbackup> document."""
    disks = ["<disk name=%s backup='yes' type='file' %s><scratch file=%s/></disk>" % (
        quoteattr(target),
        "backupmode='incremental' incremental=%s" % quoteattr(since) if mode == INCREMENT
        else "backupmode='full'", quoteattr(scratch[target]))
        for target, mode in sorted(modes.items())]
    return ("<domainbackup mode='pull'><server transport='unix' socket=%s/><disks>%s</disks>"
            "</domainbackup>" % (quoteattr(socket_path(domain)), "".join(disks)))


def checkpoint_xml(domain: Domain, name: str, targets: Iterable[str], *, made_at: int = 0) -> str:
    """Return the <domaincheckpoint> document, with those of the disks that can hold a bitmap."""
    disks = ["<disk name=%s checkpoint='bitmap'/>" % quoteattr(target)
             for target in sorted(targets) if domain.disks[target].trackable]
    made = "<creationTime>%d</creationTime>" % made_at if made_at else ""
    return "<domaincheckpoint><name>%s</name>%s<disks>%s</disks></domaincheckpoint>" % (
        name, made, "".join(disks))


def _leave_out(error: str, modes: Dict[str, str], left_out: Dict[str, str]) -> bool:
    """Leave out a disk that libvirt refuses to copy at all; return whether it named one.

    Kinds known to be refused were left out before (parts); newer libvirts have newer kinds.
    """
    refused = UNCOPIED.search(error)
    if not refused or refused["disk"] not in modes or len(modes) < 2 or UNCOVERED.search(error):
        return False
    del modes[refused["disk"]]
    left_out[refused["disk"]] = "libvirt says: %s" % error
    return True


def _fall_back(domain: Domain, error: str, modes: Dict[str, str], why: Dict[str, str]) -> None:
    """Change the request so that the next attempt can succeed, or raise."""
    broken, taken, uncovered = (pattern.search(error) for pattern in (BROKEN, TAKEN, UNCOVERED))
    if taken and OURS.match(taken["bitmap"]):
        redefine(domain, taken["bitmap"], list(modes))
        drop(domain.uuid, taken["bitmap"])
        return
    found = broken or uncovered
    if found and modes.get(found["disk"]) == INCREMENT:
        modes[found["disk"]] = SCAN
        why[found["disk"]] = "its change tracking is broken" if broken else (
            "it has not been tracked since the last point")
        return
    if "cannot acquire state change lock" in error or "already running" in error:
        raise TryAgain("the copy of %s was not begun: libvirt is at work on it" % domain.name)
    if "Unable to find a satisfying" in error or "not supported" in error:
        raise Refused("the copy of %s was not begun: %s" % (domain.name, error))
    raise TryAgain("the copy of %s was not begun: %s" % (domain.name, error))


def restore_checkpoint(domain: Domain, since: str) -> Tuple[str, ...]:
    """Redefine a checkpoint that libvirt has lost; return the disks that still have its bitmap."""
    targets = [target for target, disk in domain.disks.items() if disk.trackable]
    for chosen in (targets, *([target] for target in targets if len(targets) > 1)):
        with contextlib.suppress(VirshError):
            redefine(domain, since, chosen)
            return tuple(chosen)
    return ()


def redefine(domain: Domain, name: str, targets: List[str]) -> None:
    """Define a checkpoint in libvirt whose bitmaps are in the images already."""
    text = checkpoint_xml(domain, name, targets, made_at=1)
    virsh("checkpoint-create", domain.uuid, "--redefine", "--redefine-validate",
          "--xmlfile", files=(text,))


def clear(uuid: str, names: List[str], keep: "set[str]") -> List[str]:
    """Delete every checkpoint of ours but those to keep; return the names of the deleted."""
    unwanted = sorted({name for name in names if OURS.match(name) and name not in keep})
    if unwanted:
        replies, _ = answers(*("checkpoint-delete %s %s" % (uuid, name) for name in unwanted),
                             "checkpoint-list --name " + uuid)
        for name in set(replies[-1].split()) & set(unwanted):
            drop(uuid, name)
    return unwanted


def drop(uuid: str, name: str) -> None:
    """Delete one checkpoint; if its bitmap is gone, only libvirt's metadata."""
    try:
        virsh("checkpoint-delete", uuid, name)
    except VirshError as error:
        if "not found in backing chain" not in str(error):
            with contextlib.suppress(VirshError):
                virsh("checkpoint-delete", uuid, name, "--metadata")
            return
        virsh("checkpoint-delete", uuid, name, "--metadata")


CLIENT_S = 5            # for a sender of ours to disconnect
ENDING_S = 90           # libvirt handles one event after another, and one may take 30 s
STRANGER = "a client that is none of ours read the copy's job until it was ended"
STRANGER_S = 10         # for a client that is none of ours
CONNECTED = "03"        # the state of a connected socket in /proc/net/unix


class Job(NamedTuple):
    """Identity of one of our backup jobs."""

    uuid: str
    socket: str
    scratch: Sequence[str]


def clients(socket: str) -> int:
    """Return how many clients are connected to a unix socket of this host."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        rows = (line.split(None, 7) for line in table)
        return sum(1 for row in rows if len(row) == 8 and row[7].rstrip("\n") == socket
                   and row[5] == CONNECTED)


def end_job(job: Job, patience_s: float = CLIENT_S) -> Dict[str, Any]:
    """
    End the job and return what was found; VirshError when libvirt does not end it now.

    Shapes: {"was": "ended"; "gone": no job ran; "foreign": another job runs, untouched;
    "incident": a sentence}.
    """
    stranger = disconnect_clients(job.socket, job.uuid, patience_s)
    running = job_of(job.uuid)
    ours = bool(running) and socket_of(running) == job.socket
    state = _abort(job) if ours else state_of(job.uuid)
    incident = revive(job.uuid, *state) or (STRANGER if stranger and ours else "")
    if ours or not running:
        for path in (*job.scratch, *([] if running else [job.socket])):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    return {"was": "ended" if ours else "foreign" if running else "gone", "incident": incident}


def disconnect_clients(socket: str, uuid: str, patience_s: float = CLIENT_S) -> bool:
    """
    Wait until no client is connected; kill our own senders that stay, never another process.

    A stranger gets STRANGER_S more, no longer: the scratch grows as long as the job is open.
    Returns whether one is still connected.
    """
    until, last = time.monotonic() + patience_s, time.monotonic() + patience_s + STRANGER_S
    while clients(socket) and time.monotonic() < last:
        if time.monotonic() > until:
            for pid in senders(uuid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until += CLIENT_S
        time.sleep(0.02)
    return bool(clients(socket))


def _abort(job: Job) -> Tuple[str, str]:
    """Abort the job and return the domain's state once the job is gone."""
    running, state = abort_job(job.uuid)
    until = time.monotonic() + ENDING_S
    pause_s = 0.02
    while running and socket_of(job_of(job.uuid)) == job.socket:
        if time.monotonic() > until:
            raise VirshError("libvirt was asked to end the copy and has not done so for %d s"
                             % ENDING_S)
        time.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)
    return state_of(job.uuid) if running else state


def revive(uuid: str, state: str, reason: str) -> str:
    """Resume a guest that a failed write has paused; return the incident."""
    if (state, reason) != ("paused", "I/O error"):
        return ""
    virsh("resume", uuid)
    return "the guest was stopped by a failed write while it was copied, and was resumed"


def end_stubbornly(job: Job, limit_s: float, patience_s: float = CLIENT_S) -> Dict[str, Any]:
    """End the job, retrying until libvirt does it or the VM is gone.

    Shapes: as `end_job`, or {"was": "running"} once the limit is over.
    """
    until, pause_s = time.monotonic() + limit_s, 0.2
    while True:
        try:
            return end_job(job, patience_s)
        except VirshError as error:
            if any(word in str(error) for word in GONE):
                return {"was": "gone", "incident": ""}
            if time.monotonic() > until:
                return {"was": "running", "incident": str(error)}
        time.sleep(pause_s)
        pause_s = min(10.0, 2 * pause_s)
