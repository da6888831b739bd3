"""
Read every file of a replica against its hashes, and write into state.json what is damaged.

    look      without the lock, as fast as the rate allows, until the budget is spent. First what
              only QEMU reads of each file (tables.py), then cluster by cluster
    confirm   under the lock: re-read what looked wrong, and all damage known before. A merge may
              have rewritten a file while it was looked at; what is sound by now is no damage
    repair    what another file of the replica can repair (damage.py)
    date      at the end of the last file: points that are sound, and were there when the scrub
              began, get `verified_at`; the replica gets `scrubbed_at`

What it proves: every byte of every file that these points need was read from the disk once since
the scrub began and had the hash under which the source sent it, and QEMU opens the overlays. What
it does not prove: that the guest boots from it, that nothing rotted after it was read, or that the
source read the right bytes.

A scrub may take many calls. scrub.json is its bookmark: file, cluster, and the newest point when it
began. A lost bookmark makes it begin again and harms nothing. While a merge is unfinished its disk
cannot be judged: base and overlay change. Suspicions about it are dropped, and this scrub dates
nothing at its end; the caller has the merge finished (`retire`), and the next scrub counts.

`note_missing_files` is the quick way, before each copy and merge: it compares only file sizes.
"""

from __future__ import annotations

import json
import os
import stat
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.errors import UNREADABLE, Damaged, Refused, unreadable_is_damaged
from mover.image.chain import manifest_path
from mover.image.former import stamp_of
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.manifest import UNKNOWN_HASH, clusters_of
from mover.image.regular import read_regular
from mover.replica import tables
from mover.replica.abandon import is_stuck, record_lost_in_merges
from mover.replica.damage import recount, repair, report, to_ranges
from mover.replica.replica import Replica, locked, write_whole
from mover.replica.scrub_pieces import Piece, pieces
from mover.replica.state import (
    BASE,
    DISK,
    Damage,
    File,
    files,
    former_of,
    last,
    lost,
    require_epoch,
    sequence_of,
)
from mover.requests import Requests
from mover.transfer.throttle import Throttle

MOST_BOOKMARK_BYTES = 1 << 16
READ_BYTES = 2 * CLUSTER_BYTES      # stays in a processor's own cache until it is hashed


class Bookmark(NamedTuple):
    """
    How far a scrub has read; it dates points up to `newest`.

    `newest` is 0 once an unfinished merge was found: this scrub dates nothing.
    """

    disk: str = ""
    file: str = ""
    cluster: int = 0
    newest: int = 0


class Request(NamedTuple):
    """What to read and how fast; `at` is the caller's time, written into verified points."""

    replica: str
    rate_bps: float = 0         # of reading
    budget_s: float = 0         # stop after so long, the next call continues; 0: to the end
    cold: bool = True           # read from the disk, not from memory
    restart: bool = False
    at: Any = None
    epoch: int = 0              # of the VM for which it is asked


class Suspect(NamedTuple):
    """Clusters that did not have their hash; `lost` tells why a file cannot be read at all."""

    disk: str
    file: str
    clusters: Sequence[int]     # ascending
    lost: str = ""

    def ranges(self) -> List[range]:
        """Return the clusters as ranges."""
        if isinstance(self.clusters, range):
            return [self.clusters] if self.clusters else []
        return [range(first, first + count) for first, count in to_ranges(list(self.clusters))]


def run(words: List[str]) -> Dict[str, Any]:
    """Verify what the request on stdin names."""
    try:
        return verify(Request(**Requests().request))
    except TypeError as error:
        raise Refused("the request cannot be read: %s" % error) from None


def verify(request: Request) -> Dict[str, Any]:
    """Read all files, or as many as the budget allows; record what is damaged."""
    replica = Replica(request.replica)
    require_epoch(replica.state, request.epoch)
    scrub = Scrub(request, replica.hasher())
    begun = Bookmark() if request.restart else load_bookmark(request.replica)
    whole = begun == Bookmark()
    newest = last(replica.state)
    begun = begun._replace(newest=newest.sequence if whole and newest else begun.newest)
    suspects, reached = scrub.look(replica, begun)
    with locked(request.replica, patience_s=30) as now:
        require_epoch(now.state, request.epoch)
        confirm(now, suspects, scrub.hasher)
        found = sum(one.clusters for one in now.state.damage)
        repaired = repair(now)
        merging = [disk for disk in sorted(now.state.floor) if not is_stuck(now.state, disk)]
        upto = 0 if merging else begun.newest   # suspicions beside a merge were dropped
        if reached is None:
            _mark_verified(now, request.at, upto)
        rest = report(now)
    place = reached._replace(newest=upto) if reached else Bookmark()
    write_whole(os.path.join(request.replica, "scrub.json"), json.dumps(place._asdict()).encode())
    return {"read_bytes": scrub.read_bytes, "found_clusters": found, "repaired_clusters": repaired,
            "complete": reached is None, "whole": whole, "merging": merging,
            "reached": reached._asdict() if reached else None, **rest}


