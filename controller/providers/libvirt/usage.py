"""Which files the domains of a host use, so that nothing in use is ever moved or deleted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.errors import Unavailable
from controller.providers.libvirt.virsh import CONNECT, parse_complaint
from controller.providers.libvirt.xml import parse_xml
from controller.providers.node import Node, script_command

RECORD: Final = "\x1e"
LOOK_TIMEOUT_S: Final = 120.0
# both definitions of every domain: they may name different files
DEFINITIONS: Final = """
list=$(virsh -q -c "$1" list --all --uuid) || exit 1
for uuid in $list; do
    virsh -q -c "$1" dumpxml "$uuid" || exit 1
    printf '\\036'
    virsh -q -c "$1" dumpxml --inactive "$uuid" || exit 1
    printf '\\036'
done
"""
CHAINS: Final = """
for path in "$@"; do
    [ ! -e "$path" ] || qemu-img info -U --backing-chain --output=json -- "$path" || exit 1
done
"""


@dataclass(frozen=True, slots=True)
class Use:
    """One file, and the domain that uses it."""

    path: str
    domain: str


def parse_uses(text: str) -> tuple[Use, ...]:
    """Return every file that the definitions name, at any depth of a disk."""
    uses = set()
    for record in text.split(RECORD):
        if not record.strip():
            continue
        root = parse_xml(record.strip())
        name = root.findtext("name", "")
        for source in root.iter("source"):
            uses |= {Use(source.get(key, ""), name) for key in ("file", "dev") if source.get(key)}
    return tuple(sorted(uses, key=lambda use: (use.path, use.domain)))


def parse_chains(text: str) -> Iterator[tuple[str, str]]:
    """Yield (top file, file below it) for every concatenated `--backing-chain` answer."""
    decoder = json.JSONDecoder()
    rest = text.lstrip()
    while rest:
        chain, end = decoder.raw_decode(rest)
        yield from ((chain[0]["filename"], layer["filename"]) for layer in chain[1:])
        rest = rest[end:].lstrip()


async def find_uses(node: Node) -> tuple[Use, ...]:
    """Return every file that any domain of the host uses, backing files included.

    Errors: Unavailable when it could not be seen in full: then nothing may be concluded.
    """
    reply = await node.run(script_command(DEFINITIONS, CONNECT, timeout_s=LOOK_TIMEOUT_S))
    if reply.exit_status != 0:
        raise Unavailable(f"the domains of {node.name} could not all be read"
                          f" ({parse_complaint(reply.stderr)}); it is tried again")
    uses = parse_uses(reply.stdout)
    owner = {use.path: use.domain for use in uses}
    reply = await node.run(script_command(CHAINS, *owner, timeout_s=LOOK_TIMEOUT_S))
    if reply.exit_status != 0:
        raise Unavailable(f"the disks of {node.name}'s domains could not all be read"
                          f" ({parse_complaint(reply.stderr)}); it is tried again")
    below = {Use(path, owner[top]) for top, path in parse_chains(reply.stdout) if top in owner}
    return (*uses, *sorted(below - set(uses), key=lambda use: (use.path, use.domain)))
