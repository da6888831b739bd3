"""Which files the domains of a host use, so that no file in use is ever renamed or deleted.

Rule 1: what cannot be read counts as in use: a file of that name if its name is known, else any.
"""

import posixpath
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import Unavailable
from controller.providers.libvirt.virsh import CONNECT, address_of, is_missing, parse_complaint
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import Node, script_command
from controller.transport.base import Reply
from controller.transport.json_text import parse_json

RECORD: Final = "\x1e"
FIELD: Final = "\x1f"
LOOK_TIMEOUT_S: Final = 120.0
DEEPEST: Final = 64
# both definitions of every domain, since they may name different files; each with virsh's status
DEFINITIONS: Final = """
list=$(virsh -q -c "$1" list --all --uuid) || exit 1
for uuid in $list; do
    for which in '' --inactive; do
        text=$(timeout 20 virsh -q -c "$1" dumpxml $which "$uuid" 2>&1)
        printf '%s\\037%s\\037%s\\036' "$uuid" $? "$text"
    done
done
"""
VOLUMES: Final = """
connect=$1
shift
while [ $# -gt 1 ]; do
    path=$(timeout 20 virsh -q -c "$connect" vol-path --pool "$1" -- "$2" 2>&1)
    printf '%s\\037%s\\036' $? "$path"
    shift 2
done
"""
# the files are passed on standard input: a command line is too short for a host's. Each is preceded
# by its format, because QEMU must never guess the format of a guest's raw disk
LAYERS: Final = """
xargs -0 -r sh -c '
for file; do
    format=${file%%:*} path=${file#*:}
    [ -e "$path" ] || continue
    text=$(timeout 20 qemu-img info -U $0 --output=json ${format:+-f "$format"} -- "$path" 2>&1)
    printf "%s\\037%s\\037%s\\036" "$path" $? "$text"
done' "$1"
"""


@dataclass(frozen=True, slots=True)
class UsedFile:
    """One file and the domain that uses it; `doubt` says why the file is not known exactly."""

    path: str
    """In doubt: a file name in any folder, or empty for any file."""
    domain: str
    doubt: str = ""
    format: str = "raw"
    """The declared format; empty if none is declared."""

    def concerns(self, path: str) -> bool:
        """Return whether the domain uses, or may use, the file of that path."""
        if not self.doubt:
            return self.path == path
        return self.path in {"", path, posixpath.basename(path)}

    @property
    def verb(self) -> str:
        """Return `is also`, or in doubt `may be`."""
        return "may be" if self.doubt else "is also"

    def __str__(self) -> str:
        """Return what uses a file: `web`, or `web, whose … could not be read (…)`."""
        return f"{self.domain}, {self.doubt}" if self.doubt else self.domain


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk that a definition names by pool and volume."""

    pool: str
    name: str
    domain: str
    format: str = "raw"


def records(text: str, fields: int) -> Iterator[list[str]]:
    """Yield the records of an answer, split into fields; the last field may hold anything."""
    for record in text.split(RECORD):
        if FIELD in record:
            yield record.split(FIELD, fields - 1)


def parse_used_files(text: str) -> tuple[tuple[UsedFile, ...], tuple[Volume, ...]]:
    """Return every file and volume that the definitions name, at any depth of a disk."""
    uses: set[UsedFile] = set()
    volumes: set[Volume] = set()
    for uuid, status, answer in records(text, 3):
        if is_missing(Reply(int(status), "", answer)):
            continue    # it was undefined meanwhile
        try:
            if status != "0":
                raise ValueError(parse_complaint(answer))
            root = parse_xml(answer[answer.index("<domain"):answer.rindex(">") + 1])
        except ValueError as error:
            uses.add(UsedFile("", uuid, f"whose definition could not be read ({error})"))
            continue
        name = address_of(root.findtext("name", ""), uuid)
        for parent, element in ((one, child) for one in root.iter() for child in one):
            if element.tag not in {"source", "nvram", "loader", "kernel", "initrd", "dtb"}:
                continue
            form = format_of(parent, element)
            found = [element.get("file"), element.get("dev"), (element.text or "").strip()]
            uses |= {UsedFile(path, name, format=form) for path in found
                     if path and path.startswith("/")}
            pool, volume = element.get("pool"), element.get("volume")
            if pool and volume:
                volumes.add(Volume(pool, volume, name, form))
    return (tuple(sorted(uses, key=lambda use: (use.path, use.domain, use.format))),
            tuple(sorted(volumes, key=lambda one: (one.pool, one.name, one.domain, one.format))))


def format_of(parent: ET.Element, element: ET.Element) -> str:
    """Return the format that a definition declares for a file; raw if it names none.

    Source: formatdomain.html: a disk's format is in `driver`, that of a lower layer or a mirror in
    `format`, that of firmware and its variables in the element itself.
    """
    for one, key in ((parent.find("format"), "type"), (parent.find("driver"), "type"),
                     (element, "format"), (parent, "format")):
        if one is not None and one.get(key):
            return one.get(key, "")
    return "raw"


def parse_volumes(text: str, volumes: tuple[Volume, ...]) -> tuple[UsedFile, ...]:
    """Return the files of volumes; one that is not found may be any file of its name."""
    found = []
    for volume, (status, answer) in zip(volumes, records(text, 2), strict=True):
        path = answer.strip().rpartition("\n")[2]
        if status == "0" and path.startswith("/"):
            found.append(UsedFile(path, volume.domain, format=volume.format))
        else:
            found.append(UsedFile(volume.name, volume.domain,
                             f"whose volume {volume.name} of pool {volume.pool} could not be found"
                             f" ({parse_complaint(answer)})"))
    return tuple(found)


def parse_layers(text: str) -> dict[str, dict[str, str] | str]:
    """Return by file its lower layers with their formats, or why it could not be read."""
    found: dict[str, dict[str, str] | str] = {}
    for path, status, answer in records(text, 3):
        start = min((at for at in map(answer.find, "[{") if at >= 0), default=0)
        try:
            if status != "0":
                raise ValueError(parse_complaint(answer))
            parsed = parse_json(answer[start:])
        except ValueError as error:
            found[path] = str(error)
            continue
        layers = parsed if isinstance(parsed, list) else [parsed]
        found[path] = {name: form for layer in layers for name, form in names_in(layer)
                       if name != path}
    return found


def names_in(layer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the files that `qemu-img info` names for one layer, with their formats."""
    data = (layer.get("format-specific") or {}).get("data") or {}
    for name, form in ((layer.get("filename"), layer.get("format", "")),
                       (data.get("data-file"), "raw"),
                       (layer.get("full-backing-filename"),
                        layer.get("backing-filename-format", ""))):
        if isinstance(name, str):
            names = [name] if name.startswith("/") else re.findall(r'"filename": *"(/[^"]+)"', name)
            yield from ((one, str(form)) for one in names)


