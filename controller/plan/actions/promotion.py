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
