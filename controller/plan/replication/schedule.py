"""Schedule: when each protected VM is copied next, and what else its replica needs.

What a replica goes through; each arrow is one action, planned from what is seen alone:

    none ──seed──► first copy ──complete──► fresh ──increment──► fresh ──increment──► …
                   ▲        │                 │
                   └─resumed┘                 ├─ damaged or lost: what reads wrong is sent again
                                              ├─ tracking lost: disks compared as a whole (scan)
                                              ├─ `verify` passed: all of it read again
                                              ├─ points beyond `keep`: merged into those above
                                              └─ the VM now lives at this site: seed at its new
                                                 twin; this one goes once that has all of `keep`

When the next copy is due. The age of a point counts from the start of its copy, so that point n+1
must be complete before point n is one RPO old:

    point n begins                     n+1 is due                      n is one RPO old
    ├───────────────────────────────────┼───────┼────────┼──────┼──────┤
    0      never sooner than half          lag   3 x copy  margin spread
           an RPO

`copy` is how long the last two took, `margin` a tenth of the RPO (30 s at most), `spread` a fixed
part of another tenth that differs from VM to VM, so that not all are due at one instant, and `lag`
how late recent copies began, because others held the slots. With one point alone, nothing tells
how long an increment takes: half an RPO. Due at once: an interrupted copy, a disk that the replica
lacks, a point dated in the future. Damage is mended a minute after the last copy began, at the
soonest, so that a fault that stays does not copy without end. VMs of a group are due together.

Only one action at a time works on a replica (they share the target `Replica/NAME`). Copies of
different VMs run in parallel, the smallest slack to the RPO first, a person's requests before all.
A crash leaves an interrupted copy, which is resumed, and leftovers, which are swept (leftovers.py).

Rule 1: what cannot be seen is not missing. While a host may hold a replica of a VM, as far as it
        last answered, none is seeded; while a newer one may be there, none is added to.
Rule 2: a VM that is not protected is left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from controller.model.facts import DomainFacts, Known, Unknown
from controller.plan.actions.replica import ReplicateDomain
from controller.plan.machine.device_support import TRACKING, LeftOut, tracking_gap
from controller.plan.machine.layout import Layout
from controller.plan.replication.copy import (
    Disks,
    missing_disks,
    parts_left_out,
    plan_copy,
    plan_disks,
)
from controller.plan.replication.former import adopt_former
from controller.plan.replication.groups import group_dues
from controller.plan.replication.placement import ReplicaPlace, ReplicaPlacer
from controller.plan.replication.protected_machine import COPYABLE, ProtectedMachine
from controller.plan.replication.timing import due_at
from controller.plan.replication.upkeep import audit_due, keep_up
from controller.plan.steps.contained import FAULTS, break_off
from controller.plan.steps.draft import Draft
from controller.plan.survey.context import ReplicaRequest, RequestKind
from controller.plan.survey.replicas import Held, ReplicaIndex
from controller.plan.survey.survey import Survey

AS_ASKED: Final = "compared as a whole, as asked"
COPIES: Final = (RequestKind.COPY, RequestKind.SEED, RequestKind.REPAIR)
Requests = Mapping[RequestKind, ReplicaRequest]
NO_REQUESTS: Final[Requests] = {}


@dataclass(slots=True)
class Findings:
    """What is found besides actions: when something is next due, and VMs without a place."""

    edges: list[float] = field(default_factory=list)
    """Instants at which an action becomes due or a condition changes."""
    hostless: dict[str, str] = field(default_factory=dict)
    """By VM: why there is no place for a replica."""

    @property
    def due_at(self) -> float | None:
        """Return the first of the edges."""
        return min(self.edges, default=None)


class ScheduleContext(NamedTuple):
    """What scheduling one VM after the other shares."""

    replicas: ReplicaIndex
    placer: ReplicaPlacer
    requests: Mapping[str, Requests]
    group_dues: Mapping[str, float]
    survey: Survey
    draft: Draft
    findings: Findings


def diff_replicas(protected_machines: list[ProtectedMachine], index: ReplicaIndex, layout: Layout,
                  survey: Survey, draft: Draft) -> Findings:
    """Plan what every replica needs; return when time alone makes more due."""
    requests: dict[str, dict[RequestKind, ReplicaRequest]] = {}
    for request in survey.context.requests:
        requests.setdefault(request.machine, {})[request.kind] = request
    placer = ReplicaPlacer(protected_machines, index, layout, survey)
    _expect_first_copies(placer, protected_machines, survey)
    context = ScheduleContext(index, placer, requests, group_dues(protected_machines, survey),
                              survey, draft, Findings())
    for protected in protected_machines:
        mark = draft.mark()
        try:
            _look_after(protected, context)
        except FAULTS as error:
            break_off(protected.target, draft, mark, error)
    _refuse_requests(protected_machines, context)
    return context.findings


def _expect_first_copies(placer: ReplicaPlacer, protected_machines: Sequence[ProtectedMachine],
                         survey: Survey) -> None:
    """Tell where replicas come to be at this moment, and how large they will have become."""
    to = {flight.target: flight.nodes for flight in survey.context.in_flight
          if flight.action_id.startswith(f"{ReplicateDomain.verb}:")}
    for one in protected_machines:
        current = one.current
        if current is None and one.target in to:
            host = next((node for node in to[one.target] if node in survey.desired.hosts
                         and survey.desired.hosts[node].spec.site == one.twin), None)
        else:
            host = None if current is None or current.replica.points else current.host
        if host is None:
            continue
        try:
            disks = plan_disks(one, current, survey)
            if isinstance(disks, Disks):
                placer.expect(one, host, disks.whole_bytes)
        except FAULTS:
            continue    # it is told of where that one is looked after


def _look_after(protected: ProtectedMachine, context: ScheduleContext) -> None:
    """Plan what one replica needs, and note when time alone makes more due."""
    survey, edges = context.survey, context.findings.edges
    requests = context.requests.get(protected.name, NO_REQUESTS)
    point = protected.point
    counts_from = no_later_than(protected, survey) if protected.hidden is not None else (
        None if point is None else point.started_at)
    edge_at = next_edge_at(counts_from, protected.policy.rpo_s, survey.now_s)
    if edge_at is not None:
        edges.append(edge_at)
    if protected.current is None and context.replicas.unlisted and not requests:
        return      # by rule 1; most of a large estate at the first looks
    _copy(protected, requests, context)
    _report_disks(protected, context.draft)
    verify_at = keep_up(protected, _verification(protected, requests), survey, context.draft)
    if verify_at is not None:
        edges.append(verify_at)


def _report_disks(protected: ProtectedMachine, draft: Draft) -> None:
    """Report disks that are left out and not declared so, and those read whole each time."""
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
    """Return the sentence about disks that are left out and not declared so."""
    return (f"no restore point of {name} has its {' and '.join(map(str, left))}: declare"
            f" `replicate: false` on {'it' if len(left) == 1 else 'each'}, or change that")


def no_later_than(protected: ProtectedMachine, survey: Survey) -> float | None:
    """Return the latest instant at which the newest point of a hidden replica can have begun.

    None if no replica is hidden, or nobody knows since when.
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
    """Return the request for a verification; a repair without known damage begins with one."""
    request = requests.get(RequestKind.VERIFY)
    if request is None and knows_no_damage(protected):
        return requests.get(RequestKind.REPAIR)
    return request


