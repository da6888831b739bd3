"""Replicas as one poll of a host says: restore points, what is wrong with them, what is left over.

Rule 1: the folder on the host is the truth; nothing here is remembered by the controller.
Rule 2: a replica whose state cannot be read is a replica all the same, with a sentence.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

STORE = "hotsite-replicas"
"""The folder in a pool that holds the pool's replicas, one folder each, named by the VM's UUID."""
CHECKPOINT = "hotsite-"
"""How the name of a checkpoint of ours begins; `hotsite-SEQUENCE-NONCE` belongs to that point."""
OUR_CHECKPOINT = re.compile(r"hotsite-[0-9]{6,}(-[0-9a-f]+)?(\.[0-9]+)?")

CLUSTER_BYTES = 64 << 10
"""What is hashed, compared and sent as one."""


def our_checkpoints(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of a domain's checkpoints that are ours."""
    return tuple(name for name in names if OUR_CHECKPOINT.fullmatch(name))


@dataclass(frozen=True, slots=True)
class PointFacts:
    """One complete restore point."""

    sequence: int
    checkpoint: str
    """The checkpoint on the source that tells what changed since; empty where there is none."""
    started_at: float
    """When its copy began: what its age counts from."""
    committed_at: float
    quiesced: bool
    stored_bytes: int
    damaged_clusters: int = 0
    """Clusters that read wrong at this point; such a point is never offered for failover."""
    verified_at: float | None = None
    """When all that it reads was last compared with its hashes."""


@dataclass(frozen=True, slots=True)
class IncomingFacts:
    """What has come of a disk's next point, kept over a cut line."""

    disk: str
    size_bytes: int
    arrived_bytes: int


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One VM's replica on one host."""

    uuid: str
    machine: str
    """The VM's name; what is known of it when `unreadable` is set may be empty."""
    path: str
    points: tuple[PointFacts, ...] = ()
    """Oldest first."""
    disks: Mapping[str, int] = field(default_factory=dict)
    """By target: the size in bytes at the newest point."""
    damaged_clusters: int = 0
    """Of all files, whatever point they belong to."""
    lost_files: tuple[str, ...] = ()
    """Files that are gone or cannot be read at all: those disks need a scan."""
    incoming: tuple[IncomingFacts, ...] = ()
    stored_bytes: int = 0
    pins: Mapping[str, int] = field(default_factory=dict)
    """By holder: the point that it keeps."""
    scrubbed_at: float | None = None
    """When the last scrub of the whole replica ended."""
    seeded_at: float | None = None
    """When its first point came; retention lets that go."""
    compared_at: float | None = None
    """Of the newest point for which all of every disk was compared with its source."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """By target: disks that the source would not copy into the newest point, and why."""
    last_with: Mapping[str, int] = field(default_factory=dict)
    """By target, of those: the newest point that has the disk; none where no point does."""
    unreadable: str = ""
    """Why its state cannot be read; empty when it can."""

    @property
    def newest(self) -> PointFacts | None:
        """Return the newest complete point, sound or not."""
        return self.points[-1] if self.points else None


class LeftoverKind(StrEnum):
    """What a crash of ours can leave on a host."""

    JOB = "job"
    """A backup job of ours that nobody conducts any more; `name` is the domain's UUID."""
    SCRATCH = "scratch"
    """A scratch file that no job uses; `name` is its path."""
    SOCKET = "socket"
    """`name` is its path."""
    KEY = "key"
    """A one-time key that has run out or whose transfer is over; `name` is its mark."""
    PROGRAM = "program"
    """An older mover that nobody runs; `name` is its path."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing of ours that has no owner any more, sure to be ours by its name and place."""

    kind: LeftoverKind
    name: str
