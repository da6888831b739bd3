"""Freshness: when the next restore point of a VM is due, so that it is there before its RPO.

A copy begins at the age of half the RPO at the earliest, else early enough for it to take three
times as long as the last ones did, and to begin as late after it was due as they did. What is left
of the RPO is spread by UUID, so that VMs that were copied together are not due together for ever.
"""

from itertools import pairwise
from typing import Final

from controller.model.replica import ReplicaFacts

AT_LEAST: Final = 0.5
"""Of the RPO: no copy begins sooner by itself."""
SAFETY: Final = 3.0
"""A copy may take so many times as long as the last ones did."""
MARGIN: Final = 0.1
MARGIN_MOST_S: Final = 30.0
SPREAD: Final = 0.1
LAG_MOST: Final = 0.25
"""Of the RPO: copies that began later than this after they were due tell of an outage."""
MEND_S: Final = 60.0
"""What is damaged or lost is tried again no sooner than this after the last point."""


def took_s(replica: ReplicaFacts) -> float | None:
    """Return how long copies take, from the newest two; the first copy of all tells nothing."""
    points = replica.points
    if len(points) < 2:
        return None
    last, before = points[-1], points[-2]
    took = max(0.0, last.committed_at - last.started_at)
    return took if len(points) == 2 else max(took, before.committed_at - before.started_at)


def due_at(replica: ReplicaFacts, rpo_s: float, now_s: float) -> float:
    """Return when the next point is due; now at the latest where something speaks for haste."""
    newest = replica.newest
    if newest is None or replica.incoming or newest.started_at > now_s:
        return now_s
    if newest.damaged_clusters or replica.lost_files:
        return newest.started_at + min(MEND_S, AT_LEAST * rpo_s)
    took = took_s(replica)
    if took is None:
        return newest.started_at + AT_LEAST * rpo_s
    room_s = (SAFETY * took + margin_s(rpo_s)
              + SPREAD * rpo_s * _phase(replica.uuid))
    wait_s = max(AT_LEAST * rpo_s, rpo_s - room_s)
    return newest.started_at + max(AT_LEAST * rpo_s, wait_s - lag_s(replica, wait_s, rpo_s))


def lag_s(replica: ReplicaFacts, wait_s: float, rpo_s: float) -> float:
    """Return how long after they were due copies begin, from the newest three that are whole."""
    most = 0.0
    for before, after in pairwise(replica.points[-3:]):
        lag = after.started_at - before.started_at - wait_s
        if after.sequence == before.sequence + 1 and most < lag <= LAG_MOST * rpo_s:
            most = lag
    return most


def margin_s(rpo_s: float) -> float:
    """Return how long an RPO may be missed before that is worth a line."""
    return min(MARGIN_MOST_S, MARGIN * rpo_s)


def _phase(uuid: str) -> float:
    """Return a number from 0 to 1 that is the VM's for ever."""
    return (16 * ord(uuid[0]) + ord(uuid[-1])) % 64 / 64


def next_edge_at(started_at: float | None, rpo_s: float, now_s: float) -> float | None:
    """Return when the age next passes one, two or three times the RPO."""
    if started_at is None:
        return None
    for times in (1, 2, 3):
        edge_at = started_at + times * rpo_s
        if edge_at > now_s:
            return edge_at
    return None


def stored_bytes(replica: ReplicaFacts) -> int | None:
    """Return what a next point is expected to take up: newer ones weigh more; None: no word."""
    expected: float | None = None
    for point in replica.points[1:][-8:]:
        expected = point.stored_bytes if expected is None else (
            expected + 0.4 * (point.stored_bytes - expected))
    return None if expected is None else round(expected)
