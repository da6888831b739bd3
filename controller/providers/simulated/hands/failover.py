"""Failovers: records on survivors, promotions, and the end of copies of older epochs."""

from dataclasses import replace
from typing import Final

from controller.errors import Refused
from controller.model.facts import Role
from controller.model.replica import STORE
from controller.plan.actions.failover import EndStaleDomain, MoveDomain, WriteRecord
from controller.plan.actions.promotion import AdoptDisks, PromoteReplica, ReleaseTail
from controller.providers.simulated.hands.backup_job import versions_of
from controller.providers.simulated.hands.effect import Effect, Wait, domain_of
from controller.providers.simulated.hands.lifecycle import GUEST_SHUTDOWN_S, assert_startable
from controller.providers.simulated.power import end_domain, run_domain
from controller.providers.simulated.replicas import Point, Replica
from controller.providers.simulated.world import Domain, File, World


def write_record(world: World, action: WriteRecord) -> Effect:
    """Save a record on each survivor that has none that is newer."""
    yield Wait(0.1)
    for name in action.to:
        records = world.node(name).records
        held = records.get(action.record.scope)
        if held is not None and action.record.rank < held.rank:
            raise Refused(f"{name} keeps its record of {held.scope}: it has a newer one, of epoch"
                          f" {held.epoch}")
        records[action.record.scope] = action.record
    verb = "has" if len(action.to) == 1 else "have"
    return (f"{', '.join(action.to)} {verb} the record of {action.record.scope}:"
            f" {action.record.phase}")


def promote(world: World, action: PromoteReplica) -> Effect:
    """Pin a point with its epoch, lay overlays over it, define the VM as it was, and start it."""
    yield Wait(0.3)
    node = world.node(action.node)
    replica = node.replicas.get(action.uuid)
    point = None if replica is None else next(
        (one for one in replica.points if one.sequence == action.sequence), None)
    if replica is None or point is None or point.known_bad:
        raise Refused(f"{node.name}: restore point {action.sequence} of {action.machine} is not"
                      " there, or is damaged")
    if action.epoch < replica.epoch:
        raise Refused(f"{node.name}: the replica of {action.machine} is of epoch {replica.epoch}")
    old = next(one for other in world.nodes.values() for one in other.domains.values()
               if one.uuid == action.uuid and one.config is not None and one.ownership is not None)
    assert old.config is not None, "it was asked for"
    assert old.ownership is not None, "it was asked for"
    replica.epoch, replica.pins[f"failover-{action.epoch}"] = action.epoch, action.sequence
    pool = replica.path.partition(f"/{STORE}/")[0]
    disks = []
    for disk in old.config.disks:
        version = point.versions[disk.target]
        path = f"{pool}/{overlay_name(action, disk.target)}"
        world.store_of(node, path).setdefault(path, File(
            "qcow2", disk.size_bytes or 0, 0, version.serial, version.writes))
        disks.append(replace(disk, source=path, format="qcow2"))
    yield Wait(0.3)
    here = node.domains.setdefault(action.machine, Domain(action.machine, action.uuid, None, None))
    if not here.state.active:
        here.config = replace(old.config, disks=tuple(disks))
        here.ownership = replace(old.ownership, role=Role.PROMOTED, epoch=action.epoch)
        assert_startable(world, node, here)
        run_domain(node, here, "booted")
    world.notify(node.name)
    return (f"{action.machine} runs on {node.name} from restore point {action.sequence}, with epoch"
            f" {action.epoch}")


SHUTDOWN_POLL_S: Final = 5.0


