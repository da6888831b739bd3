"""Faults of replicas and checkpoints: rotten bits, deleted files, leftovers of crashes.

Shapes: `VM` is a name; HOST is the one that has its replica, or `any`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from controller.model.replica import CLUSTER_BYTES
from controller.providers.simulated.hands.replica import scrub
from controller.providers.simulated.replicas import Replica
from controller.providers.simulated.world import Domain, World


def _replica(world: World, host: str, vm: str) -> Replica:
    """Return the replica of `vm` on `host`, on whichever host has one for `any`."""
    hosts = sorted(world.nodes) if host == "any" else [host]
    return next(replica for name in hosts for replica in world.node(name).replicas.values()
                if replica.machine == vm and replica.points)


def _host_of(world: World, replica: Replica) -> str:
    name = next(node.name for node in world.nodes.values()
                if any(one is replica for one in node.replicas.values()))
    world.notify(name)
    return name


def _domain(world: World, host: str, vm: str) -> Domain:
    return world.node(host).domains[vm]


def damage(world: World, host: str, vm: str, clusters: str = "1") -> str:
    """`damage-replica HOST VM [CLUSTERS]`: bits rot in the base; nothing tells until it is read."""
    replica = _replica(world, host, vm)
    for point in replica.points:
        point.rotten_clusters += int(clusters)
    return f"{clusters} clusters of the replica of {vm} on {_host_of(world, replica)} rot"


def scrub_now(world: World, host: str, vm: str) -> str:
    """`scrub-replica HOST VM`: somebody has the whole replica read against its hashes."""
    replica = _replica(world, host, vm)
    found = scrub(replica, world.epoch(), replica.points[-1].sequence)
    return (f"somebody had the replica of {vm} on {_host_of(world, replica)} read: {found}"
            " clusters are not as they were written")


def truncate_base(world: World, host: str, vm: str) -> str:
    """`truncate-base HOST VM`: somebody cuts the base of a replica's first disk short."""
    replica = _replica(world, host, vm)
    disk = min(replica.sizes)
    cut = max(1, replica.sizes[disk] // 2 // CLUSTER_BYTES)
    replica.lost_files.add(f"{disk}/base-{replica.points[0].sequence:06d}.raw")
    for point in replica.points:
        point.lost_clusters += cut
    return (f"half of the base of {disk} of the replica of {vm} on {_host_of(world, replica)} was"
            " cut off")


def lose_overlay(world: World, host: str, vm: str) -> str:
    """`lose-overlay HOST VM`: somebody deletes the newest file of a replica's first disk."""
    replica = _replica(world, host, vm)
    point, disk = replica.points[-1], min(replica.sizes)
    kind = "rp-{:06d}.qcow2" if len(replica.points) > 1 else "base-{:06d}.raw"
    lost = f"{disk}/{kind.format(point.sequence)}"
    replica.lost_files.add(lost)
    point.lost_clusters += max(1, replica.sizes[disk] // CLUSTER_BYTES)
    return f"{lost} of the replica of {vm} on {_host_of(world, replica)} was deleted"


def lose_bitmap(world: World, host: str, vm: str) -> str:
    """`lose-bitmap HOST VM`: HOST runs VM; what its checkpoints have recorded is lost."""
    for checkpoint in _domain(world, host, vm).checkpoints.values():
        checkpoint.sound = False
    return f"nothing on {host} tells any more what {vm} has changed"


def lose_checkpoints(world: World, host: str, vm: str) -> str:
    """`lose-checkpoints HOST VM`: somebody deletes every checkpoint of VM where it runs."""
    _domain(world, host, vm).checkpoints.clear()
    world.notify(host)
    return f"the checkpoints of {vm} on {host} were deleted by hand"


def put_back(world: World, host: str, vm: str) -> str:
    """`put-back HOST VM`: VM is off; somebody puts its disks back to what they were before."""
    domain, node = _domain(world, host, vm), world.node(host)
    config = domain.config
    if domain.state.active or config is None:
        return f"{vm} runs on {host}: nobody can put its disks back"
    for disk in config.disks:
        file = world.file(node, disk.source)
        if file is not None:
            file.writes = max(0, file.writes - 1)
    world.notify(host)
    return f"the disks of {vm} on {host} were put back to an earlier state"


def age(world: World, host: str, vm: str, seconds: str) -> str:
    """`age-replica HOST VM SECONDS`: no copy has arrived for so long: its points are older."""
    replica = _replica(world, host, vm)
    for point in replica.points:
        point.started_at -= float(seconds)
        point.committed_at -= float(seconds)
    return f"no copy of {vm} has arrived on {_host_of(world, replica)} for {seconds}s"


def corrupt_state(world: World, host: str, vm: str) -> str:
    """`corrupt-state HOST VM`: a bit of the replica's state.json is not as it was written."""
    replica = _replica(world, host, vm)
    replica.unreadable = (f"{replica.path}/state.json does not have the check it was written with:"
                          " restore it, or move the folder away")
    return f"state.json of the replica of {vm} on {_host_of(world, replica)} is damaged"


def restore_state(world: World, host: str, vm: str) -> str:
    """`restore-state HOST VM`: somebody puts the replica's state.json back, if it is still there.
    """
    for name in sorted(world.nodes) if host == "any" else [host]:
        node = world.node(name)
        for replica in (*node.replicas.values(), *node.unmounted_replicas.values()):
            if replica.machine == vm:
                replica.unreadable = ""
        world.notify(name)
    return f"the replica of {vm} on {host} can be read again"


def lose_replica(world: World, host: str, vm: str) -> str:
    """`lose-replica HOST VM`: somebody deletes the whole folder of a replica."""
    replica = _replica(world, host, vm)
    name = _host_of(world, replica)
    del world.node(name).replicas[replica.uuid]
    return f"the replica of {vm} on {name} was deleted"


def foreign_backup(world: World, host: str, vm: str) -> str:
    """`foreign-backup HOST VM`: another program begins a backup job."""
    domain = _domain(world, host, vm)
    if domain.state.active and domain.job is None:
        domain.job = "backup"
    world.notify(host)
    return f"another program is backing {vm} up on {host}"


def end_backup(world: World, host: str, vm: str) -> str:
    """`end-backup HOST VM`: the other program's backup job is over, if VM is still there."""
    domain = world.node(host).domains.get(vm)
    if domain is not None and domain.job == "backup" and not domain.job_is_ours:
        domain.job = None
    world.notify(host)
    return f"the other program has finished with {vm} on {host}"


def garbage(world: World, host: str) -> str:
    """`garbage HOST`: things of ours lie about as a crash leaves them; running VMs have a job."""
    node, traces = world.node(host), world.node(host).traces
    traces.programs.add("/run/hotsite/mover-0123456789abcdef.pyz")
    traces.keys["hotsite-transfer-of-a-crash"] = world.now()
    folder = next((pool.path for pool in node.pools.values()), "/var/lib/libvirt/images")
    traces.scratch[f"{folder}/hotsite-scratch/of-a-crash-vda.qcow2"] = "of-a-crash"
    traces.drills.add(f"{folder}/hotsite-replicas/of-a-crash")
    idle = [d for d in sorted(node.domains.values(), key=lambda one: one.name)
            if d.state.active and d.job is None]
    for domain in idle[:1]:
        domain.job, domain.job_is_ours = "backup", True
        traces.sockets.add(f"/var/lib/libvirt/qemu/domain-1-{domain.name}/hotsite.sock")
    world.notify(host)
    return f"a crash has left things of ours on {host}"


REPLICA_FAULTS: Final[Mapping[str, Callable[..., str]]] = {
    "damage-replica": damage, "scrub-replica": scrub_now, "truncate-base": truncate_base,
    "age-replica": age, "lose-overlay": lose_overlay, "lose-bitmap": lose_bitmap,
    "lose-checkpoints": lose_checkpoints, "put-back": put_back, "corrupt-state": corrupt_state,
    "restore-state": restore_state, "lose-replica": lose_replica,
    "foreign-backup": foreign_backup, "end-backup": end_backup, "garbage": garbage,
}
OF_THE_REPLICA: Final = frozenset({
    "age-replica", "damage-replica", "scrub-replica", "truncate-base", "lose-overlay",
    "corrupt-state", "restore-state", "lose-replica"})
"""Faults whose host is the replica's, not the VM's."""
