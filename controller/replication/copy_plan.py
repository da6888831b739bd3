"""How each disk of the next point is copied: the least that can work, decided when it begins.

Pure: what the replica holds and how the source could open its disks, in; what to send, out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.model.replica import CHECKPOINT
from controller.plan.actions.replica import CopyMode, DiskCopy, ReplicateDomain
from controller.plan.replication.copy import ceiling_bps
from controller.replication.replica_state import ReplicaState

BASE: Final = "base"
OVERLAY: Final = "overlay"
INCREMENT: Final = "increment"
FULL: Final = "full"
SLACK_S: Final = 120.0
"""For a copy to end by its own budget before the host ends it."""
SLOW_BPS: Final = 160_000_000
"""What a disk is read and compared with at least, where nothing limits it more."""
Ranges = tuple[tuple[int, int], ...]
"""(offset, length) in bytes."""


@dataclass(frozen=True, slots=True)
class OpenDisk:
    """One disk as the source has it open."""

    target: str
    tracked: bool
    """Its bitmap tells what changed since what was asked."""
    why: str
    """Why it does not, where that was asked for."""
    socket: str
    export: str
    bitmap: str
    size_bytes: int
    dirty_bytes: int
    changed: str | None = ""
    """All that, as the movers tell it: of a disk at rest."""
    holes: bool = False
    """What reads as zeros is compared, too: no guest has held the disk all the while."""


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What is done about one disk in one slice."""

    target: str
    mode: CopyMode
    kind: str
    """Of what comes: a base or an overlay."""
    unchanged: bool
    compare: bool
    """Send only what differs from what the replica has."""
    ranges: Ranges
    """To be sent besides what changed."""
    whole: bool
    """All of the disk is looked at."""
    why: str


def time_limit_s(action: ReplicateDomain) -> float:
    """Return after how long the host ends a copy by itself, whoever conducts it.

    A raw disk keeps no track of changes, so its copy cannot be cut into slices: it gets the time
    that all of it takes. The room of the scratch space bounds the copy all the same.
    """
    whole_bits = 8 * sum(disk.size_bytes for disk in action.disks if not disk.tracked)
    rate_bps = min(ceiling_bps(action.limits) or SLOW_BPS, SLOW_BPS)
    return action.budget_s + SLACK_S + whole_bits / rate_bps


def parse_opened(target: str, told: Mapping[str, Any]) -> OpenDisk:
    """Return one disk from the mover's `begun`."""
    return OpenDisk(target, told["mode"] == INCREMENT, told["why"], told.get("socket", ""),
                  told.get("export", target), told.get("bitmap", ""), int(told["size_bytes"]),
                  int(told["dirty_bytes"]), told.get("changed", ""), bool(told.get("holes")))


def wanted_modes(state: ReplicaState, disks: tuple[DiskCopy, ...]) -> dict[str, str]:
    """Return how the source is asked to open each disk."""
    return {disk.target: wanted_mode(state, disk) for disk in disks}


def wanted_mode(state: ReplicaState, disk: DiskCopy) -> str:
    """Return `increment` where the newest point, or what has come, is worth going on from."""
    if not disk.tracked:
        return FULL
    if disk.target in state.sizes:
        builds = bool(state.checkpoint) and disk.target not in state.scan
        return INCREMENT if builds else FULL
    return INCREMENT if covered_of(state, disk.target) else FULL


def covered_of(state: ReplicaState, target: str) -> int:
    """Return how much of a seed had come whole by the checkpoint from which it can go on."""
    arrived = state.arrived.get(target)
    if arrived is None or arrived.kind != BASE or arrived.checkpoint != since(state):
        return 0
    return arrived.covered_bytes if arrived.checkpoint else 0


def since(state: ReplicaState) -> str:
    """Return the checkpoint to go on from: of the newest point, or of a seed half done."""
    if state.newest:
        return state.checkpoint
    noted = {one.checkpoint for one in state.arrived.values() if one.checkpoint}
    return noted.pop() if len(noted) == 1 else ""


