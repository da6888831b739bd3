"""Hands for files that are set aside: renamed, given back, and finally deleted.

Rule 1: no file is overwritten, and a file that a domain of the host uses keeps its name.
"""

import posixpath
from typing import Final

from controller.errors import Refused
from controller.model.units import render_duration
from controller.plan.actions.storage import PurgeFiles, ReturnDisk
from controller.plan.machine.removal import parse_aside
from controller.providers.libvirt.used_files import find_used_files
from controller.providers.libvirt.virsh import failure
from controller.providers.node import Node, script_command

TIMEOUT_S: Final = 300.0
# Repeatable: a file that has its new name already is done. `mv -n` reports no error when it does
# nothing, so the result is checked.
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
    """Append `suffix` to the names of files; missing files are ignored."""
    reply = await node.run(script_command(RENAME, suffix, "aside", *paths, timeout_s=TIMEOUT_S))
    if reply.exit_status != 0:
        raise failure(reply, f"{whose} is off on {node.name}, but its disks are not set aside")


async def return_disk(node: Node, action: ReturnDisk) -> str:
    """Give a file that was set aside its old name again."""
    reply = await node.run(script_command(RENAME, action.suffix, "back", action.path,
                                          timeout_s=TIMEOUT_S))
    if reply.exit_status != 0:
        raise failure(reply, f"{action.path}{action.suffix} on {node.name} keeps its name")
    return f"{action.path} is back on {node.name}"


async def purge(node: Node, action: PurgeFiles) -> str:
    """Delete files that were set aside: ours by name, and used by no domain."""
    for path in action.paths:
        if posixpath.normpath(path) != path or parse_aside(posixpath.basename(path)) is None:
            raise Refused(f"nothing was deleted on {node.name}: {path!r} was not set aside by us")
    for use in await find_used_files(node):
        path = next((path for path in action.paths if use.concerns(path)), "")
        if path:
            raise Refused(f"nothing was deleted on {node.name}: {path} {use.verb} used by {use};"
                          " give the file another name")
    reply = await node.run(script_command(DELETE, str(round(action.least_age_s)), *action.paths,
                                          timeout_s=TIMEOUT_S))
    if reply.exit_status == YOUNG:
        raise Refused(f"nothing was deleted on {node.name}: by its own clock not all of it was set"
                      f" aside {render_duration(action.least_age_s)} ago; see which clock is wrong")
    if reply.exit_status != 0:
        raise failure(reply, f"not all files that were set aside on {node.name} are deleted")
    return f"deleted {', '.join(action.paths)} on {node.name}"
