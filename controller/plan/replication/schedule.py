"""Replication: what each protected VM's replica needs next, decided from what is seen alone.

Rule 1: what cannot be seen is not missing: while a host may hold a replica of a VM, as far as it
        last said, none is seeded, and while a newer one may be there, none is added to.
Rule 2: the smallest slack to the RPO goes first, and what nobody protects is left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from controller.model.facts import Known, Unknown
from controller.model.units import render_duration
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.plan.machine.device_support import TRACKING, LeftOut, tracking_gap
from controller.plan.replication.copy import (
    Disks,
    consequence_of,
    due_at,
    limits_of,
    missing_disks,
    next_edge_at,
    parts_left_out,
    plan_disks,
)
from controller.plan.replication.placement import ReplicaPlace, ReplicaPlacer
from controller.plan.replication.protected_machine import STILL, ProtectedMachine
from controller.plan.replication.upkeep import audit_due, keep_up
from controller.plan.steps.contained import FAULTS, break_off
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.context import ReplicaRequest, RequestKind
from controller.plan.survey.replicas import Held, ReplicaIndex
from controller.plan.survey.survey import Survey

FIRST_RANK: Final = -(10**9)
"""What a person asked for comes before everything."""
AS_ASKED: Final = "compared as a whole, as asked"
COPIES: Final = (RequestKind.COPY, RequestKind.SEED, RequestKind.REPAIR)
Requests = Mapping[RequestKind, ReplicaRequest]
NO_WISHES: Final[Requests] = {}


@dataclass(slots=True)
class Findings:
    """What is found beside actions: instants, and why a VM can have no replica now."""

    edges: list[float] = field(default_factory=list)
    """Instants at which time alone makes an action due or changes a condition."""
    hostless: dict[str, str] = field(default_factory=dict)
    """By VM: why there is no place for a replica."""

    @property
    def due_at(self) -> float | None:
        """Return the first instant."""
        return min(self.edges, default=None)


class ScheduleContext(NamedTuple):
    """What the look at one VM after the other shares."""

    replicas: ReplicaIndex
    shelves: ReplicaPlacer
    requests: Mapping[str, Requests]
    survey: Survey
    draft: Draft
    findings: Findings


def diff_replicas(protected_machines: list[ProtectedMachine], index: ReplicaIndex, survey: Survey,
                  draft: Draft) -> Findings:
    """Note what every replica needs, and return when time alone may change that."""
    context = ScheduleContext(index, ReplicaPlacer(index, survey), _requests(survey), survey,
                              draft, Findings())
    for protected in protected_machines:
        mark = draft.mark()
        try:
            _look_after(protected, context)
        except FAULTS as error:
            break_off(protected.target, draft, mark, error)
    _refuse_wishes(protected_machines, context)
    return context.findings


def _look_after(protected: ProtectedMachine, context: ScheduleContext) -> None:
    """Note what one replica needs, and when time alone may change that."""
    survey, edges = context.survey, context.findings.edges
    requests = context.requests.get(protected.name, NO_WISHES) if context.requests else NO_WISHES
    edge_at = next_edge_at(_counts_from(protected, survey), protected.policy.rpo_s, survey.now_s)
    if edge_at is not None:
        edges.append(edge_at)
    if protected.current is None and context.replicas.unlisted and not requests:
        return      # by rule 1; most of a large estate at the first looks
    _copy(protected, requests, context)
    _tell_left_out(protected, context.draft)
    verify_at = keep_up(protected, _verification(protected, requests), survey, context.draft)
    if verify_at is not None:
        edges.append(verify_at)


def _tell_left_out(protected: ProtectedMachine, draft: Draft) -> None:
    """Say which disks no restore point has, unless that is meant, and which cost more than need be.
    """
    domain = protected.location.domain
    for disk in () if domain is None else protected.disks:
        if disk.qcow2_version < TRACKING:
            draft.remark(protected.target,
                         f"disk {disk.target} of {protected.name} is read whole for"
                         f" each restore point: {tracking_gap(disk)}")
    left = [part for part in parts_left_out(protected) if part.disk and not part.declared]
    if left:
        draft.remark(protected.target, undeclared(protected.name, left))


def undeclared(name: str, left: Sequence[LeftOut]) -> str:
    """Return what is said of disks that are left out and not declared so."""
    return (f"no restore point of {name} has its {' and '.join(map(str, left))}: declare"
            f" `replicate: false` on {'it' if len(left) == 1 else 'each'}, or change that")


def _counts_from(protected: ProtectedMachine, survey: Survey) -> float | None:
    """Return what the age of a VM's replica counts from; None where there is no point."""
    if protected.hidden is not None:
        return no_later_than(protected, survey)
    return None if protected.point is None else protected.point.started_at


def no_later_than(protected: ProtectedMachine, survey: Survey) -> float | None:
    """Return when the newest point on a host that tells nothing can have begun at the latest.

    None where no replica is hidden, or nobody knows since when it is.
    """
    hidden = protected.hidden
    if hidden is None or hidden.sound is None:
        return None
    fact = survey.observed.nodes.get(hidden.host)
    part = fact.value.replicas if isinstance(fact, Known) else fact
    if not isinstance(part, Unknown) or part.since_at <= 0:
        return None
    return max(hidden.sound.started_at, part.since_at)


