"""The hand for guests' ports: put a port back on its guest's VLAN."""

from controller.errors import Refused
from controller.plan.actions.network import SetPortVlan, access_columns
from controller.providers.node import Node, safe_word
from controller.providers.openvswitch.facts import parse_table
from controller.providers.openvswitch.ovs import failure, ovs, ovs_command
from controller.transport.base import Command
from controller.transport.json_text import parse_json


def attached_mac_command(port: str) -> Command:
    """Return the command that reads which guest's card a port belongs to."""
    return ovs_command("--format=json", "--columns=external_ids", "list", "Interface", port)


def parse_attached_mac(text: str) -> str | None:
    """Return the MAC of the guest's card at a port, None if it is not a guest's port."""
    rows = parse_table(parse_json(text))
    return rows[0]["external_ids"].get("attached-mac", "").lower() or None


async def set_port_vlan(node: Node, action: SetPortVlan) -> str:
    """Put a guest's live port back on its VLAN, if it is still that guest's port.

    Port names are numbered in order of creation: another guest may have the name by now.
    """
    port = safe_word(action.port, "port")
    vlan = "no VLAN" if action.vlan is None else f"VLAN {action.vlan}"
    failed = f"{port} on {node.name} was not put on {vlan}"
    reply = await node.run(attached_mac_command(port))
    if reply.exit_status != 0 and "no row" in reply.stderr:
        raise Refused(f"{failed}: there is no such port any more")
    if reply.exit_status != 0:
        raise failure(reply, failed)
    mac = parse_attached_mac(reply.stdout)
    if mac != action.mac.lower():
        raise Refused(f"{failed}: it now belongs to {mac or 'no guest'}, not to {action.mac}")
    await ovs(node, "set", "Port", port, *access_columns(action.vlan), failed=failed)
    return f"put {port} ({action.mac}) on {node.name} on {vlan}"
