"""What actions on gateways do to a switch."""

from controller.plan.actions.gateway import (
    BRIDGE,
    FAR,
    NEAR,
    AddGatewayPort,
    ConfigureGateways,
    DropGateways,
)
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.world import Bridge, Port, World

LISTENS_S = 4.0


def add_port(world: World, action: AddGatewayPort) -> Effect:
    """Give a switch a port of its own in a VLAN."""
    yield Wait(0.2)
    node = world.node(action.node)
    near = node.bridges[action.bridge].ports.setdefault(NEAR, Port(NEAR, vlan_mode="trunk"))
    near.trunks = tuple(sorted({*near.trunks, action.vlan}))
    ports = node.bridges.setdefault(BRIDGE, Bridge(BRIDGE)).ports
    ports[FAR], ports[action.port] = Port(FAR), Port(action.port, action.vlan, vlan_mode="access")
    node.own_addresses[action.port] = action.own
    return f"{node.name} has {action.own} on {action.port}"


def configure(world: World, action: ConfigureGateways) -> Effect:
    """Have a switch hold gateways."""
    yield Wait(LISTENS_S if action.fresh else 0.2)
    node = world.node(action.node)
    node.gateways = action.instances
    return f"keepalived of {node.name} goes by what is declared"


def drop(world: World, action: DropGateways) -> Effect:
    """Have a switch hold gateways no more."""
    yield Wait(0.2)
    node = world.node(action.node)
    node.gateways = action.instances
    kept = {one.port for one in action.instances}
    for one in action.dropped:
        if one.port not in kept:
            node.bridges[BRIDGE].ports.pop(one.port, None)
            node.own_addresses.pop(one.port, None)
    if not kept:
        node.bridges.pop(BRIDGE, None)
        node.bridges[action.bridge].ports.pop(NEAR, None)
    return f"keepalived of {node.name} holds less"
