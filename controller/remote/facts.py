"""Answer questions about this machine: one JSON line in, one JSON line out, until input ends.

Question: {"want": [section, …], "known": {section: digest}}. Answer: see `answer`. It only reads,
needs Python >= 3.9 and nothing but the standard library, and runs virsh and ovs-vsctl.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from typing import Any, Callable

from capabilities import Capabilities
from domains import looks_at
from interfaces import IP, interfaces_of
from leftovers import leftovers_of
from looks import Looks
from pools import kind_of, path_of, pool_of
from programs import LIMIT_S, VIRSH, Said, Silent, complaints, output_of, run_all
from reading import STILL_S, Libvirt, parse_versions
from replicas import Replicas

VSCTL = ("ovs-vsctl", "--timeout=4", "--format=json")
TABLES = {
    "Bridge": "_uuid,name,ports,rstp_enable,stp_enable,mirrors",
    "Port": "_uuid,name,interfaces,tag,trunks,vlan_mode,rstp_status,other_config",
    "Interface": "_uuid,name,type,link_state,external_ids",
}
MIRRORS = (*VSCTL, "--columns=_uuid,output_port,output_vlan", "list", "Mirror")
STAMP = re.compile(r"^(ovs-vsctl: |[^|]*Z\|[0-9]+\|[^|]*\|[A-Z]+\|)")
TRACES = ("/etc/libvirt/qemu", "/run/libvirt/qemu")  # a host that has one may well run domains
BY_LIBVIRT = {"domains", "pools", "replicas", "leftovers"}  # what cannot be known without it


def vsctl_argv() -> tuple:
    """Return one command that lists all the tables."""
    argv = list(VSCTL)
    for table, columns in TABLES.items():
        argv += ["--", f"--columns={columns}", "list", table]
    return tuple(argv)


def bridges_of(said: Said) -> str:
    """Return the tables by name, as text."""
    tables = output_of(said, "Open vSwitch").strip().split("\n")
    if len(tables) != len(TABLES):
        raise Silent("Open vSwitch's answer is not whole")
    named = dict(zip(TABLES, tables))
    if has_mirrors(json.loads(named["Bridge"])):
        named["Mirror"] = output_of(run_all({"": MIRRORS})[""], "Open vSwitch").strip()
    return "{" + ", ".join(f'"{name}": {rows}' for name, rows in named.items()) + "}"


def has_mirrors(bridges: dict) -> bool:
    """Say whether any bridge has a mirror; few have, and only they are asked about them."""
    at = {name: place for place, name in enumerate(bridges["headings"])}.get("mirrors")
    return at is not None and any(row[at] != ["set", []] for row in bridges["data"])


def warnings_of(said: Said) -> dict:
    """Return what Open vSwitch warned of, without the time, which would be new each time."""
    lines = [STAMP.sub("", line) for line in complaints(said)]
    return {"bridges": "; ".join(dict.fromkeys(lines))[:300]} if lines else {}


class Host:
    """Looks at this machine; what it remembers makes the next look cheap."""

    def __init__(self) -> None:
        self.libvirt, self.replicas, self.looks = Libvirt(), Replicas(), Looks()
        self.capabilities = Capabilities()
        self.warnings = {}          # what a program said beside a good answer, by section

    def gather(self, want: set) -> "tuple[dict, dict]":
        """Return the sections (text, or Silent, or None where the program is not installed)."""
        mine = sorted(want & BY_LIBVIRT)
        sections, versions, programs = dict.fromkeys(sorted(want)), {}, {}
        libvirt = bool(mine) and shutil.which(VIRSH[0]) is not None
        if libvirt:
            programs |= self.libvirt.programs()
        elif mine and any(map(os.path.isdir, TRACES)):
            gone = Silent("libvirt was here and virsh is gone: put it back")
            sections |= dict.fromkeys(mine, gone)
        if "bridges" in want and shutil.which(VSCTL[0]):
            programs |= {"bridges": vsctl_argv(), "version": (VSCTL[0], "--version")}
        if "interfaces" in want:
            programs["interfaces"] = IP
        said = run_all(programs, LIMIT_S, STILL_S, self.libvirt.single() if libvirt else ())
        if "bridges" in programs:
            versions |= parse_versions(said["version"].out.decode(errors="replace"))
            sections["bridges"] = spoken(lambda: bridges_of(said["bridges"]))
            self.warnings = warnings_of(said["bridges"])
        if "interfaces" in want:
            sections["interfaces"] = spoken(lambda: interfaces_of(said["interfaces"]))
        if "capabilities" in want and shutil.which(VIRSH[0]) is not None:
            sections["capabilities"] = self.capabilities.text()
        if libvirt:
            reading = spoken(lambda: self.libvirt.reading(said))
            if isinstance(reading, Silent):
                return sections | dict.fromkeys(mine, reading), versions
            versions |= reading["versions"]
            sections |= {name: rows if isinstance(rows, Silent) else json.dumps(rows)
                         for name, rows in self.told(reading, mine).items()}
        return sections, versions

    def told(self, reading: dict, mine: list) -> dict:
        """Return the rows of each section, or the Silent instead, from a reading of libvirt."""
        domains, pools = reading["domains"], reading["pools"]
        looks = looks_at({disk for row in domains if "told" in row
                          for disk in row["told"].paths().items()})
        if not isinstance(pools, Silent):
            looks |= {("pool", row["name"], path_of(row["told"])): lambda row=row: pool_of(
                row["name"], row["told"], row["active"]) for row in pools if "told" in row}
        seen = self.looks.at(looks)
        files = {disk: what for (kind, *_), found in seen.items()
                 if kind == "disks" and not isinstance(found, Silent)
                 for disk, what in found.items()}
        domains = [told_of(row, files) for row in domains]
        if isinstance(pools, Silent):
            return {name: domains if name == "domains" else pools for name in mine}
        pools = [row if xml is None else pool_row(row, xml, seen) for row, xml in (
            (row, row.pop("told", None)) for row in pools)]
        rows = {"domains": lambda: domains, "pools": lambda: pools,
                "replicas": lambda: self.replicas.rows(pools, self.looks),
                "leftovers": lambda: leftovers_of(domains, pools, self.looks)}
        # a pool says itself that its replicas could not be seen: those are looked at before
        return {name: spoken(rows[name]) for name in sorted(mine, reverse=True)}


def told_of(row: dict, files: dict) -> dict:
    """Return a domain with what libvirt told of it, or as it is listed."""
    told = row.pop("told", None)
    if told is None:
        return row
    del row["active"]
    return {**row, **told.row(row["persistent"], files)}


def pool_row(row: dict, xml: str, seen: dict) -> dict:
    """Return a pool as it was looked at, or with why that could not be done."""
    path = path_of(xml)
    found = seen["pool", row["name"], path]
    if isinstance(found, Silent):
        return {**row, "path": path, "type": kind_of(xml), "unknown": str(found)}
    return found


def spoken(look: "Callable[[], Any]") -> Any:
    """Return what a look gives, or the Silent that it ends with."""
    try:
        return look()
    except Silent as silence:
        return silence


def read_first(*paths: str) -> str:
    """Return the first of the files that can be read."""
    for path in paths:
        try:
            with open(path, encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            continue
    raise Silent(f"{paths[-1]} cannot be read")


def hardware() -> dict:
    """Return processors, memory and load; a lab's host says itself how much memory it has."""
    memory = dict(re.findall(r"^(\w+):\s+([0-9]+) kB$", read_first("/proc/meminfo"), re.MULTILINE))
    total, available = (int(memory[key]) << 10 for key in ("MemTotal", "MemAvailable"))
    if os.path.exists("/run/hotsite/memory_bytes"):
        total = int(read_first("/run/hotsite/memory_bytes"))
    return {"cpus": os.cpu_count() or 1, "memory_bytes": total,
            "memory_available_bytes": min(total, available),
            "load_1m": os.getloadavg()[0], "architecture": os.uname().machine, **huge_pages()}


