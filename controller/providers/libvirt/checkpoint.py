"""Hands for our checkpoints: deleted with their bitmaps, or their metadata alone if need be."""

from typing import Final

from controller.plan.actions.replica import DropCheckpoints
from controller.providers.libvirt.virsh import CONNECT, failure
from controller.providers.node import Node, script_command

TIMEOUT_S: Final = 300.0
# libvirt deletes the bitmap in the image only while the guest runs. While it is off, qemu-img does
# that, and QEMU's lock refuses if anybody has the image open.
DROP: Final = """
connect=$1 uuid=$2 count=$3
shift 3
names=
while [ "$count" -gt 0 ]; do names="$names $1"; shift; count=$((count - 1)); done
for name in $names; do
    virsh -q -c "$connect" checkpoint-delete "$uuid" "$name" >/dev/null 2>&1 && continue
    there=$(virsh -q -c "$connect" checkpoint-list "$uuid" --name) || exit 1
    printf '%s\\n' "$there" | grep -Fxq -- "$name" || continue
    virsh -q -c "$connect" checkpoint-delete "$uuid" "$name" --metadata >/dev/null || exit 1
    for path in "$@"; do
        [ -f "$path" ] || continue
        qemu-img bitmap --remove -f qcow2 -- "$path" "$name" >/dev/null 2>&1 || true
    done
done
"""


async def drop_checkpoints(node: Node, action: DropCheckpoints) -> str:
    """Delete checkpoints of ours, if they still exist."""
    reply = await node.run(script_command(
        DROP, CONNECT, action.uuid, str(len(action.checkpoints)), *action.checkpoints,
        *action.paths, timeout_s=TIMEOUT_S))
    what = f"{', '.join(action.checkpoints)} of {action.domain} on {node.name}"
    if reply.exit_status != 0:
        raise failure(reply, f"{what} were not all removed")
    return f"removed {what}"