async def find_used_files(node: Node) -> tuple[UsedFile, ...]:
    """Return every file that any domain of the host uses, including backing files.

    Errors: Unavailable when the domains cannot be listed: then nothing may be concluded.
    """
    reply = await node.run(script_command(DEFINITIONS, CONNECT, timeout_s=LOOK_TIMEOUT_S))
    if reply.exit_status != 0:
        raise Unavailable(f"the domains of {node.name} could not be listed"
                          f" ({parse_complaint(reply.stderr)}); it is tried again")
    uses, volumes = parse_used_files(reply.stdout)
    if volumes:
        words = [word for volume in volumes for word in (volume.pool, volume.name)]
        reply = await node.run(script_command(VOLUMES, CONNECT, *words,
                                              timeout_s=LOOK_TIMEOUT_S))
        uses += parse_volumes(reply.stdout, volumes)
    return (*uses, *await find_lower_layers(node, uses))


async def find_lower_layers(node: Node, uses: tuple[UsedFile, ...]) -> tuple[UsedFile, ...]:
    """Return the lower layers of the used files, layer by layer if a chain cannot be read whole."""
    owners: dict[str, set[str]] = {}
    for use in uses:
        if use.path.startswith("/"):
            owners.setdefault(use.path, set()).add(use.domain)
    below: set[UsedFile] = set()
    # a raw file has no lower layers, whatever it looks like
    due = {(use.format, use.path) for use in uses if use.path in owners and use.format != "raw"}
    asked, how = set(due), "--backing-chain"
    for _ in range(DEEPEST):
        if not due and not how:
            break
        files = "\0".join(f"{form}:{path}" for form, path in sorted(due))
        reply = await node.run(script_command(LAYERS, how, text=files, timeout_s=LOOK_TIMEOUT_S))
        if reply.exit_status != 0:
            raise Unavailable(f"the disks of {node.name}'s domains could not be read"
                              f" ({parse_complaint(reply.stderr)}); it is tried again")
        found, again, due = parse_layers(reply.stdout), due, set()
        for path, layers in found.items():
            domains = owners.get(path, set())
            if isinstance(layers, str):
                if how:
                    due |= {one for one in again if one[1] == path}
                else:
                    doubt = f"whose disk {path} could not be read ({layers})"
                    below |= {UsedFile("", domain, doubt) for domain in domains}
                continue
            below |= {UsedFile(layer, domain) for layer in layers for domain in domains}
            for layer in layers:
                owners.setdefault(layer, set()).update(domains)
            due |= set() if how else {(form, layer) for layer, form in layers.items()
                                      if form != "raw"} - asked
        asked |= due
        how = ""
    known = {(use.path, use.domain) for use in uses}
    return tuple(sorted((one for one in below if (one.path, one.domain) not in known),
                        key=lambda use: (use.path, use.domain)))
