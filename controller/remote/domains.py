"""The domains and pools that libvirt shows, read by one virsh."""

import html
import os
import re
import secrets
import shlex
import stat

from mover.images import traits_of
from pools import kind_of, look, pool_of
from programs import RECEIVING, VIRSH, Said, Silent, lines_of, run_all, text_of

ROUNDS = 4              # readings of domains until one is whole
VERSIONS = {"libvirt": "Running against daemon:", "qemu": "Running hypervisor: QEMU",
            "openvswitch": r"\(Open vSwitch\)"}


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
            asked += [f"checkpoint-list {uuid} --name"]
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
            checkpoints = sorted(lines_of(next(details)))
            domains.append(domain_of(
                uuid, names[uuid], state, live if active else None,
                config if uuid in persistent else None,
                parse_job(next(details), receiving) if active else None, uuid in autostart,
                checkpoints))
        active_pools = set(lines_of(parts[6]))
        shown = [(name, next(details), name in active_pools) for name in self.pools]
        return {"versions": parse_versions(parts[0]),
                "domains": sorted(domains, key=lambda d: d["name"]),
                "pools": [pool_of(*pool) for pool in shown],
                "kinds": {name: kind_of(xml) for name, xml, _ in shown}}


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
              job: "str | None", autostart: bool, checkpoints: list) -> dict:
    """Return one domain as the controller's parser expects it."""
    for xml in (live, config):
        if xml is not None and not xml.startswith("<domain"):
            raise Silent(f"libvirt does not show the definition of {name}")
    paths = {html.unescape(path) for path in re.findall(
        r"<source (?:file|dev)='([^']*)'", (live or "") + (config or ""))}
    odd = {path: found for path in sorted(paths) for found in [traits_of(path)] if found}
    layers = {layer for traits in odd.values() for layer in traits.get("layers", ())}
    known = identities_of(paths | layers)
    return {"name": name, "uuid": uuid, "state": state[0], "reason": state[1],
            "persistent": config is not None, "autostart": autostart, "job": job,
            "live_xml": live, "config_xml": config, "checkpoints": checkpoints,
            "disk_sizes": {path: look(path)[1] for path in sorted(paths)},
            **({"identities": known} if known else {}),
            **({"disk_traits": odd} if odd else {})}


def identities_of(paths: set) -> dict:
    """Return what tells each file from all others of this machine, whatever it is called."""
    found = {}
    for path in sorted(paths):
        try:
            seen = os.stat(path)
        except (OSError, ValueError):
            continue  # it is not there, or not reached: its path is all that is known
        found[path] = (f"device {seen.st_rdev:x}" if stat.S_ISBLK(seen.st_mode)
                       else f"{seen.st_dev:x}:{seen.st_ino:x}")
    return found


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