def knows_no_damage(protected: ProtectedMachine) -> bool:
    """Return whether a VM has restore points, none of them known to be damaged."""
    current = protected.current
    return (current is not None and bool(current.replica.points)
            and not current.replica.damaged_clusters and not current.replica.lost_files)


def _refuse_requests(protected_machines: list[ProtectedMachine], context: ScheduleContext) -> None:
    """Refuse every request for a VM that is not protected."""
    if not context.requests:
        return
    names = {protected.name for protected in protected_machines}
    for name in sorted(context.requests.keys() - names):
        context.draft.remark(f"VirtualMachine/{name}",
                             f"{name} has no replica to work on: declare a"
                          " `protection` for it")


def _copy(protected: ProtectedMachine, requests: Requests, context: ScheduleContext) -> None:
    """Plan the VM's next restore point, if it is due or requested."""
    request = None
    if requests:
        request = next((requests[kind] for kind in COPIES if kind in requests
                      and not (kind is RequestKind.REPAIR and knows_no_damage(protected))), None)
        if request is None and protected.current is None:
            request = requests[RequestKind.VERIFY]  # there is nothing to verify until it is copied
    current = protected.current
    if current is not None and current.replica.unreadable:
        context.draft.stall(protected.target, "ReplicaUnreadable",
                            unreadable(protected.name, current))
        return
    blocker = _blocker(protected, context)
    if blocker is not None:
        if request is not None or _is_unmarked(protected, context.survey):
            context.draft.remark(f"VirtualMachine/{protected.name}", blocker)
        return
    if (current is None or current.replica.promoted is not None) and adopt_former(
            protected, context.survey, context.draft):
        return
    if current is None:
        _seed(protected, request, context)
        return
    at = due_at(current.replica, protected.policy.rpo_s, context.survey.now_s)
    at = min(at, context.group_dues.get(protected.name, at))
    if at > context.survey.now_s and request is None and not missing_disks(protected):
        context.findings.edges.append(at)
        return
    compare = AS_ASKED if RequestKind.SEED in requests else audit_due(protected, current,
                                                                      context.survey)
    disks = plan_disks(protected, current, context.survey, compare=compare)
    if isinstance(disks, str):
        context.draft.remark(protected.target, disks)
        return
    plan_copy(protected, ReplicaPlace(current.host, current.replica.path), disks, request, compare,
              context.survey, context.draft)


