"""
See before a merge, and in the middle of one, that a file of it is lost, so that it comes to an end.

What has been written into the base by then has none of the hashes it had: it is damage of the base.
The disk is compared as a whole by the next copy, which needs the lost overlay no more; a lost base
is replaced by a new one, and what lay over it goes unmerged.
"""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Tuple

from mover.errors import Damaged, Refused, unreadable_is_damaged
from mover.image.chain import Base, manifest_path
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.manifest import Manifest, clusters_of
from mover.image.qcow2 import DATA, Overlay
from mover.replica.damage import in_rows, recount
from mover.replica.replica import Replica
from mover.replica.scrub_pieces import Piece, pieces
from mover.replica.state import OVERLAY, Damage, File, State, lost, sequence_of

GONE = (Damaged, Refused, FileNotFoundError)


def is_stuck(state: State, disk: str) -> bool:
    """Return whether a merge that was begun cannot go on, for want of one of its files."""
    overlay = state.points[0].files.get(disk)
    names = lost(state, disk)
    return state.floor[disk].name in names or (overlay is not None and overlay.name in names)


def check_whole(above: Overlay) -> None:
    """Raise Damaged for an overlay that has not all that it says, or not the hashes of it."""
    end = os.fstat(above.fd).st_size
    for run in above.mapped():
        if run.kind == DATA and run.position + run.clusters * CLUSTER_BYTES > end:
            raise Damaged("%s is cut short" % above.path)
    next(above.sums(), None)


def unreadable(replica: Replica, disk: str, base: Optional[File], overlay: File) -> List[str]:
    """Return the names of what cannot be read of a base and the overlay that it is to take up."""
    found = []
    if base is not None:
        path = replica.path(disk, base.name)
        try:
            with unreadable_is_damaged(path), Base(path, manifest_path(path)) as layer:
                layer.manifest().close()
        except GONE:
            found.append(base.name)
    path = replica.path(disk, overlay.name)
    try:
        with unreadable_is_damaged(path), Overlay(path) as above:
            check_whole(above)
    except GONE:
        found.append(overlay.name)
    return found


def note(replica: Replica, gone: Dict[str, List[str]]) -> None:
    """Note what is lost, by disk; of a merge that was under way also what it had come to."""
    state = replica.state
    damage, floor = list(state.damage), dict(state.floor)
    for disk, names in sorted(gone.items()):
        base = floor.get(disk)
        if base is not None and base.name not in names:
            floor[disk], torn = _torn(replica, disk, base)
            damage += torn
        sizes = {file.name: file.size_bytes for point in state.points
                 for file in (point.files.get(disk),) if file is not None}
        sizes.update({base.name: base.size_bytes} if base is not None else {})
        damage += [Damage(disk, name, 0, clusters_of(sizes[name]),
                          sequence_of(state, disk, name), lost=True)
                   for name in names if name not in lost(state, disk)]
    new = state._replace(damage=tuple(dict.fromkeys(damage)), floor=floor)
    if new != state:
        replica.commit(recount(replica, new))


def _torn(replica: Replica, disk: str, base: File) -> Tuple[File, List[Damage]]:
    """Return a base as it is now, and its clusters that no longer have the hashes they had."""
    path = replica.path(disk, base.name)
    with Manifest.open(manifest_path(path)) as manifest:
        base = base._replace(size_bytes=manifest.header.size_bytes)
    bad, hasher = [], replica.hasher()
    for fd, piece in pieces(path, base, 0):
        found = _hashes(fd, piece, hasher)
        bad += [piece.cluster + at // HASH_BYTES for at in range(0, len(found), HASH_BYTES)
                if found[at:at + HASH_BYTES] != piece.hashes[at:at + HASH_BYTES]]
    sequence = sequence_of(replica.state, disk, base.name)
    return base, [Damage(disk, base.name, first, count, sequence) for first, count in in_rows(bad)]


def _hashes(fd: int, piece: Piece, hasher: Hasher) -> bytes:
    if piece.position < 0:
        return bytes(len(piece.hashes))
    data = os.pread(fd, piece.length, piece.position)
    return hasher.clusters(bytearray(data.ljust(piece.length, b"\0")))


def note_lost_in_merges(replica: Replica) -> None:
    """Note what merges that were begun have lost: they are given up."""
    gone = {}
    for disk, base in sorted(replica.state.floor.items()):
        overlay = replica.state.points[0].files.get(disk)
        if overlay is not None and overlay.kind == OVERLAY and not is_stuck(replica.state, disk):
            names = unreadable(replica, disk, base, overlay)
            gone.update({disk: names} if names else {})
    note(replica, gone)
