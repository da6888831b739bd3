"""Upkeep of replicas: verify them, retire old points, remove a replica that a newer one replaces.

All of it yields to copies (a late copy is lost data, a late verification is not), but none of it
may wait for ever where copies follow one another without a pause. So it is ranked:

    a person's request  <  overdue verification, or many points to retire  <  copies, by slack
                        <  verification  <  retirement  <  removal of an old replica

An overdue verification is read in slices, each just after a copy: then neither keeps the other from
ending. Retirement overtakes the copies once TOO_MANY points wait for it.

What must hold before something goes: the VM is one machine on one host; the host of the replica
shows its domains, and none of them uses a file of the replica (a person may have started a guest
from a point by hand); of the points, what retention.py allows; of a whole replica, a newer one with
a sound newest point, no lost file, and all that `keep` names.
"""

from typing import Final

from controller.model.replica import ReplicaFacts
from controller.model.units import render_duration, render_instant, render_size
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import DropPoints, RemoveReplica, RetirePoints, VerifyReplica
from controller.plan.replication.protected_machine import COPYABLE, ProtectedMachine
from controller.plan.replication.retention import (
    is_still_kept,
    kept_before,
    record_keep,
    surplus,
)
from controller.plan.steps.draft import Draft, counted
from controller.plan.survey.context import ReplicaRequest
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey

LATER_RANK: Final = 10**9
"""Copies come first."""
SOONER_RANK: Final = -(10**8)
"""Before all copies but those that a person requested: else its turn might never come."""
TOO_MANY: Final = 4
"""When so many points are due to be retired, that comes before copies."""
EARLY: Final = 0.8
"""Share of the limit after which a replica is verified or compared again."""
BUDGET_LEAST_S: Final = 10.0
BUDGET_MOST_S: Final = 300.0


def keep_up(protected: ProtectedMachine, request: ReplicaRequest | None, survey: Survey,
            draft: Draft) -> float | None:
    """Plan what a replica needs besides its next point; return when its verification is due."""
    current = protected.current
    if current is None or current.replica.unreadable or not current.replica.points:
        return None
    record_keep(protected, survey, draft)
    location = protected.location
    still = (location.state in COPYABLE and not location.others
             and protected.name not in survey.last_seen)
    if not still and request is None:    # the replica may be needed soon
        over_at = verified_at(current) + protected.policy.verify_s
        return over_at if over_at > survey.now_s else None
    due_at = _verify(protected, current, request, survey, draft)
    if not still:
        return due_at
    _retire(protected, current, survey, draft)
    if len(protected.held) > 1:
        _remove(protected, current, survey, draft)
    return due_at


def user_of(held: Held, survey: Survey) -> str | None:
    """Return the domain that has a file of a replica as its disk; None if none is seen.

    Overlays on such a file are seen on the host alone, which checks for them before anything goes.
    """
    for name, domain in sorted(survey.domains.get(held.host, {}).items()):
        for config in (domain.live, domain.config):
            if config is not None and any(
                    disk.source.startswith(f"{held.replica.path}/") for disk in config.disks):
                return name
    return None


def _is_free(protected: ProtectedMachine, held: Held, survey: Survey, draft: Draft) -> bool:
    """Return whether files of a replica may go; report who uses them, or may, if so."""
    if held.host not in survey.domains:
        draft.remark(protected.target, f"libvirt on {held.host} does not answer, so a VM there may"
                     f" be using {held.replica.path}: no restore point is deleted until it answers",
                     unknown=True)
        return False
    user = user_of(held, survey)
    if user is not None:
        draft.remark(protected.target,
                     f"{user} on {held.host} has its disk in {held.replica.path}:"
                     " no restore point is deleted while it does")
    return user is None


def verified_at(held: Held) -> float:
    """Return when all of a replica was last verified; its first copy counts as that."""
    return _or_first(held.replica.scrubbed_at, held.replica)


def _or_first(at: float | None, replica: ReplicaFacts) -> float:
    """Return `at`, or else when the first point was complete."""
    if at is not None:
        return at
    return replica.points[0].committed_at if replica.seeded_at is None else replica.seeded_at


def compared_at(held: Held) -> float:
    """Return when all of a replica was last compared with its source; the first copy counts."""
    return _or_first(held.replica.compared_at, held.replica)


def audit_due(protected: ProtectedMachine, held: Held, survey: Survey) -> str:
    """Return why the next copy compares every disk as a whole; empty if it need not."""
    limit_s = protected.policy.audit_s
    if limit_s is None or not held.replica.points:
        return ""
    age_s = survey.now_s - compared_at(held)
    if age_s < EARLY * limit_s:
        return ""
    return (f"compared as a whole, since that was last done {render_duration(age_s)} ago and"
            f" {render_duration(limit_s)} is the limit")


