"""The details of one domain: what virsh answers, and the row that the controller parses."""

import html
import os
import re
import stat
from typing import Any, Callable

from mover.image.header import traits_of, virtual_size
from programs import NoAnswer, lines_of

# of a disk and of what lies below it the format comes first; a driver that names none means raw
SOURCE = re.compile(r"<(?:(?:driver|format) [^>]*?\btype='([^']*)'|source (?:file|dev)='([^']*)')")
OFF = ("shut off", "crashed")
NUMBER = re.compile(r"<domain [^>]*\bid=['\"]([0-9]+)")


def questions(uuid: str, active: bool) -> list:
    """Return the virsh commands for one domain."""
    asked = [f"domstate --reason {uuid}", f"dumpxml {uuid}", f"dumpxml --inactive {uuid}",
             f"checkpoint-list {uuid} --name"]
    return asked + ([f"domjobinfo {uuid}"] if active else [])


class Changed(Exception):
    """A domain started or stopped while it was read: ask for it again."""


class DomainDetails:
    """The parsed answers about one domain; NoAnswer for those that cannot be understood."""

    def __init__(self, answers: list, receiving: bool) -> None:
        state, self.live, self.config, checkpoints, *job = answers
        self.state, self.reason = parse_state(state)
        for xml in (self.live, self.config):
            if not xml.startswith("<domain"):
                raise NoAnswer("libvirt does not show its definition")
        self.active = NUMBER.match(self.live) is not None
        if self.active != bool(job) or (
                self.state == "shut off" if self.active else self.state not in OFF):
            raise Changed
        self.job = parse_job(job[0], receiving) if job else None
        self.checkpoints = sorted(lines_of(checkpoints))

    def paths(self) -> dict:
        """Return the files and block devices of its disks, each with its declared format."""
        found = {}
        for disk in (self.live + self.config).split("<disk ")[1:]:
            form = "raw"
            for named, path in SOURCE.findall(disk.partition("</disk>")[0]):
                form = named or form
                if path:
                    found.setdefault(html.unescape(path), form)
        return found

    def row(self, persistent: bool, files: dict) -> dict:
        """Return the domain as the controller parses it, with what was seen of its files."""
        seen = {path: files.get((path, form), (None, {}, {}))
                for path, form in sorted(self.paths().items())}
        odd = {path: traits for path, (_, traits, _) in seen.items() if traits}
        known = {one: which for _, _, files in seen.values() for one, which in files.items()}
        return {"state": self.state, "reason": self.reason, "job": self.job,
                "live_xml": self.live if self.active else None,
                "config_xml": self.config if persistent else None,
                "checkpoints": self.checkpoints,
                "disk_sizes": {path: size for path, (size, _, _) in seen.items()},
                **({"identities": known} if known else {}),
                **({"disk_traits": odd} if odd else {})}


def parse_state(text: str) -> tuple:
    """Return state and reason from `virsh domstate --reason`."""
    match = re.fullmatch(r"(.+?) \((.+)\)", text)
    if match is None:
        raise NoAnswer("libvirt does not say in what state it is")
    return match[1], "ioerror" if match[2] == "I/O error" else match[2]


def parse_job(text: str, receiving: bool) -> "str | None":
    """Return the kind of the running job, from `virsh domjobinfo`; None when idle.

    libvirt shows the job of a migration only at the source; the target answers with RECEIVING.
    """
    if not text and receiving:
        return "Incoming migration"
    fields = dict(line.split(":", 1) for line in text.split("\n") if ":" in line)
    kind = fields.get("Job type", "").strip()
    if not kind:
        raise NoAnswer("libvirt does not say whether a job runs on it")
    return None if kind == "None" else fields.get("Operation", kind).strip()


def probes_of(disks: set) -> "dict[tuple, Callable[[], dict]]":
    """Return one probe for each folder that has disks: of each disk what `probe_disk` returns."""
    folders: dict = {}
    for disk in sorted(disks):
        folders.setdefault(disk[0].rpartition("/")[0] or "/", []).append(disk)
    return {("disks", folder): lambda some=some: {disk: probe_disk(*disk) for disk in some}
            for folder, some in folders.items()}


def probe_disk(path: str, form: str) -> tuple:
    """Return a disk's virtual size, its unusual traits, and the identities of its layers."""
    traits = traits_of(path) if form == "qcow2" else {}
    files = identities_of({path, *traits.get("layers", ())})
    return virtual_size(path, form), printable(traits), printable(files)


def printable(found: Any) -> Any:
    """Return the same with all strings valid UTF-8, whatever bytes file names consist of."""
    if isinstance(found, dict):
        return {printable(key): printable(value) for key, value in found.items()}
    if isinstance(found, list):
        return [printable(one) for one in found]
    if isinstance(found, str):
        return found.encode(errors="surrogateescape").decode(errors="replace")
    return found


def identities_of(paths: set) -> dict:
    """Return for each file the device and inode numbers that tell it from all others here."""
    found = {}
    for path in sorted(paths):
        try:
            seen = os.stat(path)
        except (OSError, ValueError):
            continue  # missing or out of reach: only its path is known
        found[path] = (f"device {seen.st_rdev:x}" if stat.S_ISBLK(seen.st_mode)
                       else f"{seen.st_dev:x}:{seen.st_ino:x}")
    return found
