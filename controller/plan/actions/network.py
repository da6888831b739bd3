"""Actions on bridges and trunks; to add VLANs and to take them away are two actions."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol
from controller.plan.actions.desired import PortVlans


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBridge(Action):
    """Create the bridge of a node; uplinks are added by actions of their own."""

    bridge: str
    rstp: bool = False
    verb: ClassVar[str] = "create-bridge"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE


@dataclass(frozen=True, slots=True, kw_only=True)
class AddUplink(Action):
    """Plug an uplink or a switch port into the bridge as a trunk. Commit-confirmed."""

    bridge: str
    port: str
    vlans: tuple[int, ...]
    native: int | None = None
    """The VLAN of its untagged frames; 0: they pass as they are; None: they do not pass."""
    every: bool = False
    """Every VLAN passes."""
    verb: ClassVar[str] = "add-uplink"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False
    reverts: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the port."""
        return self.port

    @property
    def goal(self) -> str:
        """Return what is declared."""
        return f"{self.bridge} {self.vlans}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPortVlan(Action):
    """Put a guest's live port back on its VLAN."""

    bridge: str
    port: str
    mac: str
    vlan: int | None
    was: int | None
    driver: str = "openvswitch"
    verb: ClassVar[str] = "set-port-vlan"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return the card's MAC."""
        return self.mac


@dataclass(frozen=True, slots=True, kw_only=True)
class WidenTrunk(Action):
    """Let more VLANs pass on an uplink or trunk port, and no fewer. Commit-confirmed."""

    bridge: str
    port: str
    will_be: PortVlans
    was: PortVlans
    wanted: tuple[int, ...]
    """The VLANs that are declared there."""
    driver: str = "openvswitch"
    verb: ClassVar[str] = "widen-trunk"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False
    reverts: ClassVar[bool] = True

    @property
    def detail(self) -> str:
        """Return the port."""
        return self.port

    @property
    def goal(self) -> str:
        """Return what is declared, whatever passes now."""
        return f"{self.bridge} {self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowTrunk(Action):
    """Let fewer VLANs pass on an uplink or trunk port, or put its untagged frames elsewhere.

    Commit-confirmed. Shapes: `lost` is sorted; 0 in it is for untagged frames.
    """

    bridge: str
    port: str
    will_be: PortVlans
    was: PortVlans
    wanted: tuple[int, ...]
    """The VLANs that are declared there."""
    lost: tuple[int, ...]
    """The VLANs that no longer pass, or pass in another way."""
    driver: str = "openvswitch"
    verb: ClassVar[str] = "narrow-trunk"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    reverts: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def detail(self) -> str:
        """Return the port."""
        return self.port

    @property
    def parts(self) -> tuple[str, ...]:
        """Return each VLAN."""
        return tuple(map(str, self.lost))

    @property
    def goal(self) -> str:
        """Return what is declared, whatever passes now."""
        return f"{self.bridge} {self.wanted}"


def access_columns(vlan: int | None) -> tuple[str, str, str]:
    """Return what Open vSwitch writes for the port of a guest on one VLAN, or on none."""
    if vlan is None:
        return "tag=[]", "vlan_mode=[]", "trunks=[]"
    return f"tag={vlan}", "vlan_mode=access", "trunks=[]"
