"""
What damage is, which restore points it spoils, and how it is repaired.

Two kinds, both written into state.json:

    clusters    some clusters of a file do not have their hash; all else of it can be read
    lost        the file is missing, or is an overlay whose tables are damaged or cut off:
                none of it can be read

    base ── rp-2 ── rp-3 ── rp-4        rp-2 has a damaged cluster 12. Points 2 and 3 read it, and
                                        so does point 4, unless rp-4 has a cluster 12 of its own

A point is spoilt by each damaged cluster that it reads: one of a file in its chain that no overlay
above hides. A lost file hides nothing itself. After each change `recount` counts the damage of
every point anew; damage that no point reads is dropped.

Three repairs, the cheapest first:

    in place    another file of the disk has the same cluster with the same hash. Its bytes are
                checked, then written over the damaged ones. Torn, this makes nothing worse: the
                place was wrong before. No other step but a merge writes to published clusters
    repair set  what the newest point reads wrong is sent with the next increment. The point made
                then reads right; the older ones do if the new bytes can repair them in place
    bypass      for a lost overlay: the next copy compares the whole disk, so that its point (the
                damage's `until`) does not need it. The overlay above is rebased onto the file below

A lost base cannot be bypassed: the disk is seeded.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mover.errors import Damaged, MoverError, Refused, unreadable_is_damaged
from mover.image.chain import Base, open_layer
from mover.image.hashing import CLUSTER_BYTES, Hasher
from mover.image.qcow2 import DATA, HOLE, Overlay
from mover.image.qcow2_writer import Backing, rebase
from mover.replica.replica import Replica
from mover.replica.state import (
    BOTTOM,
    Damage,
    Point,
    State,
    backing_of,
    chain,
    files,
    last,
    lost,
    sequence_of,
)

Ranges = List[Tuple[int, int]]


def report(replica: Replica) -> Dict[str, Any]:
    """Return what is damaged and what the next copy must send or compare."""
    state = replica.state
    return {"damage": [one._asdict() for one in state.damage],
            "points": {str(point.sequence): point.damaged for point in state.points},
            "repair": {disk: ranges for disk, ranges in repair_set(replica).items() if ranges},
            "scan": sorted({one.disk for one in state.damage
                            if one.lost and one.until is None})}


def repair_set(replica: Replica) -> Dict[str, Ranges]:
    """Return the byte ranges of each disk that the newest point reads wrong."""
    newest = last(replica.state)
    found: Dict[str, Ranges] = {}
    for one in replica.state.damage if newest is not None else ():
        if newest is not None and not one.lost:
            found.setdefault(one.disk, []).extend(
                (first * CLUSTER_BYTES, count * CLUSTER_BYTES)
                for first, count in exposed(replica, replica.state, one, newest))
    return {disk: sorted(ranges) for disk, ranges in found.items()}


def exposed(replica: Replica, state: State, one: Damage, point: Point) -> Ranges:
    """Return the damaged clusters, as (first, count), that a point reads."""
    if one.disk not in point.files or point.sequence < one.sequence or (
            one.until is not None and point.sequence >= one.until):
        return []
    ranges: Ranges = [(one.first, one.clusters)]
    for file in chain(state, one.disk, point.sequence):
        if sequence_of(state, one.disk, file.name) <= one.sequence or file.name == one.file:
            continue
        if file.kind in BOTTOM:
            return []
        ranges = _without(ranges, replica.path(one.disk, file.name))
    return ranges


def _without(ranges: Ranges, path: str) -> Ranges:
    try:
        with unreadable_is_damaged(path), Overlay(path) as above:
            return [(run.cluster, run.clusters) for first, count in ranges
                    for run in above.runs(first, count) if run.kind == HOLE]
    except (Damaged, Refused, FileNotFoundError):
        return ranges           # what cannot be read hides nothing


def recount(replica: Replica, state: State) -> State:
    """Return the state with every point's damage counted anew; damage nobody reads is dropped."""
    read = {one: [sum(count for _, count in exposed(replica, state, one, point))
                  for point in state.points] for one in state.damage}
    damage = tuple(one for one in state.damage if any(read[one]))
    return state._replace(damage=damage, points=tuple(
        point._replace(damaged=sum(read[one][at] for one in damage))
        for at, point in enumerate(state.points)))


def readable(replica: Replica, disk: str, sequence: int) -> List[str]:
    """Return the paths of a disk's chain, base first, without the files that are lost."""
    gone = lost(replica.state, disk)
    return [replica.path(disk, file.name) for file in chain(replica.state, disk, sequence)
            if file.name not in gone]


