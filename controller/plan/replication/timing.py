"""Timing: when the next copy of a replica is due; schedule.py draws why then."""

from itertools import pairwise
from typing import Final

from controller.model.replica import ReplicaFacts
from controller.plan.replication.copy import took_s

AT_LEAST: Final = 0.5
"""Share of the RPO before which no copy begins by itself."""
SAFETY: Final = 3.0
"""A copy may take this many times as long as the last ones did."""
MARGIN: Final = 0.1
MARGIN_MOST_S: Final = 30.0
SPREAD: Final = 0.1
LAG_MOST: Final = 0.25
"""Share of the RPO: a copy that began later than this after it was due means an outage."""
MEND_S: Final = 60.0
"""Damage is mended no sooner than this after the last copy began."""


def due_at(replica: ReplicaFacts, rpo_s: float, now_s: float) -> float:
    """Return when the next copy of a replica is due; the drawing in schedule.py says why then."""
    newest = replica.newest
    if newest is None or replica.incoming or newest.started_at > now_s or newest.diverged:
        return now_s
    if newest.damaged_clusters or replica.lost_files:
        return newest.started_at + min(MEND_S, AT_LEAST * rpo_s)
    took = took_s(replica)
    if took is None:
        return newest.started_at + AT_LEAST * rpo_s
    phase = (16 * ord(replica.uuid[0]) + ord(replica.uuid[-1])) % 64 / 64   # the VM's for ever
    room_s = SAFETY * took + margin_s(rpo_s) + SPREAD * rpo_s * phase
    wait_s = max(AT_LEAST * rpo_s, rpo_s - room_s)
    return newest.started_at + max(AT_LEAST * rpo_s, wait_s - lag_s(replica, wait_s, rpo_s))


def lag_s(replica: ReplicaFacts, wait_s: float, rpo_s: float) -> float:
    """Return how late copies begin, by the last three points in an unbroken sequence."""
    most = 0.0
    for before, after in pairwise(replica.points[-3:]):
        lag = after.started_at - before.started_at - wait_s
        if after.sequence == before.sequence + 1 and most < lag <= LAG_MOST * rpo_s:
            most = lag
    return most


def margin_s(rpo_s: float) -> float:
    """Return by how much an RPO may be missed before that is reported."""
    return min(MARGIN_MOST_S, MARGIN * rpo_s)
