"""Patches of one domain's managed fields, in the running guest or for its next boot."""

from dataclasses import replace

from controller.errors import Refused
from controller.model.facts import DiskFacts, DomainConfig
from controller.plan.actions.desired import (
    AttachDisk,
    AttachNic,
    DesiredNic,
    DetachDisk,
    DetachNic,
    DomainChange,
    GrowDisk,
    SetCpus,
    SetMemory,
    SetOwnership,
    UpdateNic,
)
from controller.plan.actions.machine import PruneDomain, ReconfigureDomain
from controller.providers.simulated.hands.effect import Effect, Wait, domain_of
from controller.providers.simulated.hands.lifecycle import card_of
from controller.providers.simulated.world import Domain, Node, World


def reconfigure(world: World, action: ReconfigureDomain | PruneDomain) -> Effect:
    """Make every change, in the running guest if asked to, then in the definition."""
    node = world.node(action.node)
    domain_of(node, action.domain)
    for change in sorted(action.changes, key=lambda one: not isinstance(one, GrowDisk)):
        yield Wait(0.1, command_ends=True)
        domain = domain_of(node, action.domain)
        if isinstance(change, GrowDisk):
            file = world.file(node, change.path)
            if file is None:
                raise Refused(f"{node.name}: there is no {change.path}")
            if change.size_bytes < file.size_bytes:
                raise Refused(f"{node.name}: {change.path} would shrink")
            file.size_bytes = change.size_bytes
        elif action.live and domain.state.active:
            _change_live(world, node, domain, change)
    yield Wait(0.1, command_ends=True)
    domain = domain_of(node, action.domain)
    if domain.config is None:
        raise Refused(f"{node.name}: {domain.name} has no definition any more")
    for change in action.changes:
        domain.config = _patched(domain.config, change, ceiling=False)
        if isinstance(change, SetOwnership):
            domain.ownership = change.ownership
    where = "live" if action.live else "for its next boot"
    return f"changed {action.domain} on {node.name} {where}"


def _change_live(world: World, node: Node, domain: Domain, change: DomainChange) -> None:
    """Change the running guest, and its ports with it."""
    assert domain.live is not None, "the caller has looked"
    if isinstance(change, AttachDisk) and world.file(node, change.disk.path) is None:
        raise Refused(f"{node.name}: cannot access storage file '{change.disk.path}'")
    domain.live = _patched(domain.live, change, ceiling=True)
    match change:
        case AttachNic(nic):
            _plug(node, domain, nic)
        case UpdateNic(nic):
            _unplug(node, nic.mac)
            _plug(node, domain, nic)
        case DetachNic(mac):
            _unplug(node, mac)
        case _:
            pass


def _plug(node: Node, domain: Domain, nic: DesiredNic) -> None:
    """Give a card a port; the live XML then names it."""
    assert domain.live is not None, "only a running guest has ports"
    if not nic.network and nic.bridge not in node.bridges:
        raise Refused(f"{node.name}: no bridge named {nic.bridge}")
    device = node.new_port(card_of(nic))
    domain.live = replace(domain.live, nics=tuple(
        replace(n, device=device) if n.mac == nic.mac else n for n in domain.live.nics))


def _unplug(node: Node, mac: str) -> None:
    for bridge in node.bridges.values():
        for name in [p.name for p in bridge.ports.values() if p.mac == mac]:
            del bridge.ports[name]


def _patched(config: DomainConfig, change: DomainChange, *, ceiling: bool) -> DomainConfig:
    """Return `config` with a change; `ceiling`: it is a running guest's, which has a maximum."""
    match change:
        case SetMemory(size):
            if ceiling and size > config.memory_max_bytes:
                raise Refused("cannot set memory higher than max memory")
            return replace(config, memory_bytes=size,
                           memory_max_bytes=max(size, config.memory_max_bytes))
        case SetCpus(cpus):
            if ceiling and cpus > config.cpus_max:
                raise Refused("requested vcpus is greater than max allowable vcpus")
            return replace(config, cpus=cpus, cpus_max=max(cpus, config.cpus_max))
        case AttachNic(nic):
            others = tuple(n for n in config.nics if n.mac != nic.mac)
            return replace(config, nics=(*others, card_of(nic)))
        case UpdateNic(nic):
            return replace(config, nics=tuple(
                card_of(nic) if n.mac == nic.mac else n for n in config.nics))
        case DetachNic(mac):
            return replace(config, nics=tuple(n for n in config.nics if n.mac != mac))
        case AttachDisk(disk):
            others_ = tuple(d for d in config.disks if d.target != disk.target)
            new = DiskFacts(disk.target, disk.path, disk.format, disk.size_bytes)
            return replace(config, disks=(*others_, new))
        case DetachDisk(target, source):
            return replace(config, disks=tuple(
                d for d in config.disks if d.target != target or source not in {"", d.source}))
        case _:
            return config
