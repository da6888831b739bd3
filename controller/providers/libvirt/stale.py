"""Ends copies of VMs that were promoted elsewhere: they are of an older epoch."""

from controller.errors import OutcomeUnknown, Refused
from controller.plan.actions.failover import EndStaleDomain
from controller.providers.libvirt.domain import DESTROY_TIMEOUT_S
from controller.providers.libvirt.facts import parse_ownership
from controller.providers.libvirt.virsh import OFF, failure, find_state, find_xml, virsh_command
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import Node


async def end_stale(node: Node, action: EndStaleDomain) -> str:
    """End a domain at once, if it still is the copy of the older epoch.

    QEMU is asked to end first, so that it stores what tells its changes since the last point.
    """
    failed = f"{action.domain} was not ended on {node.name}"
    text = await find_xml(node, action.uuid, inactive=False)
    if text is None:
        return f"{action.domain} is not on {node.name} any more"
    mark = parse_ownership(parse_xml(text))
    epoch = 0 if mark is None else mark.epoch
    if epoch != action.epoch:
        raise Refused(f"{failed}: it has epoch {epoch} by now, and epoch {action.epoch} was to end")
    for manner in (("--graceful",), ()):
        state = await find_state(node, action.uuid)
        if state is None or state in OFF:
            break
        reply = await node.run(virsh_command("destroy", *manner, "--", action.uuid,
                                             timeout_s=DESTROY_TIMEOUT_S))
    state = await find_state(node, action.uuid)
    if state is not None and state not in OFF:
        if reply.exit_status == 0:
            raise OutcomeUnknown(f"{action.domain} on {node.name} was ended, yet it is {state};"
                                 " it is looked at again")
        raise failure(reply, failed)
    return f"ended the copy of {action.domain} with epoch {epoch} on {node.name}; its disks stay"
