"""What a moving domain takes along: its disks as they lie at the destination, and its media.

Rule 1: what the plan's table lets nobody move is refused by the running definition, too; the plan
        may have seen an older one.
"""

import xml.etree.ElementTree as ET
from typing import Final

from controller.errors import Refused
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.plan.machine.device_support import CARRIED_BYTES, move_blocker
from controller.providers.libvirt.disk import is_absent
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.virsh import failure, parse_complaint
from controller.providers.libvirt.xml.device import find_disk
from controller.providers.libvirt.xml.xml import remove_all
from controller.providers.node import Node, plain_command, script_command

OF_THIS_HOST: Final = ("backingStore", "mirror")
"""What a definition says of a disk's chain; what arrives is one file by itself."""
SUM_TIMEOUT_S: Final = 1800.0
TOO_LARGE, NO_FOLDER = 77, 78
SEND: Final = """
[ "$(stat -L -c %s -- "$1")" -le "$2" ] || exit 77
exec cat -- "$1"
"""
# It gets its name by a link, which fails where the name is taken by now.
TAKE: Final = """
set -e
[ -d "$(dirname -- "$1")" ] || { cat >/dev/null; exit 78; }
exec 9>>"$1.part"
flock -n 9
trap 'rm -f -- "$1.part"' EXIT
cat >"$1.part"
[ "$(sha256sum <"$1.part" | cut -d' ' -f1)" = "$2" ]
sync -- "$1.part"
ln -T -- "$1.part" "$1"
"""


def refuse_immovable(domain: ET.Element, action: MigrateDomain, failed: str) -> None:
    """Refuse a domain with anything that cannot be moved, by name."""
    declared = frozenset(disk.target for disk in action.disks)
    stay = declared - {disk.target for disk in action.copied}
    why = move_blocker(declared, parse_config(domain, {}), stay)
    if why:
        raise Refused(f"{failed}: {why}")


def move_disk(domain: ET.Element, disk: DesiredDisk) -> bool:
    """Put a disk where it lies at the destination; return whether anything is said otherwise then.
    """
    element = find_disk(domain, disk.target)
    source = None if element is None else element.find("source")
    if element is None or source is None:
        return False
    assert element.get("type", "file") == "file", "the table lets nothing else be copied"
    before = ET.tostring(element)
    for tag in OF_THIS_HOST:
        if any(len(found) for found in element.findall(tag)):
            remove_all(element, tag)
    for tag in ("dataStore", "slices"):
        remove_all(source, tag)
    source.set("file", disk.path)
    return ET.tostring(element) != before


async def bring_media(node: Node, there: Node, media: tuple[str, ...], failed: str) -> None:
    """See that what is in the domain's drives is the same file there; a small one is brought.

    Errors: Refused where another file has its path, or it is large and missing.
    """
    for path in media:
        ours, theirs = await _sum_of(node, path, failed), await _sum_of(there, path, failed)
        if not ours:
            raise Refused(f"{failed}: {path}, which is in its drive, is not on {node.name}:"
                          " eject it")
        if not theirs:
            await _bring(node, there, (path, ours), failed)
            theirs = ours
        if ours != theirs:
            raise Refused(f"{failed}: {path}, which is in its drive, is another file there: copy"
                          f" it from {node.name}, or eject it")


async def _bring(node: Node, there: Node, medium: tuple[str, str], failed: str) -> None:
    """Copy a small file, of that checksum, to the other host, through here, over no other file."""
    path, checksum = medium
    sent, taken = await node.transport.relay(
        (node.name, script_command(SEND, path, str(CARRIED_BYTES), timeout_s=SUM_TIMEOUT_S)),
        (there.name, script_command(TAKE, path, checksum, timeout_s=SUM_TIMEOUT_S)))
    if sent.exit_status == TOO_LARGE:
        raise Refused(f"{failed}: {path}, which is in its drive, is not there and is too large to"
                      " be brought along: copy it there, or eject it")
    if taken.exit_status == NO_FOLDER:
        raise Refused(f"{failed}: there is no folder for {path}, which is in its drive: make it"
                      " there, or eject it")
    for reply in (sent, taken):
        if reply.exit_status != 0:
            raise failure(reply, f"{failed}: {path}, which is in its drive, could not be brought")


async def _sum_of(node: Node, path: str, failed: str) -> str:
    """Return the checksum of a file, empty where there is none."""
    reply = await node.run(plain_command("sha256sum", "-z", "--", path, timeout_s=SUM_TIMEOUT_S))
    if is_absent(reply):
        return ""
    if reply.exit_status != 0:
        raise Refused(f"{failed}: {path}, which is in its drive, cannot be read on {node.name}"
                      f" ({parse_complaint(reply.stderr)})")
    return reply.stdout.partition(" ")[0]