def _verify(protected: ProtectedMachine, current: Held, request: ReplicaRequest | None,
            survey: Survey, draft: Draft) -> float | None:
    limit_s = protected.policy.verify_s
    due_at = verified_at(current) + EARLY * limit_s
    if request is None and due_at > survey.now_s:
        return due_at
    age = render_duration(survey.now_s - verified_at(current))
    size = render_size(current.replica.stored_bytes)
    seen = (f"{protected.name}'s replica on {current.host} was last verified {age} ago"
            if current.replica.scrubbed_at is not None else
            f"{protected.name}'s replica on {current.host} has not been verified for {age}")
    reason = f"{seen}, and {render_duration(limit_s)} is the limit"
    budget_s = min(max(protected.policy.rpo_s / 4, BUDGET_LEAST_S), BUDGET_MOST_S)
    rank = LATER_RANK if not _has_its_turn(current, limit_s, budget_s, survey) else SOONER_RANK
    draft.do(VerifyReplica(
        target=protected.target, node=current.host, path=current.replica.path, budget_s=budget_s,
        epoch=protected.epoch,
        reason=reason if request is None else f"{request.by} asked for it; {seen}",
        consequence=f"{size} to read on {current.host}, nothing is sent",
        cause=Cause.ROUTINE if request is None else Cause.HUMAN),
        rank=rank if request is None else -LATER_RANK)
    over_at = verified_at(current) + limit_s
    return over_at if over_at > survey.now_s else None


def _has_its_turn(current: Held, limit_s: float, budget_s: float, survey: Survey) -> bool:
    """Return whether a slice of an overdue verification comes before the next copy."""
    newest = current.replica.newest
    assert newest is not None, "what has no point is not verified"
    return (survey.now_s >= verified_at(current) + limit_s
            and 0 <= survey.now_s - newest.committed_at < budget_s)


def _retire(protected: ProtectedMachine, current: Held, survey: Survey, draft: Draft) -> None:
    keep, count = protected.policy.keep, len(current.replica.points)
    unkept = surplus(current.replica, keep)
    if not unkept or not _is_free(protected, current, survey, draft):
        return
    lost = kept_before(protected, current, unkept, survey)
    going = tuple(sequence for sequence in unkept if sequence not in lost)
    words = [f"the last {keep.last}"]
    words += [f"{number} {what}" for number, what in ((keep.hourly, "hourly"),
                                                     (keep.daily, "daily")) if number]
    reason = (f"{protected.name} has {counted(count, 'restore point')} on {current.host}, and"
              f" {', '.join(words)} are to be kept")
    if lost:
        draft.do(DropPoints(
            target=protected.target, node=current.host, path=current.replica.path, sequences=lost,
            keep=", ".join(words), epoch=protected.epoch,
            reason=f"{reason} by a `keep` that may be smaller than the one before",
            consequence=f"{_dates_of(current.replica, lost)} can never be gone back to again",
            cause=Cause.COMMIT), rank=LATER_RANK + 1)
    if not going:
        return
    draft.do(RetirePoints(
        target=protected.target, node=current.host, path=current.replica.path, sequences=going,
        reason=reason, epoch=protected.epoch,
        consequence=f"{counted(len(going), 'point')} merged into those above, nothing is sent",
        cause=Cause.ROUTINE), rank=LATER_RANK + 1 if len(going) < TOO_MANY else SOONER_RANK)


def _dates_of(replica: ReplicaFacts, sequences: tuple[int, ...]) -> str:
    first, last = (next(point for point in replica.points if point.sequence == one)
                   for one in (sequences[0], sequences[-1]))
    return (f"{counted(len(sequences), 'restore point')}, of {render_instant(first.started_at)}"
            f" to {render_instant(last.started_at)},")


def _remove(protected: ProtectedMachine, current: Held, survey: Survey, draft: Draft) -> None:
    """Plan to remove every other replica of the VM, once this one has all that `keep` names."""
    best = protected.point
    if best is None or current.replica.lost_files or protected.hidden is not None:
        return
    for other in protected.held:
        newest = other.replica.newest
        if (other.host == current.host or other.replica.unreadable or other.replica.pins
                or (newest is not None and newest.sequence >= best.sequence)
                or not _is_free(protected, other, survey, draft)):
            continue
        if is_still_kept(protected, other, current, survey):
            draft.remark(protected.target,
                         f"{protected.name}'s older replica in {other.replica.path} on"
                         f" {other.host} stays until that on {current.host} has all that `keep`"
                         " names")
            continue
        draft.do(RemoveReplica(
            target=protected.target, node=other.host, path=other.replica.path, uuid=protected.uuid,
            epoch=protected.epoch,
            reason=f"{protected.name} has a newer replica on {current.host}, and that on"
                   f" {other.host} is of no more use",
            consequence=f"frees {render_size(other.replica.stored_bytes)} on {other.host}",
            cause=Cause.ROUTINE), rank=LATER_RANK + 2)
