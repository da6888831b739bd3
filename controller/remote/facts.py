"""Answer questions about this machine: one line of JSON in, one line out, until EOF.

The controller starts this program on each node and asks it again and again. It reads and changes
nothing; it needs Python >= 3.9 and nothing but the standard library.

One question, one answer. `want` names sections, `known` the digests of the texts that the asker
has, `guests` what is to be asked of guests (serving.py), `waking_s` how long a libvirtd that was
idle may take to begin, `patience` how many times longer than usual one may take. Each section is
answered by itself:

    {"digest", "text"}            what is there now
    {"digest", "same": true}      the asker has this text already
    {"error": sentence}           it is not known, and why: a daemon hangs, an answer is cut off
    {"absent": true}              neither its program nor a trace of it is on this machine

An error is never reported as absence. Within a section each domain, pool and replica fails alone:
its row says why in `unknown` or `unreadable`, and the others are as they are.

An answer is made in this order, because each step needs the one before:

    programs   virsh, ovs-vsctl and ip at once (programs.py); virsh again for what is missing
               (libvirt_poll.py)
    files      the disks of the domains and the folders of the pools (probes.py)
    replicas   in the folders of the pools; then leftovers, which need domains and pools

Every step has a limit, so that an answer comes within seconds, whatever hangs. Kept between
questions are only what makes the next answer cheap (what hung, the lists of objects, parsed
state.json files, capabilities); a new process begins without it and answers the same.

The answer has two times, `began` and `now`: the controller derives this clock's offset from them.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from typing import Any, Callable

from domains import probes_of
from drops import bridge_names, drops_of
from guard.errors import GuardError
from guard.shown import grantor_of, guard_of
from guests.capabilities import Capabilities
from guests.serving import Serving
from interfaces import IP, interfaces_of
from leftovers import leftovers_of
from libvirt_poll import STILL_S, LibvirtPoll, parse_versions
from network.gateways import Gateways
from network.links import Links
from pools import kind_of, path_of, pool_of
from probes import Probes
from programs import LIMIT_S, VIRSH, NoAnswer, Output, output_of, run_all, stderr_lines
from records import records
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
OWN = {"records": lambda: json.dumps(records()),  # what we keep on a node, by section
       "guard": lambda: shown(guard_of), "grantor": lambda: shown(grantor_of)}
BY_IP = {"interfaces", "links"}
BY_LIBVIRT = {"domains", "pools", "replicas", "leftovers"}  # sections that need libvirt


def vsctl_argv() -> tuple:
    """Return one command that lists all the tables."""
    argv = list(VSCTL)
    for table, columns in TABLES.items():
        argv += ["--", f"--columns={columns}", "list", table]
    return tuple(argv)


def bridges_of(output: Output) -> str:
    """Return the tables by name, as text."""
    tables = output_of(output, "Open vSwitch").strip().split("\n")
    if len(tables) != len(TABLES):
        raise NoAnswer("Open vSwitch's answer is not whole")
    named = dict(zip(TABLES, tables))
    if has_mirrors(json.loads(named["Bridge"])):    # few hosts have any: others are not asked
        named["Mirror"] = output_of(run_all({"": MIRRORS})[""], "Open vSwitch").strip()
    return "{" + ", ".join(f'"{name}": {rows}' for name, rows in named.items()) + "}"


def switching(output: Output, want: set) -> dict:
    """Return the bridges, and, where that is wanted, what they drop on our order."""
    bridges = or_no_answer(lambda: bridges_of(output))
    if "dropped" not in want:
        return {"bridges": bridges}
    return {"bridges": bridges, "dropped": bridges if isinstance(bridges, NoAnswer)
            else or_no_answer(lambda: drops_of(bridge_names(bridges)))}


def has_mirrors(bridges: dict) -> bool:
    """Return whether any bridge has a mirror."""
    at = {name: place for place, name in enumerate(bridges["headings"])}.get("mirrors")
    return at is not None and any(row[at] != ["set", []] for row in bridges["data"])


def warnings_of(output: Output) -> dict:
    """Return the warnings of Open vSwitch, without their times, which differ in each answer."""
    lines = [STAMP.sub("", line) for line in stderr_lines(output)]
    return {"bridges": "; ".join(dict.fromkeys(lines))[:300]} if lines else {}


class Host:
    """This machine; what it remembers makes the next answer cheap."""

    def __init__(self) -> None:
        self.libvirt, self.replicas, self.probes = LibvirtPoll(), Replicas(), Probes()
        self.capabilities, self.serving, self.links = Capabilities(), Serving(), Links()
        self.gateways = Gateways()
        self.warnings = {}          # by section: what a program wrote beside a good answer

    def gather(self, want: set, guests: list, patience: float = 1.0) -> "tuple[dict, dict]":
        """Return the sections (text, or NoAnswer, or None where the program is not installed)."""
        mine = sorted(want & BY_LIBVIRT)
        sections, versions, programs = dict.fromkeys(sorted(want)), {}, {}
        libvirt = bool(mine) and shutil.which(VIRSH[0]) is not None
        if libvirt:
            programs |= self.libvirt.begin(patience)
        elif mine and any(map(os.path.isdir, TRACES)):
            gone = NoAnswer("libvirt was here and virsh is gone: put it back")
            sections |= dict.fromkeys(mine, gone)
        if "bridges" in want and shutil.which(VSCTL[0]):
            programs |= {"bridges": vsctl_argv(), "version": (VSCTL[0], "--version")}
        programs |= {"interfaces": IP} if want & BY_IP else {}
        programs |= self.links.programs() if "links" in want else {}
        outputs = run_all(programs, LIMIT_S * patience, STILL_S * patience,
                          self.libvirt.single() if libvirt else ())
        if "bridges" in programs:
            versions |= parse_versions(outputs["version"].out.decode(errors="replace"))
            sections |= switching(outputs["bridges"], want)
            self.warnings = warnings_of(outputs["bridges"])
        if "interfaces" in want:
            sections["interfaces"] = or_no_answer(lambda: interfaces_of(outputs["interfaces"]))
        sections |= self.links.section(outputs) if "links" in want else {}
        if "gateways" in want:
            sections["gateways"] = or_no_answer(self.gateways.text)
        sections |= {name: or_no_answer(read) for name, read in OWN.items() if name in want}
        if shutil.which(VIRSH[0]) is not None:
            sections |= self.of_guests(want, guests)
        if libvirt:
            poll = or_no_answer(lambda: self.libvirt.finish(outputs))
            if isinstance(poll, NoAnswer):
                return sections | dict.fromkeys(mine, poll), versions
            versions |= poll["versions"]
            sections |= {name: rows if isinstance(rows, NoAnswer) else json.dumps(rows)
                         for name, rows in self.rows(poll, mine).items()}
        return sections, versions

    def of_guests(self, want: set, guests: list) -> dict:
        """Return what guests this host can run, and whether those that are named serve."""
        reads = {"capabilities": self.capabilities.text,
                 "serving": lambda: or_no_answer(lambda: self.serving.text(guests))}
        return {name: read() for name, read in reads.items() if name in want}

    def rows(self, poll: dict, mine: list) -> dict:
        """Return the rows of each section, or NoAnswer instead, from a poll of libvirt."""
        domains, pools = poll["domains"], poll["pools"]
        probes = probes_of({disk for row in domains if "details" in row
                            for disk in row["details"].paths().items()})
        if not isinstance(pools, NoAnswer):
            probes |= {("pool", row["name"], path_of(row["details"])): lambda row=row: pool_of(
                row["name"], row["details"], row["active"]) for row in pools if "details" in row}
        seen = self.probes.run(probes)
        files = {disk: what for (kind, *_), found in seen.items()
                 if kind == "disks" and not isinstance(found, NoAnswer)
                 for disk, what in found.items()}
        domains = [domain_row(row, files) for row in domains]
        if isinstance(pools, NoAnswer):
            return {name: domains if name == "domains" else pools for name in mine}
        pools = [row if xml is None else pool_row(row, xml, seen) for row, xml in (
            (row, row.pop("details", None)) for row in pools)]
        rows = {"domains": lambda: domains, "pools": lambda: pools,
                "replicas": lambda: self.replicas.rows(pools, self.probes),
                "leftovers": lambda: leftovers_of(domains, pools, self.probes)}
        # replicas before pools: a pool's row says why its replicas could not be seen
        return {name: or_no_answer(rows[name]) for name in sorted(mine, reverse=True)}


def domain_row(row: dict, files: dict) -> dict:
    """Return the row of a domain: with its details, or, where these are unknown, as listed."""
    details = row.pop("details", None)
    if details is None:
        return row
    del row["active"]
    return {**row, **details.row(row["persistent"], files)}


def pool_row(row: dict, xml: str, seen: dict) -> dict:
    """Return the row of a pool as it was probed, or with the reason why that failed."""
    path = path_of(xml)
    found = seen["pool", row["name"], path]
    if isinstance(found, NoAnswer):
        return {**row, "path": path, "type": kind_of(xml), "unknown": str(found)}
    return found


def shown(read: "Callable[[], str]") -> str:
    """Return what the guard or the grantor shows."""
    try:
        return read()
    except GuardError as error:
        raise NoAnswer(str(error)) from None


def or_no_answer(look: "Callable[[], Any]") -> Any:
    """Return what a function returns, or the NoAnswer that it raises."""
    try:
        return look()
    except NoAnswer as reason:
        return reason


def read_first(*paths: str) -> str:
    """Return the text of the first file that can be read."""
    for path in paths:
        try:
            with open(path, encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            continue
    raise NoAnswer(f"{paths[-1]} cannot be read")


def product_uuid() -> str:
    """Return the machine's UUID by its firmware, or nothing: not all have one, and root reads it.
    """
    try:
        return read_first("/run/hotsite/product_uuid", "/sys/class/dmi/id/product_uuid").lower()
    except NoAnswer:
        return ""


def hardware() -> dict:
    """Return processors, memory and load; a lab's host has a file that says its memory."""
    memory = dict(re.findall(r"^(\w+):\s+([0-9]+) kB$", read_first("/proc/meminfo"), re.MULTILINE))
    total, available = (int(memory[key]) << 10 for key in ("MemTotal", "MemAvailable"))
    if os.path.exists("/run/hotsite/memory_bytes"):
        total = int(read_first("/run/hotsite/memory_bytes"))
    return {"cpus": os.cpu_count() or 1, "memory_bytes": total,
            "memory_available_bytes": min(total, available),
            "load_1m": os.getloadavg()[0], "architecture": os.uname().machine, **huge_pages()}


