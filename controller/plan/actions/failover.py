"""Actions of a failover: records, grants, and what becomes of older copies."""

from dataclasses import dataclass, field
from typing import ClassVar

from controller.model.document import Rung
from controller.model.failover.record import Record
from controller.plan.actions.action import Action, Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRecord(Action):
    """Save on survivors how far a failover has come, so that any controller can go on."""

    to: tuple[str, ...]
    """The survivors, `node` among them."""
    record: Record = field(hash=False)
    verb: ClassVar[str] = "write-record"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return the epoch, the step and the phase."""
        return f"{self.record.epoch}.{self.record.step}-{self.record.phase}"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return every survivor that it is saved on."""
        return self.to


@dataclass(frozen=True, slots=True, kw_only=True)
class EndStaleDomain(Action):
    """End a running copy of a VM that was promoted elsewhere: it is of an older epoch.

    Its disks stay: they hold what was written after the restore point.
    """

    domain: str
    uuid: str
    epoch: int
    """Of the copy that is ended."""
    verb: ClassVar[str] = "end-stale"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.FENCE
