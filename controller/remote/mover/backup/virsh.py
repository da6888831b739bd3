"""The door to libvirt on this host: virsh, what it says, and the little that is read from XML."""

from __future__ import annotations

import contextlib
import os
import subprocess
import xml.etree.ElementTree as ET
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from mover.backup.parts import ENCRYPTED, uncopied
from mover.backup.scratch import written_bytes
from mover.image.header import traits_of

PATIENCE_S = 60
OFF = ("shut off", "crashed")   # a guest that crashed may have kept its process all the same
DISKS = ("disk", "lun")
PLACES = ("file", "dev", "volume")
UNSAID = ("the layer above %s does not say of what format that is, and a guest may have written"
          " what it looks like: say it with `qemu-img rebase -u -F`")
NO_JOB = "no domain backup job present"
GONE = ("failed to get domain", "Domain not found", "domain is not running")

_left: "List[subprocess.Popen[str]]" = []


class VirshError(Exception):
    """What virsh complained of."""


class Unanswered(VirshError):
    """A virsh that was not done in time: libvirt may do yet what it was asked for."""


class Disk(NamedTuple):
    """A disk as the domain's XML says, and, where it was looked at, the header of its file."""

    source: str
    format: str
    kind: str           # file, block, …
    pool: str = ""      # of a volume: `source` is its name until it was looked at
    why_not: str = ""   # it cannot be copied
    version: int = 3    # of a qcow2

    @property
    def tracked(self) -> bool:
        """Return whether it can keep a bitmap of what changes."""
        return self.format == "qcow2" and self.version >= 3


class Domain(NamedTuple):
    """What must be known of a domain; `id` is empty while it is off."""

    uuid: str
    name: str
    id: str
    disks: Dict[str, Disk]
    nvram: str      # its path, or its name where it is no file; empty: there is none
    agent: bool     # a guest agent's channel is connected


def virsh(*words: str, files: Tuple[str, ...] = (), patience_s: float = PATIENCE_S,
          leave: bool = False) -> str:
    """Return what virsh prints; `files` are texts that follow `words` as paths, kept in memory.

    One that is not done in time is killed, or left at work; libvirt does not heed the difference,
    but while it is left, everybody sees what may yet be done: see `is_at_work`.
    """
    with contextlib.ExitStack() as stack:
        fds = tuple(stack.enter_context(_kept(text)) for text in files)
        argv = ["virsh", "-q", "-c", "qemu:///system", *words,
                *("/proc/self/fd/%d" % fd for fd in fds)]
        done = _run(argv, patience_s, fds, leave)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise VirshError("; ".join(line.replace("error: ", "", 1) for line in lines)
                         or "virsh gave no reason")
    return done.stdout


def answers(*questions: str) -> Tuple[List[str], str]:
    """Return what virsh prints to each of some commands, by one process, and all its complaints.

    A command that fails prints nothing; names in the commands are plain words.
    """
    mark = "@@%s@@" % os.urandom(8).hex()       # cannot occur in anything that libvirt says
    asked = "; ".join("%s; echo %s" % (question, mark) for question in questions)
    done = _run(["virsh", "-q", "-c", "qemu:///system", asked], PATIENCE_S)
    told = [piece.lstrip("\n") for piece in done.stdout.split(mark)[:-1]]
    complaint = "; ".join(line for line in done.stderr.splitlines() if line.strip())
    if len(told) != len(questions):
        raise VirshError(complaint or "virsh ended in the middle of its answers")
    return told, complaint.replace("error: ", "")


def _run(argv: List[str], patience_s: float, fds: Tuple[int, ...] = (), leave: bool = False
         ) -> "subprocess.CompletedProcess[str]":
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace", pass_fds=fds,
            env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise VirshError("virsh cannot be run: %s" % error.strerror) from None
    if leave:
        _left.append(process)
    try:
        printed, complaint = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        raise Unanswered("libvirt did not answer within %g s" % patience_s) from None
    finally:
        if process.returncode is None and not leave:
            process.kill()
            process.communicate()
    return subprocess.CompletedProcess(argv, process.returncode, printed, complaint)


@contextlib.contextmanager
def _kept(text: str) -> Iterator[int]:
    fd = os.memfd_create("hotsite-xml")
    try:
        os.write(fd, text.encode())
        yield fd
    finally:
        os.close(fd)


class Seen(NamedTuple):
    """What one look at a domain shows."""

    state: str
    domain: Domain
    definition: str                 # the inactive XML, with its secrets
    idle: bool
    checkpoints: List[str]
    tracked: "set[str]"             # the disks that the checkpoint asked about tracks
    reason: str = ""                # for the state, by libvirt's word
    written: Optional[int] = None   # bytes, by the guest since it began; None: not known


def look(uuid: str, since: str = "") -> Seen:
    """Return a domain as it is now, and what the checkpoint `since` tracks."""
    questions = ["domstate --reason " + uuid, "dumpxml " + uuid,
                 "dumpxml --security-info --inactive " + uuid, "domjobinfo " + uuid,
                 "checkpoint-list --name " + uuid]
    if since:
        questions.append("checkpoint-dumpxml --no-domain %s %s" % (uuid, since))
    questions.append("domstats %s --block" % uuid)
    told, complaint = answers(*questions)
    state, live, definition, info, names = told[:5]
    if not (state and live and definition):
        raise VirshError(complaint or "nothing was said of domain %s" % uuid)
    tracked = told[5] if since else ""
    domain = domain_of(uuid, live)
    if domain.id and not info:      # libvirt does not tell of jobs of a domain that is off
        raise VirshError(complaint or "nothing was said of jobs of domain %s" % uuid)
    domain = domain._replace(disks={target: _looked_at(disk, running=bool(domain.id))
                                    for target, disk in domain.disks.items()})
    return Seen(_state(state)[0], domain, definition, not _operation(info),
                names.split(), _tracked(tracked) if tracked else set(), _state(state)[1],
                written_bytes(told[-1]))


