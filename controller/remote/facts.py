"""Answer questions about this machine: one JSON line in, one JSON line out, until input ends.

Question: {"want": [section, …], "known": {section: digest}}. Answer: see `answer`. It only reads,
needs Python >= 3.9 and nothing but the standard library, and runs virsh and ovs-vsctl.
"""

import hashlib
import html
import json
import os
import re
import secrets
import selectors
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time

LIMIT_S = 5.0           # for each round of programs: a hung daemon must not hang the answer
LIMIT_BYTES = 24 << 20
VIRSH = ("virsh", "-q", "-c", "qemu:///system")
VSCTL = ("ovs-vsctl", "--timeout=4", "--format=json")
TABLES = {
    "Bridge": "_uuid,name,ports,rstp_enable",
    "Port": "_uuid,name,interfaces,tag,trunks,vlan_mode,rstp_status",
    "Interface": "_uuid,name,link_state,external_ids",
}
TRACES = ("/etc/libvirt/qemu", "/run/libvirt/qemu")  # a host that has one may well run domains
ROUNDS = 4              # readings of domains until one is whole
VERSIONS = {"libvirt": "Running against daemon:", "qemu": "Running hypervisor: QEMU",
            "openvswitch": r"\(Open vSwitch\)"}
RECEIVING = "migration statistics are available only on the source host"


class Silent(Exception):
    """A program or daemon did not say what was asked; the text is a sentence."""


class Said:
    """What one program said so far, and in `failure` what went wrong with it."""

    def __init__(self, argv: tuple, picker: selectors.BaseSelector) -> None:
        self.out, self.err, self.status, self.failure = bytearray(), bytearray(), None, ""
        try:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"}, bufsize=0, start_new_session=True)
        except OSError as error:
            self.process, self.failure = None, f"cannot be run: {error.strerror}"
            return
        picker.register(self.process.stdout, selectors.EVENT_READ, (self, self.out))
        picker.register(self.process.stderr, selectors.EVENT_READ, (self, self.err))

    def end(self) -> None:
        """Collect the exit status; what does not end by itself is killed and not waited for."""
        if self.process is None:
            return
        try:
            self.status = self.process.wait(0 if self.failure else 1)
        except subprocess.TimeoutExpired:
            self.failure = self.failure or "closed its output but did not end"
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stdout.close()
        self.process.stderr.close()


def run_all(programs: dict) -> dict:
    """Run programs (name -> argv) at once and return what each said (name -> Said)."""
    deadline = time.monotonic() + LIMIT_S
    with selectors.DefaultSelector() as picker:
        said = {name: Said(argv, picker) for name, argv in programs.items()}
        while picker.get_map():
            ready = picker.select(deadline - time.monotonic())
            if not ready and time.monotonic() >= deadline:
                for key in picker.get_map().values():
                    key.data[0].failure = f"did not answer within {LIMIT_S:g} s"
                break
            for key, _ in ready:
                program, heard = key.data
                heard += (data := os.read(key.fd, 1 << 16))
                if len(heard) > LIMIT_BYTES:
                    program.failure = f"said more than {LIMIT_BYTES >> 20} MiB"
                    os.killpg(program.process.pid, signal.SIGKILL)
                if not data or len(heard) > LIMIT_BYTES:
                    picker.unregister(key.fileobj)
    for program in said.values():
        program.end()
    return said


def text_of(said: Said, daemon: str) -> str:
    """Return a program's output; Silent when it failed or complained in any way."""
    if said.failure:
        raise Silent(f"{daemon} {said.failure}")
    complaint = [line for line in lines_of(said.err.decode(errors="replace"))
                 if not line.endswith(RECEIVING)]
    if said.status != 0 or complaint:
        why = complaint[0] if complaint else f"status {said.status}"
        raise Silent(f"{daemon} did not answer: {re.sub('^error: ', '', why)}")
    try:
        return said.out.decode()
    except UnicodeDecodeError:
        raise Silent(f"{daemon} answered with bytes that are no text") from None


