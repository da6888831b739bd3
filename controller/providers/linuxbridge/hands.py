"""The hand for each action that changes Linux bridges on a node."""

from typing import ClassVar

from controller.plan.actions.action import Action
from controller.plan.actions.network import NarrowTrunk, SetPortVlan, WidenTrunk
from controller.providers.linuxbridge.port import set_port_vlan, set_trunk
from controller.providers.node import Node
from controller.transport.base import Transport


class LinuxBridgeHands:
    """Applies the actions that change the VLANs of ports."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset({WidenTrunk, NarrowTrunk, SetPortVlan})

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        node = Node(self._transport, action.node)
        match action:
            case WidenTrunk() | NarrowTrunk():
                return await set_trunk(node, action)
            case SetPortVlan():
                return await set_port_vlan(node, action)
        raise AssertionError(f"{action.verb} is not for Linux bridges: HANDLES says so")