def _tracked(text: str) -> "set[str]":
    return {disk.get("name", "") for disk in ET.fromstring(text).iterfind("disks/disk")
            if disk.get("checkpoint") == "bitmap"}


def _state(said: str) -> Tuple[str, str]:
    state, _, reason = said.strip().partition(" (")
    return state, reason.rstrip(")")


def state_of(uuid: str) -> Tuple[str, str]:
    """Return a domain's state and the reason for it."""
    return _state(virsh("domstate", "--reason", uuid))


def has_process(uuid: str) -> bool:
    """Return whether QEMU is there for a domain: it runs, is paused, or crashed and was kept."""
    return is_number(virsh("domid", uuid))


def is_number(said: str) -> bool:
    """Return whether `domid` tells of a process; VirshError where it tells nothing."""
    if not said.strip():
        raise VirshError("libvirt does not say whether the domain has a process")
    return said.strip() != "-"


def _operation(info: str) -> str:
    """Return the kind of a running job by libvirt's word, nothing while it is idle."""
    rows = [line.split(":", 1) for line in info.splitlines() if ":" in line]
    told = {name.strip(): value.strip() for name, value in rows}
    if told.get("Job type", "None") == "None":
        return ""
    return told.get("Operation") or "a job"


def job_of(uuid: str) -> str:
    """Return the XML of the backup job that runs, another job's kind, or nothing.

    VirshError where that is not known: a job that is only just beginning has no XML yet.
    """
    # in this order: what ends in between is over by the second answer, not without XML
    (job, info), complaint = answers("backup-dumpxml " + uuid, "domjobinfo " + uuid)
    if not info:
        if "domain is not running" in complaint:
            return ""
        raise VirshError(complaint)
    operation = _operation(info)
    if operation != "Backup":
        return operation
    if not job.strip():
        raise VirshError("a backup job of it is only just beginning" if NO_JOB in complaint
                         else complaint)
    return job.strip()


def abort_job(uuid: str) -> Tuple[str, Tuple[str, str]]:
    """Tell libvirt to end a job; return the job that still runs, if any, and the domain's state."""
    (_, info, state), complaint = answers(
        "domjobabort " + uuid, "domjobinfo " + uuid, "domstate --reason " + uuid)
    if not info or not state:
        raise VirshError(complaint)
    return _operation(info), _state(state)


def socket_of(job: str) -> str:
    """Return the socket of a backup job, by its XML."""
    if not job.startswith("<"):
        return ""
    server = ET.fromstring(job).find("server")
    return server.get("socket", "") if server is not None else ""


def scratch_of(job: str) -> List[str]:
    """Return the scratch files of a backup job, by its XML."""
    if not job.startswith("<"):
        return []
    return [scratch.get("file", "") for scratch in ET.fromstring(job).iterfind(
        "disks/disk/scratch")]


def domain_of(uuid: str, text: str) -> Domain:
    """Return what a domain's XML says."""
    root = ET.fromstring(text)
    disks = {}
    for element in root.iterfind("devices/disk"):
        source, target, driver = (element.find(name) for name in ("source", "target", "driver"))
        if element.get("device", "disk") in DISKS and source is not None and target is not None:
            path = next((source.get(key, "") for key in PLACES if source.get(key)), "")
            form = driver.get("type", "raw") if driver is not None else "raw"
            disks[target.get("dev", "")] = Disk(path, form, element.get("type", ""),
                                                source.get("pool", ""), uncopied(element, form))
    channels = root.iterfind("devices/channel/target[@name='org.qemu.guest_agent.0']")
    return Domain(uuid, root.findtext("name") or "", root.get("id", ""), disks,
                  _nvram_of(root.find("os/nvram")),
                  any(channel.get("state") == "connected" for channel in channels))


def _looked_at(disk: Disk, *, running: bool = False) -> Disk:
    """Return a disk with what its file says of itself, and a volume as the file that it is.

    What runs was told by libvirt of what format each layer is; at rest the headers alone tell.
    """
    if disk.kind == "volume" and not disk.why_not:
        try:
            path = virsh("vol-path", "--pool", disk.pool, "--", disk.source).strip()
        except VirshError as error:
            return disk._replace(why_not="libvirt does not say where volume %s lies: %s" % (
                disk.source, error))
        disk = disk._replace(source=path, kind="block" if path.startswith("/dev/") else "file")
    if disk.format != "qcow2" or disk.why_not:
        return disk
    traits = traits_of(disk.source)
    unsaid = UNSAID % traits["unsaid"] if "unsaid" in traits and not running else ""
    return disk._replace(version=traits.get("version", disk.version),
                         why_not=ENCRYPTED if "encrypted" in traits else unsaid)


def _nvram_of(nvram: Optional[ET.Element]) -> str:
    if nvram is None:
        return ""
    source = nvram.find("source")
    if source is None:
        return (nvram.text or "").strip()
    return source.get("file") or source.get("dev") or source.get("name") or "its NVRAM"
