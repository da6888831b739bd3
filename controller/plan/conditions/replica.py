"""Protected, Fresh and Verified of every protected VM.

Rule 1: a message names instants, not ages, so that it stays the same while nothing happens.
"""

from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.units import render_duration, render_instant
from controller.plan.machine.capability import cannot_run
from controller.plan.machine.device_support import LeftOut
from controller.plan.replication.copy import missing_disks, parts_left_out
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.replication.schedule import (
    Findings,
    no_later_than,
    nothing_to_copy,
    undeclared,
    unreadable,
)
from controller.plan.replication.unseen import unsure_of_replica, way_out
from controller.plan.replication.upkeep import verified_at
from controller.plan.steps.contained import FAULTS, not_understood
from controller.plan.steps.draft import counted
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

TRUE, FALSE, UNKNOWN = Status.TRUE, Status.FALSE, Status.UNKNOWN
LATE: Final = "Late"
LEVELS: Final = ((3, "Critical", "three times its"), (2, "Warning", "twice its"),
                 (1, LATE, "its"))
"""Multiples of the RPO, largest first, with the reason and the words for each."""
AHEAD_S: Final = 5.0
"""A point may be dated this far ahead of now, as the clock may have been set back a little."""
Answer = tuple[Status, str, str]


def replica_conditions(protected_machines: list[ProtectedMachine], index: ReplicaIndex,
                       findings: Findings,
                       survey: Survey) -> list[Condition]:
    """Return the conditions of every protected VM's replica."""
    found: list[Condition] = []
    for protected in protected_machines:
        try:
            found += _of_one(protected, index, findings, survey)
        except FAULTS as error:
            target = f"VirtualMachine/{protected.name}"
            found.append(cannot_be_seen(target, not_understood(protected.target, error),
                                        survey.desired.revision))
    return found


def _of_one(protected: ProtectedMachine, index: ReplicaIndex, findings: Findings,
            survey: Survey) -> tuple[Condition, ...]:
    target, revision = f"VirtualMachine/{protected.name}", survey.desired.revision
    domain = protected.location.domain
    if domain is not None and not protected.disks:
        answer: Answer = TRUE, "NoDisk", "it has no disk: there is nothing to copy"
        if any(part.disk for part in parts_left_out(protected)):
            answer = (FALSE, "NothingCopied",
                      f"none of its disks is copied: {nothing_to_copy(protected)}")
        return (Condition(target, ConditionType.PROTECTED, *answer, revision),)
    unsure = unsure_of_replica(protected, index, survey)
    if unsure and not protected.stale:  # Fresh and Verified are not listed: unknown
        return (survey.specs.cached(cannot_be_seen, target, unsure, revision),)
    why_not = None if unsure or protected.current is None else cannot_run(
        protected.location.domain, protected.current.host, survey)
    if not unsure and why_not is None and is_well(protected, survey.now_s):
        assert protected.current is not None, "it is sound"
        return survey.specs.cached(all_well, target, protected.current.host,
                                  protected.policy.rpo_s, protected.policy.verify_s, revision,
                                  parts_left_out(protected))
    unknown = _unknown(unsure)
    answers = (unknown, _fresh_unseen(protected, survey) or unknown, unknown) if unsure else (
        _protected(protected, findings) if why_not is None else _cannot_run(protected, why_not),
        _fresh(protected, survey), _verified(protected, survey))
    return (Condition(target, ConditionType.PROTECTED, *answers[0], revision),
            Condition(target, ConditionType.FRESH, *answers[1], revision),
            Condition(target, ConditionType.VERIFIED, *answers[2], revision))


def is_well(protected: ProtectedMachine, now_s: float) -> bool:
    """Return whether a replica is sound, fresh and verified: nearly all are."""
    current = protected.current
    if current is None:
        return False
    replica, point = current.replica, protected.point
    return (point is not None and not replica.unreadable and not replica.lost_files
            and not replica.damaged_clusters and not missing_disks(protected)
            and point.started_at <= now_s + AHEAD_S
            and now_s < point.started_at + protected.policy.rpo_s
            and now_s < verified_at(current) + protected.policy.verify_s)


def all_well(target: str, host: str, rpo_s: float, verify_s: float, revision: str,
             left: tuple[LeftOut, ...] = ()) -> tuple[Condition, ...]:
    """Return the conditions of a replica with which nothing is wrong: the same each time."""
    name = target.partition("/")[2]
    return (Condition(target, ConditionType.PROTECTED, *_replicated(name, host, left), revision),
            Condition(target, ConditionType.FRESH, *_within_rpo(host, rpo_s), revision),
            Condition(target, ConditionType.VERIFIED, *_within_limit(host, verify_s), revision))


def cannot_be_seen(target: str, why: str, revision: str) -> Condition:
    """Return Protected as unknown for a replica that was never seen."""
    return Condition(target, ConditionType.PROTECTED, *_unknown(why), revision)


