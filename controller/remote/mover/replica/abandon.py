"""
Abandon a merge of which a file is lost, be it noticed before the merge or in the middle of it.

What the merge has already written into the base does not have the hash that the base's manifest
says: it is recorded as damage of the base. The next copy compares the whole disk and no longer
needs a lost overlay. If the base is lost, the next copy seeds a new one, and the overlays above the
old one are never merged.
"""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Tuple

from mover.errors import Damaged, Refused, unreadable_is_damaged
from mover.image.chain import Base, manifest_path, open_layer
from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import Manifest, clusters_of
from mover.image.qcow2 import DATA, Overlay
from mover.replica.damage import recount, to_ranges
from mover.replica.replica import Replica
from mover.replica.scrub_pieces import pieces
from mover.replica.state import OVERLAY, Damage, File, State, lost, sequence_of

GONE = (Damaged, Refused, FileNotFoundError)


def is_stuck(state: State, disk: str) -> bool:
    """Return whether an unfinished merge cannot be finished, because a file of it is lost."""
    overlay = state.points[0].files.get(disk)
    names = lost(state, disk)
    return state.floor[disk].name in names or (overlay is not None and overlay.name in names)


def check_whole(above: Overlay) -> None:
    """Raise Damaged for an overlay that lacks clusters or hashes that its tables name."""
    end = os.fstat(above.fd).st_size
    for run in above.mapped():
        if run.kind == DATA and run.position + run.clusters * CLUSTER_BYTES > end:
            raise Damaged("%s is cut short" % above.path)
    next(above.sums(), None)


def unreadable(replica: Replica, disk: str, base: Optional[File], overlay: File) -> List[str]:
    """Return which of a base and the overlay to be merged into it cannot be read."""
    found = []
    if base is not None:
        path = replica.path(disk, base.name)
        try:
            with unreadable_is_damaged(path), open_layer(path) as layer:
                if isinstance(layer, Base):
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


def record_lost(replica: Replica, gone: Dict[str, List[str]]) -> None:
    """Record lost files, by disk; for an unfinished merge also what it has written so far."""
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
    """Return a base as it is now, and its clusters that do not have their hash any more."""
    path = replica.path(disk, base.name)
    with Manifest.open(manifest_path(path)) as manifest:
        base = base._replace(size_bytes=manifest.header.size_bytes)
    bad, hasher = [], replica.hasher()
    for fd, piece in pieces(path, base, 0):
        found = bytes(len(piece.hashes))
        if piece.position >= 0:
            data = os.pread(fd, piece.length, piece.position)
            found = hasher.clusters(bytearray(data.ljust(piece.length, b"\0")))
        bad += piece.wrong(found)
    sequence = sequence_of(replica.state, disk, base.name)
    return base, [Damage(disk, base.name, first, count, sequence)
                  for first, count in to_ranges(bad)]



def record_lost_in_merges(replica: Replica) -> None:
    """Record what unfinished merges have lost: they are abandoned."""
    gone = {}
    for disk, base in sorted(replica.state.floor.items()):
        overlay = replica.state.points[0].files.get(disk)
        if overlay is not None and overlay.kind == OVERLAY and not is_stuck(replica.state, disk):
            names = unreadable(replica, disk, base, overlay)
            gone.update({disk: names} if names else {})
    record_lost(replica, gone)
