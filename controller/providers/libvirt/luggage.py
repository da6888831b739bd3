"""What a moving domain takes along: its disks as they lie at the destination, and its media.

Rule 1: what the plan's table lets nobody move is refused by the running definition, too; the plan
        may have seen an older one.
"""

import xml.etree.ElementTree as ET
from typing import Final

from controller.errors import Refused
from controller.plan.actions import MigrateDomain
from controller.plan.parts import immovable
from controller.plan.wishes import DiskWish
from controller.providers.libvirt.device_xml import find_disk
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.virsh import parse_complaint
from controller.providers.libvirt.xml import remove_all
from controller.providers.node import Node, plain_command

OF_THIS_HOST: Final = ("backingStore", "mirror")
"""What a definition says of a disk's chain; what arrives is one file by itself."""
SUM_TIMEOUT_S: Final = 1800.0


def refuse_immovable(domain: ET.Element, action: MigrateDomain, failed: str) -> None:
    """Refuse a domain with anything that cannot be moved, by name."""
    declared = frozenset(disk.target for disk in action.disks)
    stay = declared - {disk.target for disk in action.copied}
    why = immovable(declared, parse_config(domain, {}), stay)
    if why:
        raise Refused(f"{failed}: {why}")


def move_disk(domain: ET.Element, disk: DiskWish) -> bool:
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


async def refuse_other_media(node: Node, there: Node, media: tuple[str, ...],
                             failed: str) -> None:
    """Refuse a move to a host where what is in the domain's drives is missing, or is another file.
    """
    for path in media:
        ours, theirs = await _sum_of(node, path, failed), await _sum_of(there, path, failed)
        if ours != theirs:
            raise Refused(f"{failed}: {path}, which is in its drive, is another file there: copy"
                          f" it from {node.name}, or eject it")


async def _sum_of(node: Node, path: str, failed: str) -> str:
    reply = await node.run(plain_command("sha256sum", "-z", "--", path, timeout_s=SUM_TIMEOUT_S))
    if reply.exit_status != 0:
        raise Refused(f"{failed}: {path}, which is in its drive, cannot be read on {node.name}"
                      f" ({parse_complaint(reply.stderr)}): copy it there, or eject it")
    return reply.stdout.partition(" ")[0]
