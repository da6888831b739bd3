"""Retention: which restore points may go, so that the last few, the hours and the days stay.

The newest of each hour and of each day counts, by when its copy began, in UTC.
"""

from collections.abc import Iterable
from typing import Final

from controller.model.protection_policy import KeepSpec
from controller.model.replica import PointFacts, ReplicaFacts

HOUR_S: Final = 3600
DAY_S: Final = 86400


def surplus(replica: ReplicaFacts, keep: KeepSpec) -> tuple[int, ...]:
    """Return the sequences of the points that nothing keeps, oldest first.

    Shapes: never the newest; nothing at or below a pin; nothing at all while the newest is not
    sound or anything of the replica is lost.
    """
    newest = replica.newest
    if (newest is None or len(replica.points) <= keep.last or newest.damaged_clusters
            or replica.lost_files or replica.unreadable):
        return ()
    kept = {point.sequence for point in replica.points[-keep.last:]}
    kept |= _newest_of_each(replica.points, HOUR_S, keep.hourly)
    kept |= _newest_of_each(replica.points, DAY_S, keep.daily)
    floor = max(replica.pins.values(), default=-1)
    return tuple(point.sequence for point in replica.points[:-1]
                 if point.sequence not in kept and point.sequence > floor)


def _newest_of_each(points: tuple[PointFacts, ...], span_s: int, count: int) -> set[int]:
    """Return the newest point of each of the last `count` spans that have any."""
    if count == 0:
        return set()
    last = {int(point.started_at // span_s): point.sequence for point in _sound_last(points)}
    return {last[span] for span in sorted(last)[-count:]}


def _sound_last(points: tuple[PointFacts, ...]) -> Iterable[PointFacts]:
    """Yield the points so that of each span a sound one comes last, where there is one."""
    yield from (point for point in points if point.damaged_clusters)
    yield from (point for point in points if not point.damaged_clusters)
