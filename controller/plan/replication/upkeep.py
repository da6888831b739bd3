"""Upkeep of replicas: verify what is there, let old points go, remove what a newer one replaces.
"""

from typing import Final

from controller.model.instants import render_instant
from controller.model.replica import ReplicaFacts
from controller.model.units import render_duration, render_size
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import DropPoints, RemoveReplica, RetirePoints, VerifyReplica
from controller.plan.replication.keep import dropped, hangs_on, note_keep
from controller.plan.replication.protected_machine import STILL, ProtectedMachine
from controller.plan.replication.retention import surplus
from controller.plan.steps.draft import Draft, counted
from controller.plan.survey.context import ReplicaRequest
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey

LATER_RANK: Final = 10**9
"""Copies come first."""
SOONER_RANK: Final = -(10**8)
"""It comes before copies, but for those that a person asked for: else it might never come."""
TOO_MANY: Final = 4
"""So many points that nothing keeps may wait while copies follow one on the other."""
EARLY: Final = 0.8
"""A replica is read again when so much of its time to be verified has passed."""
BUDGET_LEAST_S: Final = 10.0
BUDGET_MOST_S: Final = 300.0


def keep_up(protected: ProtectedMachine, asked: ReplicaRequest | None, survey: Survey,
            draft: Draft) -> float | None:
    """Note what a replica needs besides its next point; return when it is next to be verified."""
    current = protected.current
    if current is None or current.replica.unreadable or not current.replica.points:
        return None
    note_keep(protected, survey, draft)
    location = protected.location
    still = (location.state in STILL and not location.others
             and protected.name not in survey.last_seen)
    if not still and asked is None:  # what may be needed soon is left as it is
        over_at = verified_at(current) + protected.policy.verify_s
        return over_at if over_at > survey.now_s else None
    due_at = _verify(protected, current, asked, survey, draft)
    if not still:
        return due_at
    _retire(protected, current, survey, draft)
    if len(protected.held) > 1:
        _remove(protected, current, survey, draft)
    return due_at


def tenant_of(held: Held, survey: Survey) -> str | None:
    """Return the domain that has a file of a replica as its disk; None where none is seen to.

    What lies over such a file is seen on the host alone, where it is looked for once more.
    """
    for name, domain in sorted(survey.domains.get(held.host, {}).items()):
        for config in (domain.live, domain.config):
            if config is not None and any(
                    disk.source.startswith(f"{held.replica.path}/") for disk in config.disks):
                return name
    return None


def _is_free(protected: ProtectedMachine, held: Held, survey: Survey, draft: Draft) -> bool:
    """Return whether files of a replica may go; where somebody uses them, or may, that is said."""
    if held.host not in survey.domains:
        draft.remark(protected.target, f"nobody sees which VMs {held.host} has, and one may use the"
                     f" replica in {held.replica.path}: no restore point there goes until it is"
                     " seen", unknown=True)
        return False
    tenant = tenant_of(held, survey)
    if tenant is not None:
        draft.remark(protected.target,
                     f"{tenant} on {held.host} has its disk in {held.replica.path}:"
                     " no restore point there goes while it does")
    return tenant is None


def verified_at(held: Held) -> float:
    """Return when all of a replica was last compared; its first point was when it came."""
    return _first_of(held.replica.scrubbed_at, held.replica)


def _first_of(at: float | None, replica: ReplicaFacts) -> float:
    """Return when something was last done, or else when the first point came."""
    if at is not None:
        return at
    return replica.points[0].committed_at if replica.seeded_at is None else replica.seeded_at


def compared_at(held: Held) -> float:
    """Return when all of a replica was last compared with its source; the first point was it."""
    return _first_of(held.replica.compared_at, held.replica)


def audit_due(protected: ProtectedMachine, held: Held, survey: Survey) -> str:
    """Return why the next point is to compare all of every disk; empty where it need not."""
    limit_s = protected.policy.audit_s
    if limit_s is None or not held.replica.points:
        return ""
    age_s = survey.now_s - compared_at(held)
    if age_s < EARLY * limit_s:
        return ""
    return (f"compared as a whole, since that was last done {render_duration(age_s)} ago and"
            f" {render_duration(limit_s)} is the limit")