def load_bookmark(root: str) -> Bookmark:
    """Return how far the scrub has read; the start if nothing says."""
    try:
        data = read_regular(os.path.join(root, "scrub.json"), MOST_BOOKMARK_BYTES)
        return Bookmark(**json.loads(data))
    except (FileNotFoundError, Damaged, ValueError, TypeError, RecursionError):
        return Bookmark()


class Scrub:
    """One call's reading of files, bounded by a rate and a budget."""

    def __init__(self, request: Request, hasher: Hasher) -> None:
        self.request, self.hasher = request, hasher
        self.read_bytes = 0
        self._throttle = Throttle(request.rate_bps)
        self._until = time.monotonic() + request.budget_s if request.budget_s else None
        self._buffer = bytearray(READ_BYTES)

    def look(self, replica: Replica, begun: Bookmark) -> Tuple[List[Suspect], Optional[Bookmark]]:
        """Return what looks wrong, and where the budget ended (None: at the end)."""
        found: List[Suspect] = []
        for disk, known in sorted(files(replica.state).items()):
            for file in sorted(known):
                first = begun.cluster if (disk, file.name) == begun[:2] else 0
                if (disk, file.name) < begun[:2]:
                    continue
                suspect, reached = self.file(replica, disk, file, first)
                found += [suspect] if suspect.clusters or suspect.lost else []
                if reached is not None:
                    return found, Bookmark(disk, file.name, reached, begun.newest)
        return found, None

    def file(self, replica: Replica, disk: str, file: File,
             first: int) -> Tuple[Suspect, Optional[int]]:
        """Read one file from a cluster on; return what looks wrong and where the budget ended."""
        bad: List[int] = []
        try:
            if not first:
                tables.check(replica, disk, file)
            for fd, piece in pieces(replica.path(disk, file.name), file, first):
                if self.read_bytes and self._until is not None and time.monotonic() > self._until:
                    return Suspect(disk, file.name, bad), piece.cluster
                bad += self.piece(fd, piece)
        except (Damaged, Refused, FileNotFoundError) as error:
            return Suspect(disk, file.name, bad, str(error)), None
        return Suspect(disk, file.name, bad), None

    def piece(self, fd: int, piece: Piece) -> List[int]:
        """Return the clusters of a piece that do not have their hash."""
        if piece.position < 0:
            return piece.wrong(bytes(len(piece.hashes)))
        self._throttle.take(piece.length)
        if self.request.cold:
            os.posix_fadvise(fd, piece.position, piece.length, os.POSIX_FADV_DONTNEED)
        self.read_bytes += piece.length
        step = len(self._buffer)
        return piece.wrong(b"".join(
            self._hashes_at(fd, piece.position + at, min(step, piece.length - at))
            for at in range(0, piece.length, step)))

    def _hashes_at(self, fd: int, position: int, length: int) -> bytes:
        view = memoryview(self._buffer)[:length]
        try:
            got = os.preadv(fd, [view], position)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return UNKNOWN_HASH * clusters_of(length)   # never equal, not even to that of zeros
        if got < length:            # past the end of a file that was cut short
            view[got:] = bytes(length - got)
        return self.hasher.clusters(view)


def note_missing_files(root: str) -> None:
    """Record files that are missing or cut short; a copy cannot wait until a scrub finds them."""
    suspects = [Suspect(disk, file.name, _cut_off(path, file))
                for disk, path, file in _short(Replica(root))]
    written = _written_to(Replica(root))
    suspects += [Suspect(disk, file.name, range(clusters_of(file.size_bytes)))
                 for disk, file in written]
    if suspects or _short_in_merges(Replica(root)):
        with locked(root, patience_s=10) as now:
            record_lost_in_merges(now)
            confirm(now, suspects, now.hasher())
            _note_stamps(now, [file for _, file in written])
            repair(now)


def _written_to(replica: Replica) -> List[Tuple[str, File]]:
    """Return the former disks that somebody has written to: all of them is read again."""
    stamps = replica.state.facts.get("former", {})
    return [(disk, file) for disk, known in sorted(files(replica.state).items())
            for file in known if file.kind == DISK and file.name not in lost(replica.state, disk)
            and stamp_or_none(former_of(file)[0]) != stamps.get(file.name)]


def stamp_or_none(path: str) -> Optional[List[int]]:
    """Return the stamp of a file; None where it is not there."""
    try:
        return stamp_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _note_stamps(replica: Replica, written: List[File]) -> None:
    """Take note of how former disks are by now; one that is gone is recorded as lost."""
    former = replica.state.facts.get("former", {})
    now = {file.name: stamp for file in written
           for stamp in (stamp_or_none(former_of(file)[0]),) if stamp is not None}
    if now:
        replica.commit(replica.state._replace(
            facts={**replica.state.facts, "former": {**former, **now}}))