def move(world: World, action: MoveDomain) -> Effect:
    """Shut the VM down, or save its memory, copy what it holds then, and let that point become the
    VM; one that cannot go on there is resumed where it was."""
    yield Wait(0.5)
    node, target = world.node(action.node), world.node(action.promotion.node)
    domain = domain_of(node, action.domain)
    replica = target.replicas.get(action.uuid)
    if replica is None or domain.config is None:
        raise Refused(f"{action.domain} has no replica on {action.promotion.node}")
    asked_s = 0.0
    while domain.state.active and domain.ignores_shutdown:
        if asked_s >= action.limit_s:
            raise Refused(
                f"{action.domain} was not moved to {action.promotion.node}: it did not shut down"
                f" within {action.limit_s:.0f} s, and its power is not cut for a move")
        yield Wait(SHUTDOWN_POLL_S)
        asked_s += SHUTDOWN_POLL_S
    if domain.state.active:
        yield Wait(0.5 if action.by_memory else GUEST_SHUTDOWN_S)
        end_domain(node, domain, "saved" if action.by_memory else "shutdown")
        world.notify(node.name)
    carried = domain.reason == "saved"
    yield Wait(0.5, command_ends=True)
    files = {disk.target: file for disk in domain.config.disks
             if (file := world.file(node, disk.source)) is not None}
    now = world.epoch()
    sequence = max((one.sequence for one in replica.points), default=0) + 1
    replica.points.append(Point(sequence, "", now, now, versions_of(files), 0))
    yield Wait(0.1, command_ends=True)
    if carried and target.forgetful:
        run_domain(node, domain, "restored")
        world.notify(node.name)
        raise Refused(f"{action.domain} was not moved to {target.name}: QEMU there cannot go on"
                      f" with its memory; it runs on {node.name} as before")
    said = yield from promote(world, replace(action.promotion, sequence=sequence))
    if not carried:
        return said
    target.domains[action.promotion.machine].reason = "restored"
    return f"{said}; its memory went along"


def overlay_name(action: PromoteReplica, target: str) -> str:
    """Return the file that a promoted disk is written to."""
    own = action.machine if target == "vda" else f"{action.machine}-{target}"
    return f"{own}.fo-{action.epoch}.qcow2"


def adopt(world: World, action: AdoptDisks) -> Effect:
    """Make the disks of an older copy the base of a replica; what they hold is its tail."""
    yield Wait(0.5)
    node = world.node(action.node)
    domain = next((one for one in node.domains.values() if one.uuid == action.uuid), None)
    if domain is None or domain.config is None or domain.state.active:
        raise Refused(f"{node.name}: the older copy of {action.machine} is not there, or runs")
    files = {disk.target: file for disk in domain.config.disks
             if (file := world.file(node, disk.source)) is not None}
    now = world.epoch()
    sequence = max((one.sequence for other in world.nodes.values()
                    for uuid, replica in other.replicas.items() if uuid == action.uuid
                    for one in replica.points), default=0) + 1
    replica = node.replicas.setdefault(action.uuid, Replica(
        action.uuid, action.machine, action.path))
    replica.sizes = {target: file.size_bytes for target, file in files.items()}
    replica.epoch = action.epoch
    replica.points.append(Point(sequence, "", now, now, versions_of(files), 0, diverged=True))
    replica.pins[f"tail-{sequence}"] = sequence
    return f"the disks of {action.machine} on {node.name} are the base of its replica there"


def release(world: World, action: ReleaseTail) -> Effect:
    """Let a tail go."""
    yield Wait(0.1)
    for replica in world.node(action.node).replicas.values():
        if replica.path == action.path:
            replica.pins.pop(f"tail-{action.sequence}", None)
    return f"released restore point {action.sequence} on {action.node}"


def end_stale(world: World, action: EndStaleDomain) -> Effect:
    """End a copy of an older epoch; its disks stay."""
    yield Wait(0.3)
    node = world.node(action.node)
    domain = next((one for one in node.domains.values() if one.uuid == action.uuid), None)
    if domain is None:
        return f"{action.domain} is not on {node.name} any more"
    epoch = 0 if domain.ownership is None else domain.ownership.epoch
    if epoch != action.epoch:
        raise Refused(f"{action.domain} on {node.name} has epoch {epoch} by now")
    if domain.state.active:
        end_domain(node, domain, "destroyed")
        world.notify(node.name)
    return f"ended the copy of {action.domain} with epoch {epoch} on {node.name}"
