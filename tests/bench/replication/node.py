"""One host of the lab: run programs in it, and count what they cost."""

import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.lab import STATE

PLACES = {"/var/lib/libvirt/images": "disk/images", "/var/lib/hotsite": "disk/hotsite",
          "/var/lib/libvirt": "libvirt", "/tmp": "tmp", "/root": "root"}
"""Folders of a host and where this machine sees them."""


class Took(NamedTuple):
    """What a program said, and what it took."""

    output: str
    wall_s: float
    cpu_s: float


class Node:
    """A host, entered past its sshd."""

    def __init__(self, name: str, address: str) -> None:
        """Find the host that is on."""
        self.name = name
        self.address = address
        self.first = first_process(name)
        self.prefix = ("nsenter", "-t", str(self.first), "-m", "-u", "-n", "-p", "--wd=/", "--")
        self._namespace = link_of(f"/proc/{self.first}/ns/pid")

    def run(self, *argv: str | Path, text: str = "") -> str:
        """Run a program that must succeed, and return what it printed."""
        return self.timed(*argv, text=text).output

    def timed(self, *argv: str | Path, text: str = "", held: bool = False) -> Took:
        """Run a program that must succeed, and say what it took, its children included."""
        began, before = time.perf_counter(), children_s()
        process = subprocess.Popen([*self.prefix, *map(str, argv)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        process.stdin.flush()
        if not held:
            process.stdin.close()
        said = process.stdout.read()
        process.wait()
        took = Took(said, time.perf_counter() - began, children_s() - before)
        process.stdin.close()
        assert process.returncode == 0, f"{self.name}: {argv}: {said[-2000:]}"
        return took

    def start(self, *argv: str | Path) -> subprocess.Popen[str]:
        """Start a program in the host's file systems and network, and leave it running."""
        words = ["nsenter", "-t", str(self.first), "-m", "-u", "-n", "--wd=/", "--"]
        return subprocess.Popen([*words, *map(str, argv)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)

    def virsh(self, *words: str) -> str:
        """Run virsh."""
        return self.run("virsh", "-q", "-c", "qemu:///system", *words)

    def qmp(self, domain: str, command: str, **arguments: Any) -> Any:
        """Ask a domain's QEMU."""
        asked = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(self.virsh("qemu-monitor-command", domain, asked))
        assert "return" in answer, f"{command}: {answer}"
        return answer["return"]

    def path(self, place: str) -> Path:
        """Return where this machine sees a file of the host's."""
        for folder, inside in PLACES.items():
            if place.startswith(f"{folder}/"):
                return STATE / "nodes" / self.name / inside / place[len(folder) + 1:]
        raise AssertionError(f"{place} is in none of {list(PLACES)}")

    def remove(self, *places: str) -> None:
        """Delete files and folders, and give their room back to this machine's own disk."""
        self.run("rm", "-rf", *places)
        self.run("fstrim", "/var/lib/libvirt/images")

    def cpu_s(self) -> float:
        """Return the processor seconds of all that runs or ran in the host."""
        return sum(seconds_of(pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        return [pid for pid in pids() if link_of(f"/proc/{pid}/ns/pid") == self._namespace]

    def sent_bytes(self) -> int:
        """Return what has left the host by its replication network, headers included."""
        told = json.loads(self.run("ip", "-s", "-j", "link", "show", "dev", "rep0"))
        return int(told[0]["stats64"]["tx"]["bytes"])


def first_process(node: str) -> int:
    """Return the process that is number 1 in a node of this lab."""
    marks = {f"HOTSITE_LAB_NODE={node}", f"HOTSITE_LAB_MARK={STATE}"}
    for pid in pids():
        try:
            marked = marks <= set(Path(f"/proc/{pid}/environ").read_text().split("\0"))
            status = Path(f"/proc/{pid}/status").read_text() if marked else ""
        except OSError:
            continue
        found = next((ln for ln in status.splitlines() if ln.startswith("NSpid:")), "").split()
        if len(found) > 2 and found[-1] == "1":
            return pid
    raise AssertionError(f"{node} is off")


def pids() -> list[int]:
    """Return every process that is seen from here."""
    return [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]


def link_of(path: str) -> str:
    """Return where a link leads, nothing when it has gone."""
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def seconds_of(pid: int) -> float:
    """Return the processor seconds of a process and of those it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def children_s() -> float:
    """Return the processor seconds of all programs that were run and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
