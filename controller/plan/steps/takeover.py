"""The nouns of a takeover: how lost VMs come back, and what is in their way."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from controller.model.replica import PointFacts


class Obstacle(NamedTuple):
    """One thing in the way of a VM that should come back, with the numbers in a sentence."""

    reason: str
    sentence: str
    sure: bool = True
    """False: it cannot be seen now whether this is in the way."""
    yields: bool = False
    """A person may accept it, such as a loss; else the world has to change first."""


Obstacles = tuple[Obstacle, ...]


class Growth(NamedTuple):
    """How much the disks of a promoted VM may grow, and the folder of the pool they lie in."""

    folder: str
    size_bytes: int


NO_GROWTH: Final = Growth("", 0)


class Outcome(StrEnum):
    """What a lost VM meets."""

    RETURNS = "returns"
    STAYS_OFF = "stays off"
    SHED = "shed"
    WAITS = "waits"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Promotion:
    """How one lost VM would come back."""

    machine: str
    uuid: str
    outcome: Outcome
    home: str | None
    """The host that it is lost with."""
    host: str | None
    """The host that holds its replica, and would start it; None: there is none."""
    path: str = ""
    """The replica's folder there."""
    point: PointFacts | None = None
    gates: Obstacles = ()
    """What is in its way; a person may accept those that yield."""
    notes: tuple[str, ...] = ()
    """What is worth knowing, and stops nobody."""
    start_order: int = 100
    wave: int = 0
    """Of the waves of this takeover, from 1; 0: it does not start."""
    growth: Growth = NO_GROWTH
    loss_s: float | None = None
    """How long before it was lost the point began: what was written since is lost to it."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """How all lost VMs would come back, in the order in which they start."""

    site: str
    """Where they come to."""
    lost: str
    """What is lost, in words."""
    promotions: tuple[Promotion, ...]

    def of(self, outcome: Outcome) -> tuple[Promotion, ...]:
        """Return the VMs that meet an outcome."""
        return tuple(one for one in self.promotions if one.outcome is outcome)
