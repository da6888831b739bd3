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
from controller.plan.machine.parts import TRACKING, Left, untracked
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
from controller.plan.replication.placement import Shelf, Shelves
from controller.plan.replication.protected_machine import STILL, Charge
from controller.plan.replication.upkeep import audit_due, keep_up
from controller.plan.steps.contained import FAULTS, break_off
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.context import ReplicaRequest, ReplicaWish
from controller.plan.survey.replicas import Held, ReplicaIndex
from controller.plan.survey.survey import Survey

FIRST_RANK: Final = -(10**9)
"""What a person asked for comes before everything."""
AS_ASKED: Final = "compared as a whole, as asked"
COPIES: Final = (ReplicaWish.COPY, ReplicaWish.SEED, ReplicaWish.REPAIR)
Wishes = Mapping[ReplicaWish, ReplicaRequest]
NO_WISHES: Final[Wishes] = {}


@dataclass(slots=True)
class Findings:
    """What is found beside actions: instants, and why a VM can have no replica now."""

    edges: list[float] = field(default_factory=list)
    """Instants at which time alone makes an action due or changes a condition."""
    homeless: dict[str, str] = field(default_factory=dict)
    """By VM: why there is no place for a replica."""

    @property
    def due_at(self) -> float | None:
        """Return the first instant."""
        return min(self.edges, default=None)


class Work(NamedTuple):
    """What the look at one VM after the other shares."""

    replicas: ReplicaIndex
    shelves: Shelves
    wishes: Mapping[str, Wishes]
    ground: Survey
    draft: Draft
    findings: Findings


def diff_replicas(care: list[Charge], index: ReplicaIndex, ground: Survey,
                  draft: Draft) -> Findings:
    """Note what every replica needs, and return when time alone may change that."""
    work = Work(index, Shelves(index, ground), _wishes(ground), ground, draft, Findings())
    for charge in care:
        mark = draft.mark()
        try:
            _look_after(charge, work)
        except FAULTS as error:
            break_off(charge.target, draft, mark, error)
    _refuse_wishes(care, work)
    return work.findings


def _look_after(charge: Charge, work: Work) -> None:
    """Note what one replica needs, and when time alone may change that."""
    ground, edges = work.ground, work.findings.edges
    wishes = work.wishes.get(charge.name, NO_WISHES) if work.wishes else NO_WISHES
    edge_at = next_edge_at(_counts_from(charge, ground), charge.policy.rpo_s, ground.now_s)
    if edge_at is not None:
        edges.append(edge_at)
    if charge.current is None and work.replicas.opaque and not wishes:
        return      # by rule 1; most of a large estate at the first looks
    _copy(charge, wishes, work)
    _tell_left_out(charge, work.draft)
    verify_at = keep_up(charge, _verification(charge, wishes), ground, work.draft)
    if verify_at is not None:
        edges.append(verify_at)


def _tell_left_out(charge: Charge, draft: Draft) -> None:
    """Say which disks no restore point has, unless that is meant, and which cost more than need be.
    """
    domain = charge.stand.domain
    for disk in () if domain is None else charge.disks:
        if disk.qcow2_version < TRACKING:
            draft.remark(charge.target, f"disk {disk.target} of {charge.name} is read whole for"
                         f" each restore point: {untracked(disk)}")
    left = [part for part in parts_left_out(charge) if part.disk and not part.declared]
    if left:
        draft.remark(charge.target, undeclared(charge.name, left))


def undeclared(name: str, left: Sequence[Left]) -> str:
    """Return what is said of disks that are left out and not declared so."""
    return (f"no restore point of {name} has its {' and '.join(map(str, left))}: declare"
            f" `replicate: false` on {'it' if len(left) == 1 else 'each'}, or change that")


def _counts_from(charge: Charge, ground: Survey) -> float | None:
    """Return what the age of a VM's replica counts from; None where there is no point."""
    if charge.hidden is not None:
        return no_later_than(charge, ground)
    return None if charge.point is None else charge.point.started_at


def no_later_than(charge: Charge, ground: Survey) -> float | None:
    """Return when the newest point on a host that tells nothing can have begun at the latest.

    None where no replica is hidden, or nobody knows since when it is.
    """
    hidden = charge.hidden
    if hidden is None or hidden.sound is None:
        return None
    fact = ground.observed.nodes.get(hidden.host)
    part = fact.value.replicas if isinstance(fact, Known) else fact
    if not isinstance(part, Unknown) or part.since_at <= 0:
        return None
    return max(hidden.sound.started_at, part.since_at)


def _verification(charge: Charge, wishes: Wishes) -> ReplicaRequest | None:
    """Return who asks for a verification: whoever wants a repair of what nobody knows, too."""
    asked = wishes.get(ReplicaWish.VERIFY)
    if asked is None and knows_no_damage(charge):
        return wishes.get(ReplicaWish.REPAIR)
    return asked


