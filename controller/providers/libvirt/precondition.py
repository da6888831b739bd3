"""What an action stands on, looked at by the very command that acts: a file that was seen a moment
ago may be gone.
"""

import xml.etree.ElementTree as ET
from typing import Final

from controller.errors import Refused
from controller.providers.libvirt.virsh import CONNECT, failure, find_xml
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import Node, script_command

GONE: Final = 76
"""The exit status where a file is not there; nothing was done then."""
STANDING: Final = """
count=$1; shift
while [ "$count" -gt 0 ]; do
    [ -e "$1" ] || { printf '%s' "$1" >&2; exit 76; }
    shift; count=$((count - 1))
done
exec "$@"
"""
IDENTITIES: Final = 'for path in "$@"; do stat -L -c %i -- "$path" 2>/dev/null || echo; done'


async def virsh_on(node: Node, files: tuple[str, ...], *words: str, failed: str, text: str = "",
                   timeout_s: float = 30.0) -> str:
    """Return what virsh printed, which is begun only where all of `files` are there.

    Errors: Refused when one is not; else as `virsh`.
    """
    reply = await node.run(script_command(
        STANDING, str(len(files)), *files, "virsh", "-q", "-c", CONNECT, *words,
        text=text, timeout_s=timeout_s))
    if reply.exit_status == GONE:
        raise Refused(f"{failed}: {reply.stderr} is not there any more")
    if reply.exit_status != 0:
        raise failure(reply, failed)
    return reply.stdout


async def refuse_other_files(node: Node, there: Node, paths: tuple[tuple[str, str], ...],
                             failed: str) -> None:
    """Refuse unless each file is the same one, here and by its path there: storage that is shared.
    """
    if not paths:
        return
    here = await identities(node, tuple(path for path, _ in paths))
    far = await identities(there, tuple(path for _, path in paths))
    for (path, place), one, other in zip(paths, here, far, strict=True):
        if not one:
            raise Refused(f"{failed}: {path} is not on {node.name} any more")
        if not other:
            raise Refused(f"{failed}: {place} is not there: mount the pool that they share")
        if one != other:
            raise Refused(f"{failed}: {place} there is another file than {path} on {node.name},"
                          " although their pool is declared shared: mount the same storage on both")


async def identities(node: Node, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return each file's number in its file system, empty where it is not there."""
    reply = await node.run(script_command(IDENTITIES, *paths))
    if reply.exit_status != 0:
        raise failure(reply, f"{', '.join(paths)} on {node.name} could not be looked at")
    return tuple(reply.stdout.split("\n")[:len(paths)])


async def own_files(node: Node, domain: str) -> tuple[str, ...]:
    """Return the files that a domain writes to as it runs now; none when it is not there."""
    text = await find_xml(node, domain, inactive=False)
    return () if text is None else parse_own_files(parse_xml(text))


def parse_own_files(domain: ET.Element) -> tuple[str, ...]:
    """Return the files of the disks that hold what a domain wrote."""
    return tuple(file for disk in domain.findall("devices/disk") for file in own_file(disk))


def own_file(device: ET.Element) -> tuple[str, ...]:
    """Return the file that a device keeps what was written to it in; none for most devices."""
    source = device.find("source")
    if (device.tag != "disk" or device.get("device", "disk") != "disk" or source is None
            or device.find("readonly") is not None or not source.get("file")):
        return ()
    return (source.get("file", ""),)
