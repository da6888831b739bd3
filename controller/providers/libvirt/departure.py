"""What a domain that moved away with its disks leaves behind: one old copy of each, under a name
that nothing takes for the disk.

Rule 1: a file that any domain of the host still uses keeps its name.
Rule 2: the copy of the last departure replaces that of the one before; both are older than the
        disk itself, and a host that machines come and go on must not fill up.
"""

import xml.etree.ElementTree as ET
from typing import Final

from controller.errors import ActionError
from controller.plan.wishes import DiskWish
from controller.providers.libvirt.device_xml import find_disk
from controller.providers.libvirt.usage import find_uses
from controller.providers.libvirt.virsh import parse_complaint
from controller.providers.node import Node, script_command

SUFFIX: Final = ".moved"
RENAME: Final = 'for path in "$@"; do mv -fT -- "$path" "$path.moved" || exit 1; done'


def parse_sources(domain: ET.Element, disks: tuple[DiskWish, ...]) -> tuple[str, ...]:
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