def knows_no_damage(charge: Charge) -> bool:
    """Return whether a VM has restore points of which none is known to read wrong."""
    current = charge.current
    return (current is not None and bool(current.replica.points)
            and not current.replica.damaged_clusters and not current.replica.lost_files)


def _wishes(ground: Survey) -> dict[str, dict[ReplicaWish, ReplicaRequest]]:
    found: dict[str, dict[ReplicaWish, ReplicaRequest]] = {}
    for request in ground.policy.requests:
        found.setdefault(request.machine, {})[request.wish] = request
    return found


def _refuse_wishes(care: list[Charge], work: Work) -> None:
    """Say of every wish for a VM that is not protected that it cannot be had."""
    if not work.wishes:
        return
    cared = {charge.name for charge in care}
    for name in sorted(work.wishes.keys() - cared):
        work.draft.remark(f"VirtualMachine/{name}", f"{name} has no replica to work on: declare a"
                          " `protection` for it")


def _copy(charge: Charge, wishes: Wishes, work: Work) -> None:
    """Note the VM's next restore point, if it is due or asked for."""
    asked = None
    if wishes:
        asked = next((wishes[wish] for wish in COPIES if wish in wishes
                      and not (wish is ReplicaWish.REPAIR and knows_no_damage(charge))), None)
        if asked is None and charge.current is None:
            asked = wishes[ReplicaWish.VERIFY]  # there is nothing to verify until it is copied
    current = charge.current
    if current is not None and current.replica.unreadable:
        work.draft.stall(charge.target, "ReplicaUnreadable", unreadable(charge.name, current))
        return
    blocker = _blocker(charge, work)
    if blocker is not None:
        if asked is not None:
            work.draft.remark(f"VirtualMachine/{charge.name}", blocker)
        return
    if current is None:
        _seed(charge, asked, work)
        return
    at = due_at(current.replica, charge.policy.rpo_s, work.ground.now_s)
    if at > work.ground.now_s and asked is None and not missing_disks(charge):
        work.findings.edges.append(at)
        return
    compare = AS_ASKED if ReplicaWish.SEED in wishes else audit_due(charge, current, work.ground)
    disks = plan_disks(charge, current, work.ground, compare=compare)
    _replicate(charge, Shelf(current.host, current.replica.path), disks, asked, work, compare)


def _blocker(charge: Charge, work: Work) -> str | None:
    """Return why no point is made of this VM now; None when one may be."""
    name, stand, ground = charge.name, charge.stand, work.ground
    if stand.standing not in STILL or stand.domain is None:
        return stand.sentence or f"{name} exists on no host yet: there is nothing to copy"
    if stand.others or name in ground.ghosts:
        return f"{name} is on several hosts: nothing is copied until it is on one"
    owner = stand.domain.ownership
    if owner is not None and owner.estate not in ground.given.names.estates:
        return f"{name} belongs to estate {owner.estate}: it is not copied"
    if owner is None and charge.current is None:
        return f"{name} is not marked as ours yet: it is not copied before"
    if charge.twin is None:
        return f"site {charge.site} has no twin to hold a replica of {name}: declare one"
    if not charge.disks:
        return f"{name} has no disk that can be copied: {nothing_to_copy(charge)}"
    if charge.current is None and work.replicas.opaque:
        return f"{name} may have a replica that is not seen: {_unseen(work.replicas)}"
    hidden = charge.hidden
    if hidden is not None:
        return (f"{name} has a newer replica on {hidden.host}:"
                f" {work.replicas.unseen[hidden.host]}")
    return None


def nothing_to_copy(charge: Charge) -> str:
    """Return why no restore point of a VM can be made of any of its disks."""
    left = [str(part) for part in parts_left_out(charge) if part.disk]
    return ", ".join(left) if left else "there is nothing to copy"


def _unseen(index: ReplicaIndex) -> str:
    first = next(iter(index.opaque))
    more = len(index.opaque) - 1
    return index.opaque[first] + (f", and so with {more} more" if more else "")


def unreadable(name: str, held: Held) -> str:
    """Return what is said of a replica whose state cannot be read."""
    return (f"the replica of {name} on {held.host} cannot be read and is left alone:"
            f" {held.replica.unreadable}")


def _seed(charge: Charge, asked: ReplicaRequest | None, work: Work) -> None:
    disks = plan_disks(charge, None, work.ground)
    if isinstance(disks, str):
        _replicate(charge, Shelf("", ""), disks, asked, work)
        return
    shelf = work.shelves.find(charge, disks.whole_bytes)
    if isinstance(shelf, str):
        work.findings.homeless[charge.name] = shelf
        work.draft.remark(charge.target, shelf)
        return
    _replicate(charge, shelf, disks, asked, work)