def _replicated(name: str, host: str, left: tuple[LeftOut, ...]) -> Answer:
    """Return whether a replica has all of the VM, or which parts it lacks."""
    disks = [part for part in left if part.disk and not part.declared]
    if disks:
        others = ", ".join(str(part) for part in left if not part.disk)
        return FALSE, "DiskLeftOut", (undeclared(name, disks)
                                      + (f"; nor has any {others}" if others else ""))
    if not left:
        return TRUE, "Replicated", f"its replica is on {host}"
    words = f"its replica is on {host}, without {', '.join(map(str, left))}"
    return TRUE, "Replicated" if all(part.declared for part in left) else "InPart", words


def _cannot_run(protected: ProtectedMachine, why: str) -> Answer:
    assert protected.current is not None, "nothing else could be asked what it can run"
    return FALSE, "CannotRunThere", (
        f"its replica is on {protected.current.host}, where it could not be started: {why};"
        " bring the twins to the same versions, or give the VM a machine type and processor that"
        " both have")


def _within_rpo(host: str, rpo_s: float) -> Answer:
    return TRUE, "WithinRpo", f"its restore points on {host} keep to {render_duration(rpo_s)}"


def _within_limit(host: str, verify_s: float) -> Answer:
    return TRUE, "WithinLimit", (f"the replica on {host} was read within"
                                 f" {render_duration(verify_s)}")


def _unknown(why: str) -> Answer:
    return UNKNOWN, "CannotBeSeen", why


def _protected(protected: ProtectedMachine, findings: Findings) -> Answer:
    current = protected.current
    if current is None:
        return _unprotected(protected, findings)
    if current.replica.unreadable:
        return FALSE, "Unreadable", unreadable(protected.name, current)
    if protected.point is None:
        return FALSE, "NoPoint", (f"no restore point on {current.host} is complete and sound yet")
    missing = missing_disks(protected)
    if missing:
        return FALSE, "DiskMissing", (f"no restore point on {current.host} has its"
                                      f" {counted(len(missing), 'disk')} {', '.join(missing)} yet")
    return _replicated(protected.name, current.host, parts_left_out(protected))


def _unprotected(protected: ProtectedMachine, findings: Findings) -> Answer:
    if protected.host is None:
        return FALSE, "Nowhere", "it exists on no host that is seen"
    if protected.twin is None:
        return FALSE, "NoTwin", f"site {protected.site} has no twin to hold its replica"
    if protected.name in findings.hostless:
        return FALSE, "NoRoom", findings.hostless[protected.name]
    if protected.misplaced is not None:
        return FALSE, "SameSite", (
            f"its replica is on {protected.misplaced.host}, at the site where it is itself;"
            f" {protected.twin} has none yet")
    return FALSE, "NoReplica", f"there is no replica of it at {protected.twin} yet"


def _fresh(protected: ProtectedMachine, survey: Survey) -> Answer:
    point = protected.point
    if protected.current is None or point is None:
        return FALSE, "NoPoint", "there is no complete and sound restore point at the other site"
    if point.started_at > survey.now_s + AHEAD_S:
        return UNKNOWN, "InTheFuture", (
            f"its newest restore point, {point.sequence} on {protected.current.host}, is dated"
            f" {render_instant(point.started_at)}, which is in the future: set the controller's"
            " clock right; the next copy is made at once")
    rpo = render_duration(protected.policy.rpo_s)
    for times, reason, words in LEVELS:
        if survey.now_s >= point.started_at + times * protected.policy.rpo_s:
            return FALSE, reason, (
                f"its newest restore point, {point.sequence} on {protected.current.host}, began at"
                f" {render_instant(point.started_at)}, longer ago than {words} RPO of {rpo}")
    return _within_rpo(protected.current.host, protected.policy.rpo_s)


def _fresh_unseen(protected: ProtectedMachine, survey: Survey) -> Answer | None:
    """Return that a hidden replica is over its RPO; None while it may still be within it.

    No copy to that host can have begun since it was last seen.
    """
    latest_at = no_later_than(protected, survey)
    hidden = protected.hidden
    if hidden is None or latest_at is None:
        return None
    rpo = render_duration(protected.policy.rpo_s)
    for times, reason, words in LEVELS:
        if survey.now_s >= latest_at + times * protected.policy.rpo_s:
            return FALSE, reason, (
                f"its replica is on {hidden.host}, which was last seen"
                f" {render_instant(latest_at)}, longer ago than {words} RPO of {rpo};"
                f" {way_out(hidden.host)}")
    return None


def _verified(protected: ProtectedMachine, survey: Survey) -> Answer:
    current = protected.current
    if current is None or not current.replica.points:
        return FALSE, "NoPoint", "there is nothing to verify yet"
    replica = current.replica
    if replica.lost_files:
        return FALSE, "Lost", (f"{counted(len(replica.lost_files), 'file')} of the replica on"
                               f" {current.host} cannot be read: {', '.join(replica.lost_files)}")
    if replica.damaged_clusters:
        return FALSE, "Damaged", (f"{counted(replica.damaged_clusters, 'cluster')} of the replica"
                                  f" on {current.host} read wrong")
    limit = render_duration(protected.policy.verify_s)
    if survey.now_s >= verified_at(current) + protected.policy.verify_s:
        return FALSE, "Overdue", (f"the replica on {current.host} was last verified at"
                                  f" {render_instant(verified_at(current))}, and {limit} is the"
                                  " limit")
    return _within_limit(current.host, protected.policy.verify_s)