def _verification(protected: ProtectedMachine, requests: Requests) -> ReplicaRequest | None:
    """Return who asks for a verification: whoever wants a repair of what nobody knows, too."""
    asked = requests.get(RequestKind.VERIFY)
    if asked is None and knows_no_damage(protected):
        return requests.get(RequestKind.REPAIR)
    return asked


def knows_no_damage(protected: ProtectedMachine) -> bool:
    """Return whether a VM has restore points of which none is known to read wrong."""
    current = protected.current
    return (current is not None and bool(current.replica.points)
            and not current.replica.damaged_clusters and not current.replica.lost_files)


def _requests(survey: Survey) -> dict[str, dict[RequestKind, ReplicaRequest]]:
    found: dict[str, dict[RequestKind, ReplicaRequest]] = {}
    for request in survey.context.requests:
        found.setdefault(request.machine, {})[request.kind] = request
    return found


def _refuse_wishes(protected_machines: list[ProtectedMachine], context: ScheduleContext) -> None:
    """Say of every wish for a VM that is not protected that it cannot be had."""
    if not context.requests:
        return
    cared = {protected.name for protected in protected_machines}
    for name in sorted(context.requests.keys() - cared):
        context.draft.remark(f"VirtualMachine/{name}",
                             f"{name} has no replica to work on: declare a"
                          " `protection` for it")


def _copy(protected: ProtectedMachine, requests: Requests, context: ScheduleContext) -> None:
    """Note the VM's next restore point, if it is due or asked for."""
    asked = None
    if requests:
        asked = next((requests[kind] for kind in COPIES if kind in requests
                      and not (kind is RequestKind.REPAIR and knows_no_damage(protected))), None)
        if asked is None and protected.current is None:
            asked = requests[RequestKind.VERIFY]  # there is nothing to verify until it is copied
    current = protected.current
    if current is not None and current.replica.unreadable:
        context.draft.stall(protected.target, "ReplicaUnreadable",
                            unreadable(protected.name, current))
        return
    blocker = _blocker(protected, context)
    if blocker is not None:
        if asked is not None:
            context.draft.remark(f"VirtualMachine/{protected.name}", blocker)
        return
    if current is None:
        _seed(protected, asked, context)
        return
    at = due_at(current.replica, protected.policy.rpo_s, context.survey.now_s)
    if at > context.survey.now_s and asked is None and not missing_disks(protected):
        context.findings.edges.append(at)
        return
    compare = AS_ASKED if RequestKind.SEED in requests else audit_due(protected, current,
                                                                      context.survey)
    disks = plan_disks(protected, current, context.survey, compare=compare)
    _replicate(protected, ReplicaPlace(current.host, current.replica.path), disks, asked, context,
               compare)


def _blocker(protected: ProtectedMachine, context: ScheduleContext) -> str | None:
    """Return why no point is made of this VM now; None when one may be."""
    name, location, survey = protected.name, protected.location, context.survey
    if location.state not in STILL or location.domain is None:
        return location.sentence or f"{name} exists on no host yet: there is nothing to copy"
    if location.others or name in survey.last_seen:
        return f"{name} is on several hosts: nothing is copied until it is on one"
    owner = location.domain.ownership
    if owner is not None and owner.estate not in survey.specs.names.estates:
        return f"{name} belongs to estate {owner.estate}: it is not copied"
    if owner is None and protected.current is None:
        return f"{name} is not marked as ours yet: it is not copied before"
    if protected.twin is None:
        return f"site {protected.site} has no twin to hold a replica of {name}: declare one"
    if not protected.disks:
        return f"{name} has no disk that can be copied: {nothing_to_copy(protected)}"
    if protected.current is None and context.replicas.unlisted:
        return f"{name} may have a replica that is not seen: {_unseen(context.replicas)}"
    hidden = protected.hidden
    if hidden is not None:
        return (f"{name} has a newer replica on {hidden.host}:"
                f" {context.replicas.unseen[hidden.host]}")
    return None


def nothing_to_copy(protected: ProtectedMachine) -> str:
    """Return why no restore point of a VM can be made of any of its disks."""
    left = [str(part) for part in parts_left_out(protected) if part.disk]
    return ", ".join(left) if left else "there is nothing to copy"


def _unseen(index: ReplicaIndex) -> str:
    first = next(iter(index.unlisted))
    more = len(index.unlisted) - 1
    return index.unlisted[first] + (f", and so with {more} more" if more else "")


def unreadable(name: str, held: Held) -> str:
    """Return what is said of a replica whose state cannot be read."""
    return (f"the replica of {name} on {held.host} cannot be read and is left alone:"
            f" {held.replica.unreadable}")