def _short_in_merges(replica: Replica) -> bool:
    """Return whether an unfinished merge has lost a file, as far as sizes tell."""
    state = replica.state
    for disk, base in sorted(state.floor.items()):
        overlay = state.points[0].files.get(disk)
        if overlay is not None and not is_stuck(state, disk) and (
                size_of(replica.path(disk, base.name)) < 0
                or size_of(replica.path(disk, overlay.name)) < length_of(overlay)):
            return True
    return False


def _short(replica: Replica) -> Iterator[Tuple[str, str, File]]:
    """Yield the files that are missing or shorter than they were written."""
    gone = {(one.disk, one.file) for one in replica.state.damage if one.lost}
    for disk, known in sorted(files(replica.state).items()):
        for file in known:
            path = replica.path(disk, file.name)
            if (disk, file.name) not in gone and disk not in replica.state.floor and (
                    size_of(path) < length_of(file)):
                yield disk, path, file


def size_of(path: str) -> int:
    """Return a file's size; -1 where it cannot be read, or is a base without a manifest."""
    try:
        with unreadable_is_damaged(path):
            seen = os.stat(path)
        whole = stat.S_ISREG(seen.st_mode) and (
            not path.endswith(".raw") or os.path.exists(manifest_path(path)))
        return seen.st_size if whole else -1
    except (Damaged, FileNotFoundError):
        return -1


def length_of(file: File) -> int:
    """Return the length of a file that is whole."""
    return file.size_bytes if file.kind == BASE else file.stored_bytes


def _cut_off(path: str, file: File) -> range:
    """Return the clusters to confirm: of a base those that are cut off."""
    if file.kind != BASE or size_of(path) < 0:
        return range(0)         # an overlay has its tables at its end: it is lost
    return range(size_of(path) // CLUSTER_BYTES, clusters_of(file.size_bytes))


def confirm(replica: Replica, suspects: List[Suspect], hasher: Hasher) -> None:
    """Re-read what looked wrong, and all damage known before; commit what is damaged now."""
    state = replica.state
    known = {disk: {file.name: file for file in of} for disk, of in files(state).items()}
    again = [*suspects, *(Suspect(one.disk, one.file, range(one.first, one.first + one.clusters))
                          for one in state.damage if not one.lost)]
    wanted: Dict[Tuple[str, str], List[range]] = {}
    for suspect in again:
        if suspect.file in known.get(suspect.disk, {}) and suspect.disk not in state.floor:
            wanted.setdefault((suspect.disk, suspect.file), []).extend(suspect.ranges())
    damage = [one for one in state.damage if (one.disk, one.file) not in wanted]
    for (disk, name), clusters in sorted(wanted.items()):
        damage += _damage_of(replica, known[disk][name], disk, clusters, hasher)
    new = recount(replica, state._replace(damage=tuple(damage)))
    if (new.damage, new.points) != (state.damage, state.points):
        replica.commit(new)


def _damage_of(replica: Replica, file: File, disk: str, spans: List[range],
               hasher: Hasher) -> List[Damage]:
    path, sequence = replica.path(disk, file.name), sequence_of(replica.state, disk, file.name)
    if file.kind == BASE and os.path.isfile(path) and os.path.getsize(path) < file.size_bytes:
        os.truncate(path, file.size_bytes)      # what was cut off can then be repaired in place
    bad: List[int] = []
    scrub = Scrub(Request(replica.root, cold=False), hasher)
    try:
        tables.check(replica, disk, file)
        waiting = _apart(spans)[::-1]
        for fd, piece in pieces(path, file, min((span.start for span in spans), default=0)):
            while waiting and waiting[-1].stop <= piece.cluster:
                waiting.pop()
            end = piece.cluster + len(piece.hashes) // HASH_BYTES
            if waiting and waiting[-1].start < end:
                bad += scrub.piece(fd, piece)
    except (Damaged, Refused, FileNotFoundError):
        return [Damage(disk, file.name, 0, clusters_of(file.size_bytes), sequence, lost=True)]
    if os.path.getsize(path) < length_of(file):
        os.truncate(path, length_of(file))      # all that is read and lay there is in `bad`
    return [Damage(disk, file.name, first, count, sequence) for first, count in to_ranges(bad)]


def _apart(spans: List[range]) -> List[range]:
    """Return the same clusters as ranges that do not touch, in ascending order."""
    found: List[range] = []
    for span in sorted(spans, key=lambda span: span.start):
        if found and span.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, span.stop))
        else:
            found.append(span)
    return found


def _mark_verified(replica: Replica, at: Any, newest: int) -> None:
    """
    Date the points that were there when the scrub began and are sound.

    The end of the scrub is recorded besides: retention may have retired all those points by now.
    """
    state = replica.state
    facts = {**state.facts, "scrubbed_at": at} if newest else state.facts
    points = tuple(point if point.damaged or point.sequence > newest
                   else point._replace(verified_at=at)
                   for point in state.points)
    if at is not None and (points, facts) != (state.points, state.facts):
        replica.commit(state._replace(points=points, facts=facts))
