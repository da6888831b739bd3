"""Records of failovers: what the survivors of a lost site or host hold of it.

Rule 1: the records on the survivors are the truth; a controller that takes over goes on from them.
Rule 2: of several records of one scope the one with the highest epoch holds, then the highest term,
        then the latest change; a survivor that has an older one is behind.
"""

from dataclasses import dataclass
from typing import Final, Literal

HELD_EPOCHS: Final = frozenset({
    "promoting", "split", "led-elsewhere", "returning", "reversing", "protected-reversed",
    "moving-back"})
"""In these phases the epoch of a record is that of its machines: older copies are stale."""

Method = Literal["redfish", "guard", "human"]


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a host surely runs none of the VMs any more."""

    how: Method
    sentence: str
    at: float


@dataclass(frozen=True, slots=True)
class LostHost:
    """One host of a failover's scope."""

    name: str
    boot_id: str = ""
    """Of the boot that was given up; another one is a return."""
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """One VM that a failover starts elsewhere."""

    machine: str
    uuid: str
    point: int
    """The sequence of the restore point that it starts from."""
    node: str
    """The host that holds its replica, and runs it from then on."""


@dataclass(frozen=True, slots=True)
class FailoverRecord:
    """One failover of one scope, as far as it has come."""

    scope: str
    """`Site/NAME` or `Host/NAME`."""
    epoch: int
    phase: str
    """By its name in failover/states.py."""
    term: int = 0
    by: str = ""
    """Who ordered it; empty: the loop."""
    reason: str = ""
    began_at: float = 0.0
    hosts: tuple[LostHost, ...] = ()
    version: int = 0
    """How often it was changed."""
    machines: tuple[Promotion, ...] = ()
    """Once the phase is promoting or later."""
    unreadable: str = ""
    """Why this node's record cannot be read; empty when it can."""

    @property
    def rank(self) -> tuple[int, int, int]:
        """Return what decides between two records of one scope."""
        return self.epoch, self.term, self.version
