"""Hands for what of ours lies in domains: checkpoints and our mark.

Checkpoints are deleted with their bitmaps, or their metadata alone if need be. The mark goes, and
everything else of the domain stays as it is.
"""

from typing import Final

from controller.plan.actions.leaving import RemoveMark
from controller.plan.actions.replica import DropCheckpoints
from controller.providers.libvirt.virsh import CONNECT, failure
from controller.providers.libvirt.xml.xml import NAMESPACE
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

# A domain has two definitions, or one; whether the mark is gone is read, not concluded. What
# libvirt may keep is the bare name of our namespace at <metadata>, which says nothing.
REMOVE: Final = """
connect=$1 uuid=$2 uri=$3 said=
for which in --config --live; do
  more=$(virsh -q -c "$connect" metadata "$uuid" "$uri" --remove $which 2>&1) || said="$said $more"
done
for flags in --inactive ''; do
  xml=$(virsh -q -c "$connect" dumpxml "$uuid" $flags) || exit 1
  if printf '%s\\n' "$xml" | grep -Eq '<[[:alnum:]_-]+:vm( [^>]*)? estate='; then
    echo "error: its mark is still there:$said" >&2; exit 1
  fi
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


async def remove_mark(node: Node, action: RemoveMark) -> str:
    """Take our mark out of both definitions of a domain."""
    reply = await node.run(script_command(REMOVE, CONNECT, action.uuid, NAMESPACE,
                                          timeout_s=60.0))
    if reply.exit_status != 0:
        raise failure(reply, f"the mark of {action.domain} on {node.name} was not removed")
    return f"{action.domain} on {node.name} bears no mark of ours any more"
