"""Gives each protected VM of a converged world a fresh, verified replica at the other site."""

from controller.model.desired import Desired
from controller.model.replica import STORE
from controller.model.virtual_machine import Power, VirtualMachine
from controller.providers.simulated.hands.backup_job import versions_of
from controller.providers.simulated.replicas import (
    Checkpoint,
    Point,
    Replica,
    checkpoint_name,
)
from controller.providers.simulated.world import Node, World


def protect(world: World, desired: Desired, vm: VirtualMachine) -> None:
    """Give a VM a replica with one point, if it is protected and a host has room for it."""
    source = next(node for node in world.nodes.values() if vm.libvirt_name in node.domains)
    target = _target(world, desired, vm, source)
    if vm.spec.protection is None or target is None:
        return
    domain = source.domains[vm.libvirt_name]
    config = domain.config
    assert config is not None, "it was defined just now"
    files = {disk.target: file for disk in config.disks
             if (file := world.file(source, disk.source)) is not None}
    sizes = {name: file.size_bytes for name, file in files.items()}
    name = checkpoint_name(1)
    if domain.state.active:
        domain.checkpoints[name] = Checkpoint(name, world.now(), versions_of(files), sizes)
    else:
        name = ""
    now = world.epoch()
    point = Point(1, name, now, now, versions_of(files),
                  sum(file.allocated_bytes for file in files.values()), verified_at=now)
    folders = desired.hosts[target.name].spec.folders
    pools = {pool.name: pool.path for pool in folders}
    path = f"{pools[(*vm.spec.pools, folders[0].name)[0]]}/{STORE}/{domain.uuid}"
    target.replicas[domain.uuid] = Replica(domain.uuid, vm.name, path, sizes, [point],
                                           scrubbed_at=now)


def _target(world: World, desired: Desired, vm: VirtualMachine, source: Node) -> Node | None:
    """Return the host at another site that has the pools, could start it and has fewest replicas.

    Where none could start it, too, the others count.
    """
    pools = set(vm.spec.pools)
    fit = [host.name for host in desired.hosts.values() if host.spec.site != source.site
           and vm.spec.disks and host.spec.folders
           and pools <= {pool.name for pool in host.spec.folders}
           and not host.spec.maintenance]
    if not fit:
        return None
    return world.node(min(fit, key=lambda name: (
        not _could_start(world.node(name), desired, vm), len(world.node(name).replicas), name)))


def _could_start(node: Node, desired: Desired, vm: VirtualMachine) -> bool:
    """Return whether a host could run a VM beside its own and all whose replicas it holds."""
    held = {replica.machine for replica in node.replicas.values()}
    there = [one.spec for name, one in desired.virtual_machines.items()
             if name in held or name in node.domains]
    groups = {group for spec in there for group in spec.placement.anti_affinity}
    taken = sum(spec.memory_bytes for spec in there if spec.power is Power.ON)
    return (groups.isdisjoint(vm.spec.placement.anti_affinity) and taken + vm.spec.memory_bytes
            <= node.memory_bytes - desired.hosts[node.name].spec.reserve.memory_bytes)
