"""The media in a moving domain's drives: the same file must be at the destination.

Live migration copies no CD-ROM and no floppy. A small medium that is missing there is copied; a
large one, or another file of the same path, refuses the migration.
"""

from typing import Final

from controller.errors import Refused
from controller.plan.machine.device_support import CARRIED_BYTES
from controller.providers.libvirt.disk import is_absent
from controller.providers.libvirt.virsh import failure, parse_complaint
from controller.providers.node import Node, plain_command, script_command

SUM_TIMEOUT_S: Final = 1800.0
TOO_LARGE, NO_FOLDER = 77, 78
SEND: Final = """
[ "$(stat -L -c %s -- "$1")" -le "$2" ] || exit 77
exec cat -- "$1"
"""
# The file gets its name by a link, which fails if the name is taken by now.
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


async def bring_media(node: Node, target: Node, media: tuple[str, ...], failed: str) -> None:
    """Make sure that each medium is the same file at the destination; copy a small one if missing.

    Errors: Refused when another file has its path there, or when it is missing and large.
    """
    for path in media:
        ours, theirs = await _sum_of(node, path, failed), await _sum_of(target, path, failed)
        if not ours:
            raise Refused(f"{failed}: {path}, which is in its drive, is not on {node.name}:"
                          " eject it")
        if not theirs:
            await _bring(node, target, (path, ours), failed)
            theirs = ours
        if ours != theirs:
            raise Refused(f"{failed}: {path}, which is in its drive, is another file there: copy"
                          f" it from {node.name}, or eject it")


async def _bring(node: Node, target: Node, medium: tuple[str, str], failed: str) -> None:
    """Copy a small file of that checksum to the other host through the controller.

    No file there is overwritten.
    """
    path, checksum = medium
    sent, taken = await node.transport.relay(
        (node.name, script_command(SEND, path, str(CARRIED_BYTES), timeout_s=SUM_TIMEOUT_S)),
        (target.name, script_command(TAKE, path, checksum, timeout_s=SUM_TIMEOUT_S)))
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
    """Return the checksum of a file, empty if it does not exist."""
    reply = await node.run(plain_command("sha256sum", "-z", "--", path, timeout_s=SUM_TIMEOUT_S))
    if is_absent(reply):
        return ""
    if reply.exit_status != 0:
        raise Refused(f"{failed}: {path}, which is in its drive, cannot be read on {node.name}"
                      f" ({parse_complaint(reply.stderr)})")
    return reply.stdout.partition(" ")[0]
