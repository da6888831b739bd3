"""Hands for files that are set aside, given back, and deleted when nobody can want them any more.

Rule 1: nothing is ever written over, and a file that a domain of the host uses keeps its name.
"""

import posixpath
from typing import Final

from controller.errors import Refused
from controller.model.units import render_duration
from controller.plan.actions.storage import PurgeFiles, ReturnDisk
from controller.plan.machine.removal import parse_aside
from controller.providers.libvirt.usage import find_uses
from controller.providers.libvirt.virsh import failure
from controller.providers.node import Node, script_command

TIMEOUT_S: Final = 300.0
# One that was cut off is done again: what has its new name already is done. `mv -n` says nothing
# where it does nothing, so it is looked at afterwards.
RENAME: Final = """
suffix=$1 way=$2
shift 2
for path in "$@"; do
    old=$path new=$path$suffix
    [ "$way" = aside ] || { old=$path$suffix new=$path; }
    if [ ! -e "$old" ] && { [ -e "$new" ] || [ "$way" = aside ]; }; then continue; fi
    [ -f "$old" ] || { echo "$old is no file" >&2; exit 1; }
    [ ! -e "$new" ] || { echo "$new is there already" >&2; exit 1; }
    mv -nT -- "$old" "$new" || exit 1
    [ ! -e "$old" ] || { echo "$new is there already" >&2; exit 1; }
    sync -- "$(dirname -- "$new")"
done
"""
YOUNG: Final = 3
DELETE: Final = """
least=$1
shift
for path in "$@"; do
    [ -e "$path" ] || continue
    [ -f "$path" ] || { echo "$path is no file" >&2; exit 1; }
    age=$(($(date +%s) - $(stat -c %Z -- "$path"))) || exit 1
    [ "$age" -ge "$least" ] || exit 3
done
rm -f -- "$@"
"""


async def set_aside(node: Node, paths: tuple[str, ...], suffix: str, whose: str) -> None:
    """Put `suffix` behind the names of files; those that are not there have nothing to lose."""
    reply = await node.run(script_command(RENAME, suffix, "aside", *paths, timeout_s=TIMEOUT_S))
    if reply.exit_status != 0:
        raise failure(reply, f"{whose} is off on {node.name}, but its disks are not set aside")


async def return_disk(node: Node, action: ReturnDisk) -> str:
    """Give a file that was set aside its old name back."""
    reply = await node.run(script_command(RENAME, action.suffix, "back", action.path,
                                          timeout_s=TIMEOUT_S))
    if reply.exit_status != 0:
        raise failure(reply, f"{action.path}{action.suffix} on {node.name} keeps its name")
    return f"{action.path} is back on {node.name}"


async def purge(node: Node, action: PurgeFiles) -> str:
    """Delete files that were set aside; all of them are ours by name, and nobody's disk."""
    for path in action.paths:
        if posixpath.normpath(path) != path or parse_aside(posixpath.basename(path)) is None:
            raise Refused(f"nothing was deleted on {node.name}: {path!r} was not set aside by us")
    for use in await find_uses(node):
        used = next((path for path in action.paths if use.concerns(path)), None)
        if used is not None:
            raise Refused(f"nothing was deleted on {node.name}: {used} {use.verb} used by {use};"
                          " give the file another name")
    reply = await node.run(script_command(DELETE, str(round(action.least_age_s)), *action.paths,
                                          timeout_s=TIMEOUT_S))
    if reply.exit_status == YOUNG:
        raise Refused(f"nothing was deleted on {node.name}: by its own clock not all of it was set"
                      f" aside {render_duration(action.least_age_s)} ago; see which clock is wrong")
    if reply.exit_status != 0:
        raise failure(reply, f"not all files that were set aside on {node.name} are deleted")
    return f"deleted {', '.join(action.paths)} on {node.name}"
