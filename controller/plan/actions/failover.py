"""Actions of a failover: records, grants, and what becomes of older copies."""

from dataclasses import dataclass, field
from typing import ClassVar

from controller.model.document import Rung
from controller.model.failover.record import Record
from controller.plan.actions.action import Action, Symbol
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain


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
class MoveDomain(Action):
    """Move a VM to the host that holds its replica, with nothing lost.

    While it runs, what has changed is copied, in rounds; then it is shut down, or its memory is
    saved, the last difference is copied, and that point becomes the VM.
    """

    domain: str
    uuid: str
    limit_s: float
    """How long a clean shutdown may take; its power is never cut for a move."""
    copy: ReplicateDomain
    """The copy of what has changed; its sequence is that of the first round."""
    promotion: PromoteReplica
    """What is made of the last round; its sequence is set then."""
    by_memory: bool = False
    """Whether its memory is carried along, so that the guest goes on; else it is shut down."""
    pause_s: float = 30.0
    """While it runs, rounds are copied until one takes no longer than this."""
    verb: ClassVar[str] = "move"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.MOVE

    @property
    def detail(self) -> str:
        """Return the destination and the epoch."""
        return f"{self.promotion.node}/{self.promotion.epoch}"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return source and destination."""
        return (self.node, self.promotion.node)


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
    rung: ClassVar[Rung] = Rung.RESTART
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.FENCE
