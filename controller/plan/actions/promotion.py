"""Actions by which a restore point becomes the VM, and a VM's former disks become a replica."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol
from controller.plan.actions.desired import DesiredNic


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteReplica(Action):
    """Make a restore point the VM, on the host that holds its replica; nothing is copied.

    Its target is the VM. Cut off anywhere and begun again, it goes on.
    """

    uuid: str
    path: str
    """The replica's folder."""
    sequence: int
    epoch: int
    """Which copy the VM is from now on; higher than that of every other copy."""
    estate: str
    """Whose VM it is, for the domain's mark."""
    start: bool = True
    without: tuple[str, ...] = ()
    """Targets of the disks that the point lacks, which was accepted."""
    nics: tuple[DesiredNic, ...] = ()
    """Cards that are plugged in otherwise on this host than the point says."""
    width: int = 1
    """How many starts this host takes at a time."""
    verb: ClassVar[str] = "promote"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.PROMOTE

    @property
    def machine(self) -> str:
        """Return the VM's name."""
        return self.target.partition("/")[2]

    @property
    def detail(self) -> str:
        """Return the epoch."""
        return str(self.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptDisks(Action):
    """Make the disks that a VM had on a host, before it failed over, the base of a replica there.

    They are only read. What they hold is kept as a point of its own, the tail. Its target is
    `Replica/VM`.
    """

    uuid: str
    path: str
    """The replica's folder on this host, whether it is there or not."""
    epoch: int
    """Of the VM that runs elsewhere now."""
    estate: str
    by: str
    """Who wants the tail kept."""
    until: float | None = None
    """When that ends; a person lets it go even so."""
    size_bytes: int = 0
    """Of all disks, which sets the time limit; 0: unknown."""
    promoted_on: str = ""
    """The host on which it was promoted; empty: every disk is read whole."""
    promoted_path: str = ""
    promoted_point: int = 0
    verb: ClassVar[str] = "adopt-disks"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.REPLICATE

    @property
    def machine(self) -> str:
        """Return the VM's name."""
        return self.target.partition("/")[2]

    @property
    def detail(self) -> str:
        """Return the epoch."""
        return str(self.epoch)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the host, and the one that knows what the disks held at the promoted point."""
        return (self.node, self.promoted_on) if self.promoted_on else (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTail(Action):
    """Let go what an older copy of a VM held at its end; retention then retires that point.

    A person asks for it, or the day is over until which it was to be kept. Its target is
    `Replica/VM`.
    """

    path: str
    sequence: int
    epoch: int
    verb: ClassVar[str] = "release-tail"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def detail(self) -> str:
        """Return the point."""
        return str(self.sequence)
