"""Access to libvirt on this host: virsh commands, and the little that is read from their XML."""

from __future__ import annotations

import contextlib
import os
import subprocess
import xml.etree.ElementTree as ET
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from mover.backup.parts import ENCRYPTED, uncopied
from mover.backup.scratch import written_bytes
from mover.image.header import traits_of, virtual_size

PATIENCE_S = 60
OFF = ("shut off", "crashed")   # a guest that crashed may have kept its process all the same
DISKS = ("disk", "lun")
PLACES = ("file", "dev", "volume")
NO_FORMAT = ("the layer above %s does not say of what format that is, and a guest may have written"
             " what it looks like: say it with `qemu-img rebase -u -F`")
NO_BYTES = "nothing is behind %s now: it is not there, cannot be read, or has no bytes"
NO_JOB = "no domain backup job present"
GONE = ("failed to get domain", "Domain not found", "domain is not running")

_left: "List[subprocess.Popen[str]]" = []


class VirshError(Exception):
    """What virsh complained of; `said`: all of that, as it wrote it."""

    said = ""


class Unanswered(VirshError):
    """A virsh that was not done in time: libvirt may still do what it was asked for."""


class Disk(NamedTuple):
    """A disk by the domain's XML and, after `_inspected`, by the header of its file."""

    source: str
    format: str
    kind: str           # file, block, …
    pool: str = ""      # of a volume; `source` is its name until it is inspected
    why_not: str = ""   # why it cannot be copied; empty: it can
    version: int = 3    # of a qcow2

    @property
    def trackable(self) -> bool:
        """Return whether its file can hold a bitmap of what changes."""
        return self.format == "qcow2" and self.version >= 3


class Domain(NamedTuple):
    """The parts of a domain's XML that a copy needs; `id` is empty while it is off."""

    uuid: str
    name: str
    id: str
    disks: Dict[str, Disk]
    nvram: str      # its path, or its name where it is no file; empty: there is none
    agent: bool     # a guest agent's channel is connected


def virsh(*words: str, files: Tuple[str, ...] = (), patience_s: float = PATIENCE_S,
          leave: bool = False) -> str:
    """Return what virsh prints; `files` are texts passed after `words` as paths to memory files.

    A virsh that is not done in time is killed, or with `leave` left running. libvirt goes on with
    the request in both cases, but a virsh that is left shows that it does: see `is_at_work`.
    """
    with contextlib.ExitStack() as stack:
        fds = tuple(stack.enter_context(_memory_file(text)) for text in files)
        argv = ["virsh", "-q", "-c", "qemu:///system", *words,
                *("/proc/self/fd/%d" % fd for fd in fds)]
        done = _run(argv, patience_s, fds, leave)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        failed = VirshError("; ".join(line.replace("error: ", "", 1) for line in lines)
                            or "virsh gave no reason")
        failed.said = done.stderr
        raise failed
    return done.stdout


def answers(*questions: str, files: Tuple[str, ...] = ()) -> Tuple[List[str], str]:
    """Return the output of several commands run by one virsh, and all error messages as one text.

    A command that fails prints nothing; names in the commands are plain words. `files` are texts;
    `{N}` in a command is the path of the one with that number.
    """
    mark = "@@%s@@" % os.urandom(8).hex()       # random: libvirt's output cannot contain it
    script = "; ".join("%s; echo %s" % (question, mark) for question in questions)
    with contextlib.ExitStack() as stack:
        fds = tuple(stack.enter_context(_memory_file(text)) for text in files)
        for number, fd in enumerate(fds):
            script = script.replace("{%d}" % number, "/proc/self/fd/%d" % fd)
        done = _run(["virsh", "-q", "-c", "qemu:///system", script], PATIENCE_S, fds)
    outputs = [piece.lstrip("\n") for piece in done.stdout.split(mark)[:-1]]
    errors = "; ".join(line for line in done.stderr.splitlines() if line.strip())
    if len(outputs) != len(questions):
        raise VirshError(errors or "virsh ended in the middle of its answers")
    return outputs, errors.replace("error: ", "")


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
        output, errors = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        raise Unanswered("libvirt did not answer within %g s" % patience_s) from None
    finally:
        if process.returncode is None and not leave:
            process.kill()
            process.communicate()
    return subprocess.CompletedProcess(argv, process.returncode, output, errors)


@contextlib.contextmanager
def _memory_file(text: str) -> Iterator[int]:
    fd = os.memfd_create("hotsite-xml")
    try:
        os.write(fd, text.encode())
        yield fd
    finally:
        os.close(fd)


class DomainStatus(NamedTuple):
    """A domain at one moment, by one call of virsh."""

    state: str
    domain: Domain
    definition: str                 # the inactive XML, with its secrets
    idle: bool                      # no job of libvirt runs on it
    checkpoints: List[str]
    tracked: "set[str]"             # the disks that the checkpoint `since` tracks
    reason: str = ""                # for the state, by libvirt's word
    written: Optional[int] = None   # bytes, by the guest since its start; None: not known


