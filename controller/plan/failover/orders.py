"""The orders of a decision as actions, and what the plan says of each failover.

Some orders need no action of their own: a copy of an older epoch is ended, a VM that may have been
ended is started again, a replica is kept at the old site, and addresses are dropped and let pass
(`addresses.py`), by the same diffs as always, since the record says which copy is the VM.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from controller.failover.decide import decide, used_up
from controller.failover.orders import (
    Decision,
    Fence,
    Move,
    Order,
    Promote,
    Restore,
    Revoke,
    WriteRecord,
)
from controller.failover.states import Phase
from controller.model.facts import Known, Unknown
from controller.plan.actions.action import Cause
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.failover import WriteRecord as SaveRecord
from controller.plan.actions.fencing import FenceHost
from controller.plan.actions.guarding import RestoreGrants, RevokeGrants
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.failover.carrying import memory_blocker
from controller.plan.failover.gates import promotions_of
from controller.plan.failover.situation import (
    move_failed,
    silent_since_at,
    situation_of,
    starts_at_once,
)
from controller.plan.guarding.grants import names_of
from controller.plan.guarding.upkeep import target_of
from controller.plan.machine.layout import Layout
from controller.plan.machine.state import MachineState
from controller.plan.network.card import desired_nics
from controller.plan.promotion.point import passed_over
from controller.plan.replication.copy import next_copy, plan_disks
from controller.plan.replication.placement import ReplicaPlace
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.draft import Draft
from controller.plan.steps.plan import FailoverState, UsedOrder
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

BEGIN_S: Final = 3.0
"""How soon a host's BMC must be told to cut its power, or is not: the host may be back later."""
AFTER_OTHERS: Final = 1_000_000
"""A VM whose move has failed is tried again after all those whose has not."""
PACE_S: Final = 1.0
"""How often a failover is decided upon while proofs ripen."""


class Scene(NamedTuple):
    """What turning orders into actions needs."""

    protected: Mapping[str, ProtectedMachine]
    survey: Survey
    draft: Draft


def diff_failovers(protected: Sequence[ProtectedMachine], index: ReplicaIndex, layout: Layout,
                   survey: Survey, draft: Draft
                   ) -> tuple[tuple[FailoverState, ...], tuple[UsedOrder, ...]]:
    """Plan what every failover needs next; return where each stands, and which orders are used up.
    """
    for one in protected:
        if (why := move_failed(one.name, survey)):
            draft.stall(f"VirtualMachine/{one.name}", "MoveFailed", why)
    if not concerns_failover(survey):
        return (), ()
    promotions = promotions_of(protected, index, layout, survey)
    scene = Scene({one.name: one for one in protected}, survey, draft)
    found = []
    situation = situation_of(protected, promotions, survey)
    for decision in decide(situation):
        for order in decision.orders:
            _plan(order, decision, scene)
        found.append(FailoverState(decision.scope, decision.phase.value, decision.sentence,
                                   decision.waits_for, decision.waiting, decision.epoch))
    used = tuple(UsedOrder(one.request.target, one.request.planned, one.request.at, one.left)
                 for one in used_up(situation))
    return tuple(found), used


def concerns_failover(survey: Survey) -> bool:
    """Return whether there is anything to decide: a silent host, an open record, an order."""
    return bool(survey.unreachable or survey.context.failovers or survey.isolation.refused or any(
        record.phase != "calm" for record in survey.records.values()))


def next_failover_at(survey: Survey, failovers: tuple[FailoverState, ...]) -> float | None:
    """Return when time alone next changes a decision; None if never."""
    if any(one.phase in {"revoking", "fencing", "promoting"} for one in failovers):
        return survey.now_s + PACE_S
    after_s = survey.desired.estate.spec.failover.suspect_after_s
    due = [at for fact in survey.observed.nodes.values() if isinstance(fact, Unknown)
           and (at := silent_since_at(fact, survey.observed) + after_s) > survey.now_s]
    return min(due, default=None)


def _plan(order: Order, decision: Decision, scene: Scene) -> None:
    """Put down the action of one order."""
    survey, cause = scene.survey, _cause(decision, scene.survey)
    match order:
        case WriteRecord():
            nodes = tuple(node for node in order.nodes
                          if isinstance(survey.observed.nodes.get(node), Known))
            if nodes:
                scene.draft.do(SaveRecord(
                    target=decision.scope, node=nodes[0], to=nodes, record=order.record,
                    cause=cause, reason=decision.sentence,
                    consequence="any controller can go on from here"))
        case Revoke() | Restore() if isinstance(survey.observed.nodes.get(order.grantor), Known):
            _order_grants(order, cause, decision, scene)
        case Fence():
            scene.draft.do(FenceHost(
                target=f"Host/{order.host}", node=order.host, cause=cause, begin_s=BEGIN_S,
                reason=decision.sentence, consequence="its power is cut; what it runs ends"))
        case Promote():
            _promote(order, cause, decision, scene)
        case Move():
            _move(order, cause, decision, scene)


