"""
Retire restore points: the oldest by merging the next overlay into the base, another by squashing.

Law: killed at any line, every point that state.json names reads as before, and a second run
finishes the work. The order of the steps is there for that.

    oldest                  base ── rp-2 ── rp-3      ──►      base+rp-2 ── rp-3
      commit                point 1 is no longer named; `floor` says that a merge is unfinished
      copy rp-2 into base   nobody reads the clusters being written: rp-2 hides them all
      sync; manifest; sync  only now the base alone reads as point 2
      rebase rp-3 on base   true with either backing file
      commit                point 2 is the base; rp-2 is no longer named and goes

    another                 rp-2 ── rp-3 ── rp-4      ──►      rp-2+3 ── rp-4
      commit                damage of rp-2 is recorded for rp-3, too, where rp-3 will take it over
      write rp-3.qcow2.new  rp-3, and of rp-2 what rp-3 does not hide; its backing is rp-2's
      commit                `check` of rp-3 accepts the tables of the old and of the new file
      rename over rp-3      reads the same as before, whether rp-2 is below it or not
      commit                point 2 is no longer named; rp-2 goes

While a point is pinned nothing at or below it is begun or finished; `pin` finishes first what a
crash left. After a crash `finish` repeats an unfinished merge from its start: rp-2 has not changed,
and copying it again writes the same. A squash begins anew: `.new` files are removed, and a file
that has been renamed already is squashed with rp-2 once more, which changes nothing.

Not retired: the newest point, what is pinned and what is below it, the last point that reads right,
the last that has a disk, and a point whose files, or the next one's, cannot be read; it stays until
the whole disk was compared. Nothing is retired while a process uses the replica's files.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from mover.errors import Refused, TryAgain
from mover.image.chain import manifest_path
from mover.image.former import FormerDisk, make_base
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.index import OVERLAY as OVERLAY_INDEX
from mover.image.index import Index
from mover.image.manifest import Header, Manifest
from mover.image.qcow2 import DATA, HOLE, Overlay, Run, joined
from mover.image.qcow2_writer import Backing, finish_overlay, rebase
from mover.image.regular import open_regular
from mover.image.sparse import Copier, punch
from mover.replica import abandon
from mover.replica.abandon import check_whole, is_stuck, record_lost
from mover.replica.damage import recount
from mover.replica.remove import user_of
from mover.replica.replica import Replica, locked, sync_dir
from mover.replica.scrub import note_missing_files
from mover.replica.state import (
    BASE,
    DISK,
    OVERLAY,
    Damage,
    File,
    Point,
    State,
    former_of,
    formers,
    holder_of,
    last,
    lost,
    next_overlay,
    point_of,
    require_epoch,
    sequence_of,
)
from mover.replica.tables import digest_of
from mover.requests import Requests


class Merged(NamedTuple):
    """What one merge moved."""

    disk: str
    way: str
    data_bytes: int
    zero_bytes: int


def run(words: List[str]) -> Dict[str, Any]:
    """Retire the points of the request {"replica", "sequences", "epoch"}, the oldest first."""
    request = Requests().request
    root, epoch = str(request["replica"]), request.get("epoch")
    require_epoch(Replica(root).state, epoch)
    note_missing_files(root)
    with locked(root) as replica:
        require_epoch(replica.state, epoch)
        user = user_of(root, formers(replica.state))    # a merge writes below overlays
        if user is not None:
            raise Refused("%s is in use by %s: end that first" % (root, user))
        abandon.record_lost_in_merges(replica)
        merged = finish(replica)
        for sequence in sorted(request.get("sequences", ())):
            merged += retire(replica, int(sequence))
        return {"points": [point.sequence for point in replica.state.points],
                "generation": replica.state.generation,
                "merged": [part._asdict() for part in merged],
                "waiting": sorted(replica.state.pins) if replica.state.floor else [],
                "given_up": [disk for disk in sorted(replica.state.floor)
                             if is_stuck(replica.state, disk)]}


def retire(replica: Replica, sequence: int) -> List[Merged]:
    """Retire one point; Refused for the newest and for what is pinned."""
    state = replica.state
    point = point_of(state, sequence)
    newest = last(state)
    assert newest is not None, "point_of has found one"
    if point.sequence == newest.sequence:
        raise Refused("restore point %d is the newest: it stays until there is a newer one"
                      % sequence)
    held = holder_of(state, sequence)
    if held is not None:
        raise Refused("restore point %d is pinned by %s: unpin it first" % held[::-1])
    _require_newer_good(state, point)
    if point.sequence == state.points[0].sequence:
        _require_readable(replica)
        replica.commit(_without_oldest(state))
        return finish(replica)
    return _squash(replica, point)


def _require_newer_good(state: State, point: Point) -> None:
    """Raise TryAgain for the last point that reads right, and for the last that has a disk."""
    if not point.damaged and not any(later.sequence > point.sequence and not later.damaged
                                     for later in state.points):
        raise TryAgain("restore point %d is the last that reads right: it stays until a newer one"
                       " does" % point.sequence)
    newer = [later for later in state.points if later.sequence > point.sequence]
    for disk in sorted(newer[-1].facts.get("left_out", ())):
        if disk in point.files and not any(disk in later.files for later in newer):
            raise TryAgain("restore point %d is the last that has disk %s: it stays until a newer"
                           " one has it" % (point.sequence, disk))


def _require_readable(replica: Replica) -> None:
    """Raise TryAgain where the oldest point cannot be merged; record which file is lost."""
    state, gone = replica.state, {}
    oldest, following = state.points[:2]
    for disk, overlay in sorted(following.files.items()):
        base = oldest.files.get(disk)
        if disk in state.floor and state.floor[disk].name not in lost(state, disk):
            raise _stays(disk, base.name if base else "a file", oldest)
        if overlay is None or overlay.kind != OVERLAY or base is None or (
                disk in state.floor or base.name in lost(state, disk)):
            continue            # nothing is merged
        names = abandon.unreadable(replica, disk, base, overlay)
        gone.update({disk: names} if names else {})
    record_lost(replica, gone)
    for disk, names in sorted(gone.items()):
        raise _stays(disk, names[0], oldest)


def _stays(disk: str, name: str, point: Point) -> TryAgain:
    return TryAgain("%s of disk %s cannot be read: restore point %d stays until the whole disk has"
                    " been compared" % (name, disk, point.sequence))


def _without_oldest(state: State) -> State:
    oldest, rest = state.points[0], state.points[1:]
    floor: Dict[str, File] = {}
    files: Dict[str, Optional[File]] = {}
    for disk, file in rest[0].files.items():
        below, under = oldest.files.get(disk), state.floor.get(disk)    # a base that is lost
        files[disk] = file if file is not None else below
        if file is None and under is not None:
            floor[disk] = under
        elif file is not None and file.kind == OVERLAY:
            assert below is not None, "the oldest point has a file for each of its disks"
            floor[disk] = under or below
    return state._replace(points=(rest[0]._replace(files=files), *rest[1:]), floor=floor)


def finish(replica: Replica) -> List[Merged]:
    """
    Finish the merges that state.json says are unfinished; none while a point is pinned.

    The overlay to be merged hides all that a merge has written so far, so a pinned point reads
    right as long as that overlay stays.
    """
    state = replica.state
    if state.floor and holder_of(state, state.points[0].sequence) is not None:
        return []
    stuck = {disk: base for disk, base in state.floor.items() if is_stuck(state, disk)}
    if len(stuck) == len(state.floor):
        return []
    oldest = state.points[0]
    done, files, damage = [], dict(oldest.files), state.damage
    for disk, base in sorted(state.floor.items()):
        if disk in stuck:
            continue
        overlay = oldest.files.get(disk)
        if overlay is not None and overlay.kind == OVERLAY:
            name = "base-%06d.raw" % oldest.sequence if base.kind == DISK else base.name
            damage = _moved(replica, damage, disk, (base.name, overlay.name, name))
            done.append(_merge_apart(replica, disk, base, overlay, name) if base.kind == DISK
                        else _merge(replica, disk, base, overlay))
            above = next_overlay(state, disk)
            if above is not None:
                rebase(replica.path(disk, above), Backing(name, "raw"))
            files[disk] = File(name, BASE, overlay.size_bytes,
                               os.stat(replica.path(disk, name)).st_blocks * 512)
    points = (oldest._replace(files=files), *state.points[1:])
    replica.commit(state._replace(points=points, floor=stuck, damage=damage))
    return done


def _merge(replica: Replica, disk: str, base: File, overlay: File) -> Merged:
    base_path = replica.path(disk, base.name)
    fd = open_regular(base_path, os.O_RDWR)
    try:
        with Overlay(replica.path(disk, overlay.name)) as above:
            check_whole(above)
            os.ftruncate(fd, overlay.size_bytes)
            merged = _copy_down(disk, above, fd)
            os.fsync(fd)
            _merge_sums(above, manifest_path(base_path), fd, base.size_bytes, replica.hasher())
    finally:
        os.close(fd)
    return merged


def _merge_apart(replica: Replica, disk: str, base: File, overlay: File, name: str) -> Merged:
    """Make a new base of a former disk, which is only read, and the overlay over it."""
    if base.size_bytes != overlay.size_bytes:
        raise TryAgain("disk %s was resized since it was taken back: it stays as it was" % disk)
    sums = [replica.path(disk, file.name) for file in (base, overlay)]
    with Overlay(sums[1]) as above:
        check_whole(above)
    size = make_base(FormerDisk(*former_of(base)), sums, replica.path(disk, name))
    return Merged(disk, "apart", size, 0)


def _copy_down(disk: str, above: Overlay, fd: int) -> Merged:
    copier, data_bytes, zero_bytes = Copier(), 0, 0
    for run in joined(above.mapped()):
        at = run.cluster * CLUSTER_BYTES
        length = min(run.clusters * CLUSTER_BYTES, above.size_bytes - at)
        if run.kind == DATA:
            copier.copy(above.fd, run.position, fd, at, length)
            data_bytes += length
        else:
            punch(fd, at, length)
            zero_bytes += length
    return Merged(disk, copier.way, data_bytes, zero_bytes)


def _merge_sums(above: Overlay, path: str, fd: int, old_bytes: int, hasher: Hasher) -> None:
    size = above.size_bytes
    with Manifest.open(path, writable=True) as manifest:
        manifest.resize(manifest.header._replace(size_bytes=size))
        edge = min(size, old_bytes) // CLUSTER_BYTES
        if size != old_bytes and min(size, old_bytes) % CLUSTER_BYTES:
            start = edge * CLUSTER_BYTES    # a cluster that was short, or has become so
            data = os.pread(fd, min(CLUSTER_BYTES, size - start), start)
            manifest.put(edge, hasher.clusters(bytearray(data)))
        for run, hashes in above.sums():
            manifest.put(run.cluster, hashes)
        manifest.sync()


def _moved(replica: Replica, damage: Tuple[Damage, ...], disk: str,
           names: Tuple[str, str, str]) -> Tuple[Damage, ...]:
    """Return the damage as it will be when the first two files have become the third."""
    lower, upper, into = names
    found: List[Damage] = []
    sequence = sequence_of(replica.state, disk, upper)
    with Overlay(replica.path(disk, upper)) as above:
        for one in damage:
            if one.disk != disk or one.file not in (lower, upper):
                found.append(one)
            elif one.file == upper:
                found.append(one._replace(file=into, sequence=sequence))
            else:
                found += [Damage(disk, into, run.cluster, run.clusters, sequence)
                          for run in above.runs(one.first, one.clusters) if run.kind == HOLE]
    return tuple(dict.fromkeys(found))


def _squash(replica: Replica, point: Point) -> List[Merged]:
    pairs = list(_pairs(replica.state, point))
    damage = _record_ahead(replica, pairs)
    state = replica.state
    at = [one.sequence for one in state.points].index(point.sequence)
    following = state.points[at + 1]
    files = {disk: point.files.get(disk) if file is None else file
             for disk, file in following.files.items()}
    merged = []
    for disk, lower, upper in pairs:
        files[disk], moved = _squash_disk(replica, disk, lower, upper)
        merged.append(moved)
    either = {disk: upper._replace(check=" ".join([*upper.check.split(), new.check])
                                   if upper.check else "")
              for disk, _lower, upper in pairs for new in (files[disk],) if new is not None}
    replica.commit(state._replace(points=(
        *state.points[:at + 1], following._replace(files={**following.files, **either}),
        *state.points[at + 2:])), clean=False)
    for disk, _lower, upper in pairs:
        path = replica.path(disk, upper.name)
        os.rename(path + ".new", path)
        sync_dir(os.path.dirname(path))
    points = (*state.points[:at], following._replace(files=files), *state.points[at + 2:])
    replica.commit(recount(replica, state._replace(points=points, damage=damage)))
    return merged


def _pairs(state: State, point: Point) -> Iterator[Tuple[str, File, File]]:
    """Yield each disk whose overlays of a point and the next become one, with the two."""
    following = state.points[state.points.index(point) + 1]
    for disk, lower in sorted(point.files.items()):
        upper = following.files.get(disk)
        if lower is None or upper is None or upper.kind != OVERLAY:
            continue
        if lower.kind != OVERLAY:
            raise Refused("disk %s begins at restore point %d: retire the older ones first"
                          % (disk, point.sequence))
        for name in (lower.name, upper.name):
            if name in lost(state, disk):
                raise _stays(disk, name, point)
        yield disk, lower, upper


def _record_ahead(replica: Replica, pairs: List[Tuple[str, File, File]]) -> Tuple[Damage, ...]:
    """
    Record damage of the lower files for the upper ones, too; return it as it will be afterwards.

    Else, after a crash, an upper file with the damaged bytes would seem to hide the damage.
    """
    state = replica.state
    damage = state.damage
    for disk, lower, upper in pairs:
        damage = _moved(replica, damage, disk, (lower.name, upper.name, upper.name))
    if not set(damage) <= set(state.damage):
        both = tuple(dict.fromkeys((*state.damage, *damage)))
        replica.commit(recount(replica, state._replace(damage=both)))
    return damage


def _squash_disk(replica: Replica, disk: str, lower: File, upper: File) -> Tuple[File, Merged]:
    path = replica.path(disk, upper.name)
    new = path + ".new"
    with Overlay(replica.path(disk, lower.name)) as below, Overlay(path) as above:
        check_whole(below)
        check_whole(above)
        if below.size_bytes != above.size_bytes:
            raise Refused("disk %s was resized after %s: retire the older points first"
                          % (disk, lower.name))
        size, merged = _write_squashed(disk, below, above, new)
    return upper._replace(stored_bytes=size, check=digest_of(new)), merged


def _write_squashed(disk: str, below: Overlay, above: Overlay, new: str) -> Tuple[int, Merged]:
    sums = above.header.sums
    assert sums is not None, "publish writes no overlay without hashes"
    fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
    copier, data_bytes, zero_bytes = Copier(), 0, 0
    try:
        with Index.create(new + ".idx", OVERLAY_INDEX, above.size_bytes) as index, \
                Manifest.create(new + ".man", Header(
                    above.size_bytes, sums.algorithm, sums.secret_id)) as manifest:
            for layer, run, hashes in _both(below, above):
                manifest.put(run.cluster, hashes)
                if run.kind == DATA:
                    at = index.reserve(run.clusters)
                    size = run.clusters * CLUSTER_BYTES
                    os.ftruncate(fd, at + size)
                    copier.copy(layer.fd, run.position, fd, at, size)
                    index.put_data(run.cluster, run.clusters, at)
                    data_bytes += size
                else:
                    index.put_zero(run.cluster, run.clusters)
                    zero_bytes += run.clusters * CLUSTER_BYTES
            header = below.header
            finished = finish_overlay(fd, index, manifest,
                                      Backing(header.backing, header.backing_format))
    finally:
        os.close(fd)
        for name in (new + ".idx", new + ".man"):
            if os.path.exists(name):
                os.unlink(name)
    return finished.file_bytes, Merged(disk, copier.way, data_bytes, zero_bytes)


def _both(below: Overlay, above: Overlay) -> Iterator[Tuple[Overlay, Run, bytes]]:
    """Yield what the two layers hold together: all of `above`, and what it does not hide."""
    for run, hashes in above.sums():
        yield above, run, hashes
    for run, hashes in below.sums():
        for free in above.runs(run.cluster, run.clusters):
            if free.kind == HOLE:
                skip = free.cluster - run.cluster
                part = Run(run.kind, free.cluster, free.clusters,
                           run.position + skip * CLUSTER_BYTES if run.kind == DATA else 0)
                yield below, part, hashes[skip * HASH_BYTES:(skip + free.clusters) * HASH_BYTES]
