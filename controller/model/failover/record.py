"""The record of a failover: what the survivors hold of it, so that any controller goes on.

One record per scope lies on every survivor and witness that could be reached. It is written before
what it says is done: a phase that is not in it has not begun. Of several copies the newest counts,
by epoch, then term, then step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

HELD_EPOCHS: Final = frozenset({
    "promoting", "split", "led-elsewhere", "returning", "reversing", "protected-reversed",
    "moving-back"})
"""In these phases the epoch of a record is that of its machines: older copies are superseded."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Why nothing of the failed side runs on a host any more."""

    how: Literal["redfish", "guard", "human"]
    sentence: str
    at: float
    """When it was found, by the clock of the controller that found it; for people."""


@dataclass(frozen=True, slots=True)
class RecordedHost:
    """A host of the failed scope; `boot_id` is empty if it was never seen."""

    boot_id: str
    proof: Proof | None = None
    guarded: bool = False
    """Whether its guard was seen running and granted before it fell silent, by who wrote this."""
    watchdog: bool = False
    """The same of its guard feeding a hardware watchdog."""
    proven_at: float = 0.0
    """When it was proven off first in this failover; stays when it answers again."""


@dataclass(frozen=True, slots=True)
class RecordedMachine:
    """A VM that takes over: from which restore point, on which host.

    `point` is None where it starts from its own disks, on a shared pool.
    """

    uuid: str
    point: int | None
    node: str


@dataclass(frozen=True, slots=True)
class Record:
    """One failover of one scope, as a survivor holds it."""

    scope: str
    """`Site/name` or `Host/name`."""
    epoch: int
    """Which copies are the VMs, once they are promoted."""
    term: int = 0
    """Of the controller that wrote it."""
    phase: str = "calm"
    """A phase of `failover/states.py`; calm: it is over, or was undone."""
    by: str = ""
    """Who decided it: a person, or the controller."""
    reason: str = ""
    began_at: float = 0.0
    hosts: Mapping[str, RecordedHost] = field(default_factory=dict)
    machines: Mapping[str, RecordedMachine] = field(default_factory=dict)
    """Empty until they are promoted."""
    step: int = 0
    """Grows with every change of it within its epoch."""
    ordered: tuple[str, ...] = ()
    """What a person ordered of it, as `Kind/name`; empty: it goes by the policies of its VMs."""
    accepted: tuple[str, ...] = ()
    """For which of these the person took the loss that was shown."""
    back: bool = False
    """Of a planned move: to where its VMs are declared, and not away from there."""
    points: Mapping[str, str] = field(default_factory=dict)
    """By what was ordered, as `Kind/name`: the older restore point that the person asked for."""
    changed_at: float = 0.0
    """When its last change was written, by the clock of the controller that wrote it."""
    unreadable: str = ""
    """Why this copy cannot be read; empty when it can."""

    @property
    def rank(self) -> tuple[int, int, int]:
        """Return what decides between two copies: the higher counts."""
        return self.epoch, self.term, self.step
