"""Replicas as one poll of a host shows them: restore points, their damage, and leftovers.

Rule 1: the folder on the host is the truth; nothing here is remembered by the controller.
Rule 2: a replica whose state cannot be read is a replica all the same, with a sentence.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

STORE = "hotsite-replicas"
"""The folder in a pool that holds the pool's replicas, one folder each, named by the VM's UUID."""
CHECKPOINT = "hotsite-"
"""Prefix of our checkpoints; `hotsite-SEQUENCE-NONCE` belongs to that restore point."""
PARTS = {"nvram": "NVRAM", "tpm": "TPM state"}
"""What a restore point has of a VM besides its disks and XML, each with a word for people."""
OUR_CHECKPOINT = re.compile(r"hotsite-[0-9]{6,}(-[0-9a-f]+)?(\.[0-9]+)?")

CLUSTER_BYTES = 64 << 10
"""The unit in which disks are hashed, compared and sent."""


def our_checkpoints(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of a domain's checkpoints that are ours."""
    return tuple(name for name in names if OUR_CHECKPOINT.fullmatch(name))


@dataclass(frozen=True, slots=True)
class PointFacts:
    """One complete restore point."""

    sequence: int
    checkpoint: str
    """The checkpoint on the source that tracks changes since; empty if there is none."""
    started_at: float
    """When its copy began: what its age counts from."""
    committed_at: float
    quiesced: bool
    stored_bytes: int
    damaged_clusters: int = 0
    """Damaged clusters at this point; a damaged point is never offered for failover."""
    verified_at: float | None = None
    """When all of it was last compared with its hashes."""
    diverged: bool = False
    """It is what an older copy of the VM held at its end: kept, and never offered for failover."""
    kept_by: str = ""
    """Who wants it kept; empty unless it is `diverged`."""
    kept_until: float | None = None
    """When that was to end; a person lets it go even so."""


@dataclass(frozen=True, slots=True)
class IncomingFacts:
    """What has arrived of a disk's next point; it survives a cut connection."""

    disk: str
    size_bytes: int
    arrived_bytes: int


class DrillOutcome(StrEnum):
    """What came of a drill."""

    PROVEN = "proven"
    """The point was started, and all was seen that the policy's `health` wants."""
    BOOTED = "booted"
    """It runs and reads of its disks, and the policy wants what nobody can ask in a drill."""
    UNPROVEN = "unproven"
    """It runs, and not all of that was seen in time."""
    UNHEALTHY = "unhealthy"
    """It was started and ended, or was paused."""
    FAILED = "failed"
    """It could not be started."""
    CUT_OFF = "cut off"
    """It was ended before anything was known: it says nothing of the point."""


SEEN: Final = frozenset({DrillOutcome.PROVEN, DrillOutcome.BOOTED})
"""All was seen that a drill can see."""


@dataclass(frozen=True, slots=True)
class DrillFacts:
    """One drill of a replica, as the mover there has noted it."""

    at: float
    """When it ended, by the host's clock."""
    sequence: int
    outcome: DrillOutcome
    sentence: str
    boot_s: float | None = None
    """From the order to start it until its guest ran."""
    health_s: float | None = None
    """From that order until all was seen that was to be seen; None where it was not."""
    content: str = ""
    """A digest of what was declared of the VM then."""
    by: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One VM's replica on one host."""

    uuid: str
    machine: str
    """The VM's name; may be empty when `unreadable` is set."""
    path: str
    points: tuple[PointFacts, ...] = ()
    """Oldest first."""
    disks: Mapping[str, int] = field(default_factory=dict)
    """By target: the size in bytes at the newest point."""
    damaged_clusters: int = 0
    """In all files, whatever point they belong to."""
    lost_files: tuple[str, ...] = ()
    """Files that are gone or cannot be read at all: those disks need a scan."""
    incoming: tuple[IncomingFacts, ...] = ()
    stored_bytes: int = 0
    pins: Mapping[str, int] = field(default_factory=dict)
    """By holder: the point that it keeps from being retired."""
    scrubbed_at: float | None = None
    """When the last scrub of the whole replica ended."""
    seeded_at: float | None = None
    """When its first point was committed; retention retires that point in time."""
    compared_at: float | None = None
    """When the newest point was made for which every disk was compared whole with its source."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """By target: why a disk was left out of the newest point."""
    last_with: Mapping[str, int] = field(default_factory=dict)
    """By target of those: the newest point that has the disk; no entry if none has."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """By name, of `PARTS`: why the newest point does not have it."""
    parts: tuple[str, ...] | None = None
    """Those that the newest point has; None: it was not asked for."""
    unreadable: str = ""
    """Why its state cannot be read; empty when it can."""
    epoch: int = 0
    """Which copy of the VM it follows, or has become; 0 until the VM has failed over."""
    promoted: int | None = None
    """The point over which the VM runs here; None if it does not."""

    drills: tuple[DrillFacts, ...] = ()
    """The last one that was not cut off, and the last that proved its point; oldest first."""

    @property
    def newest(self) -> PointFacts | None:
        """Return the newest complete point, sound or not."""
        return self.points[-1] if self.points else None


class LeftoverKind(StrEnum):
    """What a crash of ours can leave behind on a host."""

    JOB = "job"
    """A backup job of ours without a conductor; `name` is the domain's UUID."""
    SCRATCH = "scratch"
    """A scratch file that no job uses; `name` is its path."""
    SOCKET = "socket"
    """`name` is its path."""
    KEY = "key"
    """A one-time key that has expired or whose transfer is over; `name` is its mark."""
    PROGRAM = "program"
    """An older mover that no process runs; `name` is its path."""
    DRILL = "drill"
    """Parts of a drill that nobody conducts any more; `name` is the path of its replica."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing of ours that nothing uses any more; its name and place show that it is ours."""

    kind: LeftoverKind
    name: str
