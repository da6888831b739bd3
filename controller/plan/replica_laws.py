"""The law of the last good restore point, held against a finished plan, whatever made it."""

from collections.abc import Mapping

from controller.model.facts import Observed
from controller.model.replica import ReplicaFacts
from controller.plan.actions import CreateDisk
from controller.plan.plan import Plan
from controller.plan.replica_actions import (
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.plan.replica_index import replicas_on, sound
from controller.plan.survey import last_of


def assert_last_point_kept(plan: Plan, observed: Observed) -> None:
    """Hold that no plan lets the last good restore point of a VM go, or acts where none is seen.

    Errors: AssertionError naming the law, the VM and the host.
    """
    _assert_nothing_begun_over(plan, observed)
    seen: dict[str, dict[str, ReplicaFacts]] = {}
    for step in plan.steps:
        action = step.action
        if not isinstance(action, ReplicateDomain | RetirePoints | RemoveReplica | VerifyReplica):
            continue
        host = action.to if isinstance(action, ReplicateDomain) else action.node
        if host not in seen:
            found = replicas_on(observed.nodes.get(host))
            assert found is not None, (f"unknown is never absent: {action.id}, but the replicas on"
                                       f" {host} cannot be seen")
            seen[host] = {one.path: one for one in found.values()}
        if isinstance(action, RetirePoints):
            _assert_retirable(action, seen[host])
        elif isinstance(action, RemoveReplica):
            _assert_replaced(action, seen[host], observed)


def _assert_nothing_begun_over(plan: Plan, observed: Observed) -> None:
    """Hold that no VM with restore points is begun anew with empty disks.

    Its next copies would put those in the place of what it held, point by point.
    """
    disks = {step.action.target.partition("/")[2]: step.action.id for step in plan.steps
             if isinstance(step.action, CreateDisk)}
    for fact in observed.nodes.values() if disks else ():
        node = last_of(fact)
        if node is not None:    # one that gets another disk exists, and keeps those that it has
            for name in disks.keys() & (last_of(node.domains) or {}).keys():
                del disks[name]
    for host, fact in observed.nodes.items() if disks else ():
        node = last_of(fact)
        for replica in () if node is None else (last_of(node.replicas) or {}).values():
            assert not replica.points or replica.machine not in disks, (
                f"the last good restore point is kept: {disks[replica.machine]}, but {host} has"
                f" restore points of {replica.machine}, which is on no host")


def _assert_retirable(action: RetirePoints, here: Mapping[str, ReplicaFacts]) -> None:
    law = f"the last good restore point is kept: {action.id}"
    replica = here.get(action.path)
    assert replica is not None, f"{law}, but no replica is seen at {action.path}"
    newest = replica.newest
    assert newest is None or newest.sequence not in action.sequences, (
        f"{law} would retire {max(action.sequences)}, the newest")
    assert any(not point.damaged_clusters for point in replica.points
               if point.sequence not in action.sequences), f"{law} would leave no sound point"


def _assert_replaced(action: RemoveReplica, here: Mapping[str, ReplicaFacts],
                     observed: Observed) -> None:
    law = f"the last good restore point is kept: {action.id}"
    replica = here.get(action.path)
    assert replica is not None, f"{law}, but no replica is seen at {action.path}"
    assert replica.uuid == action.uuid, f"{law}, but that is the replica of {replica.uuid}"
    last_at = replica.points[-1].started_at if replica.points else -1.0
    others = [found[action.uuid] for host, fact in observed.nodes.items() if host != action.node
              if (found := replicas_on(fact)) and action.uuid in found]
    assert any(point.started_at > last_at for one in others
               if (point := sound(one)) is not None and not one.lost_files), (
        f"{law}, but no newer sound point is seen elsewhere")
