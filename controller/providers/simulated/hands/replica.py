"""Effects on replicas: retire points, verify, export, remove, sweep leftovers."""

from controller.errors import Refused, Unavailable
from controller.model.replica import Leftover, LeftoverKind
from controller.model.units import render_size
from controller.plan.actions.replica import (
    DropPoints,
    ExportPoint,
    RemoveReplica,
    RetirePoints,
    SweepLeftovers,
    VerifyReplica,
)
from controller.providers.simulated.hands.backup_job import end_job
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.replicas import Point, Replica
from controller.providers.simulated.view import free_bytes, leftovers
from controller.providers.simulated.world import Node, World

MERGE_BYTES_PER_S = 400e6
SCRUB_BYTES_PER_S = 400e6


def retire(world: World, action: RetirePoints | DropPoints) -> Effect:
    """Retire points, oldest first; each is merged into the next newer one."""
    node = world.node(action.node)
    gone = 0
    for sequence in sorted(action.sequences):
        replica = replica_at(node, action.path)
        point = _retirable(node, replica, sequence)
        if point is None:
            continue
        yield Wait(0.2 + point.stored_bytes / MERGE_BYTES_PER_S)
        if _retirable(node, replica_at(node, action.path), sequence) is point:
            above = replica.points[replica.points.index(point) + 1]
            above.stored_bytes = max(above.stored_bytes, point.stored_bytes)
            replica.points.remove(point)
            gone += 1
    yield Wait(0.1)
    machine = replica_at(node, action.path).machine
    return f"{gone} restore points of {machine} on {node.name} were merged into those above them"


def _retirable(node: Node, replica: Replica, sequence: int) -> Point | None:
    """Return the point, None if it is gone already.

    Errors: Refused for the newest, for what is pinned, and while a file is missing.
    """
    point = next((one for one in replica.points if one.sequence == sequence), None)
    if point is not None and point is replica.newest:
        raise Refused(f"{node.name}: restore point {sequence} in {replica.path} is the newest: it"
                      " stays until there is a newer one")
    holders = [holder for holder, pinned in replica.pins.items() if pinned == sequence]
    if point is not None and holders:
        raise Refused(f"{node.name}: restore point {sequence} in {replica.path} is held by"
                      f" {', '.join(holders)}: let it go first")
    if point is not None and replica.lost_files:
        raise Refused(f"{node.name}: {', '.join(sorted(replica.lost_files))} in {replica.path} is"
                      " gone: repair it before anything is merged")
    return point


def verify(world: World, action: VerifyReplica) -> Effect:
    """Read a replica against its hashes, from where the last scrub stopped, within the budget."""
    yield Wait(0.2)
    node = world.node(action.node)
    replica = replica_at(node, action.path)
    newest = replica.newest
    if newest is None:
        return f"{replica.machine} has no restore point on {node.name} yet"
    rate = min(action.rate_bps or SCRUB_BYTES_PER_S, SCRUB_BYTES_PER_S)
    left = max(0, replica.stored_bytes - replica.scrubbed_bytes)
    yield Wait(min(action.budget_s, left / rate))
    if left > action.budget_s * rate:
        replica.scrubbed_bytes += int(action.budget_s * rate)
        return (f"{render_size(replica.scrubbed_bytes)} of {render_size(replica.stored_bytes)} of"
                f" the replica of {replica.machine} on {node.name} are as they were written; the"
                " rest comes next")
    found = scrub(replica, world.epoch(), newest.sequence)
    if not found:
        return f"all of the replica of {replica.machine} on {node.name} is as it was written"
    return (f"{found} clusters of the replica of {replica.machine} on {node.name} are not as they"
            " were written; the next restore point brings them again")


def scrub(replica: Replica, at: float, upto: int) -> int:
    """Find damage, mark the other points verified; return the most damaged point's clusters."""
    for point in replica.points:
        point.damaged_clusters = point.rotten_clusters
        if point.sound and point.sequence <= upto:
            point.verified_at = at
    replica.scrubbed_at, replica.scrubbed_bytes = at, 0
    return max((point.known_bad for point in replica.points), default=0)


def export(world: World, action: ExportPoint) -> Effect:
    """Write a point as standalone files into a folder; the world does not model those files."""
    yield Wait(0.2)
    node = world.node(action.node)
    replica = replica_at(node, action.path)
    point = next((one for one in replica.points if one.sequence == action.sequence), None)
    if point is None:
        there = ", ".join(str(one.sequence) for one in replica.points) or "none"
        raise Refused(f"{node.name}: there is no restore point {action.sequence} of"
                      f" {replica.machine}: there are {there}")
    if point.known_bad:
        raise Refused(f"{node.name}: restore point {action.sequence} of {replica.machine} reads"
                      " wrong: it is not exported")
    size = sum(replica.sizes.values())
    if free_bytes(world, node, action.folder) < size:
        raise Unavailable(f"{node.name}: no space left for the {render_size(size)} of"
                          f" {replica.machine} in {action.folder}: make room there")
    yield Wait(size / MERGE_BYTES_PER_S)
    return (f"restore point {action.sequence} of {replica.machine} lies in {action.folder} on"
            f" {node.name}, as files of its own")


def replica_at(node: Node, path: str) -> Replica:
    """Return the replica in a folder.

    Errors: Refused when there is none that can be read.
    """
    found = next((one for one in node.replicas.values() if one.path == path), None)
    if found is None:
        raise Refused(f"{node.name}: {path} is no replica: the folder is missing")
    if found.unreadable:
        raise Refused(f"{node.name}: {found.unreadable}; nothing is changed there")
    return found


def remove(world: World, action: RemoveReplica) -> Effect:
    """Delete a replica's folder."""
    yield Wait(0.3)
    node = world.node(action.node)
    found = node.replicas.get(action.uuid)
    if found is None:
        return f"{action.path} was not on {node.name}"
    if found.path != action.path:
        raise Refused(f"{node.name}: the replica is at {found.path}, not at {action.path}")
    if found.pins:
        raise Refused(f"{node.name}: {action.path} is held by {', '.join(sorted(found.pins))}")
    del node.replicas[action.uuid]
    return (f"removed the replica of {found.machine} from {node.name}:"
            f" {render_size(found.stored_bytes)} are free")


def sweep(world: World, action: SweepLeftovers) -> Effect:
    """Remove the leftovers that still have no owner."""
    node, gone = world.node(action.node), 0
    for one in action.leftovers:
        yield Wait(0.1, command_ends=True)
        if one in leftovers(world, node):
            _sweep_one(node, one)
            gone += 1
    yield Wait(0.1)
    kept = len(action.leftovers) - gone
    more = f"; {kept} had gone or had an owner again" if kept else ""
    return f"removed {gone} things of ours that nobody used any more from {node.name}{more}"


def _sweep_one(node: Node, one: Leftover) -> None:
    traces = node.traces
    match one.kind:
        case LeftoverKind.JOB:
            if not node.libvirt_up:
                raise Unavailable(f"{node.name}: failed to connect to the hypervisor: libvirtd is"
                                  " down")
            domain = next(d for d in node.domains.values() if d.uuid == one.name)
            end_job(node, domain)
        case LeftoverKind.SCRATCH:
            traces.scratch.pop(one.name, None)
        case LeftoverKind.SOCKET:
            traces.sockets.discard(one.name)
        case LeftoverKind.KEY:
            traces.keys.pop(one.name, None)
        case LeftoverKind.PROGRAM:
            traces.programs.discard(one.name)
        case LeftoverKind.DRILL:
            traces.drills.discard(one.name)
