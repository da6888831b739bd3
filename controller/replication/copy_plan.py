"""How each disk of the next point is copied: from the replica's state and the opened disks.

Pure. Decided when the copy has begun, from two answers: the replica's state from the target's mover
(`ReplicaState`), and the opened disks from the source's mover (`OpenDisk`). The first of these that
applies to a disk:

    SEED       the replica has no base of the disk: all of it is sent. A seed that was interrupted
               continues from the noted offset, or is compared with what was received.
    SCAN       a file of the replica is lost, the disk's size changed, its changes are not tracked,
               or a comparison was asked for: all of it is read, and what differs is sent.
    INCREMENT  the clusters changed since the newest point's checkpoint are sent.

A later slice of the same point sends what changed since the slice before it, and what that slice
left over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from controller.model.replica import CHECKPOINT
from controller.plan.actions.replica import CopyMode, DiskCopy, ReplicateDomain
from controller.plan.replication.copy import ceiling_bps

BASE: Final = "base"
OVERLAY: Final = "overlay"
SLACK_S: Final = 120.0
"""Added to the budget, so that a copy ends by its own budget before the host ends it."""
SLOW_BPS: Final = 160_000_000
"""Lowest rate assumed for reading and comparing a disk, unless a limit is lower."""
Ranges = tuple[tuple[int, int], ...]
"""(offset, length) in bytes."""
NAME: Final = re.compile(rf"({CHECKPOINT}[0-9]{{6,}}(-[0-9a-f]+)?(\.[0-9]+)?)?")
"""A checkpoint's name, or empty for none."""
UNIQUE: Final = re.compile(rf"{CHECKPOINT}[0-9]{{6,}}-[0-9a-f]+(\.[0-9]+)?")
"""A name with an attempt's nonce. Earlier versions had none, and could use one name twice."""


@dataclass(frozen=True, slots=True)
class Received:
    """What the target has received of a disk's next point, and the note stored with it."""

    kind: str
    checkpoint: str
    """The source's checkpoint of the last complete slice; empty if there was none."""
    covered_bytes: int
    """Everything before this offset had been received then."""
    origin: Any = None
    """The image files of the disk then."""
    run: str = ""
    """The run of the guest then: which QEMU process."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A replica as its host's mover returned it."""

    secret: str
    algorithm: str
    newest: int
    """Sequence of the newest point; 0 if there is none."""
    busy: bool
    """Whether the newest point holds changes; then the next one most likely will, too."""
    checkpoint: str
    sizes: Mapping[str, int]
    """Of the newest point's disks, in bytes."""
    fingerprints: Mapping[str, Any]
    """Of the source's image files, if the newest point was made of a VM that was off."""
    received: Mapping[str, Received] = field(default_factory=dict)
    repair: Mapping[str, list[list[int]]] = field(default_factory=dict)
    """By disk: damaged byte ranges of the newest point."""
    scan: frozenset[str] = frozenset()
    """Disks with a lost file."""
    baseless: frozenset[str] = frozenset()
    """Those of them whose base is lost."""
    origins: Mapping[str, Any] = field(default_factory=dict)
    """By disk: its image files on the source at the newest point."""
    run: str = ""
    """The run of the guest at the newest point: which QEMU process."""
    recovered: str = ""
    """Why state.json was restored from a copy; empty if it was not."""
    sent: Mapping[str, str | None] = field(default_factory=dict)
    """By disk: the clusters sent since the checkpoint was made, packed by the target's mover; None
    if nobody knows."""
    left_out: frozenset[str] = frozenset()
    """Disks that the source could not copy for the newest point."""


