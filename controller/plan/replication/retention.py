"""Retention: which restore points may go, so that the last few, the hours and the days stay.

The newest of each hour and of each day counts, by when its copy began, in UTC. Which hours and days
are the last is told by the order in which points came: a clock that was wrong for a while, ahead or
behind, takes no place from what came before and after.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from controller.model.protection_policy import KeepSpec
from controller.model.replica import PointFacts, ReplicaFacts

HOUR_S: Final = 3600
DAY_S: Final = 86400


def surplus(replica: ReplicaFacts, keep: KeepSpec) -> tuple[int, ...]:
    """Return the sequences of the points that nothing keeps, oldest first.

    Shapes: never the newest; nothing at or below a pin, or the last point that has a disk which the
    newest has not; nothing at all while the newest is not sound or anything of the replica is lost.
    """
    newest = replica.newest
    if (newest is None or len(replica.points) <= keep.last or newest.damaged_clusters
            or replica.lost_files or replica.unreadable):
        return ()
    stay = kept(replica.points, keep)
    floor = max((*replica.pins.values(), *replica.last_with.values()), default=-1)
    return tuple(point.sequence for point in replica.points[:-1]
                 if point.sequence not in stay and point.sequence > floor)


def is_needed(old: ReplicaFacts, new: ReplicaFacts, keep: KeepSpec) -> bool:
    """Return whether anything of an older replica is still to be kept beside a newer one.

    The points of both are taken for one history: once the newer has enough, it has all of them.
    """
    if set(old.disks) & set(new.left_out):
        return True     # nowhere else is that disk
    mine = {point.sequence for point in new.points}
    both = {point.sequence: point for point in (*old.points, *new.points)}
    stay = kept(tuple(both[sequence] for sequence in sorted(both)), keep)
    return any(point.sequence in stay - mine and not point.damaged_clusters
               for point in old.points)


def kept(points: tuple[PointFacts, ...], keep: KeepSpec) -> set[int]:
    """Return the sequences of the points that a `keep` keeps, whatever else does."""
    last = {point.sequence for point in points[-keep.last:]}
    return last | _newest_of_each(points, HOUR_S, keep.hourly) | _newest_of_each(
        points, DAY_S, keep.daily)


def _newest_of_each(points: tuple[PointFacts, ...], span_s: int, count: int) -> set[int]:
    """Return the newest point of each of the last `count` spans that have any."""
    if count == 0:
        return set()
    best = {int(point.started_at // span_s): point.sequence for point in _sound_last(points)}
    spans = dict.fromkeys(int(point.started_at // span_s) for point in reversed(points))
    return {best[span] for span in islice(spans, count)}


def _sound_last(points: tuple[PointFacts, ...]) -> Iterable[PointFacts]:
    """Yield the points so that of each span a sound one comes last, where there is one."""
    yield from (point for point in points if point.damaged_clusters)
    yield from (point for point in points if not point.damaged_clusters)