def _verify(protected: ProtectedMachine, current: Held, asked: ReplicaRequest | None,
            survey: Survey,
            draft: Draft) -> float | None:
    limit_s = protected.policy.verify_s
    due_at = verified_at(current) + EARLY * limit_s
    if asked is None and due_at > survey.now_s:
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
        reason=reason if asked is None else f"{asked.by} asked for it; {seen}",
        consequence=f"{size} to read on {current.host}, nothing is sent",
        cause=Cause.ROUTINE if asked is None else Cause.HUMAN),
        rank=rank if asked is None else -LATER_RANK)
    over_at = verified_at(current) + limit_s
    return over_at if over_at > survey.now_s else None


def _has_its_turn(current: Held, limit_s: float, budget_s: float, survey: Survey) -> bool:
    """Return whether a slice of an overdue verification comes before the next copy.

    Copies may follow one on the other for ever; so that neither waits for the other to have an
    end, a slice has its turn just after each of them.
    """
    newest = current.replica.newest
    assert newest is not None, "what has no point is not verified"
    return (survey.now_s >= verified_at(current) + limit_s
            and 0 <= survey.now_s - newest.committed_at < budget_s)


def _retire(protected: ProtectedMachine, current: Held, survey: Survey, draft: Draft) -> None:
    keep, count = protected.policy.keep, len(current.replica.points)
    unkept = surplus(current.replica, keep)
    if not unkept or not _is_free(protected, current, survey, draft):
        return
    lost = dropped(protected, current, unkept, survey)
    going = tuple(sequence for sequence in unkept if sequence not in lost)
    words = [f"the last {keep.last}"]
    words += [f"{number} {what}" for number, what in ((keep.hourly, "hourly"),
                                                     (keep.daily, "daily")) if number]
    reason = (f"{protected.name} has {counted(count, 'restore point')} on {current.host}, and"
              f" {', '.join(words)} are to be kept")
    if lost:
        draft.do(DropPoints(
            target=protected.target, node=current.host, path=current.replica.path, sequences=lost,
            keep=", ".join(words),
            reason=f"{reason} by a `keep` that may be smaller than the one before",
            consequence=f"{_told(current.replica, lost)} can never be gone back to again",
            cause=Cause.COMMIT), rank=LATER_RANK + 1)
    if not going:
        return
    draft.do(RetirePoints(
        target=protected.target, node=current.host, path=current.replica.path, sequences=going,
        reason=reason,
        consequence=f"{counted(len(going), 'point')} merged into those above, nothing is sent",
        cause=Cause.ROUTINE), rank=LATER_RANK + 1 if len(going) < TOO_MANY else SOONER_RANK)


def _told(replica: ReplicaFacts, sequences: tuple[int, ...]) -> str:
    first, last = (next(point for point in replica.points if point.sequence == one)
                   for one in (sequences[0], sequences[-1]))
    return (f"{counted(len(sequences), 'restore point')}, of {render_instant(first.started_at)}"
            f" to {render_instant(last.started_at)},")


def _remove(protected: ProtectedMachine, current: Held, survey: Survey, draft: Draft) -> None:
    """Remove every other replica of the VM, once this one has all that is to be kept."""
    best = protected.point
    if best is None or current.replica.lost_files or protected.hidden is not None:
        return
    for other in protected.held:
        newest = other.replica.newest
        if (other.host == current.host or other.replica.unreadable or other.replica.pins
                or (newest is not None and newest.sequence >= best.sequence)
                or not _is_free(protected, other, survey, draft)):
            continue
        if hangs_on(protected, other, current, survey):
            draft.remark(protected.target,
                         f"{protected.name}'s older replica in {other.replica.path} on"
                         f" {other.host} stays until that on {current.host} has all that `keep`"
                         " names")
            continue
        draft.do(RemoveReplica(
            target=protected.target, node=other.host, path=other.replica.path, uuid=protected.uuid,
            reason=f"{protected.name} has a newer replica on {current.host}, and that on"
                   f" {other.host} is of no more use",
            consequence=f"frees {render_size(other.replica.stored_bytes)} on {other.host}",
            cause=Cause.ROUTINE), rank=LATER_RANK + 2)