def checkpoint_name(sequence: int, nonce: str, number: int) -> str:
    """Return the name of the checkpoint of one slice of a point; slices are numbered from 1.

    The nonce is of one attempt: an image that is put back never has a record of this name.
    """
    return f"{CHECKPOINT}{sequence:06d}-{nonce}" + (f".{number}" if number > 1 else "")


def known_from(state: ReplicaState) -> tuple[dict[str, Any], str]:
    """Return what the disks lay in at the instant of `since`, and in which run of their guest."""
    if state.newest:
        return dict(state.origins), state.run
    noted = {target: one for target, one in state.arrived.items() if one.checkpoint}
    runs = {one.run for one in noted.values()}
    return ({target: one.origin for target, one in noted.items()},
            runs.pop() if len(runs) == 1 else "")


def first_course(state: ReplicaState, opened: OpenDisk, compare: str = "") -> DiskPlan:
    """Return what the first slice does about a disk; `compare` is why all of it is looked at."""
    target, arrived = opened.target, state.arrived.get(opened.target)
    if target not in state.sizes or target in state.baseless:
        return seed(opened, resumed=arrived is not None and arrived.kind == BASE,
                    covered_bytes=covered_of(state, target))
    mend = tuple((first, length) for first, length in state.repair.get(target, ()))
    if target in state.scan:
        return whole(opened, "a file of its replica is lost")
    if opened.size_bytes != state.sizes[target]:
        return whole(opened, f"its size changed from {state.sizes[target]} to"
                             f" {opened.size_bytes} bytes")
    if not opened.tracked:
        return whole(opened, opened.why or "its changes are not tracked")
    if compare:
        return whole(opened, compare)
    unchanged = not (opened.dirty_bytes or mend or opened.holes)
    has_come = arrived is not None and arrived.kind == OVERLAY
    # what was sent since the checkpoint has changed since it, too, and need not come again
    compares = has_come or opened.holes or state.sent.get(target, "") != ""
    return DiskPlan(target, CopyMode.INCREMENT, OVERLAY, unchanged, compares, mend, whole=False,
                  why="")


def seed(opened: OpenDisk, *, resumed: bool, covered_bytes: int) -> DiskPlan:
    """Return the course of a disk that the replica does not have; see `completed`."""
    if resumed and opened.tracked and covered_bytes:
        rest = ((covered_bytes, opened.size_bytes - covered_bytes),)
        return DiskPlan(opened.target, CopyMode.SEED, BASE, unchanged=False, compare=False,
                      ranges=rest, whole=False, why="it goes on where it was cut off")
    return DiskPlan(opened.target, CopyMode.SEED, BASE, unchanged=False, compare=resumed, ranges=(),
                  whole=True, why="the replica has nothing of it yet" if not resumed
                  else "it was cut off before; what has come is kept")


def completed(course: DiskPlan, missing: Ranges) -> DiskPlan:
    """Return the course of a seed that goes on, with what has not come besides, whatever was noted.

    What had come may be lost: its host lost power before it was on the disk, or it was not as sent.
    What is there behind the noted place is sent all the same: it may be of an attempt before.
    """
    if course.whole:
        return course
    return replace(course, ranges=tuple(sorted({*missing, *course.ranges})))


def whole(opened: OpenDisk, why: str) -> DiskPlan:
    """Return the course of a disk that is read whole and compared."""
    return DiskPlan(opened.target, CopyMode.SCAN, OVERLAY, unchanged=False, compare=True, ranges=(),
                  whole=True, why=why)


def next_course(course: DiskPlan, left: Ranges, opened: OpenDisk) -> DiskPlan:
    """Return what a later slice does: what changed since, and what was left."""
    if not opened.tracked:
        return DiskPlan(course.target, course.mode, course.kind, unchanged=False, compare=True,
                      ranges=(), whole=True, why=course.why)
    return DiskPlan(course.target, course.mode, course.kind, unchanged=course.unchanged and not (
        opened.dirty_bytes or opened.holes or left), compare=opened.holes or (
            course.compare and bool(left)), ranges=left, whole=False, why=course.why)
