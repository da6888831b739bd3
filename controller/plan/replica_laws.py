"""The law of the last good restore point, held against the steps of a plan, whatever made them."""

from collections.abc import Iterator, Mapping

from controller.model.facts import Observed
from controller.model.replica import ReplicaFacts
from controller.plan.actions import CreateDisk
from controller.plan.plan import Breach, Step
from controller.plan.replica_actions import (
    DropPoints,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.plan.replica_index import replicas_on, sound
from controller.plan.survey import last_of

ON_REPLICAS = (ReplicateDomain, RetirePoints, DropPoints, RemoveReplica, VerifyReplica)
KEPT = "the last good restore point is kept"


def breaches_of_points(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield each target that would lose its last good restore point, or is acted on unseen."""
    yield from _begun_over(steps, observed)
    seen: dict[str, dict[str, ReplicaFacts] | None] = {}
    for step in steps:
        action = step.action
        if not isinstance(action, ON_REPLICAS):
            continue
        host = action.to if isinstance(action, ReplicateDomain) else action.node
        if host not in seen:
            found = replicas_on(observed.nodes.get(host))
            seen[host] = None if found is None else {one.path: one for one in found.values()}
        here = seen[host]
        if here is None:
            yield Breach(action.target, f"unknown is never absent: {action.id}, but the replicas"
                         f" on {host} cannot be seen")
            continue
        words = None
        if isinstance(action, RetirePoints | DropPoints):
            words = _not_retirable(action, here)
        elif isinstance(action, RemoveReplica):
            words = _not_replaced(action, here, observed)
        if words is not None:
            yield Breach(action.target, f"{KEPT}: {action.id}{words}")


def _begun_over(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield each VM with restore points that would be begun anew with empty disks.

    Its next copies would put those in the place of what it held, point by point.
    """
    disks = {step.action.target.partition("/")[2]: step.action for step in steps
             if isinstance(step.action, CreateDisk)}
    for fact in observed.nodes.values() if disks else ():
        node = last_of(fact)
        if node is not None:    # one that gets another disk exists, and keeps those that it has
            for name in disks.keys() & (last_of(node.domains) or {}).keys():
                del disks[name]
    for host, fact in observed.nodes.items() if disks else ():
        node = last_of(fact)
        for replica in () if node is None else (last_of(node.replicas) or {}).values():
            if replica.points and replica.machine in disks:
                action = disks[replica.machine]
                yield Breach(action.target, f"{KEPT}: {action.id}, but {host} has restore points"
                             f" of {replica.machine}, which is on no host")


def _not_retirable(action: RetirePoints | DropPoints,
                   here: Mapping[str, ReplicaFacts]) -> str | None:
    replica = here.get(action.path)
    if replica is None:
        return f", but no replica is seen at {action.path}"
    newest = replica.newest
    if newest is not None and newest.sequence in action.sequences:
        return f" would retire {max(action.sequences)}, the newest"
    left = [point for point in replica.points if point.sequence not in action.sequences]
    if all(point.damaged_clusters for point in left):
        return " would leave no sound point"
    return None


def _not_replaced(action: RemoveReplica, here: Mapping[str, ReplicaFacts],
                  observed: Observed) -> str | None:
    replica = here.get(action.path)
    if replica is None:
        return f", but no replica is seen at {action.path}"
    if replica.uuid != action.uuid:
        return f", but that is the replica of {replica.uuid}"
    last = replica.points[-1].sequence if replica.points else -1
    others = [found[action.uuid] for host, fact in observed.nodes.items() if host != action.node
              if (found := replicas_on(fact)) and action.uuid in found]
    if any(point.sequence > last for one in others
           if (point := sound(one)) is not None and not one.lost_files):
        return None
    return ", but no newer sound point is seen elsewhere"
