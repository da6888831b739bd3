"""Orders: what a decision wants done, as values; `plan/` makes actions of them.

Every order may be given again and again until what it wants is seen, and each is safe to repeat.
"""

from dataclasses import dataclass

from controller.failover.states import Phase
from controller.model.failover.record import Record


@dataclass(frozen=True, slots=True)
class Revoke:
    """A grantor notes durably that it grants to these hosts no more, then says so."""

    grantor: str
    hosts: tuple[str, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class Restore:
    """A grantor grants to these hosts again, unless it refuses them for a higher epoch."""

    grantor: str
    hosts: tuple[str, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """These nodes hold this record, durably."""

    nodes: tuple[str, ...]
    record: Record


@dataclass(frozen=True, slots=True)
class Fence:
    """The BMC of a host cuts its power, and is read until it says Off twice."""

    host: str
    epoch: int


@dataclass(frozen=True, slots=True)
class DropAddresses:
    """The survivors' switches drop on the trunk what the old copies of these VMs send."""

    machines: tuple[str, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class PassAddresses:
    """The survivors' switches pass again what comes from the old side."""

    machines: tuple[str, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class Promote:
    """A VM starts on a node from a pinned restore point, or from its own shared disks."""

    machine: str
    point: int | None
    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A host that is back starts nothing, and copies of an older epoch on it are ended."""

    host: str
    machines: tuple[str, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class Resume:
    """A VM that may have been ended for a failover that did not happen starts where it was."""

    machine: str
    host: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Reverse:
    """The old disks of a VM become its replica: what they held beyond the point is kept, and only
    what differs is sent."""

    machine: str
    host: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Move:
    """A VM goes where it is declared to be, with nothing lost."""

    machine: str
    epoch: int


Order = (Revoke | Restore | WriteRecord | Fence | DropAddresses | PassAddresses | Promote
         | Quarantine | Resume | Reverse | Move)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done about one scope, and why."""

    scope: str
    """`Site/name` or `Host/name`."""
    phase: Phase
    sentence: str
    waits_for: tuple[str, ...] = ()
    """Nodes, VMs, or `a person`; empty: for nobody."""
    orders: tuple[Order, ...] = ()
    waiting: tuple[str, ...] = ()
    """A sentence for each VM that waits for a person, cannot come back by itself, or ran twice."""
    epoch: int = 0
    """0: none has been given out."""
