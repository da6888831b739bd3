"""
What a replica's state.json says: its restore points, their files, and the damage of these.

A disk at a point is a chain: the files of this point and of those before it, down to a base. A
point has no file for a disk that did not change since the point before. `floor` has an entry for a
disk while a merge into its base is unfinished: the base, which lies below the oldest point. Nothing
here reads a clock or a disk.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from mover.errors import Damaged, Refused

VERSION = 2
READ = (1, 2)       # the first has no `check` of files
BASE, OVERLAY, DISK = "base", "overlay", "disk"
BOTTOM = (BASE, DISK)           # nothing lies below them


class File(NamedTuple):
    """
    One file of a disk; `stored_bytes` is what it takes up on disk.

    `check`: see tables.py. A DISK is the manifest of a disk that the VM had on this host before it
    failed over, and its `check` says where that lies, as FORMAT:PATH.
    """

    name: str
    kind: str
    size_bytes: int
    stored_bytes: int
    check: str = ""


class Point(NamedTuple):
    """One restore point; `damaged` counts clusters that read wrong at it."""

    sequence: int
    checkpoint: str
    started_at: Any                     # when its copy began, by the caller's clock
    committed_at: Any
    quiesced: bool
    files: Dict[str, Optional[File]]    # None: as at the point before
    meta: Tuple[str, ...] = ()          # file names below meta/SEQUENCE
    damaged: int = 0
    verified_at: Any = None
    facts: Dict[str, Any] = {}  # noqa: RUF012


class Damage(NamedTuple):
    """
    Clusters of one file that do not have their hash; `sequence` is the file's restore point.

    A file that is `lost` cannot be read at all. Every cluster of it is in doubt, from its point up
    to the point `until`, for which the whole disk was compared with its source.
    """

    disk: str
    file: str
    first: int
    clusters: int
    sequence: int
    lost: bool = False
    until: Optional[int] = None


class State(NamedTuple):
    """A whole replica."""

    vm: str
    algorithm: str
    secret_id: str
    generation: int = 0                 # grows with every commit
    points: Tuple[Point, ...] = ()      # oldest first
    floor: Dict[str, File] = {}  # noqa: RUF012
    pins: Dict[str, int] = {}  # noqa: RUF012
    damage: Tuple[Damage, ...] = ()
    facts: Dict[str, Any] = {}  # noqa: RUF012


def render_state(state: State) -> bytes:
    """Return state.json, with a check over all of it."""
    fields = _plain(state)
    fields["version"] = VERSION
    body = json.dumps(fields, sort_keys=True, indent=1)
    return json.dumps({"check": hashlib.sha256(body.encode()).hexdigest(), "state": fields},
                      sort_keys=True, indent=1).encode() + b"\n"


def parse_state(data: bytes, name: str) -> State:
    """Return a state; Damaged when a bit of it is not as it was written."""
    try:
        outer = json.loads(data)
        fields = outer["state"]
        body = json.dumps(fields, sort_keys=True, indent=1)
        if hashlib.sha256(body.encode()).hexdigest() != outer["check"]:
            raise Damaged("%s does not have the check it was written with" % name)
        if fields.pop("version") not in READ:
            raise Refused("%s was written by another version of the mover" % name)
        return State(**{**fields, "points": tuple(map(_point, fields["points"])),
                        "floor": {disk: File(**file) for disk, file in fields["floor"].items()},
                        "damage": tuple(Damage(**damage) for damage in fields["damage"])})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Damaged("%s is not the state of a replica" % name) from None


def _point(fields: Dict[str, Any]) -> Point:
    files = {disk: File(**file) if file else None for disk, file in fields["files"].items()}
    return Point(**{**fields, "files": files, "meta": tuple(fields["meta"])})


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    return value


def last(state: State) -> Optional[Point]:
    """Return the newest point."""
    return state.points[-1] if state.points else None


def point_of(state: State, sequence: int) -> Point:
    """Return one point; Refused when there is none with this number."""
    for point in state.points:
        if point.sequence == sequence:
            return point
    raise Refused("there is no restore point %d: there are %s"
                  % (sequence, [point.sequence for point in state.points]))


def chain(state: State, disk: str, sequence: int) -> List[File]:
    """Return the files of a disk at a point, base first."""
    if disk not in point_of(state, sequence).files:
        raise Refused("disk %s is not part of restore point %d" % (disk, sequence))
    found: List[File] = []
    for point in reversed([point for point in state.points if point.sequence <= sequence]):
        if disk not in point.files:
            break
        file = point.files[disk]
        if file is not None:
            found.append(file)
            if file.kind in BOTTOM:
                return found[::-1]
    if disk not in state.floor:
        raise Damaged("disk %s has no base below restore point %d: seed it" % (disk, sequence))
    return [state.floor[disk], *reversed(found)]


def sequence_of(state: State, disk: str, name: str) -> int:
    """Return the point that a file belongs to; for a base in `floor`, the oldest point."""
    for point in state.points:
        file = point.files.get(disk)
        if file is not None and file.name == name:
            return point.sequence
    return state.points[0].sequence


def epoch_of(state: State) -> int:
    """Return which copy of the VM a replica follows; 0 until its VM has failed over."""
    return int(state.facts.get("epoch", 0))


def require_epoch(state: State, epoch: Any) -> None:
    """Raise Refused for what is done in the name of an older copy of the VM."""
    if int(epoch or 0) < epoch_of(state):
        raise Refused("the replica of %s follows epoch %d of its VM, and this was asked for epoch"
                      " %d, an older copy of it" % (state.vm, epoch_of(state), int(epoch or 0)))


def require_receiving(state: State, epoch: Any) -> None:
    """Raise Refused for a copy of an older VM, and for any into a replica that became the VM."""
    require_epoch(state, epoch)
    promoted = state.facts.get("promoted")
    if promoted:
        raise Refused("the VM runs over restore point %d of its replica here since epoch %d: no"
                      " copy is received until its disks there are taken back as a base"
                      % (promoted["sequence"], promoted["epoch"]))


def former_of(file: File) -> Tuple[str, str]:
    """Return the path and the format of the former disk of which a file is the manifest."""
    form, _, path = file.check.partition(":")
    return path, form


def formers(state: State) -> FrozenSet[str]:
    """Return the paths of all former disks that a replica is built on."""
    return frozenset(former_of(file)[0] for of in files(state).values() for file in of
                     if file.kind == DISK)


def backing_of(file: File) -> Tuple[str, str]:
    """Return what an overlay right above a file names as its backing file, and its format."""
    if file.kind == DISK:
        return former_of(file)
    return file.name, "raw" if file.kind == BASE else "qcow2"


def holder_of(state: State, sequence: int) -> Optional[Tuple[str, int]]:
    """
    Return a holder, and the point it pins, of those that need a point; None where there is none.

    A pinned point needs every file of the points up to it as they are.
    """
    return next(((who, at) for who, at in sorted(state.pins.items()) if at >= sequence), None)


def lost(state: State, disk: str) -> List[str]:
    """Return the files of a disk that cannot be read."""
    return sorted(one.file for one in state.damage if one.lost and one.disk == disk)


def next_overlay(state: State, disk: str) -> Optional[str]:
    """Return the overlay of a disk that lies right above the oldest point; None: there is none."""
    for point in state.points[1:]:
        if disk not in point.files:
            return None
        file = point.files[disk]
        if file is not None:
            return file.name if file.kind == OVERLAY else None
    return None


def files(state: State) -> Dict[str, List[File]]:
    """Return every file that any point needs, by disk, base first."""
    found: Dict[str, Dict[str, File]] = {}
    for point in state.points:
        for disk in point.files:
            for file in chain(state, disk, point.sequence):
                found.setdefault(disk, {}).setdefault(file.name, file)
    return {disk: list(by_name.values()) for disk, by_name in found.items()}