class Libvirt:
    """Reads all domains and pools with one virsh, as long as none comes, goes, starts or stops.

    One virsh asks for the lists and, for what the last reading saw, for the details. Where the
    lists turn out to differ from what was expected, it is asked again with the new expectation.
    """

    def __init__(self) -> None:
        self.domains = ()  # (uuid, active) as the last reading saw them
        self.pools = ()

    def argv(self) -> tuple:
        """Return the next reading's command; the mark cannot occur in anything libvirt says."""
        self.mark = f"@@{secrets.token_hex(8)}@@"
        asked = ["version --daemon", "list --all --uuid --name", "list --uuid",
                 "list --all --autostart --uuid", "list --all --persistent --uuid",
                 "pool-list --all --name", "pool-list --name"]
        for uuid, active in self.domains:
            asked += [f"domstate --reason {uuid}", f"dumpxml {uuid}", f"dumpxml --inactive {uuid}"]
            asked += [f"domjobinfo {uuid}"] if active else []
        asked += [f"pool-dumpxml {shlex.quote(pool)}" for pool in self.pools]
        return (*VIRSH, f"; echo {self.mark}; ".join([*asked, "uri"]))

    def read(self, said: Said) -> "dict | None":
        """Return what was said, or None when it must be asked again; Silent when it failed."""
        if said.failure:
            raise Silent(f"libvirt {said.failure}")
        parts = [part.strip("\n") for part in said.out.decode(errors="replace").split(self.mark)]
        if len(parts) < 7 or "Running against daemon" not in parts[0]:
            text_of(said, "libvirt")
            raise Silent("libvirt's answer is not whole")
        names = dict(line.split(" ", 1) for line in parts[1].splitlines())
        running = set(lines_of(parts[2]))
        domains = tuple((uuid, uuid in running) for uuid in sorted(names))
        pools = tuple(sorted(lines_of(parts[5])))
        if (domains, pools) != (self.domains, self.pools):
            self.domains, self.pools = domains, pools
            return None
        text_of(said, "libvirt")
        return self.reading(parts, names, RECEIVING in said.err.decode(errors="replace"))

    def reading(self, parts: list, names: dict, receiving: bool) -> dict:
        """Return one whole reading; some job cannot be shown while a domain is `receiving`."""
        details = iter(parts[7:])
        persistent, autostart = set(lines_of(parts[4])), set(lines_of(parts[3]))
        domains = []
        for uuid, active in self.domains:
            state, live, config = parse_state(next(details)), next(details), next(details)
            domains.append(domain_of(
                uuid, names[uuid], state, live if active else None,
                config if uuid in persistent else None,
                parse_job(next(details), receiving) if active else None, uuid in autostart))
        active_pools = set(lines_of(parts[6]))
        pools = [pool_of(name, next(details), name in active_pools) for name in self.pools]
        return {"versions": parse_versions(parts[0]),
                "domains": json.dumps(sorted(domains, key=lambda d: d["name"])),
                "pools": json.dumps(pools)}


def lines_of(part: str) -> list:
    """Return the lines of a part that are not empty, as they are."""
    return [line.rstrip() for line in part.splitlines() if line.strip()]


def parse_state(text: str) -> tuple:
    """Return state and reason from `virsh domstate --reason`."""
    match = re.fullmatch(r"(.+?) \((.+)\)", text)
    if match is None:
        raise Silent("libvirt does not say in what state a domain is")
    return match[1], "ioerror" if match[2] == "I/O error" else match[2]


def parse_job(text: str, receiving: bool) -> "str | None":
    """Return what kind of job runs, from `virsh domjobinfo`; None when idle.

    libvirt shows the job of a migration at its source only, and says so at its far end.
    """
    if not text and receiving:
        return "Incoming migration"
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    kind = fields.get("Job type", "").strip()
    if not kind:
        raise Silent("libvirt does not say whether a job runs")
    return None if kind == "None" else fields.get("Operation", kind).strip()


def parse_versions(text: str) -> dict:
    """Return the versions that a text tells."""
    found = {name: re.search(pattern + r" (\S+)", text) for name, pattern in VERSIONS.items()}
    return {name: match[1] for name, match in found.items() if match}


def domain_of(uuid: str, name: str, state: tuple, live: "str | None", config: "str | None",
              job: "str | None", autostart: bool) -> dict:
    """Return one domain as the controller's parser expects it."""
    for xml in (live, config):
        if xml is not None and not xml.startswith("<domain"):
            raise Silent(f"libvirt does not show the definition of {name}")
    paths = set(re.findall(r"<source (?:file|dev)='([^']*)'", (live or "") + (config or "")))
    return {"name": name, "uuid": uuid, "state": state[0], "reason": state[1],
            "persistent": config is not None, "autostart": autostart, "job": job,
            "live_xml": live, "config_xml": config,
            "disk_sizes": {path: look(path)[1] for path in sorted(map(html.unescape, paths))}}