def huge_pages(folder: str = "/sys/kernel/mm/hugepages") -> dict:
    """Return the bytes in huge pages of all sizes, and of these the bytes not yet promised."""
    total = free = 0
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        size = int(re.sub("[^0-9]", "", name) or 0) << 10
        pages = {key: int(read_first(f"{folder}/{name}/{key}_hugepages"))
                 for key in ("nr", "free", "resv")}
        total += pages["nr"] * size
        free += max(0, pages["free"] - pages["resv"]) * size
    return {"huge_bytes": total, "huge_free_bytes": free}


def section(text: "str | NoAnswer | None", known: "str | None") -> dict:
    """Return one section of the answer; a text that the asker has is not sent again."""
    if text is None:
        return {"absent": True}
    if isinstance(text, NoAnswer):
        return {"error": str(text)}
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return {"digest": digest, "same": True} if digest == known else {"digest": digest, "text": text}


def wake(limit_s: float) -> None:
    """Wait until libvirt has begun: it first asks each emulator what that can do, unless it knows.

    Whatever comes of it shows when it is asked.
    """
    if limit_s > 0 and shutil.which(VIRSH[0]) is not None:
        run_all({"": (*VIRSH, "version")}, limit_s)


def answer(host: Host, question: dict) -> dict:
    """Return the answer to one question.

    {"began", "now", "boot_id", "product_uuid", "hostname", "hardware": {…}, "versions": {…},
    "warnings": {name: sentence}, "sections": {name:
    {"digest", "text"} | {"digest", "same": true} | {"error": sentence} | {"absent": true}}}
    """
    began = time.time()
    wake(question.get("waking_s", 0.0))
    sections, versions = host.gather(set(question["want"]), question.get("guests", []),
                                     question.get("patience", 1.0))
    known = question.get("known", {})
    return {
        "began": began,
        "boot_id": read_first("/run/hotsite/boot_id", "/proc/sys/kernel/random/boot_id"),
        "product_uuid": product_uuid(),
        "hostname": os.uname().nodename,
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
