"""Which files the domains of a host use, so that nothing in use is ever moved or deleted.

Rule 1: what cannot be asked about is in use for all that is known; it alone is, where its name is.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import Unavailable
from controller.providers.libvirt.virsh import CONNECT, is_missing, parse_complaint
from controller.providers.libvirt.xml import parse_xml
from controller.providers.node import Node, script_command
from controller.transport.base import Reply

RECORD: Final = "\x1e"
FIELD: Final = "\x1f"
LOOK_TIMEOUT_S: Final = 120.0
DEEPEST: Final = 64
# both definitions of every domain: they may name different files; each with how it was answered
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
# the files come over standard input: a command line has no room for all of a host
LAYERS: Final = """
xargs -0 -r sh -c '
for path; do
    [ -e "$path" ] || continue
    text=$(timeout 20 qemu-img info -U $0 --output=json -- "$path" 2>&1)
    printf "%s\\037%s\\037%s\\036" "$path" $? "$text"
done' "$1"
"""


@dataclass(frozen=True, slots=True)
class Use:
    """One file, and the domain that uses it; `doubt` says why no more is known of the file."""

    path: str
    """In doubt: a name in any folder, or empty for any file."""
    domain: str
    doubt: str = ""

    def concerns(self, path: str) -> bool:
        """Return whether the domain uses, or may use, the file of that path."""
        if not self.doubt:
            return self.path == path
        return self.path in {"", path, posixpath.basename(path)}

    @property
    def verb(self) -> str:
        """Return `is also` or `may be`, as far as is known."""
        return "may be" if self.doubt else "is also"

    def __str__(self) -> str:
        """Return what uses a file: `web`, or `web, whose … could not be read (…)`."""
        return f"{self.domain}, {self.doubt}" if self.doubt else self.domain


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk that libvirt is to find in a pool."""

    pool: str
    name: str
    domain: str


def records(text: str, fields: int) -> Iterator[list[str]]:
    """Yield the records of an answer, each in its fields; the last one may hold anything."""
    for record in text.split(RECORD):
        if FIELD in record:
            yield record.split(FIELD, fields - 1)


def parse_uses(text: str) -> tuple[tuple[Use, ...], tuple[Volume, ...]]:
    """Return every file and volume that the definitions name, at any depth of a disk."""
    uses: set[Use] = set()
    volumes: set[Volume] = set()
    for uuid, status, answer in records(text, 3):
        if is_missing(Reply(int(status), "", answer)):
            continue    # it went while we looked
        try:
            if status != "0":
                raise ValueError(parse_complaint(answer))
            root = parse_xml(answer[answer.index("<domain"):answer.rindex(">") + 1])
        except ValueError as error:
            uses.add(Use("", uuid, f"whose definition could not be read ({error})"))
            continue
        name = root.findtext("name", "")
        for element in root.iter():
            if element.tag not in {"source", "nvram", "loader", "kernel", "initrd", "dtb"}:
                continue
            found = [element.get("file"), element.get("dev"), (element.text or "").strip()]
            uses |= {Use(path, name) for path in found if path and path.startswith("/")}
            pool, volume = element.get("pool"), element.get("volume")
            if pool and volume:
                volumes.add(Volume(pool, volume, name))
    return (tuple(sorted(uses, key=lambda use: (use.path, use.domain))),
            tuple(sorted(volumes, key=lambda one: (one.pool, one.name, one.domain))))


def parse_volumes(text: str, volumes: tuple[Volume, ...]) -> tuple[Use, ...]:
    """Return the files behind volumes; one that is not found may be any file of its name."""
    found = []
    for volume, (status, answer) in zip(volumes, records(text, 2), strict=True):
        path = answer.strip().rpartition("\n")[2]
        if status == "0" and path.startswith("/"):
            found.append(Use(path, volume.domain))
        else:
            found.append(Use(volume.name, volume.domain,
                             f"whose volume {volume.name} of pool {volume.pool} could not be found"
                             f" ({parse_complaint(answer)})"))
    return tuple(found)


def parse_layers(text: str) -> dict[str, list[str] | str]:
    """Return by file the files that it names below itself, or why it cannot be read."""
    found: dict[str, list[str] | str] = {}
    for path, status, answer in records(text, 3):
        start = min((at for at in map(answer.find, "[{") if at >= 0), default=0)
        try:
            if status != "0":
                raise ValueError(parse_complaint(answer))
            told = json.loads(answer[start:])
        except ValueError as error:
            found[path] = str(error)
            continue
        layers = told if isinstance(told, list) else [told]
        found[path] = [name for layer in layers for name in names_in(layer) if name != path]
    return found


def names_in(layer: dict[str, Any]) -> Iterator[str]:
    """Yield the files that `qemu-img info` names of one layer."""
    data = (layer.get("format-specific") or {}).get("data") or {}
    for name in (layer.get("filename"), layer.get("full-backing-filename"), data.get("data-file")):
        if isinstance(name, str):
            yield from [name] if name.startswith("/") else re.findall(r'"filename": *"(/[^"]+)"',
                                                                      name)


async def find_uses(node: Node) -> tuple[Use, ...]:
    """Return every file that any domain of the host uses, backing files included.

    Errors: Unavailable when the domains cannot be listed: then nothing may be concluded.
    """
    reply = await node.run(script_command(DEFINITIONS, CONNECT, timeout_s=LOOK_TIMEOUT_S))
    if reply.exit_status != 0:
        raise Unavailable(f"the domains of {node.name} could not be listed"
                          f" ({parse_complaint(reply.stderr)}); it is tried again")
    uses, volumes = parse_uses(reply.stdout)
    if volumes:
        words = [word for volume in volumes for word in (volume.pool, volume.name)]
        reply = await node.run(script_command(VOLUMES, CONNECT, *words,
                                              timeout_s=LOOK_TIMEOUT_S))
        uses += parse_volumes(reply.stdout, volumes)
    return (*uses, *await find_below(node, uses))


async def find_below(node: Node, uses: tuple[Use, ...]) -> tuple[Use, ...]:
    """Return the files below those; where a whole chain cannot be read, layer by layer."""
    owners: dict[str, set[str]] = {}
    for use in uses:
        if use.path.startswith("/"):
            owners.setdefault(use.path, set()).add(use.domain)
    below: set[Use] = set()
    due, how = tuple(owners), "--backing-chain"
    for _ in range(DEEPEST):
        if not due and not how:
            break
        reply = await node.run(script_command(LAYERS, how, text="\0".join(due),
                                              timeout_s=LOOK_TIMEOUT_S))
        if reply.exit_status != 0:
            raise Unavailable(f"the disks of {node.name}'s domains could not be read"
                              f" ({parse_complaint(reply.stderr)}); it is tried again")
        told, due = parse_layers(reply.stdout), ()
        for path, layers in told.items():
            domains = owners.get(path, set())
            if isinstance(layers, str):
                if how:
                    due += (path,)
                else:
                    below |= {Use("", domain, f"whose disk {path} could not be read ({layers})")
                              for domain in domains}
                continue
            below |= {Use(layer, domain) for layer in layers for domain in domains}
            fresh = [layer for layer in dict.fromkeys(layers) if layer not in owners]
            for layer in fresh:
                owners[layer] = set(domains)
            due += () if how else tuple(fresh)
        how = ""
    return tuple(sorted(below - set(uses), key=lambda use: (use.path, use.domain)))
