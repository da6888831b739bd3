"""Room for the disks of a domain that is about to arrive by live migration.

Rule 1: nothing that is there already is written to or deleted; what is stale is moved aside.
"""

import posixpath
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from typing import Final

from controller.errors import ActionError, Refused
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.providers.libvirt.disk import ImageFile, Unreadable, find_image, make
from controller.providers.libvirt.reconfigure import parse_capacity
from controller.providers.libvirt.usage import Use, find_uses
from controller.providers.libvirt.virsh import failure, parse_complaint, virsh
from controller.providers.libvirt.xml.device import find_disk
from controller.providers.node import Node, plain_command, script_command
from controller.transport.json_text import parse_json

ASIDE: Final = """
number=1
while [ -e "$1.stale-$number" ]; do number=$((number + 1)); done
ln -T -- "$1" "$1.stale-$number" && rm -- "$1" && printf '%s' "$1.stale-$number"
"""
DROP: Final = 'for path in "$@"; do rm -f -- "$path"; done'


@dataclass(frozen=True, slots=True)
class Arrival:
    """How much is to be copied, and the files that were made for it."""

    size_bytes: int
    made: tuple[str, ...]


async def make_room(node: Node, there: Node, action: MigrateDomain) -> Arrival:
    """Make an empty disk at the destination for each of the domain's that is copied.

    The sizes are those of the running disks, to the byte: a copy onto another size fails.
    """
    uses = await find_uses(there)
    made: list[str] = []
    total = 0
    try:
        for disk in action.copied:
            text = await virsh(node, "domblkinfo", "--", action.domain, disk.target,
                               failed=f"the size of {disk.target} of {action.domain} on"
                                      f" {node.name} could not be read")
            exact = replace(disk, size_bytes=parse_capacity(text), image_path=None)
            total += exact.size_bytes
            if await make_room_for(there, action, exact, uses):
                made.append(exact.path)
    except ActionError:
        await clear_away(there, Arrival(total, tuple(made)))
        raise
    return Arrival(total, tuple(made))


async def make_room_for(there: Node, action: MigrateDomain, disk: DesiredDisk,
                        uses: tuple[Use, ...]) -> bool:
    """Make one empty disk; return False when an earlier attempt left just that."""
    domain = action.domain
    failed = f"{domain} was not moved to {there.name}"
    for use in uses:
        if use.concerns(disk.path) and use.domain != domain:
            raise Refused(f"{failed}: {disk.path} {use.verb} used there by {use}")
    found = await _find_stale(there, disk)
    if found is not None:
        same = (found.format, found.size_bytes) == (disk.format, disk.size_bytes)
        if same and await is_empty(there, disk):
            return False
        names = {domain, action.target.partition("/")[2]}    # libvirt's, and that of now
        if not any(posixpath.basename(disk.path).startswith(f"{name}-{disk.target}.")
                   for name in names):
            raise Refused(f"{failed}: {disk.path} is there already, and by its name it is not"
                          f" {domain}'s: move it away by hand")
        await put_aside(there, disk.path, failed)
    await make(there, disk)
    return True


async def _find_stale(there: Node, disk: DesiredDisk) -> ImageFile | None:
    """Return what lies there in place of a disk; one of another format has no size."""
    try:
        return await find_image(there, disk.path, disk.format)
    except Unreadable:
        return ImageFile("", 0, 0)


async def is_empty(there: Node, disk: DesiredDisk) -> bool:
    """Return whether nothing was ever written to a disk."""
    reply = await there.run(plain_command("qemu-img", "map", "-U", "-f", disk.format,
                                          "--output=json", "--", disk.path))
    return reply.exit_status == 0 and parse_empty(reply.stdout)


def parse_empty(text: str) -> bool:
    """Return whether `qemu-img map` shows an image without any data."""
    return not any(extent["data"] for extent in parse_json(text))


async def put_aside(there: Node, path: str, failed: str) -> None:
    """Give a stale file another name, beside its own."""
    reply = await there.run(script_command(ASIDE, path))
    if reply.exit_status != 0:
        raise failure(reply, f"{failed}: the stale {path} could not be put aside")


async def clear_away(there: Node, arrival: Arrival) -> None:
    """Delete the files that this very attempt made; they hold nothing that is not at the source."""
    if not arrival.made:
        return
    reply = await there.run(script_command(DROP, *arrival.made))
    if reply.exit_status != 0:
        raise failure(reply, f"{', '.join(arrival.made)} on {there.name} could not be removed"
                             " after a migration that did not happen")


SUFFIX: Final = ".moved"
RENAME: Final = 'for path in "$@"; do mv -fT -- "$path" "$path.moved" || exit 1; done'


def parse_sources(domain: ET.Element, disks: tuple[DesiredDisk, ...]) -> tuple[str, ...]:
    """Return the files that lie behind `disks` in a domain's definition."""
    found = []
    for disk in disks:
        element = find_disk(domain, disk.target)
        source = None if element is None else element.find("source")
        if source is not None and source.get("file"):
            found.append(source.get("file", ""))
    return tuple(found)


async def leave_behind(node: Node, sources: tuple[str, ...]) -> str:
    """Rename the old copies on `node`; return what is to be said of them.

    Errors: none: the move is done, and a copy that kept its name is only said.
    """
    try:
        uses = await find_uses(node)
        old = tuple(path for path in sources if not any(use.concerns(path) for use in uses))
        if not old:
            return ""
        reply = await node.run(script_command(RENAME, *old))
    except ActionError as error:
        return f"; its old copy there keeps its name ({error})"
    if reply.exit_status != 0:
        return f"; its old copy there keeps its name ({parse_complaint(reply.stderr)})"
    return f"; its old copy there is now {', '.join(f'{path}{SUFFIX}' for path in old)}"