def bypass(replica: Replica, state: State, disk: str, until: int) -> State:
    """
    Return the state without the lost overlays of a disk, which point `until` no longer needs.

    The overlay above a lost one is rebased onto the file below it. The points in between stay, and
    stay marked as spoilt.
    """
    points, floor = list(state.points), dict(state.floor)
    for at, point in enumerate(points):
        file = point.files.get(disk)
        if file is None or file.name not in lost(state, disk) or file.kind in BOTTOM:
            continue
        below = chain(state, disk, point.sequence)[-2]
        above = next((other for later in points[at + 1:]
                      for other in (later.files.get(disk),) if other is not None), None)
        if above is not None and above.kind not in BOTTOM:
            rebase(replica.path(disk, above.name), Backing(*backing_of(below)))
        left = floor.pop(disk) if at == 0 and disk in floor else None
        points[at] = point._replace(files={**point.files, disk: left})
        state = state._replace(points=tuple(points), floor=floor)
    damage = tuple(one._replace(until=until) if one.lost and one.disk == disk
                   and one.until is None else one for one in state.damage)
    return state._replace(damage=damage)


def repair(replica: Replica) -> int:
    """Write good copies over damaged clusters; return how many were repaired."""
    hasher, repaired, left = replica.hasher(), 0, []
    for one in replica.state.damage:
        still: List[int] = []
        for cluster in range(one.first, one.first + one.clusters) if not one.lost else ():
            if _repair_cluster(replica, hasher, one, cluster):
                repaired += 1
            else:
                still.append(cluster)
        left += [one] if one.lost else [one._replace(first=first, clusters=count)
                                        for first, count in to_ranges(still)]
    if repaired:
        replica.commit(recount(replica, replica.state._replace(damage=tuple(left))))
    return repaired


def to_ranges(clusters: List[int]) -> Iterator[Tuple[int, int]]:
    """Yield clusters, which are in ascending order, as ranges (first, count)."""
    first: Optional[int] = None
    for at, cluster in enumerate(clusters):
        first = cluster if first is None else first
        if at + 1 == len(clusters) or clusters[at + 1] != cluster + 1:
            yield first, cluster - first + 1
            first = None


def _repair_cluster(replica: Replica, hasher: Hasher, one: Damage, cluster: int) -> bool:
    path = replica.path(one.disk, one.file)
    place = place_of(path, cluster)
    if place is None:
        return False
    wanted, position, length = place
    good = _good_copy(replica, hasher, one, cluster, wanted)
    return good is not None and _may_be_written(path, cluster, position) and _put_in_place(
        path, good[:length], position)


def _may_be_written(path: str, cluster: int, position: int) -> bool:
    """Return whether a place belongs to this cluster alone; an overlay's table may be damaged."""
    try:
        with unreadable_is_damaged(path), open_layer(path) as layer:
            return isinstance(layer, Base) or layer.is_alone(cluster, position)
    except MoverError:
        return False


def _put_in_place(path: str, good: bytes, position: int) -> bool:
    """Overwrite a damaged cluster in place; return whether it was written."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with unreadable_is_damaged(path):
            os.pwrite(fd, good, position)
            os.fsync(fd)
    except Damaged:
        return False
    finally:    # else what could not be written would be read from the page cache
        os.posix_fadvise(fd, position, len(good), os.POSIX_FADV_DONTNEED)
        os.close(fd)
    return True


def place_of(path: str, cluster: int) -> Optional[Tuple[bytes, int, int]]:
    """Return a cluster's hash, its position in the file and its length there; None: a hole."""
    try:
        with unreadable_is_damaged(path), open_layer(path) as layer:
            wanted = layer.hash_of(cluster)
            run = next(iter(layer.runs(cluster, 1)))
            length = min(CLUSTER_BYTES, layer.size_bytes - cluster * CLUSTER_BYTES)
    except (MoverError, FileNotFoundError):
        return None
    return (wanted, run.position, length) if wanted is not None and run.kind == DATA else None


def _good_copy(replica: Replica, hasher: Hasher, one: Damage, cluster: int,
               wanted: bytes) -> Optional[bytes]:
    if not any(wanted):
        return bytes(CLUSTER_BYTES)
    for file in files(replica.state).get(one.disk, ()):
        if file.name != one.file:
            data = _read_checked(replica.path(one.disk, file.name), hasher, cluster, wanted)
            if data is not None:
                return data
    return None


def _read_checked(path: str, hasher: Hasher, cluster: int, wanted: bytes) -> Optional[bytes]:
    place = place_of(path, cluster)
    if place is None or place[0] != wanted:
        return None
    try:
        with unreadable_is_damaged(path), open_layer(path) as layer:
            data = bytearray(place[2])      # what is past the file's end reads as zeros
            os.preadv(layer.fd, [data], place[1])
    except Damaged:
        return None
    return bytes(data) if hasher.clusters(data) == wanted else None
