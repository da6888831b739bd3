"""keepalived on simulated switches: whom each hears, and which of them holds an address."""

from controller.model.facts import InterfaceFacts
from controller.model.linux.keepalived import ConfigState, KeepalivedFacts, VrrpInstance
from controller.providers.simulated.world import Node, World

VERSION = "2.2.7"


def holds(world: World, node: Node, instance: VrrpInstance) -> bool:
    """Return whether a switch holds a gateway: nobody it hears has a higher priority."""
    mine = instance.priority, instance.own
    return not any(
        (one.priority, one.own) > mine for other in world.nodes.values()
        if other is not node and hears(world, node, other)
        for one in other.gateways if one.network == instance.network)


def hears(world: World, node: Node, other: Node) -> bool:
    """Return whether the frames of another switch arrive."""
    if not other.powered or other.hung:
        return False
    return node.site == other.site or any(
        wire.between_switches and {wire.a[0], wire.b[0]} == {node.name, other.name}
        and world.link_up(*wire.a) and world.link_up(*wire.b) for wire in world.wires.values())


def keepalived_facts(world: World, node: Node) -> KeepalivedFacts:
    """Return what a switch tells of its keepalived."""
    return KeepalivedFacts(
        VERSION, bool(node.gateways), ConfigState.OURS if node.gateways else ConfigState.MISSING,
        node.gateways, {one.network: "master" if holds(world, node, one) else "backup"
                        for one in node.gateways}, forwarding=True)


def gateway_interfaces(world: World, node: Node) -> dict[str, InterfaceFacts]:
    """Return a switch's own devices in VLANs, with the addresses that it has there."""
    held = {one.port: (one.address,) for one in node.gateways if holds(world, node, one)}
    return {port: InterfaceFacts(port, tuple(sorted((own, *held.get(port, ())))), kind="tun")
            for port, own in sorted(node.own_addresses.items())}
