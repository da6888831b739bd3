"""Hands for checkpoints of ours: they go with their records, or as a mere note where those cannot.
"""

from typing import Final

from controller.plan.actions.replica import DropCheckpoints
from controller.providers.libvirt.virsh import CONNECT, failure
from controller.providers.node import Node, script_command

TIMEOUT_S: Final = 300.0
# libvirt takes the record in the image along only while the guest runs. At rest qemu-img does that,
# and QEMU's own lock refuses it where anybody has the image open.
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
    """Delete checkpoints of ours; those that are gone are done."""
    reply = await node.run(script_command(
        DROP, CONNECT, action.uuid, str(len(action.checkpoints)), *action.checkpoints,
        *action.paths, timeout_s=TIMEOUT_S))
    what = f"{', '.join(action.checkpoints)} of {action.domain} on {node.name}"
    if reply.exit_status != 0:
        raise failure(reply, f"{what} did not all go")
    return f"removed {what}"
