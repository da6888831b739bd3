"""Actions on gateways: the port by which a switch is in a network, and what keepalived is told."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.model.linux.keepalived import VrrpInstance
from controller.plan.actions.action import Action, Symbol

BRIDGE = "hotsite-gw"
"""The bridge on a switch that has its own ports in VLANs. It is not the bridge of the trunks: where
that has a spanning tree, Open vSwitch 3.1 floods nothing to an internal port added later."""
PORT = "gw"
"""How the name of such a port begins; the VLAN's number follows."""
NEAR, FAR = "hotsite-gw-in", "hotsite-gw-out"
"""The patch between the two: the end in the bridge of the trunks, and that in ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddGatewayPort(Action):
    """Give a switch a port of its own in a VLAN, up, with its own address."""

    network: str
    bridge: str
    port: str
    vlan: int
    own: str
    """With its prefix length."""
    verb: ClassVar[str] = "add-gateway-port"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the port."""
        return self.port

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the network."""
        return (self.network,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureGateways(Action):
    """Have keepalived of a switch hold gateways, and start it if it does not run.

    None that it holds already is taken from it.
    """

    instances: tuple[VrrpInstance, ...]
    """All that its configuration has afterwards."""
    networks: tuple[str, ...]
    """Those whose gateway changes by it."""
    fresh: tuple[str, ...]
    """Those of which it did not hold the gateway before: somebody else may."""
    switches: tuple[str, ...]
    """The addresses by which switches of ours speak VRRP; whoever else does is a stranger."""
    verb: ClassVar[str] = "configure-gateways"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False

    @property
    def goal(self) -> str:
        """Return what is declared."""
        return str(self.instances)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropGateways(Action):
    """Have keepalived of a switch hold gateways no more that are not declared there."""

    bridge: str
    instances: tuple[VrrpInstance, ...]
    """Those that stay."""
    dropped: tuple[VrrpInstance, ...]
    verb: ClassVar[str] = "drop-gateways"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def networks(self) -> tuple[str, ...]:
        """Return those whose gateway goes."""
        return tuple(one.network for one in self.dropped)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return each network."""
        return self.networks

    @property
    def goal(self) -> str:
        """Return what is declared."""
        return str(self.instances)
