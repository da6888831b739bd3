"""Hands for bridges and trunks: create a bridge, add an uplink, set the VLANs that pass."""

from typing import Final

from controller.plan.actions.desired import PortVlans
from controller.plan.actions.network import AddUplink, CreateBridge, NarrowTrunk, WidenTrunk
from controller.plan.survey.vlans import NOTHING_PASSES
from controller.providers.commit_confirm import Switch, change_port
from controller.providers.node import Node, safe_word, script_command
from controller.providers.openvswitch.ovs import NOT_RUNNING, describe_vlans, ovs

OURS: Final = Switch("openvswitch", "Open vSwitch", NOT_RUNNING)
# Without the kernel's openvswitch module a new bridge gets the userspace datapath.
KERNEL_MODULE: Final = "modprobe openvswitch 2>/dev/null; test -d /sys/module/openvswitch"


def create_words(action: CreateBridge, *, kernel: bool) -> tuple[str, ...]:
    """Return ovs-vsctl's arguments that create a bridge."""
    bridge = safe_word(action.bridge, "bridge")
    datapath = () if kernel else ("datapath_type=netdev",)
    rstp = f"rstp_enable={str(action.rstp).lower()}"
    return ("add-br", bridge, "--", "set", "Bridge", bridge, rstp, *datapath)


async def create_bridge(node: Node, action: CreateBridge) -> str:
    """Create the bridge, or set an existing one's spanning tree as declared."""
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
    """Return `on` or `off`."""
    return "on" if value else "off"


def columns_of(passing: PortVlans) -> dict[str, str]:
    """Return a port's columns for what passes."""
    return {"tag": "[]" if passing.tag is None else str(passing.tag),
            "trunks": ",".join(map(str, passing.vlans)) or "[]",
            "vlan_mode": passing.vlan_mode or "[]"}


def plugged_columns(action: AddUplink) -> dict[str, str]:
    """Return the columns of a new uplink."""
    vlans = set(action.vlans) | ({action.native} if action.native is not None else set())
    passing = () if action.every else tuple(sorted(vlans)) or NOTHING_PASSES
    if action.native:
        return columns_of(PortVlans(passing, action.native, "native-untagged"))
    return columns_of(PortVlans(passing, None, "trunk"))


async def add_uplink(node: Node, action: AddUplink) -> str:
    """Add a device to the bridge as a trunk; set it as a trunk if it is there already."""
    bridge, port = safe_word(action.bridge, "bridge"), safe_word(action.port, "port")
    passing = "every VLAN" if action.every else describe_vlans(action.vlans)
    failed = f"{port} was not plugged into {bridge} on {node.name}"
    if not await change_port(node, OURS, bridge, port, plugged_columns(action), failed):
        return f"{port} on {node.name} carries {passing} already"
    return f"{port} on {node.name} now carries {passing}, confirmed over a new connection"


async def set_trunk(node: Node, action: WidenTrunk | NarrowTrunk) -> str:
    """Change what passes on a port of the bridge, if that is still what was observed."""
    bridge, port = safe_word(action.bridge, "bridge"), safe_word(action.port, "port")
    passing = describe_passing(action.will_be)
    failed = f"{port} on {node.name} was not set to carry {passing}"
    before, after = columns_of(action.was), columns_of(action.will_be)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if not await change_port(node, OURS, bridge, port, changed, failed, before):
        return f"{port} on {node.name} carries {passing} already"
    return f"{port} on {node.name} now carries {passing}, confirmed over a new connection"


def describe_passing(passing: PortVlans) -> str:
    """Return a description of what passes."""
    if passing.vlan_mode == "access":
        return f"VLAN {passing.tag} without a tag"
    native = f", untagged frames as VLAN {passing.tag}" if passing.tag is not None else ""
    return ("every VLAN" if not passing.vlans else describe_vlans(passing.vlans)) + native
