"""The hand for each action that changes Open vSwitch on a node."""

from typing import ClassVar

from controller.plan.actions.action import Action
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.plan.actions.network import (
    AddUplink,
    CreateBridge,
    NarrowTrunk,
    SetPortVlan,
    WidenTrunk,
)
from controller.providers.node import Node
from controller.providers.openvswitch.addresses import admit_addresses, drop_addresses
from controller.providers.openvswitch.bridge import add_uplink, create_bridge, set_trunk
from controller.providers.openvswitch.port import set_port_vlan
from controller.transport.base import Transport


class OpenVswitchHands:
    """Applies the actions that change bridges and ports."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset(
        {CreateBridge, AddUplink, WidenTrunk, NarrowTrunk, SetPortVlan, DropAddresses,
         AdmitAddresses})

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        node = Node(self._transport, action.node)
        match action:
            case CreateBridge():
                return await create_bridge(node, action)
            case AddUplink():
                return await add_uplink(node, action)
            case WidenTrunk() | NarrowTrunk():
                return await set_trunk(node, action)
            case SetPortVlan():
                return await set_port_vlan(node, action)
            case DropAddresses():
                return await drop_addresses(node, action)
            case AdmitAddresses():
                return await admit_addresses(node, action)
        raise AssertionError(f"{action.verb} is not for Open vSwitch: HANDLES says so")