def inspect(uuid: str, since: str = "") -> DomainStatus:
    """Return a domain as it is now, and the disks that the checkpoint `since` tracks."""
    questions = ["domstate --reason " + uuid, "dumpxml " + uuid,
                 "dumpxml --security-info --inactive " + uuid, "domjobinfo " + uuid,
                 "checkpoint-list --name " + uuid]
    if since:
        questions.append("checkpoint-dumpxml --no-domain %s %s" % (uuid, since))
    questions.append("domstats %s --block" % uuid)
    outputs, errors = answers(*questions)
    state, live, definition, info, names = outputs[:5]
    if not (state and live and definition):
        raise VirshError(errors or "virsh reported nothing of domain %s" % uuid)
    checkpoint = outputs[5] if since else ""
    domain = domain_of(uuid, live)
    if domain.id and not info:      # domjobinfo fails for a domain that is off
        raise VirshError(errors or "virsh reported nothing of jobs of domain %s" % uuid)
    domain = domain._replace(disks={target: _inspected(disk, running=bool(domain.id))
                                    for target, disk in domain.disks.items()})
    tracked = {disk.get("name", "") for disk in ET.fromstring(checkpoint).iterfind("disks/disk")
               if disk.get("checkpoint") == "bitmap"} if checkpoint else set()
    return DomainStatus(_state(state)[0], domain, definition, not _operation(info), names.split(),
                        tracked, _state(state)[1], written_bytes(outputs[-1]))


def _state(output: str) -> Tuple[str, str]:
    state, _, reason = output.strip().partition(" (")
    return state, reason.rstrip(")")


def state_of(uuid: str) -> Tuple[str, str]:
    """Return a domain's state and the reason for it."""
    return _state(virsh("domstate", "--reason", uuid))


def has_process(uuid: str) -> bool:
    """Return whether a domain has a QEMU: it runs, is paused, or crashed and was preserved."""
    return is_number(virsh("domid", uuid))


def is_number(domid: str) -> bool:
    """Return whether the output of `domid` is a number; VirshError where it is empty."""
    if not domid.strip():
        raise VirshError("libvirt does not say whether the domain has a process")
    return domid.strip() != "-"


def _operation(info: str) -> str:
    """Return the kind of a running job by libvirt's word; empty while the domain is idle."""
    rows = [line.split(":", 1) for line in info.splitlines() if ":" in line]
    fields = {name.strip(): value.strip() for name, value in rows}
    if fields.get("Job type", "None") == "None":
        return ""
    return fields.get("Operation") or "a job"


def job_of(uuid: str) -> str:
    """Return the XML of the backup job that runs; of another job its kind; empty: none.

    VirshError where that is not known: a job that is only just beginning has no XML yet.
    """
    # in this order: a job that ends between the two is reported as over, not as one without XML
    (job, info), errors = answers("backup-dumpxml " + uuid, "domjobinfo " + uuid)
    if not info:
        if "domain is not running" in errors:
            return ""
        raise VirshError(errors)
    operation = _operation(info)
    if operation != "Backup":
        return operation
    if not job.strip():
        raise VirshError("a backup job of it is only just beginning" if NO_JOB in errors
                         else errors)
    return job.strip()


def abort_job(uuid: str) -> Tuple[str, Tuple[str, str]]:
    """Abort a job; return the kind of job that still runs, if any, and the domain's state."""
    (_, info, state), errors = answers(
        "domjobabort " + uuid, "domjobinfo " + uuid, "domstate --reason " + uuid)
    if not info or not state:
        raise VirshError(errors)
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


def _inspected(disk: Disk, *, running: bool = False) -> Disk:
    """Return a disk with its header read, and a volume resolved to its path.

    libvirt told a running QEMU the format of each layer; at rest only the headers say it.
    """
    if disk.kind == "volume" and not disk.why_not:
        try:
            path = virsh("vol-path", "--pool", disk.pool, "--", disk.source).strip()
        except VirshError as error:
            return disk._replace(why_not="libvirt does not say where volume %s lies: %s" % (
                disk.source, error))
        disk = disk._replace(source=path, kind="block" if path.startswith("/dev/") else "file")
    if disk.format == "raw" and not (running or disk.why_not or virtual_size(disk.source, "raw")):
        return disk._replace(why_not=NO_BYTES % disk.source)
    if disk.format != "qcow2" or disk.why_not:
        return disk
    traits = traits_of(disk.source)
    no_format = NO_FORMAT % traits["unsaid"] if "unsaid" in traits and not running else ""
    return disk._replace(version=traits.get("version", disk.version),
                         why_not=ENCRYPTED if "encrypted" in traits else no_format)


def _nvram_of(nvram: Optional[ET.Element]) -> str:
    if nvram is None:
        return ""
    source = nvram.find("source")
    if source is None:
        return (nvram.text or "").strip()
    return source.get("file") or source.get("dev") or source.get("name") or "its NVRAM"
