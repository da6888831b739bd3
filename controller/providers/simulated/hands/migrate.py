"""Live migration: the source runs until the destination has everything, then they switch over."""

from dataclasses import replace

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.facts import DomainConfig, DomainState, NicFacts
from controller.plan.actions.machine import MigrateDomain
from controller.plan.machine.device_support import move_blocker
from controller.providers.simulated.hands.effect import Effect, Wait, domain_of
from controller.providers.simulated.hands.lifecycle import assert_room, card_of
from controller.providers.simulated.hands.storage import new_file
from controller.providers.simulated.power import end_domain, plug_in
from controller.providers.simulated.world import Domain, File, Node, World

MEMORY_BYTES_PER_S = 1e9
STORAGE_BYTES_PER_S = 400e6


def migrate(world: World, action: MigrateDomain) -> Effect:
    """Move a running domain; its definition moves along, the files at the source stay."""
    yield Wait(0.2)
    source, target = world.node(action.node), world.node(action.to)
    here, there = source.domains.get(action.domain), target.domains.get(action.domain)
    if (there is not None and there.state is DomainState.RUNNING
            and (here is None or not here.state.active)):
        return f"{action.domain} runs on {target.name} already"
    domain = domain_of(source, action.domain)
    live = _movable(action, source, target, domain)
    declared = frozenset(disk.target for disk in action.disks)
    why = move_blocker(declared, live, declared - {disk.target for disk in action.copied})
    if why:
        raise Refused(f"{source.name}: {domain.name} is not moved: {why}")
    copies = _target_files(world, source, target, action)
    before = there
    arriving = _arrive(target, domain, live, action)
    domain.job = "migration"
    world.notify(target.name)
    try:
        storage_bytes = sum(file.allocated_bytes for file, _ in copies)
        yield Wait(0.5 + live.memory_bytes / MEMORY_BYTES_PER_S
                   + storage_bytes / STORAGE_BYTES_PER_S)
    except OutcomeUnknown:
        _give_up(target, domain, arriving, before)
        raise
    if not domain.state.active or target.domains.get(domain.name) is not arriving:
        _give_up(target, domain, arriving, before)
        # the files that this attempt made go: the source still has everything
        made = {id(copy) for _, copy in copies}
        for store in (target.files, *world.shared_files.values()):
            for path in [path for path, file in store.items() if id(file) in made]:
                del store[path]
        raise Refused(f"{source.name}: migration of {domain.name} failed: it is not running")
    for file, copy in copies:
        copy.serial, copy.writes = file.serial, file.writes
        copy.size_bytes, copy.allocated_bytes = file.size_bytes, file.allocated_bytes
    if action.with_storage:
        arriving.checkpoints = domain.checkpoints
    _switch_over(source, target, domain, arriving)
    world.notify(target.name)
    return f"moved {domain.name} from {source.name} to {target.name}"


def _movable(action: MigrateDomain, source: Node, target: Node, domain: Domain) -> DomainConfig:
    """Return the live configuration of a domain that may leave.

    Errors: Refused, as libvirt refuses.
    """
    if domain.live is None or domain.state is not DomainState.RUNNING:
        raise Refused(f"{source.name}: {domain.name} is {domain.state}; only what runs is moved")
    there = target.domains.get(domain.name)
    if there is not None and there.state.active:
        raise Unavailable(f"{target.name}: {domain.name} is {there.state} there already")
    if domain.job is not None:
        raise Unavailable(f"{source.name}: {domain.name} is busy: {domain.job}")
    if not (target.powered and target.libvirt_up and not target.hung):
        raise Unavailable(f"{source.name}: unable to connect to libvirt at {target.name}")
    assert_room(target, domain.name, replace(domain.live, nics=cards_there(action, domain.live)))
    return domain.live


def cards_there(action: MigrateDomain, config: DomainConfig) -> tuple[NicFacts, ...]:
    """Return a guest's cards where the other host has their networks."""
    cards = {nic.mac: card_of(nic) for nic in action.nics}
    return tuple(cards.get(nic.mac, nic) for nic in config.nics)


def _target_files(world: World, source: Node, target: Node, action: MigrateDomain,
                  ) -> list[tuple[File, File]]:
    """Return each file with its new copy at the destination, which is to be filled."""
    domain = domain_of(source, action.domain)
    copies = []
    assert domain.live is not None, "the caller has looked"
    declared = {disk.target: disk for disk in action.disks}
    for disk in domain.live.disks:
        desired = declared.get(disk.target)
        file = world.file(source, disk.source)
        path = desired.path if desired is not None else disk.source
        if file is None:
            raise Refused(f"{source.name}: cannot access storage file '{disk.source}'")
        if not action.with_storage or disk.target in action.kept:
            if world.file(target, path) is not file:
                raise Refused(f"{target.name}: cannot access storage file '{path}'")
            continue
        if desired is None:
            raise Refused(f"{source.name}: nothing says where {disk.source} goes")
        old = world.file(target, path)
        if old is file:
            raise Refused(f"{target.name}: {path} is the file it runs on; it is not copied")
        if old is not None:
            _put_aside(world, target, path, domain)
        new = new_file(world, target, replace(desired, size_bytes=file.size_bytes),
                       file.allocated_bytes)
        new.serial = f"partial-{file.serial}"
        copies.append((file, new))
    return copies


def _put_aside(world: World, target: Node, path: str, domain: Domain) -> None:
    """Give a stale file another name; nothing that is there is written over."""
    for other in target.domains.values():
        if other.name != domain.name and other.config is not None and any(
                disk.source == path for disk in other.config.disks):
            raise Refused(f"{target.name}: {path} is used there by {other.name}")
    store, number = world.store_of(target, path), 1
    while f"{path}.stale-{number}" in store:
        number += 1
    store[f"{path}.stale-{number}"] = store.pop(path)


def _arrive(target: Node, domain: Domain, live: DomainConfig, action: MigrateDomain) -> Domain:
    """Create the receiving domain at the destination."""
    paths = {disk.target: disk.path for disk in action.disks}
    config = domain.config or live
    moved = replace(config, disks=tuple(
        replace(d, source=paths.get(d.target, d.source)) for d in config.disks),
        nics=cards_there(action, config))
    arriving = Domain(domain.name, domain.uuid, moved, domain.ownership, DomainState.INCOMING,
                      "migration", autostart=action.autostart,
                      job="migration")
    arriving.live = replace(live, disks=tuple(
        replace(d, source=paths.get(d.target, d.source)) for d in live.disks),
        nics=cards_there(action, live))
    arriving.ignores_shutdown = domain.ignores_shutdown
    target.domains[domain.name] = arriving
    return arriving


def _give_up(target: Node, domain: Domain, arriving: Domain, before: Domain | None) -> None:
    """Let the source continue, and make the destination what it was before."""
    domain.job = None
    if target.domains.get(domain.name) is arriving:
        del target.domains[domain.name]
        if before is not None:
            target.domains[domain.name] = before


def _switch_over(source: Node, target: Node, domain: Domain, arriving: Domain) -> None:
    """Let the receiving domain run, and undefine the source's."""
    assert arriving.live is not None, "the far end has a live configuration"
    live = arriving.live
    end_domain(source, domain, "migrated")
    source.domains.pop(domain.name, None)
    plug_in(target, arriving, live)
    arriving.state, arriving.reason, arriving.job = DomainState.RUNNING, "migrated", None
