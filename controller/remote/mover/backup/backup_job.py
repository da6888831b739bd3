"""
Begin a backup job: what may be asked since when, the scratch files, the XML, the attempt itself.

The increment of each disk is taken since the checkpoint `since` where libvirt still has it and its
bitmap is whole; else that disk, and only that one, is opened in full and the reason is told.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from mover.backup.virsh import (
    GONE,
    Domain,
    Seen,
    Unanswered,
    VirshError,
    abort_job,
    answers,
    job_of,
    socket_of,
    state_of,
    virsh,
)
from mover.errors import Refused, TryAgain
from mover.processes import senders

OURS = re.compile(r"hotsite-[0-9]{6,}(-[0-9a-f]+)?(\.[0-9]+)?\Z")      # a checkpoint
SCRATCH = "hotsite-scratch"
QEMU = "/var/lib/libvirt/qemu"
ELSEWHERE = "/var/lib/libvirt/images"       # for the scratch of a disk that is no file
INCREMENT, FULL = "increment", "full"
ATTEMPTS = 6
BEGIN_S = 60
BROKEN = re.compile(r"broken bitmap '(?P<bitmap>[^']+)' for disk '(?P<disk>[^']+)'")
TAKEN = re.compile(r"Bitmap already exists: (?P<bitmap>[\w.-]+)")
UNCOPIED = re.compile(r"(?i)(?:unsupported configuration|not supported|read-?only).*?"
                      r"disk '(?P<disk>[^']+)'")
UNCOVERED = re.compile(r"for incremental backup of disk '(?P<disk>[^']+)'")


class MayBegin(TryAgain):
    """Libvirt was asked to begin the job and has not answered: it may yet do so."""


class Wanted(NamedTuple):
    """The job that is asked for."""

    checkpoint: str                 # to be made; empty: none
    since: str                      # of which increments are taken; empty: none
    keep: Tuple[str, ...]           # checkpoints that stay, whatever becomes of this
    modes: Dict[str, str]           # by target: increment or full
    why: Dict[str, str] = {}        # noqa: RUF012  (why it is full, where more could be expected)


class Begun(NamedTuple):
    """The job as it began: how each disk is open, and why not as asked."""

    socket: str
    modes: Dict[str, str]
    why: Dict[str, str]
    scratch: Dict[str, str]
    tracked: bool                   # a checkpoint was made
    left: Dict[str, str]            # disks that libvirt does not copy, and what it says


def quoteattr(text: str) -> str:
    """Return an attribute's value as XML has it; xml.sax would load all of urllib for this."""
    for plain, quoted in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"),
                          ("\n", "&#10;"), ("\r", "&#13;"), ("\t", "&#9;")):
        text = text.replace(plain, quoted)
    return '"%s"' % text


def socket_path(domain: Domain) -> str:
    """Return where the job's socket belongs: the one folder that QEMU's profile lets it use."""
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
    """Make room for the scratch files of a job that is to begin, while none runs."""
    for path in scratch:
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)         # of a job before: libvirt would refuse one that is there


def begin(seen: Seen, wanted: Wanted) -> Begun:
    """Begin the job, falling back disk by disk; but for MayBegin, an error means that none runs."""
    domain, modes, since = seen.domain, dict(wanted.modes), wanted.since
    why = dict(wanted.why)
    clear(domain.uuid, seen.checkpoints, {*wanted.keep, since})
    covered = seen.tracked
    if since and since not in seen.checkpoints:
        covered = set(remembered(domain, since))
    for target, mode in sorted(modes.items()):
        if mode == INCREMENT and target not in covered:
            modes[target] = FULL
            why[target] = ("checkpoint %s is lost" % since if since and not covered
                           else "it has not been tracked since the last point")
    scratch = {target: scratch_path(domain, target) for target in modes}
    left: Dict[str, str] = {}
    for _ in range(ATTEMPTS + len(modes)):
        tracked = bool(wanted.checkpoint) and any(
            domain.disks[target].tracked for target in modes)
        try:
            _attempt(domain, wanted.checkpoint if tracked else "", since, modes, scratch)
        except Unanswered as error:
            raise MayBegin("the copy of %s was not begun: %s; should it yet begin, it is ended at"
                           " once" % (domain.name, error)) from None
        except VirshError as error:
            if not _leave_out(str(error), modes, left):
                _fall_back(domain, str(error), modes, why)
            continue
        return Begun(socket_path(domain), modes, why, scratch, tracked, left)
    raise TryAgain("the copy of %s could not be begun in %d attempts" % (
        domain.name, ATTEMPTS + len(scratch)))