def _order_grants(order: Revoke | Restore, cause: Cause, decision: Decision,
                  scene: Scene) -> None:
    """Plan that a grantor that answers refuses hosts, or grants to them again."""
    survey, named = scene.survey, " and ".join(order.hosts)
    hosts = tuple(name for host in order.hosts for name in names_of(host, survey))
    term = survey.context.lease.term if survey.context.lease is not None else 0
    record = survey.records.get(decision.scope)
    by = record.by if record is not None and record.by else "the controller"
    target = target_of(order.grantor, survey)
    if isinstance(order, Revoke):
        scene.draft.do(RevokeGrants(
            target=target, node=order.grantor, hosts=hosts, epoch=order.epoch, term=term,
            by=by, cause=cause, reason=decision.sentence,
            consequence=f"once every grantor refuses {named}, what may be ended there ends"))
    else:
        scene.draft.do(RestoreGrants(
            target=target, node=order.grantor, hosts=hosts, epoch=order.epoch, term=term,
            by=by, cause=cause, reason=decision.sentence, consequence=f"{named} may go on"))


def _promote(order: Promote, cause: Cause, decision: Decision, scene: Scene) -> None:
    survey, protected = scene.survey, scene.protected[order.machine]
    current = protected.current
    if current is None or current.host != order.node or order.point is None:
        scene.draft.remark(f"VirtualMachine/{order.machine}", (
            f"{order.machine} was to start on {order.node}, and its replica is not seen there now"),
            unknown=True)
        return
    host = survey.desired.hosts[order.node]
    point = next((one for one in current.replica.points if one.sequence == order.point), None)
    lost = "" if point is None else (
        f"; what it wrote after its restore point {order.point} stays on its old disks alone")
    note = "" if point is None else passed_over(current.replica.points, point)
    scene.draft.do(PromoteReplica(
        target=f"VirtualMachine/{order.machine}", node=order.node, uuid=protected.uuid,
        path=current.replica.path, sequence=order.point, epoch=order.epoch,
        estate=survey.estate_name, cause=cause,
        reason=f"{decision.sentence}; {note}" if note else decision.sentence,
        nics=desired_nics(protected.vm, host, survey), width=starts_at_once(order.node, survey),
        consequence=f"it boots on {order.node}{lost}"), rank=protected.vm.spec.start_order)


def _move(order: Move, cause: Cause, decision: Decision, scene: Scene) -> None:
    """Plan the move of a VM to the host that holds its replica, or say why it must wait."""
    survey, protected = scene.survey, scene.protected[order.machine]
    current, location = protected.current, protected.location
    domain, host = location.domain, location.host
    name, target = order.machine, f"VirtualMachine/{order.machine}"
    if current is None or protected.point is None or domain is None or host is None:
        scene.draft.remark(target, f"{name} waits for a sound replica before it can be moved")
        return
    if location.state not in {MachineState.RUNNING, MachineState.OFF}:
        scene.draft.remark(target, f"{name} is not moved now: {location.sentence}")
        return
    disks = plan_disks(protected, current, survey)
    if isinstance(disks, str):
        scene.draft.remark(target, f"{name} is not moved now: {disks}")
        return
    by_memory = protected.policy.move.by == "memory"
    lacking = memory_blocker(domain, host, current.host, survey) if by_memory else None
    if lacking is not None:
        scene.draft.remark(target, f"{name} is not moved with its memory: {lacking}")
        return
    how = (f"it stands still on {host} and goes on" if by_memory
           else f"it is shut down on {host} and boots")
    place = ReplicaPlace(current.host, current.replica.path)
    there = survey.desired.hosts[current.host]
    copy = next_copy(protected, place, disks, None, "", survey)
    epoch = max(order.epoch, survey.epochs.get(name, 0) + 1)
    failed = survey.context.failed_moves.get(name)
    later = 0 if failed is None else failed.tries * AFTER_OTHERS
    scene.draft.do(MoveDomain(
        target=target, node=host, domain=domain.name, uuid=domain.uuid, cause=cause,
        limit_s=protected.vm.spec.shutdown_limit_s, copy=copy,
        promotion=PromoteReplica(
            target=target, node=current.host, uuid=domain.uuid, path=current.replica.path,
            sequence=copy.sequence, epoch=epoch, estate=survey.estate_name, cause=cause,
            reason=decision.sentence,
            nics=desired_nics(protected.vm, there, survey)),
        by_memory=by_memory, pause_s=protected.policy.move.pause_s, reason=decision.sentence,
        consequence=f"{how} on {current.host}; nothing is lost"),
        rank=protected.vm.spec.start_order + later)


def _cause(decision: Decision, survey: Survey) -> Cause:
    """Return HUMAN if a person ordered it, as every move; else DRIFT."""
    record = survey.records.get(decision.scope)
    if Phase.MOVING_BACK in {decision.phase, "" if record is None else record.phase}:
        return Cause.HUMAN
    if record is not None and record.phase != "calm":
        return Cause.HUMAN if record.ordered else Cause.DRIFT
    return Cause.HUMAN if survey.context.failovers else Cause.DRIFT
