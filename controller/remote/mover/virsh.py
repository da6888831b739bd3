"""The door to libvirt on this host: virsh, what it says, and the little that is read from XML."""

from __future__ import annotations

import contextlib
import os
import subprocess
import xml.etree.ElementTree as ET
from typing import Dict, Iterator, List, NamedTuple, Tuple

from mover.errors import TryAgain

PATIENCE_S = 60
OFF = ("shut off", "crashed")


class VirshError(Exception):
    """What virsh complained of."""


class Disk(NamedTuple):
    """A disk as the domain's XML says."""

    source: str
    format: str
    kind: str       # file or block


class Domain(NamedTuple):
    """What must be known of a domain; `id` is empty while it is off."""

    uuid: str
    name: str
    id: str
    disks: Dict[str, Disk]
    nvram: str
    agent: bool     # a guest agent's channel is connected


def virsh(*words: str, files: Tuple[str, ...] = (), patience_s: float = PATIENCE_S) -> str:
    """Return what virsh prints; `files` are texts that follow `words` as paths, kept in memory."""
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(_kept(text)) for text in files]
        argv = ["virsh", "-q", "-c", "qemu:///system", *words,
                *("/proc/self/fd/%d" % fd for fd in fds)]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=patience_s,
                stdin=subprocess.DEVNULL, pass_fds=fds, env={**os.environ, "LC_ALL": "C"})
        except subprocess.TimeoutExpired:
            raise VirshError("libvirt did not answer within %g s" % patience_s) from None
        except OSError as error:
            raise VirshError("virsh cannot be run: %s" % error.strerror) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise VirshError("; ".join(line.replace("error: ", "", 1) for line in lines)
                         or "virsh gave no reason")
    return done.stdout


@contextlib.contextmanager
def _kept(text: str) -> Iterator[int]:
    fd = os.memfd_create("hotsite-xml")
    try:
        os.write(fd, text.encode())
        yield fd
    finally:
        os.close(fd)


def state_of(uuid: str) -> Tuple[str, str]:
    """Return a domain's state and the reason for it."""
    said = virsh("domstate", "--reason", uuid).strip()
    state, _, reason = said.partition(" (")
    return state, reason.rstrip(")")


def job_of(uuid: str) -> str:
    """Return the XML of the backup job that runs, another job's kind, or nothing."""
    info = virsh("domjobinfo", uuid)
    rows = [line.split(":", 1) for line in info.splitlines() if ":" in line]
    told = {name.strip(): value.strip() for name, value in rows}
    if told.get("Job type", "None") == "None":
        return ""
    if told.get("Operation") != "Backup":
        return told.get("Operation") or "a job"
    try:
        return virsh("backup-dumpxml", uuid)
    except VirshError as error:
        if "no domain backup job present" in str(error):
            return ""
        raise


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
        if element.get("device", "disk") == "disk" and source is not None and target is not None:
            path = source.get("file") or source.get("dev") or ""
            form = driver.get("type", "raw") if driver is not None else "raw"
            disks[target.get("dev", "")] = Disk(path, form, element.get("type", ""))
    nvram = root.find("os/nvram")
    channels = root.iterfind("devices/channel/target[@name='org.qemu.guest_agent.0']")
    return Domain(uuid, root.findtext("name") or "", root.get("id", ""), disks,
                  (nvram.text or "") if nvram is not None else "",
                  any(channel.get("state") == "connected" for channel in channels))


def read_domain(uuid: str) -> Domain:
    """Return a domain as it runs, or as it is defined while it is off."""
    try:
        return domain_of(uuid, virsh("dumpxml", uuid))
    except VirshError as error:
        raise TryAgain("domain %s could not be read: %s" % (uuid, error)) from None


def checkpoints_of(uuid: str) -> List[str]:
    """Return the names of a domain's checkpoints."""
    return virsh("checkpoint-list", uuid, "--name").split()