def _attempt(domain: Domain, checkpoint: str, since: str, modes: Dict[str, str],
             scratch: Dict[str, str]) -> None:
    texts = [backup_xml(domain, since, modes, scratch)]
    if checkpoint:
        texts.append(checkpoint_xml(domain, checkpoint, modes))
    virsh("backup-begin", domain.uuid, files=tuple(texts), patience_s=BEGIN_S, leave=True)


def backup_xml(domain: Domain, since: str, modes: Dict[str, str], scratch: Dict[str, str]) -> str:
    """Return the job as libvirt takes it."""
    disks = ["<disk name=%s backup='yes' type='file' %s><scratch file=%s/></disk>" % (
        quoteattr(target),
        "backupmode='incremental' incremental=%s" % quoteattr(since) if mode == INCREMENT
        else "backupmode='full'", quoteattr(scratch[target]))
        for target, mode in sorted(modes.items())]
    return ("<domainbackup mode='pull'><server transport='unix' socket=%s/><disks>%s</disks>"
            "</domainbackup>" % (quoteattr(socket_path(domain)), "".join(disks)))


def checkpoint_xml(domain: Domain, name: str, modes: Dict[str, str], *, made_at: int = 0) -> str:
    """Return a checkpoint as libvirt takes it; not every disk can keep one."""
    disks = ["<disk name=%s checkpoint='bitmap'/>" % quoteattr(target)
             for target in sorted(modes) if domain.disks[target].tracked]
    made = "<creationTime>%d</creationTime>" % made_at if made_at else ""
    return "<domaincheckpoint><name>%s</name>%s<disks>%s</disks></domaincheckpoint>" % (
        name, made, "".join(disks))


def _leave_out(error: str, modes: Dict[str, str], left: Dict[str, str]) -> bool:
    """Leave out a disk that libvirt says it never copies, so that the others are; say whether so.

    What is known to be so is not asked for; libvirt knows more kinds of disks from year to year.
    """
    odd = UNCOPIED.search(error)
    if not odd or odd["disk"] not in modes or len(modes) < 2 or UNCOVERED.search(error):
        return False
    del modes[odd["disk"]]
    left[odd["disk"]] = "libvirt says: %s" % error
    return True


def _fall_back(domain: Domain, error: str, modes: Dict[str, str], why: Dict[str, str]) -> None:
    """Change what is asked for so that the next attempt can do, or raise."""
    broken, taken, uncovered = (pattern.search(error) for pattern in (BROKEN, TAKEN, UNCOVERED))
    if taken and OURS.match(taken["bitmap"]):
        redefine(domain, taken["bitmap"], list(modes))
        drop(domain.uuid, taken["bitmap"])
        return
    found = broken or uncovered
    if found and modes.get(found["disk"]) == INCREMENT:
        modes[found["disk"]] = FULL
        why[found["disk"]] = "its change tracking is broken" if broken else (
            "it has not been tracked since the last point")
        return
    if "cannot acquire state change lock" in error or "already running" in error:
        raise TryAgain("the copy of %s was not begun: libvirt is at work on it" % domain.name)
    if "Unable to find a satisfying" in error or "not supported" in error:
        raise Refused("the copy of %s was not begun: %s" % (domain.name, error))
    raise TryAgain("the copy of %s was not begun: %s" % (domain.name, error))


def remembered(domain: Domain, since: str) -> Tuple[str, ...]:
    """Tell libvirt anew of a checkpoint that it forgot; return the disks whose bitmap is there."""
    targets = [target for target, disk in domain.disks.items() if disk.tracked]
    for chosen in (targets, *([target] for target in targets if len(targets) > 1)):
        with contextlib.suppress(VirshError):
            redefine(domain, since, chosen)
            return tuple(chosen)
    return ()