def _seed(protected: ProtectedMachine, asked: ReplicaRequest | None,
          context: ScheduleContext) -> None:
    disks = plan_disks(protected, None, context.survey)
    if isinstance(disks, str):
        _replicate(protected, ReplicaPlace("", ""), disks, asked, context)
        return
    shelf = context.shelves.find(protected, disks.whole_bytes)
    if isinstance(shelf, str):
        context.findings.hostless[protected.name] = shelf
        context.draft.remark(protected.target, shelf)
        return
    _replicate(protected, shelf, disks, asked, context)


def _replicate(protected: ProtectedMachine, shelf: ReplicaPlace, disks: Disks | str,
               asked: ReplicaRequest | None,
               context: ScheduleContext, compare: str = "") -> None:
    if isinstance(disks, str):
        context.draft.remark(protected.target, disks)
        return
    survey, policy, current = context.survey, protected.policy, protected.current
    domain, host = protected.location.domain, protected.host
    assert domain is not None
    assert host is not None
    here, there = (survey.desired.hosts[one].spec for one in (host, shelf.host))
    sequence = 1 + max((one.replica.newest.sequence for one in (*protected.held, *protected.stale)
                        if one.replica.newest is not None), default=0)
    repair = (asked is not None and asked.kind is RequestKind.REPAIR) or (
        current is not None and current.replica.damaged_clusters > 0)
    limits = limits_of(protected, shelf.host, survey)
    every = policy.quiesce.every if policy.quiesce is not None else 0
    without = tuple(str(part) for part in parts_left_out(protected))
    context.draft.do(ReplicateDomain(
        target=protected.target, node=host, domain=domain.name, uuid=protected.uuid, to=shelf.host,
        path=shelf.path, disks=disks.copies,
        replication_address=here.replication_address or here.address,
        to_replication_address=there.replication_address or there.address,
        sequence=sequence,
        quiesce=bool(every) and sequence % every == 0 and domain.state.active,
        limits=limits, compare=compare, repair=repair,
        reason=_reason(protected, asked, disks, survey, repair=repair),
        consequence=f"to {shelf.host}: {consequence_of(protected, disks, current, limits)}"
                    + (f"; without {', '.join(without)}" if without else ""),
        without=without,
        cause=_cause(protected, asked, disks, survey, compare)),
        rank=_rank(protected, asked, survey))


def slack_s(protected: ProtectedMachine, now_s: float) -> float | None:
    """Return how long it is until the RPO is passed; None where there is no sound point."""
    return None if protected.point is None else (
        protected.point.started_at + protected.policy.rpo_s - now_s)


def _rank(protected: ProtectedMachine, asked: ReplicaRequest | None, survey: Survey) -> int:
    slack = slack_s(protected, survey.now_s)
    return (FIRST_RANK if asked is not None else 0) + round(
        -protected.policy.rpo_s if slack is None else slack)


def _cause(protected: ProtectedMachine, asked: ReplicaRequest | None, disks: Disks, survey: Survey,
           compare: str) -> Cause:
    """Return a person, where one asked; else routine, unless something is not as it should be."""
    if asked is not None:
        return Cause.HUMAN
    current = protected.current
    if current is None or not current.replica.points:
        return cause_of(survey.context, f"VirtualMachine/{protected.name}",
                        f"ProtectionPolicy/{protected.vm.spec.protection}")
    slack = slack_s(protected, survey.now_s)
    wrong = current.replica.lost_files or current.replica.damaged_clusters or (
        disks.why and not compare)
    return Cause.DRIFT if slack is None or slack < 0 or (
        wrong and any(one.tracked and one.mode is not CopyMode.INCREMENT
                      for one in disks.copies)) else Cause.ROUTINE


def _reason(protected: ProtectedMachine, asked: ReplicaRequest | None, disks: Disks,
            survey: Survey, *,
            repair: bool) -> str:
    parts = [] if asked is None else [f"{asked.by} asked for it"]
    current = protected.current
    if current is None or not current.replica.points:
        parts.append(_without(protected, current))
    else:
        parts.append(_age(protected, current, survey))
        if current.replica.incoming:
            parts.append("a copy was cut off, and what has come of it is used")
    if repair and current is not None:
        count = current.replica.damaged_clusters
        parts.append(f"{count} damaged clusters are sent again" if count else
                     "what reads wrong is sent again")
    return "; ".join([*parts, *([disks.why] if disks.why else [])])


def _without(protected: ProtectedMachine, current: Held | None) -> str:
    if current is not None:
        return f"the first copy of {protected.name} to {current.host} is not complete"
    other = protected.misplaced
    if other is not None:
        return (f"{protected.name} is at {protected.site} now, and so is its replica, on"
                f" {other.host}: it needs one at {protected.twin}")
    return f"{protected.name} has no replica at {protected.twin}"


def _age(protected: ProtectedMachine, current: Held, survey: Survey) -> str:
    rpo, point = render_duration(protected.policy.rpo_s), protected.point
    if point is None:
        return f"no restore point of {protected.name} on {current.host} is sound"
    age_s = survey.now_s - point.started_at
    words = f"the replica of {protected.name} is {render_duration(age_s)} old"
    return f"{words}, over its RPO of {rpo}" if age_s > protected.policy.rpo_s else (
        f"{words}, its RPO is {rpo}")
