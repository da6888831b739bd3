"""The disks of a moving domain: empty ones made at the destination, old ones renamed at the source.

Rule 1: no existing file at the destination is written to or deleted; a stale one is renamed.
Rule 2: what the plan's table of devices does not let move is refused here, too, by the running
        definition: the plan may have seen an older one.
"""

import posixpath
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from typing import Final

from controller.errors import ActionError, Refused
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.plan.machine.device_support import move_blocker
from controller.providers.libvirt.disk import ImageFile, Unreadable, find_image, make
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.reconfigure import parse_capacity
from controller.providers.libvirt.used_files import UsedFile, find_used_files
from controller.providers.libvirt.virsh import failure, parse_complaint, virsh
from controller.providers.libvirt.xml.device import find_disk, source_of
from controller.providers.libvirt.xml.xml import remove_all
from controller.providers.node import Node, plain_command, script_command
from controller.transport.json_text import parse_json

OF_THIS_HOST: Final = ("backingStore", "mirror")
"""What a definition says of a disk's chain; the disk at the destination is a single file."""
RENAME_STALE: Final = """
number=1
while [ -e "$1.stale-$number" ]; do number=$((number + 1)); done
ln -T -- "$1" "$1.stale-$number" && rm -- "$1" && printf '%s' "$1.stale-$number"
"""
SUFFIX: Final = ".moved"
RENAME_OLD: Final = 'for path in "$@"; do mv -fT -- "$path" "$path.moved" || exit 1; done'
DELETE: Final = 'for path in "$@"; do rm -f -- "$path"; done'


@dataclass(frozen=True, slots=True)
class TargetDisks:
    """How much has to be copied, and the empty files made for it."""

    size_bytes: int
    paths: tuple[str, ...]
    """Of the files made in this attempt."""


async def create_target_disks(node: Node, target: Node, action: MigrateDomain) -> TargetDisks:
    """Make an empty disk at the destination for each disk to copy; on an error, delete them again.

    The sizes are those of the running disks, to the byte: a copy onto another size fails.
    """
    used = await find_used_files(target)
    made: list[str] = []
    total = 0
    try:
        for disk in action.copied:
            text = await virsh(node, "domblkinfo", "--", action.domain, disk.target,
                               failed=f"the size of {disk.target} of {action.domain} on"
                                      f" {node.name} could not be read")
            exact = replace(disk, size_bytes=parse_capacity(text), image_path=None)
            total += exact.size_bytes
            if await create_target_disk(target, action, exact, used):
                made.append(exact.path)
    except ActionError:
        await delete_created(target, TargetDisks(total, tuple(made)))
        raise
    return TargetDisks(total, tuple(made))


async def create_target_disk(target: Node, action: MigrateDomain, disk: DesiredDisk,
                             used: tuple[UsedFile, ...]) -> bool:
    """Make one empty disk; return False if an earlier attempt left just that."""
    domain = action.domain
    failed = f"{domain} was not moved to {target.name}"
    for use in used:
        if use.concerns(disk.path) and use.domain != domain:
            raise Refused(f"{failed}: {disk.path} {use.verb} used there by {use}")
    try:
        found = await find_image(target, disk.path, disk.format)
    except Unreadable:      # of another format: it cannot be the same
        found = ImageFile("", 0, 0)
    if found is not None:
        same = (found.format, found.size_bytes) == (disk.format, disk.size_bytes)
        if same and await is_empty(target, disk):
            return False
        names = {domain, action.target.partition("/")[2]}    # libvirt's name and the spec's
        if not any(posixpath.basename(disk.path).startswith(f"{name}-{disk.target}.")
                   for name in names):
            raise Refused(f"{failed}: {disk.path} is there already, and by its name it is not"
                          f" {domain}'s: move it away by hand")
        await rename_stale(target, disk.path, failed)
    await make(target, disk)
    return True


async def is_empty(target: Node, disk: DesiredDisk) -> bool:
    """Return whether a disk image holds no data."""
    reply = await target.run(plain_command("qemu-img", "map", "-U", "-f", disk.format,
                                          "--output=json", "--", disk.path))
    return reply.exit_status == 0 and not any(
        extent["data"] for extent in parse_json(reply.stdout))


async def rename_stale(target: Node, path: str, failed: str) -> None:
    """Rename a stale file to `PATH.stale-N`, in its folder."""
    reply = await target.run(script_command(RENAME_STALE, path))
    if reply.exit_status != 0:
        raise failure(reply, f"{failed}: the stale {path} could not be put aside")


async def delete_created(target: Node, created: TargetDisks) -> None:
    """Delete the files that this attempt made; all their data is at the source."""
    if not created.paths:
        return
    reply = await target.run(script_command(DELETE, *created.paths))
    if reply.exit_status != 0:
        raise failure(reply, f"{', '.join(created.paths)} on {target.name} could not be removed"
                             " after a migration that did not happen")


def parse_sources(domain: ET.Element, disks: tuple[DesiredDisk, ...]) -> tuple[str, ...]:
    """Return the files of `disks` in a domain's definition."""
    found = (find_disk(domain, disk.target) for disk in disks)
    return tuple(source_of(element) for element in found
                 if element is not None and source_of(element))


async def rename_old_copies(node: Node, sources: tuple[str, ...]) -> str:
    """Rename the old copies on `node` to `PATH.moved`; return a sentence about them.

    Errors: none: the move is done, and a copy that kept its name is only reported.
    """
    try:
        used = await find_used_files(node)
        old = tuple(path for path in sources if not any(use.concerns(path) for use in used))
        if not old:
            return ""
        reply = await node.run(script_command(RENAME_OLD, *old))
    except ActionError as error:
        return f"; its old copy there keeps its name ({error})"
    if reply.exit_status != 0:
        return f"; its old copy there keeps its name ({parse_complaint(reply.stderr)})"
    return f"; its old copy there is now {', '.join(f'{path}{SUFFIX}' for path in old)}"


def refuse_immovable(domain: ET.Element, action: MigrateDomain, failed: str) -> None:
    """Raise Refused if the domain has anything that cannot be moved; name it."""
    declared = frozenset(disk.target for disk in action.disks)
    stay = declared - {disk.target for disk in action.copied}
    why = move_blocker(declared, parse_config(domain, {}), stay)
    if why:
        raise Refused(f"{failed}: {why}")


def move_disk(domain: ET.Element, disk: DesiredDisk) -> bool:
    """Change a disk's definition to its path at the destination; return whether that differs."""
    element = find_disk(domain, disk.target)
    source = None if element is None else element.find("source")
    if element is None or source is None:
        return False
    assert element.get("type", "file") == "file", "the plan's table lets only files be copied"
    before = ET.tostring(element)
    for tag in OF_THIS_HOST:
        if any(len(found) for found in element.findall(tag)):
            remove_all(element, tag)
    for tag in ("dataStore", "slices"):
        remove_all(source, tag)
    source.set("file", disk.path)
    return ET.tostring(element) != before
