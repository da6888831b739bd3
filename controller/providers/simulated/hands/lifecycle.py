"""Domains come and go: define, start, resume, shut down, restart, undefine, remove."""

from dataclasses import replace

from controller.errors import Refused
from controller.model.facts import DiskFacts, DomainConfig, DomainState, NicFacts
from controller.plan.actions.desired import DesiredDomain, DesiredNic
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    RemoveDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.replica import DropCheckpoints
from controller.providers.simulated.hands.effect import Effect, Wait, domain_of
from controller.providers.simulated.power import end_domain, run_domain
from controller.providers.simulated.world import MACHINE, Domain, Node, World, executes

GUEST_SHUTDOWN_S = 5.0


def define(world: World, action: DefineDomain) -> Effect:
    """Define a domain; a running one without a definition gets the one it runs with."""
    yield Wait(0.1)
    node, desired = world.node(action.node), action.desired
    old = node.domains.get(desired.name)
    if old is not None and old.uuid != desired.uuid:
        raise Refused(f"{node.name}: domain '{desired.name}' exists already with uuid {old.uuid}")
    if old is None:
        assert_files(world, node, tuple(disk.path for disk in desired.disks))
        node.domains[desired.name] = Domain(desired.name, desired.uuid, config_of(desired),
                                            desired.ownership)
    elif old.persistent:
        return f"{desired.name} is defined on {node.name} already"
    else:
        running = old.live or config_of(desired)
        old.config = replace(config_of(desired), disks=running.disks)
        old.ownership = desired.ownership
    return f"defined {desired.name} on {node.name}"


def config_of(desired: DesiredDomain) -> DomainConfig:
    """Return the definition of a desired domain."""
    return DomainConfig(
        desired.memory_bytes, desired.memory_bytes, desired.cpus, desired.cpus,
        tuple(DiskFacts(d.target, d.path, d.format, d.size_bytes) for d in desired.disks),
        tuple(map(card_of, desired.nics)),
        machine=MACHINE)


def card_of(nic: DesiredNic) -> NicFacts:
    """Return a card as a definition describes it."""
    return NicFacts(nic.mac, nic.bridge, nic.vlan, None, nic.model,
                    "network" if nic.network else "bridge", network=nic.network)


def start(world: World, action: StartDomain) -> Effect:
    """Start a defined domain, unless it is active already."""
    yield Wait(0.4)
    node = world.node(action.node)
    domain = domain_of(node, next(
        (one.name for one in node.domains.values() if one.uuid == action.uuid),
        action.uuid or action.domain))
    if domain.state.active:
        return f"{domain.name} was active already on {node.name}"
    assert_startable(world, node, domain)
    run_domain(node, domain, "booted")
    return f"started {domain.name} on {node.name}"


def assert_startable(world: World, node: Node, domain: Domain) -> None:
    """Raise Refused where QEMU would: a missing disk or bridge, too little memory."""
    config = domain.config
    if config is None:
        raise Refused(f"{node.name}: {domain.name} has no definition to start from")
    if config.machine and config.machine not in node.machines:
        raise Refused(f"{node.name}: unsupported configuration: Emulator"
                      f" '/usr/bin/qemu-system-x86_64' does not support machine type"
                      f" '{config.machine}'")
    assert_files(world, node, tuple(disk.source for disk in config.disks))
    for disk in config.disks:
        file = world.file(node, disk.source)
        if any(world.file(node, other.source) is file for one in node.domains.values()
               if one is not domain and executes(one) and one.live is not None
               for other in one.live.disks):
            raise Refused(f"{node.name}: Failed to get \"write\" lock on '{disk.source}':"
                          " another process uses it")
    assert_room(node, domain.name, config)


def assert_files(world: World, node: Node, paths: tuple[str, ...]) -> None:
    """Raise Refused if a file is missing."""
    for path in paths:
        if world.file(node, path) is None:
            raise Refused(f"{node.name}: cannot access storage file '{path}'")


def assert_room(node: Node, name: str, config: DomainConfig) -> None:
    """Raise Refused if a guest's bridge or memory is missing."""
    for nic in config.nics:
        if nic.kind == "bridge" and nic.bridge not in node.bridges:
            raise Refused(f"{node.name}: {name} needs bridge {nic.bridge}, which is not there")
    free = node.memory_bytes - node.memory_used_bytes()
    if config.memory_bytes > free:
        raise Refused(f"{node.name}: cannot set up guest memory for {name}: {free >> 20} MiB free,"
                      f" {config.memory_bytes >> 20} MiB needed")


