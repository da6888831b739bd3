"""Actions that keep a host which may still be alive from being a second copy of anything."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceHost(Action):
    """Cut a host's power by its BMC, and prove that it is off. The host itself is not asked."""

    begin_s: float | None = None
    """How soon its BMC must be told, or is not: what the order was for may have changed by then.
    None: as soon as it can be reached."""
    verb: ClassVar[str] = "fence"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.FENCE

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return none: nobody waits for facts of a host that is silent."""
        return ()

    @property
    def powers(self) -> tuple[str, ...]:
        """Return the host: its BMC is looked at afterwards."""
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropAddresses(Action):
    """Drop what old copies of promoted VMs send to a switch over its trunk.

    Its learned addresses are forgotten, too, so that frames find the promoted VMs.
    """

    bridge: str
    ports: tuple[str, ...]
    macs: tuple[str, ...]
    epoch: int
    """Of the failover."""
    verb: ClassVar[str] = "drop-addresses"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.FENCE

    @property
    def detail(self) -> str:
        """Return the failover."""
        return str(self.epoch)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return what is dropped."""
        return self.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitAddresses(Action):
    """Let pass again what a switch dropped on our order: the old copies are seen off."""

    bridge: str
    macs: tuple[str, ...]
    verb: ClassVar[str] = "admit-addresses"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CHANGE
