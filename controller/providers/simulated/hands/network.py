"""Bridges, trunks and guest ports, changed as ovs-vsctl changes them."""

from controller.errors import OutcomeUnknown, Refused, Unavailable, Undone
from controller.plan.actions.desired import PortVlans
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.plan.actions.network import (
    AddUplink,
    CreateBridge,
    NarrowTrunk,
    SetPortVlan,
    WidenTrunk,
)
from controller.plan.network.port_vlans import frames_of
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.world import Bridge, Node, Port, World

CONFIRM_WITHIN_S = 30.0
"""A change that the controller has not confirmed by then is undone by the node itself."""
RETRY_S = 1.0


def create_bridge(world: World, action: CreateBridge) -> Effect:
    """Create a bridge; one that is there already is left as it is."""
    yield Wait(0.1)
    node = world.node(action.node)
    if action.bridge in node.bridges:
        node.bridges[action.bridge].rstp = action.rstp
        return f"{action.bridge} was there already on {node.name}"
    node.bridges[action.bridge] = Bridge(action.bridge, action.rstp)
    return f"created bridge {action.bridge} on {node.name}"


def add_uplink(world: World, action: AddUplink) -> Effect:
    """Add a physical interface as a trunk, and remove it again unless confirmed."""
    yield Wait(0.1)
    node = world.node(action.node)
    if action.port not in node.interfaces:
        raise Refused(f"{node.name} has no interface {action.port}")
    bridge = _bridge(node, action.bridge)
    vlans = set(action.vlans) | ({action.native} if action.native is not None else set())
    port = Port(action.port, trunks=() if action.every else tuple(sorted(vlans)) or (0,),
                vlan_mode="native-untagged" if action.native else "trunk",
                tag=action.native or None)
    before = bridge.ports.get(action.port)
    if before is not None and before != port:
        raise Refused(f"{node.name}: {action.port} has changed since it was looked at")
    return (yield from _change(world, node, bridge, port))


def set_trunk(world: World, action: WidenTrunk | NarrowTrunk) -> Effect:
    """Let other VLANs pass, and undo that unless confirmed."""
    yield Wait(0.1)
    node = world.node(action.node)
    bridge = _bridge(node, action.bridge)
    before = bridge.ports.get(action.port)
    if before is None:
        raise Refused(f"{node.name}: no port named {action.port} in {bridge.name}")
    after = Port(action.port, action.will_be.tag, action.will_be.vlans, action.will_be.vlan_mode)
    was = PortVlans(before.trunks, before.tag, before.vlan_mode)
    # Linux keeps the frames that pass, Open vSwitch the columns that say so
    as_seen = frames_of(was) == frames_of(action.was) if node.linux else was == action.was
    if before != after and not as_seen:
        raise Refused(f"{node.name}: {action.port} has changed since it was looked at")
    return (yield from _change(world, node, bridge, after))


def set_port_vlan(world: World, action: SetPortVlan) -> Effect:
    """Put a guest's port back on its VLAN."""
    yield Wait(0.1)
    node = world.node(action.node)
    port = _bridge(node, action.bridge).ports.get(action.port)
    if port is None or port.mac != action.mac:
        raise Refused(f"{node.name}: {action.port} is not the port of {action.mac} any more")
    port.tag, port.trunks, port.vlan_mode = action.vlan, (), "access"
    return f"put {action.port} of {node.name} on VLAN {action.vlan}"


def drop_addresses(world: World, action: DropAddresses) -> Effect:
    """Drop frames by their source."""
    yield Wait(0.1)
    bridge = _bridge(world.node(action.node), action.bridge)
    for port in action.ports:
        if port not in bridge.ports:
            raise Refused(f"{action.node}: no port named {port} in {bridge.name}")
    bridge.drops |= {(port, mac.lower()): action.epoch
                     for port in action.ports for mac in action.macs}
    return f"{action.node} drops the frames of {', '.join(action.macs)}"


def admit_addresses(world: World, action: AdmitAddresses) -> Effect:
    """Let them pass again."""
    yield Wait(0.1)
    bridge = _bridge(world.node(action.node), action.bridge)
    admitted = {mac.lower() for mac in action.macs}
    bridge.drops = {(port, mac): epoch for (port, mac), epoch in bridge.drops.items()
                    if mac not in admitted}
    return f"{action.node} lets the frames of {', '.join(action.macs)} pass again"


def _bridge(node: Node, name: str) -> Bridge:
    if name not in node.bridges:
        raise Refused(f"{node.name}: no bridge named {name}")
    return node.bridges[name]


def _change(world: World, node: Node, bridge: Bridge, port: Port) -> Effect:
    """Change a port, and wait for the controller's confirmation over a new connection.

    Until then nobody else changes that port; without confirmation the node undoes the change.
    """
    before = bridge.ports.get(port.name)
    if before == port:
        return f"{node.name} has {port.name} like that already"
    if (node.name, port.name) in world.unconfirmed:
        raise Unavailable(f"{node.name}: an earlier change of {port.name} is not confirmed yet")
    bridge.ports[port.name] = port
    world.unconfirmed.add((node.name, port.name))
    world.notify(node.name)
    try:
        yield from _confirmed(node)
    except OutcomeUnknown as error:
        if not node.powered:
            raise
        if before is None:
            bridge.ports.pop(port.name, None)
        else:
            bridge.ports[port.name] = before
        world.notify(node.name)
        raise Undone(f"{port.name} of {node.name} was changed, {node.name} could not be reached any"
                     f" more ({error}), and it undid it by itself") from error
    finally:
        world.unconfirmed.discard((node.name, port.name))
    vlans = ", ".join(map(str, port.trunks)) or "every"
    return f"{port.name} of {node.name} now carries VLANs {vlans}"


def _confirmed(node: Node) -> Effect:
    """Let the controller try to connect, again and again until the time is over."""
    boot, waited_s = node.boot, 0.0
    while True:
        try:
            yield Wait(RETRY_S if waited_s else 0.2, command_ends=True)
        except OutcomeUnknown:
            waited_s += RETRY_S
            if waited_s >= CONFIRM_WITHIN_S or not node.powered or node.boot != boot:
                raise
        else:
            return ""
