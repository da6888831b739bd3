"""Hands for bridges and trunks: create one, plug an uplink in, let exactly some VLANs pass."""

from typing import Final

from controller.plan.actions import AddUplink, CreateBridge, SetTrunk
from controller.providers.node import Node, safe_word, script_command
from controller.providers.openvswitch.commit_confirm import change_port
from controller.providers.openvswitch.ovs import ovs, render_vlans, say_vlans

# A kernel without Open vSwitch's module gets the userspace datapath; a bridge that exists keeps
# the one it has.
KERNEL_MODULE: Final = "modprobe openvswitch 2>/dev/null; test -d /sys/module/openvswitch"


def create_words(action: CreateBridge, *, kernel: bool) -> tuple[str, ...]:
    """Return the words that create a bridge."""
    bridge = safe_word(action.bridge, "bridge")
    datapath = () if kernel else ("datapath_type=netdev",)
    rstp = f"rstp_enable={str(action.rstp).lower()}"
    return ("add-br", bridge, "--", "set", "Bridge", bridge, rstp, *datapath)


async def create_bridge(node: Node, action: CreateBridge) -> str:
    """Create the bridge, or bring an existing one's spanning tree to what is declared."""
    bridge = safe_word(action.bridge, "bridge")
    failed = f"bridge {bridge} was not created on {node.name}"
    found = await ovs(node, "list-br", failed=failed)
    if bridge in found.split():
        await ovs(node, "set", "Bridge", bridge, f"rstp_enable={str(action.rstp).lower()}",
                  failed=f"bridge {bridge} on {node.name} keeps its spanning tree")
        return f"{node.name} has bridge {bridge}; its spanning tree is {on_or_off(action.rstp)}"
    kernel = (await node.run(script_command(KERNEL_MODULE))).exit_status == 0
    await ovs(node, *create_words(action, kernel=kernel), failed=failed)
    where = "in the kernel" if kernel else "in user space: the kernel has no Open vSwitch"
    return f"created bridge {bridge} on {node.name}, {where}"


def on_or_off(value: bool) -> str:
    """Return a switch's position in words."""
    return "on" if value else "off"


def trunk_columns(vlans: tuple[int, ...]) -> dict[str, str]:
    """Return the columns of a port that lets exactly `vlans` pass, tagged."""
    return {"tag": "[]", "trunks": render_vlans(vlans), "vlan_mode": "trunk"}


async def set_trunk(node: Node, action: SetTrunk | AddUplink) -> str:
    """Let exactly the declared VLANs pass on a port that is, or becomes, part of the bridge."""
    bridge, port = safe_word(action.bridge, "bridge"), safe_word(action.port, "port")
    passing = say_vlans(action.vlans)
    failed = f"{port} on {node.name} was not set to carry {passing}"
    changed = await change_port(node, bridge, port, trunk_columns(action.vlans), failed)
    if not changed:
        return f"{port} on {node.name} carries {passing} and nothing else already"
    return (f"{port} on {node.name} now carries {passing} and nothing else,"
            " confirmed over a new connection")
