"""Files that an action requires, checked by the very command that acts.

A file that was seen a moment ago may be gone by now.
"""

import xml.etree.ElementTree as ET
from typing import Final

from controller.errors import Refused
from controller.providers.libvirt.virsh import CONNECT, failure, find_xml
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import Node, script_command

MISSING: Final = 76
"""Exit status when a file is missing; nothing was done then."""
REQUIRE_FILES: Final = """
count=$1; shift
while [ "$count" -gt 0 ]; do
    [ -e "$1" ] || { printf '%s' "$1" >&2; exit 76; }
    shift; count=$((count - 1))
done
exec "$@"
"""
INODES: Final = 'for path in "$@"; do stat -L -c %i -- "$path" 2>/dev/null || echo; done'


async def virsh_if_files(node: Node, files: tuple[str, ...], *words: str, failed: str,
                         text: str = "", timeout_s: float = 30.0) -> str:
    """Run virsh only if all of `files` exist, and return what it printed.

    Errors: Refused when a file is missing; else as `virsh`.
    """
    reply = await node.run(script_command(
        REQUIRE_FILES, str(len(files)), *files, "virsh", "-q", "-c", CONNECT, *words,
        text=text, timeout_s=timeout_s))
    if reply.exit_status == MISSING:
        raise Refused(f"{failed}: {reply.stderr} is not there any more")
    if reply.exit_status != 0:
        raise failure(reply, failed)
    return reply.stdout


async def require_same_files(node: Node, target: Node, paths: tuple[tuple[str, str], ...],
                             failed: str) -> None:
    """Raise Refused unless each file is the same one on both hosts: storage that they share.

    `paths`: each file's path on `node`, and its path on `target`.
    """
    if not paths:
        return
    here = await inode_numbers(node, tuple(path for path, _ in paths))
    far = await inode_numbers(target, tuple(path for _, path in paths))
    for (path, place), one, other in zip(paths, here, far, strict=True):
        if not one:
            raise Refused(f"{failed}: {path} is not on {node.name} any more")
        if not other:
            raise Refused(f"{failed}: {place} is not there: mount the pool that they share")
        if one != other:
            raise Refused(f"{failed}: {place} there is another file than {path} on {node.name},"
                          " although their pool is declared shared: mount the same storage on both")


async def inode_numbers(node: Node, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return each file's inode number, empty for a missing one."""
    reply = await node.run(script_command(INODES, *paths))
    if reply.exit_status != 0:
        raise failure(reply, f"{', '.join(paths)} on {node.name} could not be looked at")
    return tuple(reply.stdout.split("\n")[:len(paths)])


async def written_files(node: Node, domain: str) -> tuple[str, ...]:
    """Return the files that a domain's running guest writes to; none if there is no such domain."""
    text = await find_xml(node, domain, inactive=False)
    disks = [] if text is None else parse_xml(text).findall("devices/disk")
    return tuple(file for disk in disks for file in written_file(disk))


def written_file(device: ET.Element) -> tuple[str, ...]:
    """Return the file that a guest writes to through a device; none for most devices."""
    source = device.find("source")
    if (device.tag != "disk" or device.get("device", "disk") != "disk" or source is None
            or device.find("readonly") is not None or not source.get("file")):
        return ()
    return (source.get("file", ""),)
