"""Faults of identity: renamed domains, clones, and other domains on a VM's disks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from controller.model.facts import DomainConfig, DomainState
from controller.providers.simulated.power import end_domain, plug_in, run_domain
from controller.providers.simulated.world import Domain, File, Node, World, executes


def _config(domain: Domain) -> DomainConfig:
    config = domain.live or domain.config
    assert config is not None, "a domain has one of both"
    return replace(config, nics=tuple(replace(nic, device=None) for nic in config.nics))


def rename(world: World, host: str, vm: str, name: str) -> str:
    """`rename HOST VM NAME`: somebody shuts it down and runs `virsh domrename`."""
    node = world.node(host)
    domain = node.domains[vm]
    if not domain.persistent or name in node.domains:
        return f"{vm} on {host} cannot be renamed"
    if domain.state.active:
        end_domain(node, domain, "shutdown")
    node.domains[name] = node.domains.pop(vm)
    domain.name = name
    world.notify(host)
    return f"{vm} on {host} is called {name} now"


def rename_migrate(world: World, vm: str, to: str, name: str) -> str:
    """`rename-migrate VM HOST NAME`: `virsh migrate --dname NAME --xml … --undefinesource` with its
    disks, which are called otherwise there, too; the old ones stay.
    """
    found = [(node, node.domains[vm]) for node in world.nodes.values()
             if vm in node.domains and executes(node.domains[vm])]
    target = world.node(to)
    source, domain = found[0]
    if source is target or name in target.domains or domain.job is not None:
        return f"{vm} was not migrated"
    old = _config(domain)
    config = replace(old, disks=tuple(replace(
        disk, source=f"{disk.source.rpartition('/')[0]}/{name}-{disk.target}.{disk.format}")
        for disk in old.disks))
    if any(world.file(target, disk.source) is not None for disk in config.disks):
        return f"{vm} was not migrated: a file of that name lies on {to} already"
    for was, disk in zip(old.disks, config.disks, strict=True):
        file = world.file(source, was.source)
        if file is not None:
            world.store_of(target, disk.source)[disk.source] = replace(file)
    end_domain(source, domain, "migrated")
    source.domains.pop(vm, None)
    target.domains[name] = Domain(name, domain.uuid, config, domain.ownership,
                                  DomainState.RUNNING, "migrated")
    plug_in(target, target.domains[name], config)
    world.notify(source.name)
    world.notify(to)
    return f"{vm} was migrated by hand from {source.name} to {to} and is called {name} there"


def impostor(world: World, host: str, vm: str, name: str) -> str:
    """`impostor HOST VM NAME`: somebody defines another domain on a VM's disks while that is off,
    with a uuid of its own, and starts it.
    """
    node = world.node(host)
    domain = node.domains[vm]
    if domain.state.active or name in node.domains or domain.config is None:
        return f"{vm} on {host} is not to be had"
    _run_another(node, name, _config(domain), host)
    world.notify(host)
    return f"{name} runs on the disks of {vm} on {host}"


def rescue(world: World, host: str, vm: str, name: str) -> str:
    """`rescue HOST VM NAME`: somebody starts a guest of his own from the replica that HOST has."""
    node = world.node(host)
    uuid = next(uuid for uuid, one in node.replicas.items() if one.machine == vm)
    if name in node.domains:
        return f"{name} is there already"
    path = f"{node.replicas[uuid].path}/vda/rp-by-hand.qcow2"
    config = DomainConfig(256 << 20, 256 << 20, 1, 1, (), ())
    other = _run_another(node, name, config, host)
    other.reads = (path,)
    world.notify(host)
    return f"{name} runs from the replica of {vm} on {host}"


def clone(world: World, host: str, vm: str, name: str) -> str:
    """`clone HOST VM NAME`: `virt-clone`: new uuid, cards and files, the metadata as it was."""
    node = world.node(host)
    domain = node.domains[vm]
    if name in node.domains:
        return f"{name} is there already"
    config = _config(domain)
    if any(path.endswith(f"/{name}-{disk.target}.{disk.format}")
           for disk in config.disks for path in node.files):
        return f"{vm} was not cloned: a file of that name is there already"
    disks = []
    for disk in config.disks:
        path = f"{disk.source.rpartition('/')[0]}/{name}-{disk.target}.{disk.format}"
        file = world.file(node, disk.source)
        if file is not None:
            world.store_of(node, path)[path] = File(file.format, file.size_bytes,
                                                    file.allocated_bytes, f"{name}-{disk.target}")
        disks.append(replace(disk, source=path))
    other = _run_another(node, name, replace(config, nics=(), disks=tuple(disks)), host)
    other.ownership = domain.ownership
    world.notify(host)
    return f"{name} is a clone of {vm} on {host}"


def call_back(world: World, name: str, vm: str) -> str:
    """`call-back NAME VM`: whoever renamed it gives it its name again, while it is off, and
    undefines what was defined under that name elsewhere meanwhile.
    """
    for node in world.nodes.values():
        if name in node.domains and vm not in node.domains:
            for other in world.nodes.values():
                found = other.domains.get(vm)
                if found is not None and not found.state.active:
                    del other.domains[vm]
                    world.notify(other.name)
            return rename(world, node.name, name, vm)
    return f"{name} is nowhere to be called {vm} again"


def call_off(world: World, name: str) -> str:
    """`call-off NAME`: whoever started it ends it and takes it away; the disks stay."""
    for node in world.nodes.values():
        domain = node.domains.get(name)
        if domain is not None:
            if domain.state.active:
                end_domain(node, domain, "destroyed")
            node.domains.pop(name, None)
            world.notify(node.name)
    return f"{name} is gone"


def _run_another(node: Node, name: str, config: DomainConfig, host: str) -> Domain:
    """Run a domain that is nobody's."""
    other = Domain(name, str(uuid5(NAMESPACE_URL, f"by hand: {host}/{name}")), config, None)
    node.domains[name] = other
    run_domain(node, other, "booted")
    return other


IDENTITY_FAULTS: Final[Mapping[str, Callable[..., str]]] = {
    "rename": rename, "rename-migrate": rename_migrate, "impostor": impostor, "rescue": rescue,
    "clone": clone, "call-back": call_back, "call-off": call_off,
}