def resume(world: World, action: ResumeDomain) -> Effect:
    """Resume a paused domain; while its disk is full it stops again at once."""
    yield Wait(0.1)
    node = world.node(action.node)
    domain = domain_of(node, action.domain)
    if not domain.state.active:
        raise Refused(f"{node.name}: domain {domain.name} is not running")
    if not (domain.reason == "ioerror" and node.full):
        domain.state, domain.reason = DomainState.RUNNING, "unpaused"
    return f"{domain.name} runs on at {node.name}"


def shut_down(world: World, action: ShutDownDomain) -> Effect:
    """Ask the guest to shut down and cut its power after the limit."""
    assert_live_files(world, action)
    return (yield from _down(world, action.node, action.domain, action.limit_s))


def assert_live_files(world: World, action: ShutDownDomain | RestartDomain) -> None:
    """Raise Refused if a running guest's files were deleted: ending it would lose them."""
    node = world.node(action.node)
    domain = domain_of(node, action.domain)
    if domain.state.active and domain.live is not None:
        assert_files(world, node, tuple(disk.source for disk in domain.live.disks))


def _down(world: World, host: str, name: str, limit_s: float) -> Effect:
    """Bring a domain to off, cleanly if the guest listens."""
    yield Wait(0.1)
    node = world.node(host)
    domain = domain_of(node, name)
    if not domain.state.active:
        return f"{name} was off already on {host}"
    listens = domain.state is DomainState.RUNNING and not domain.ignores_shutdown
    yield Wait(GUEST_SHUTDOWN_S if listens else limit_s, command_ends=not listens)
    if not domain.state.active:
        return f"{name} went off on {host}"
    end_domain(node, domain, "shutdown" if listens else "destroyed")
    world.notify(host)
    return f"{name} is off on {host}" + ("" if listens else f"; its power was cut after {limit_s}s")


def restart(world: World, action: RestartDomain) -> Effect:
    """Shut down, then start from the definition as it is then, unless it moved away meanwhile."""
    assert_live_files(world, action)
    yield from _down(world, action.node, action.domain, action.limit_s)
    yield Wait(0.3, command_ends=True)
    node = world.node(action.node)
    domain = domain_of(node, action.domain)
    if domain.reason == "migrated" and not domain.state.active:
        raise Refused(f"{node.name}: {domain.name} was migrated away meanwhile; it is not started")
    if not domain.state.active:
        assert_startable(world, node, domain)
        run_domain(node, domain, "booted")
    return f"restarted {domain.name} on {node.name}"


def disable_autostart(world: World, action: DisableAutostart) -> Effect:
    """Switch libvirt's own autostart off."""
    yield Wait(0.1)
    domain_of(world.node(action.node), action.domain).autostart = False
    return f"autostart of {action.domain} is off on {action.node}"


def undefine(world: World, action: UndefineDomain) -> Effect:
    """Forget a definition; files stay."""
    yield Wait(0.1)
    node = world.node(action.node)
    domain = node.domains.get(action.domain)
    if domain is None:
        return f"{action.domain} was not defined on {node.name}"
    if domain.state.active:
        raise Refused(f"{node.name}: {action.domain} is active; it is not undefined")
    del node.domains[action.domain]
    return f"undefined {action.domain} on {node.name}; its disks stay"


def remove(world: World, action: RemoveDomain) -> Effect:
    """Shut down, set the named files aside, and undefine, if its own mark allows that."""
    node = world.node(action.node)
    domain = node.domains.get(action.domain)
    for path in action.disk_paths:
        if any(path == disk.source for other in node.domains.values() if other is not domain
               for config in (other.live, other.config) if config for disk in config.disks):
            raise Refused(f"{node.name}: {path} is also used by another domain")
    if domain is not None:
        if domain.ownership is None or domain.ownership.deletion != "delete":
            raise Refused(f"{node.name}: the last applied spec of {domain.name} does not say"
                          " `deletion: delete`")
        yield from _down(world, action.node, action.domain, action.limit_s)
    yield Wait(0.1, command_ends=True)
    for path in action.disk_paths:
        store = world.store_of(node, path)
        if path in store:
            store[path + action.suffix] = store.pop(path)
    yield Wait(0.2, command_ends=True)
    node.domains.pop(action.domain, None)
    return f"removed {action.domain} from {node.name}, {len(action.disk_paths)} disks set aside"


def drop_checkpoints(world: World, action: DropCheckpoints) -> Effect:
    """Delete checkpoints of ours, if they still exist."""
    yield Wait(0.1)
    domain = domain_of(world.node(action.node), action.domain)
    for name in action.checkpoints:
        domain.checkpoints.pop(name, None)
    return f"removed {len(action.checkpoints)} checkpoints of {action.domain} on {action.node}"
