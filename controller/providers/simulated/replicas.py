"""Replication's objects in the world: checkpoints, replicas and points, and what crashes leave.

Rule 1: a point's contents are fixed when it is published. Only its damage, and what is known of
        that, changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.replica import CHECKPOINT, SEEN, DrillFacts


class Version(NamedTuple):
    """The content of one disk at one instant: its serial, and how often it was written to."""

    serial: str
    writes: int


Versions = Mapping[str, Version]
"""By target: all disks of a VM at one instant."""


@dataclass(slots=True)
class Checkpoint:
    """One checkpoint of a domain: records what has been written since it was made."""

    name: str
    begun_s: float
    """In seconds of the world's clock."""
    versions: Versions
    sizes: Mapping[str, int]
    sound: bool = True
    """False once QEMU died without closing its images."""


@dataclass(slots=True)
class Point:
    """One complete restore point."""

    sequence: int
    checkpoint: str
    started_at: float
    committed_at: float
    versions: Versions
    stored_bytes: int
    quiesced: bool = False
    verified_at: float | None = None
    damaged_clusters: int = 0
    """Found by a scrub."""
    rotten_clusters: int = 0
    """All that read wrong, found or not."""
    diverged: bool = False
    """It is what an older copy of the VM held at its end."""
    lost_clusters: int = 0
    """In files that are missing or too short, which listing the folder shows."""

    @property
    def sound(self) -> bool:
        """Return whether all of it reads as it was written."""
        return self.rotten_clusters + self.lost_clusters == 0

    @property
    def known_bad(self) -> int:
        """Return how many clusters are known to read wrong."""
        return self.damaged_clusters + self.lost_clusters


@dataclass(slots=True)
class Replica:
    """One VM's replica on one host."""

    uuid: str
    machine: str
    path: str
    sizes: dict[str, int] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    lost_files: set[str] = field(default_factory=set)
    """`DISK/FILE`: missing, or too short."""
    received: dict[str, int] = field(default_factory=dict)
    """By target: bytes of the next point that were received and are kept."""
    pins: dict[str, int] = field(default_factory=dict)
    seeded_at: float | None = None
    compared_at: float | None = None
    scrubbed_at: float | None = None
    scrubbed_bytes: int = 0
    """The progress of an unfinished scrub."""
    unreadable: str = ""
    epoch: int = 0
    """Of the VM whose copies it takes."""
    drills: list[DrillFacts] = field(default_factory=list)
    unbootable: str = ""
    """Why its guest would not serve, if it were started."""

    @property
    def newest(self) -> Point | None:
        """Return the newest complete point."""
        return self.points[-1] if self.points else None

    @property
    def stored_bytes(self) -> int:
        """Return its size on disk."""
        return sum(one.stored_bytes for one in self.points) + sum(self.received.values())


def decided(drills: Sequence[DrillFacts]) -> tuple[DrillFacts, ...]:
    """Return the last drill, and before it the last that proved its point if that is another."""
    last = tuple(drills[-1:])
    proven = tuple(one for one in drills if one.outcome in SEEN)[-1:]
    return last if last == proven else (*proven, *last)


@dataclass(slots=True)
class Traces:
    """What replication has on one host besides replicas; a crash leaves some of it."""

    locked: set[str] = field(default_factory=set)
    """UUIDs whose lock a running mover holds."""
    scratch: dict[str, str] = field(default_factory=dict)
    """By path: the UUID of the domain whose job made it."""
    keys: dict[str, float] = field(default_factory=dict)
    """By mark: when it expires, in seconds of the world's clock."""
    sockets: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)
    """Archives of older movers that nobody runs."""
    drills: set[str] = field(default_factory=set)
    """Replicas in which a drill has left something."""


def is_ours(checkpoint: str) -> bool:
    """Return whether a checkpoint is one of ours by its name."""
    return checkpoint.startswith(CHECKPOINT)


def checkpoint_name(sequence: int) -> str:
    """Return the checkpoint of a restore point."""
    return f"{CHECKPOINT}{sequence:06d}"
