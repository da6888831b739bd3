"""Retention: which restore points of a replica may go, and which of them a person must approve.

`keep` names the last few points, the newest of each of the last hours, and the newest of each of
the last days, by when the copies began, in UTC. Which hours and days are the last is told by the
order of the points: a clock that was wrong for a while takes no place from the points around it. In
each span a sound point is preferred to a damaged one.

    ···d·······d·······d··h··h··h··h·lll        kept: l(ast), h(ourly), d(aily); · may go

Never: the newest point; anything at or below a pin, or at or below the last point with a disk that
the newest lacks; anything at all while the newest is damaged or a file of the replica is lost,
since an older point may then be the good one.

How a point goes depends on why:

* time passed: it is *retired*, that is merged into the point above, as routine;
* a commit made `keep` smaller: it is *dropped*. That deletes data, so the delete ceiling and the
  autonomy for `delete` apply. Such points are those that the `keep` before this one would keep. If
  that is not known and the specs changed, it may have kept everything.

The present `keep` is recorded as the one before once no point depends on the old one any more.
"""

from itertools import islice
from typing import Final

from controller.model.protection_policy import KeepSpec
from controller.model.replica import PointFacts, ReplicaFacts
from controller.plan.actions.action import Cause
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey

HOUR_S: Final = 3600
DAY_S: Final = 86400


def surplus(replica: ReplicaFacts, keep: KeepSpec) -> tuple[int, ...]:
    """Return the sequences of the points that may go, oldest first."""
    newest = replica.newest
    if (newest is None or len(replica.points) <= keep.last or newest.damaged_clusters
            or replica.lost_files or replica.unreadable):
        return ()
    stay = kept(replica.points, keep)
    floor = max((*replica.pins.values(), *replica.last_with.values()), default=-1)
    return tuple(point.sequence for point in replica.points[:-1]
                 if point.sequence not in stay and point.sequence > floor)


def is_needed(old: ReplicaFacts, new: ReplicaFacts, keep: KeepSpec) -> bool:
    """Return whether an older replica has a point that `keep` names and the newer one lacks.

    The points of both count as one history. As the newer gets more, the older is needed no more.
    """
    if set(old.disks) & set(new.left_out):
        return True     # only the older one has that disk
    mine = {point.sequence for point in new.points}
    both = {point.sequence: point for point in (*old.points, *new.points)}
    stay = kept(tuple(both[sequence] for sequence in sorted(both)), keep)
    return any(point.sequence in stay - mine and not point.damaged_clusters
               for point in old.points)


def kept(points: tuple[PointFacts, ...], keep: KeepSpec) -> set[int]:
    """Return the sequences of the points that a `keep` names."""
    last = {point.sequence for point in points[-keep.last:]}
    return last | _newest_of_each(points, HOUR_S, keep.hourly) | _newest_of_each(
        points, DAY_S, keep.daily)


def _newest_of_each(points: tuple[PointFacts, ...], span_s: int, count: int) -> set[int]:
    """Return the newest point, a sound one if any is, of each of the last `count` spans."""
    if count == 0:
        return set()
    damaged_first = sorted(points, key=lambda point: not point.damaged_clusters)
    best = {int(point.started_at // span_s): point.sequence for point in damaged_first}
    spans = dict.fromkeys(int(point.started_at // span_s) for point in reversed(points))
    return {best[span] for span in islice(spans, count)}


def kept_before(protected: ProtectedMachine, current: Held, unkept: tuple[int, ...],
                survey: Survey) -> tuple[int, ...]:
    """Return those points that may go which the `keep` before this one would keep."""
    before = _both(protected, survey)
    if before is None:
        return unkept
    stay = kept(current.replica.points, before)
    return tuple(sequence for sequence in unkept if sequence in stay)


def is_still_kept(protected: ProtectedMachine, other: Held, current: Held, survey: Survey) -> bool:
    """Return whether this `keep` or the one before needs a point of an older replica."""
    before = _both(protected, survey)
    return before is None or is_needed(other.replica, current.replica, before)


def record_keep(protected: ProtectedMachine, survey: Survey, draft: Draft) -> None:
    """Record the present `keep` as the one in force, once no point depends on the one before."""
    keep, before = protected.policy.keep, _both(protected, survey)
    if before is keep:      # nearly always: it has not changed
        if protected.name not in survey.context.kept:
            draft.kept[protected.name] = keep
        return
    if protected.current is None or protected.stale or any(
            one.replica.unreadable for one in protected.held):
        return
    for one in protected.held:
        points = one.replica.points
        stay = {point.sequence for point in points} if before is None else kept(points, before)
        if stay - kept(points, keep):
            return
    draft.kept[protected.name] = keep


def _both(protected: ProtectedMachine, survey: Survey) -> KeepSpec | None:
    """Return this `keep` and the one before combined; None if that may have kept everything."""
    before, keep = survey.context.kept.get(protected.name), protected.policy.keep
    if before is not None and (before.last, before.hourly, before.daily) == (
            keep.last, keep.hourly, keep.daily):
        return keep
    if before is not None:
        return KeepSpec(last=max(before.last, keep.last), hourly=max(before.hourly, keep.hourly),
                        daily=max(before.daily, keep.daily))
    moved = cause_of(survey.context, f"VirtualMachine/{protected.name}",
                     f"ProtectionPolicy/{protected.vm.spec.protection}") is Cause.COMMIT
    return None if moved else keep