def redefine(domain: Domain, name: str, targets: List[str]) -> None:
    """Tell libvirt of a checkpoint whose bitmaps are there."""
    text = checkpoint_xml(domain, name, dict.fromkeys(targets, FULL), made_at=1)
    virsh("checkpoint-create", domain.uuid, "--redefine", "--redefine-validate",
          "--xmlfile", files=(text,))


def clear(uuid: str, names: List[str], keep: "set[str]") -> List[str]:
    """Delete every checkpoint of ours but those to keep; return what is gone."""
    gone = sorted({name for name in names if OURS.match(name) and name not in keep})
    if gone:
        told, _ = answers(*("checkpoint-delete %s %s" % (uuid, name) for name in gone),
                          "checkpoint-list --name " + uuid)
        for name in set(told[-1].split()) & set(gone):
            drop(uuid, name)
    return gone


def drop(uuid: str, name: str) -> None:
    """Delete one checkpoint, the mere record of it where its bitmap is gone."""
    try:
        virsh("checkpoint-delete", uuid, name)
    except VirshError as error:
        if "not found in backing chain" not in str(error):
            with contextlib.suppress(VirshError):
                virsh("checkpoint-delete", uuid, name, "--metadata")
            return
        virsh("checkpoint-delete", uuid, name, "--metadata")


CLIENT_S = 5            # for a sender that has been told to leave
ENDING_S = 90           # libvirt handles one event after another, and one may wait for 30 s
STRANGER = "a client that is none of ours read the copy's job until it was ended"
STRANGER_S = 10         # for a client that is none of ours
CONNECTED = "03"        # the state of a connected socket in /proc/net/unix


class Job(NamedTuple):
    """A job of ours by all that tells it from others."""

    uuid: str
    socket: str
    scratch: Sequence[str]


def clients(socket: str) -> int:
    """Return how many are connected to a socket of this host."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        rows = (line.split(None, 7) for line in table)
        return sum(1 for row in rows if len(row) == 8 and row[7].rstrip("\n") == socket
                   and row[5] == CONNECTED)


def end_job(job: Job, patience_s: float = CLIENT_S) -> Dict[str, Any]:
    """End the job and tell what was found; VirshError when libvirt does not do it now."""
    stranger = part_with_clients(job.socket, job.uuid, patience_s)
    running = job_of(job.uuid)
    ours = bool(running) and socket_of(running) == job.socket
    state = _abort(job) if ours else state_of(job.uuid)
    incident = revive(job.uuid, *state) or (STRANGER if stranger and ours else "")
    if ours or not running:
        for path in (*job.scratch, *([] if running else [job.socket])):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    return {"was": "ended" if ours else "foreign" if running else "gone", "incident": incident}


def part_with_clients(socket: str, uuid: str, patience_s: float = CLIENT_S) -> bool:
    """
    Return once nobody is connected; a sender of ours that stays is killed, nobody else.

    A stranger who stays is not waited for for ever, since the job gathers what the guest writes
    meanwhile; returns whether one did.
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
    """End the job and return the domain's state once it is gone."""
    running, state = abort_job(job.uuid)
    until = time.monotonic() + ENDING_S
    pause_s = 0.02
    while running and socket_of(job_of(job.uuid)) == job.socket:
        if time.monotonic() > until:
            raise VirshError("libvirt has been told to end the copy and has not for %d s"
                             % ENDING_S)
        time.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)
    return state_of(job.uuid) if running else state


def revive(uuid: str, state: str, reason: str) -> str:
    """Let a guest go on that was stopped by a failed write, and tell of it."""
    if (state, reason) != ("paused", "I/O error"):
        return ""
    virsh("resume", uuid)
    return "the guest was stopped by a failed write while it was copied, and was resumed"


def end_stubbornly(job: Job, limit_s: float, patience_s: float = CLIENT_S) -> Dict[str, Any]:
    """End the job however long libvirt is away; the VM's own end ends it, too."""
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