def parse_replica(made: dict[str, Any]) -> ReplicaState:
    """Return a replica from the answer of `replica-make`.

    Errors: KeyError, TypeError or ValueError for an answer of another shape.
    """
    answer = made["replica"]
    points = answer["points"]
    newest = points[-1] if points else None
    scan = frozenset(answer["scan"])
    return ReplicaState(
        secret=made["secret"], algorithm=made["algorithm"],
        newest=int(newest["sequence"]) if newest else 0,
        busy=newest is not None and any(newest["files"].values()),
        checkpoint=parse_checkpoint(newest["checkpoint"]) if newest else "",
        sizes={} if newest is None else {    # that of the file on top of the disk's chain
            disk: int(answer["files"][disk][-1]["size_bytes"]) for disk in newest["files"]},
        fingerprints=newest["facts"].get("fingerprints", {}) if newest else {},
        received={disk: parse_received(one) for disk, one in answer["incoming"].items()},
        origins=newest["facts"].get("origins", {}) if newest else {},
        run=newest["facts"].get("run", "") if newest else "",
        recovered=answer.get("recovered", ""), sent=answer.get("sent", {}),
        repair=answer["repair"], scan=scan,
        left_out=frozenset(newest["facts"].get("left_out", ())) if newest else frozenset(),
        baseless=frozenset(disk for disk in scan if not answer["files"][disk][0]["present"]))


def parse_checkpoint(name: str) -> str:
    """Return a checkpoint's name if it is unique, else an empty one: nothing is built on it.

    The target stored the name and the source will run virsh with it.
    Errors: TypeError or ValueError for anything that is not a checkpoint's name.
    """
    if NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a checkpoint")
    return name if UNIQUE.fullmatch(name) else ""


def parse_received(answer: dict[str, Any]) -> Received:
    """Return what was received of one disk."""
    note = answer["note"] or {}
    return Received(answer["kind"], parse_checkpoint(note.get("checkpoint", "")),
                    int(note.get("covered", 0)), note.get("origin"), note.get("run", ""))


@dataclass(frozen=True, slots=True)
class OpenDisk:
    """One disk as the source has opened it."""

    target: str
    tracked: bool
    """Whether its bitmap holds the changes since the checkpoint that was asked for."""
    why: str
    """Why it does not, if changes were asked for."""
    socket: str
    export: str
    bitmap: str
    size_bytes: int
    dirty_bytes: int
    changed: str | None = ""
    """Of a disk of a VM that is off: the changed clusters, packed by the source's mover."""
    holes: bool = False
    """Whether holes must be compared, too: there was a time when no guest held the disk."""


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """How one disk is copied in one slice."""

    target: str
    mode: CopyMode
    kind: str
    """What the target makes of it: a base or an overlay."""
    unchanged: bool
    compare: bool
    """Send only what differs from what the replica has."""
    ranges: Ranges
    """To send besides what changed."""
    whole: bool
    """Read all of the disk."""
    why: str
    """For people: why not only the changes are sent."""


def time_limit_s(action: ReplicateDomain) -> float:
    """Return after how long the source host ends a copy by itself, even without a controller.

    A raw disk does not track its changes, so its copy cannot be sliced: the limit includes the time
    for reading all of it. The scratch space limits such a copy all the same.
    """
    whole_bits = 8 * sum(disk.size_bytes for disk in action.disks if not disk.trackable)
    rate_bps = min(ceiling_bps(action.limits) or SLOW_BPS, SLOW_BPS)
    return action.budget_s + SLACK_S + whole_bits / rate_bps


def wanted_mode(state: ReplicaState, disk: DiskCopy) -> CopyMode:
    """Return how to open a disk: INCREMENT if the newest point or a seed can be built upon."""
    if disk.target in state.sizes:
        builds = disk.trackable and bool(state.checkpoint) and disk.target not in state.scan
        return CopyMode.INCREMENT if builds else CopyMode.SCAN
    resumes = disk.trackable and covered_of(state, disk.target) > 0
    return CopyMode.INCREMENT if resumes else CopyMode.SEED


def sent_mode(plan: DiskPlan) -> CopyMode:
    """Return how one slice is sent: a later slice of a scan or seed is an increment."""
    if not plan.whole:
        return CopyMode.INCREMENT
    return CopyMode.SCAN if plan.compare else CopyMode.SEED


def covered_of(state: ReplicaState, target: str) -> int:
    """Return up to which offset an interrupted seed is complete as of `since`; 0: not at all."""
    received = state.received.get(target)
    if received is None or received.kind != BASE or received.checkpoint != since(state):
        return 0
    return received.covered_bytes if received.checkpoint else 0


def since(state: ReplicaState) -> str:
    """Return the checkpoint to build upon: that of the newest point, or of an unfinished seed."""
    if state.newest:
        return state.checkpoint
    noted = {one.checkpoint for one in state.received.values() if one.checkpoint}
    return noted.pop() if len(noted) == 1 else ""