def _replicate(charge: Charge, shelf: Shelf, disks: Disks | str, asked: ReplicaRequest | None,
               work: Work, compare: str = "") -> None:
    if isinstance(disks, str):
        work.draft.remark(charge.target, disks)
        return
    ground, policy, current = work.ground, charge.policy, charge.current
    domain, host = charge.stand.domain, charge.host
    assert domain is not None
    assert host is not None
    here, there = (ground.desired.hosts[one].spec for one in (host, shelf.host))
    sequence = 1 + max((one.replica.newest.sequence for one in (*charge.held, *charge.faded)
                        if one.replica.newest is not None), default=0)
    repair = (asked is not None and asked.wish is ReplicaWish.REPAIR) or (
        current is not None and current.replica.damaged_clusters > 0)
    limits = limits_of(charge, shelf.host, ground)
    every = policy.quiesce.every if policy.quiesce is not None else 0
    without = tuple(str(part) for part in parts_left_out(charge))
    work.draft.do(ReplicateDomain(
        target=charge.target, node=host, domain=domain.name, uuid=charge.uuid, to=shelf.host,
        path=shelf.path, disks=disks.copies,
        replication_address=here.replication_address or here.address,
        to_replication_address=there.replication_address or there.address,
        sequence=sequence,
        quiesce=bool(every) and sequence % every == 0 and domain.state.active,
        limits=limits, compare=compare, repair=repair,
        reason=_reason(charge, asked, disks, ground, repair=repair),
        consequence=f"to {shelf.host}: {consequence_of(charge, disks, current, limits)}"
                    + (f"; without {', '.join(without)}" if without else ""),
        without=without,
        cause=_cause(charge, asked, disks, ground, compare)),
        rank=_rank(charge, asked, ground))


def slack_s(charge: Charge, now_s: float) -> float | None:
    """Return how long it is until the RPO is passed; None where there is no sound point."""
    return None if charge.point is None else (
        charge.point.started_at + charge.policy.rpo_s - now_s)


def _rank(charge: Charge, asked: ReplicaRequest | None, ground: Survey) -> int:
    slack = slack_s(charge, ground.now_s)
    return (FIRST_RANK if asked is not None else 0) + round(
        -charge.policy.rpo_s if slack is None else slack)


def _cause(charge: Charge, asked: ReplicaRequest | None, disks: Disks, ground: Survey,
           compare: str) -> Cause:
    """Return a person, where one asked; else routine, unless something is not as it should be."""
    if asked is not None:
        return Cause.HUMAN
    current = charge.current
    if current is None or not current.replica.points:
        return cause_of(ground.policy, f"VirtualMachine/{charge.name}",
                        f"ProtectionPolicy/{charge.vm.spec.protection}")
    slack = slack_s(charge, ground.now_s)
    wrong = current.replica.lost_files or current.replica.damaged_clusters or (
        disks.why and not compare)
    return Cause.DRIFT if slack is None or slack < 0 or (
        wrong and any(one.tracked and one.mode is not CopyMode.INCREMENT
                      for one in disks.copies)) else Cause.ROUTINE


def _reason(charge: Charge, asked: ReplicaRequest | None, disks: Disks, ground: Survey, *,
            repair: bool) -> str:
    parts = [] if asked is None else [f"{asked.by} asked for it"]
    current = charge.current
    if current is None or not current.replica.points:
        parts.append(_without(charge, current))
    else:
        parts.append(_age(charge, current, ground))
        if current.replica.incoming:
            parts.append("a copy was cut off, and what has come of it is used")
    if repair and current is not None:
        count = current.replica.damaged_clusters
        parts.append(f"{count} damaged clusters are sent again" if count else
                     "what reads wrong is sent again")
    return "; ".join([*parts, *([disks.why] if disks.why else [])])


def _without(charge: Charge, current: Held | None) -> str:
    if current is not None:
        return f"the first copy of {charge.name} to {current.host} is not complete"
    other = charge.astray
    if other is not None:
        return (f"{charge.name} is at {charge.site} now, and so is its replica, on {other.host}:"
                f" it needs one at {charge.twin}")
    return f"{charge.name} has no replica at {charge.twin}"


def _age(charge: Charge, current: Held, ground: Survey) -> str:
    rpo, point = render_duration(charge.policy.rpo_s), charge.point
    if point is None:
        return f"no restore point of {charge.name} on {current.host} is sound"
    age_s = ground.now_s - point.started_at
    words = f"the replica of {charge.name} is {render_duration(age_s)} old"
    return f"{words}, over its RPO of {rpo}" if age_s > charge.policy.rpo_s else (
        f"{words}, its RPO is {rpo}")