def look(path: str) -> tuple:
    """Return a file's format and the size its guest sees; the size is None when unreadable."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "raw", None
    try:
        kind = os.fstat(handle).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            return "raw", None
        head = os.pread(handle, 32, 0)
        if head[:4] == b"QFI\xfb" and len(head) == 32:
            return "qcow2", struct.unpack(">Q", head[24:32])[0]
        return "raw", os.lseek(handle, 0, os.SEEK_END)
    except OSError:
        return "raw", None
    finally:
        os.close(handle)


def pool_of(name: str, xml: str, active: bool) -> dict:
    """Return one pool with the files that lie in it now; libvirt's own list of them is old."""
    path = re.search(r"<path>([^<]*)</path>", xml)
    if path is None:
        raise Silent(f"libvirt does not show the definition of pool {name}")
    place = html.unescape(path[1])
    pool = {"name": name, "path": place, "active": active, "capacity": 0, "available": 0,
            "volumes": []}
    try:
        space = os.statvfs(place)
        pool["capacity"] = space.f_blocks * space.f_frsize
        step = max(1, pool["capacity"] // 100)  # rounded: it changes all the time
        pool["available"] = space.f_bavail * space.f_frsize // step * step
        pool["volumes"] = sorted(volumes_of(place), key=lambda v: v["name"])
    except OSError as error:
        if active:
            raise Silent(f"pool {name}: {place} cannot be read: {error.strerror}") from None
    return pool


def volumes_of(place: str) -> list:
    """Return the regular files of a pool's folder."""
    found = []
    with os.scandir(place) as entries:
        for entry in entries:
            try:
                details = entry.stat(follow_symlinks=True)
            except OSError:
                continue  # it went while we looked
            if stat.S_ISREG(details.st_mode):
                kind, size = look(entry.path)
                found.append({"name": os.fsencode(entry.name).decode(errors="replace"),
                              "format": kind, "size": size,
                              "allocated": coarse(details.st_blocks * 512)})
    return found


def coarse(size: int) -> int:
    """Return a size that changes all the time to about three hundredths."""
    step = 1 << max(0, size.bit_length() - 6)
    return size // step * step


def vsctl_argv() -> tuple:
    """Return one command that lists all the tables."""
    argv = list(VSCTL)
    for table, columns in TABLES.items():
        argv += ["--", f"--columns={columns}", "list", table]
    return tuple(argv)


def bridges_of(said: Said) -> str:
    """Return the tables by name, as text."""
    tables = text_of(said, "Open vSwitch").splitlines()
    if len(tables) != len(TABLES):
        raise Silent("Open vSwitch's answer is not whole")
    return "{" + ", ".join(f'"{name}": {rows}' for name, rows in zip(TABLES, tables)) + "}"


def gather(libvirt: Libvirt, want: set) -> "tuple[dict, dict]":
    """Return the sections (text, or Silent, or None where the program is not installed)."""
    mine = sorted(want & {"domains", "pools"})
    sections, versions, programs = dict.fromkeys(sorted(want)), {}, {}
    if mine and shutil.which(VIRSH[0]):
        programs["libvirt"] = libvirt.argv()
    elif mine and any(map(os.path.isdir, TRACES)):
        sections |= dict.fromkeys(mine, Silent("libvirt was here and virsh is gone: put it back"))
    if "bridges" in want and shutil.which(VSCTL[0]):
        programs |= {"bridges": vsctl_argv(), "version": (VSCTL[0], "--version")}
    said = run_all(programs)
    if "bridges" in programs:
        versions |= parse_versions(said["version"].out.decode(errors="replace"))
        try:
            sections["bridges"] = bridges_of(said["bridges"])
        except Silent as silence:
            sections["bridges"] = silence
    if "libvirt" in programs:
        try:
            reading = read_libvirt(libvirt, said["libvirt"])
            versions |= reading["versions"]
            sections |= {name: reading[name] for name in mine}
        except Silent as silence:
            sections |= dict.fromkeys(mine, silence)
    return sections, versions


def read_libvirt(libvirt: Libvirt, said: Said) -> dict:
    """Return a whole reading, asking again while domains come, go, start or stop meanwhile."""
    silence = Silent("libvirt's domains change faster than they can be read")
    for left in reversed(range(ROUNDS)):
        try:
            reading = libvirt.read(said)
        except (LookupError, StopIteration):
            reading = None
        except Silent as complaint:  # of a domain that went meanwhile, or of a libvirt that died
            reading, silence = None, complaint
        if reading is not None:
            return reading
        if said.failure:
            break
        if left:
            said = run_all({"libvirt": libvirt.argv()})["libvirt"]
    raise silence


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
            "load_1m": os.getloadavg()[0], "architecture": os.uname().machine}


def section(text: "str | Silent | None", known: "str | None") -> dict:
    """Return one section of the answer; a text that the asker has already is not sent again."""
    if text is None:
        return {"absent": True}
    if isinstance(text, Silent):
        return {"error": str(text)}
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return {"digest": digest, "same": True} if digest == known else {"digest": digest, "text": text}


def answer(libvirt: Libvirt, question: dict) -> dict:
    """Return the answer to one question.

    {"began", "now", "boot_id", "hardware": {…}, "versions": {…}, "sections": {name:
    {"digest", "text"} | {"digest", "same": true} | {"error": sentence} | {"absent": true}}}
    """
    began = time.time()
    sections, versions = gather(libvirt, set(question["want"]))
    known = question.get("known", {})
    return {
        "began": began,
        "boot_id": read_first("/run/hotsite/boot_id", "/proc/sys/kernel/random/boot_id"),
        "hardware": hardware(),
        "versions": versions,
        "sections": {name: section(text, known.get(name)) for name, text in sections.items()},
        "now": time.time(),
    }


def main() -> None:
    """Answer every question."""
    libvirt = Libvirt()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(libvirt, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