def huge_pages(folder: str = "/sys/kernel/mm/hugepages") -> dict:
    """Return what is set aside as huge pages of every size, and what of it nobody was promised."""
    total = free = 0
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        size = int(re.sub("[^0-9]", "", name) or 0) << 10
        pages = {key: int(read_first(f"{folder}/{name}/{key}_hugepages"))
                 for key in ("nr", "free", "resv")}
        total += pages["nr"] * size
        free += max(0, pages["free"] - pages["resv"]) * size
    return {"huge_bytes": total, "huge_free_bytes": free}


def section(text: "str | Silent | None", known: "str | None") -> dict:
    """Return one section of the answer; a text that the asker has already is not sent again."""
    if text is None:
        return {"absent": True}
    if isinstance(text, Silent):
        return {"error": str(text)}
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return {"digest": digest, "same": True} if digest == known else {"digest": digest, "text": text}


def answer(host: Host, question: dict) -> dict:
    """Return the answer to one question.

    {"began", "now", "boot_id", "hardware": {…}, "versions": {…}, "warnings": {name: sentence},
    "sections": {name:
    {"digest", "text"} | {"digest", "same": true} | {"error": sentence} | {"absent": true}}}
    """
    began = time.time()
    sections, versions = host.gather(set(question["want"]))
    known = question.get("known", {})
    return {
        "began": began,
        "boot_id": read_first("/run/hotsite/boot_id", "/proc/sys/kernel/random/boot_id"),
        "hardware": hardware(),
        "versions": versions,
        "warnings": host.warnings,
        "sections": {name: section(text, known.get(name)) for name, text in sections.items()},
        "now": time.time(),
    }


def main() -> None:
    """Answer every question."""
    host = Host()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(host, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