def _blocker(protected: ProtectedMachine, context: ScheduleContext) -> str | None:
    """Return why this VM is not copied now; None if it may be."""
    name, location, survey = protected.name, protected.location, context.survey
    if location.state not in COPYABLE or location.domain is None:
        return location.sentence or f"{name} exists on no host yet: there is nothing to copy"
    if location.others or name in survey.last_seen:
        return f"{name} is on several hosts: nothing is copied until it is on one"
    owner = location.domain.ownership
    if owner is not None and owner.estate not in survey.specs.names.estates:
        return f"{name} belongs to estate {owner.estate}: it is not copied"
    if owner is None and protected.current is None:
        unsure = _unmarked(protected, location.domain, survey)
        if unsure is not None:
            return unsure
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


def _is_unmarked(protected: ProtectedMachine, survey: Survey) -> bool:
    """Return whether a VM is only observed and was never copied: then no mark of ours says why."""
    domain = protected.location.domain
    return (domain is not None and domain.ownership is None and protected.current is None
            and survey.specs.managing.of_machine(protected.vm, protected.host) is not None)


def _unmarked(protected: ProtectedMachine, domain: DomainFacts, survey: Survey) -> str | None:
    """Return why a domain without our mark is not copied; None if it is surely this VM.

    What is only observed gets no mark: then its declared UUID says that it is the VM.
    """
    name, host = protected.name, protected.host
    if survey.specs.managing.of_machine(protected.vm, host) is None:
        return f"{name} is not marked as ours yet: it is not copied before"
    if protected.vm.spec.uuid is None:
        return (f"{name} on {host} is only observed and carries no mark, so its name alone says"
                f" that it is {name}: write `uuid: {domain.uuid}` into it, and it is copied")
    if protected.location.rivals:
        return (f"{'; '.join(map(str, protected.location.rivals))}: {name} carries no mark of ours,"
                " and is not copied while that is so")
    return None


def nothing_to_copy(protected: ProtectedMachine) -> str:
    """Return why none of a VM's disks can be copied."""
    left = [str(part) for part in parts_left_out(protected) if part.disk]
    return ", ".join(left) if left else "there is nothing to copy"


def _unseen(index: ReplicaIndex) -> str:
    first = next(iter(index.unlisted))
    more = len(index.unlisted) - 1
    return index.unlisted[first] + (f", and so with {more} more" if more else "")


def unreadable(name: str, held: Held) -> str:
    """Return the sentence about a replica whose state cannot be read."""
    return (f"the replica of {name} on {held.host} cannot be read and is left alone:"
            f" {held.replica.unreadable}")


def _seed(protected: ProtectedMachine, request: ReplicaRequest | None,
          context: ScheduleContext) -> None:
    disks = plan_disks(protected, None, context.survey)
    if isinstance(disks, str):
        context.draft.remark(protected.target, disks)
        return
    place = context.placer.find(protected, disks.whole_bytes)
    if isinstance(place, str):
        context.findings.hostless[protected.name] = place
        context.draft.remark(protected.target, place)
        return
    if place.hindered:
        context.draft.remark(protected.target, (
            f"the replica of {protected.name} goes to {place.host}, where the data is safe and the"
            f" VM could not be started, since no host of {protected.twin} with space for it could:"
            f" {place.hindered}"))
    plan_copy(protected, place, disks, request, "", context.survey, context.draft)


def next_edge_at(started_at: float | None, rpo_s: float, now_s: float) -> float | None:
    """Return when the age next passes one, two or three times the RPO: the edges of Fresh."""
    if started_at is None:
        return None
    for times in (1, 2, 3):
        edge_at = started_at + times * rpo_s
        if edge_at > now_s:
            return edge_at
    return None