def checkpoint_name(sequence: int, nonce: str, number: int) -> str:
    """Return the name of the checkpoint of a point's slice; slices are numbered from 1.

    The nonce differs in each attempt: an image restored from a backup has no bitmap of this name.
    """
    return f"{CHECKPOINT}{sequence:06d}-{nonce}" + (f".{number}" if number > 1 else "")


def known_origins(state: ReplicaState) -> tuple[dict[str, Any], str]:
    """Return the disks' image files and the guest's run as of `since`."""
    if state.newest:
        return dict(state.origins), state.run
    noted = {target: one for target, one in state.received.items() if one.checkpoint}
    runs = {one.run for one in noted.values()}
    return ({target: one.origin for target, one in noted.items()},
            runs.pop() if len(runs) == 1 else "")


def first_plan(state: ReplicaState, opened: OpenDisk, compare: str = "") -> DiskPlan:
    """Return how the first slice copies a disk; `compare`: why all of it is compared, if it is."""
    target, received = opened.target, state.received.get(opened.target)
    if target not in state.sizes or target in state.baseless:
        return seed_plan(opened, resumed=received is not None and received.kind == BASE,
                         covered_bytes=covered_of(state, target))
    mend = tuple((first, length) for first, length in state.repair.get(target, ()))
    if target in state.scan:
        return scan_plan(opened, "a file of its replica is lost")
    if opened.size_bytes != state.sizes[target]:
        return scan_plan(opened, f"its size changed from {state.sizes[target]} to"
                                 f" {opened.size_bytes} bytes")
    if not opened.tracked:
        return scan_plan(opened, opened.why or "its changes are not tracked")
    if compare:
        return scan_plan(opened, compare)
    unchanged = not (opened.dirty_bytes or mend or opened.holes)
    # clusters already sent since the checkpoint count as changed, and need not be sent again
    compare_changes = (received is not None and received.kind == OVERLAY) or opened.holes or (
        state.sent.get(target, "") != "")
    return DiskPlan(target, CopyMode.INCREMENT, OVERLAY, unchanged, compare_changes, mend,
                    whole=False, why="")


def seed_plan(opened: OpenDisk, *, resumed: bool, covered_bytes: int) -> DiskPlan:
    """Return the plan of a disk that the replica does not have; see also `with_missing`."""
    if resumed and opened.tracked and covered_bytes:
        rest = ((covered_bytes, opened.size_bytes - covered_bytes),)
        return DiskPlan(opened.target, CopyMode.SEED, BASE, unchanged=False, compare=False,
                        ranges=rest, whole=False, why="it goes on where it was cut off")
    return DiskPlan(opened.target, CopyMode.SEED, BASE, unchanged=False, compare=resumed, ranges=(),
                    whole=True, why="the replica has nothing of it yet" if not resumed
                    else "it was cut off before; what was received is kept")


def with_missing(plan: DiskPlan, missing: Ranges) -> DiskPlan:
    """Return the plan of a seed that continues, with the ranges that the target lacks added.

    The note alone does not do: received data may be lost by a power failure before it was on disk,
    or may not have been what was sent. Neither does the target's list alone: data behind the noted
    offset may be from an earlier attempt, so it is sent all the same.
    """
    if plan.whole:
        return plan
    return replace(plan, ranges=tuple(sorted({*missing, *plan.ranges})))


def scan_plan(opened: OpenDisk, why: str) -> DiskPlan:
    """Return the plan of a disk that is read whole and compared."""
    return DiskPlan(opened.target, CopyMode.SCAN, OVERLAY, unchanged=False, compare=True, ranges=(),
                    whole=True, why=why)


def next_plan(plan: DiskPlan, left: Ranges, opened: OpenDisk) -> DiskPlan:
    """Return how a later slice copies a disk: what changed since the last one, and what it left."""
    if not opened.tracked:
        return replace(plan, unchanged=False, compare=True, ranges=(), whole=True)
    unchanged = plan.unchanged and not (opened.dirty_bytes or opened.holes or left)
    return replace(plan, unchanged=unchanged, compare=opened.holes or (plan.compare and bool(left)),
                   ranges=left, whole=False)
