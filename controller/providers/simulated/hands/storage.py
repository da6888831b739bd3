"""Pools and disk files, made as virsh and qemu-img make them, given back and purged."""

from controller.errors import Refused
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.storage import (
    AcceptPool,
    CreateDisk,
    CreatePool,
    PurgeFiles,
    ReturnDisk,
)
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.view import free_bytes
from controller.providers.simulated.world import File, Node, Pool, World

EMPTY_BYTES = 200 << 10
"""What an empty qcow2 file takes."""


def create_pool(world: World, action: CreatePool) -> Effect:
    """Define and start a directory pool, or start the one that is there."""
    yield Wait(0.2)
    node = world.node(action.node)
    pool = node.pools.setdefault(action.pool, Pool(action.pool, action.path, active=False))
    if pool.path != action.path:
        raise Refused(f"{node.name}: pool {pool.name} is at {pool.path}, not at {action.path}")
    pool.active = True
    return f"pool {pool.name} of {node.name} is active"


def create_disk(world: World, action: CreateDisk) -> Effect:
    """Create a disk file; an existing one of the right size is left as it is."""
    node, disk = world.node(action.node), action.disk
    pool = node.pools.get(disk.pool)
    if pool is None or not pool.active:
        raise Refused(f"{node.name}: pool {disk.pool} is not active")
    image = world.file(node, disk.image_path) if disk.image_path is not None else None
    if disk.image_path is not None and image is None:
        raise Refused(f"{node.name}: there is no image {disk.image_path}")
    yield Wait(0.2 if image is None else 1.0 + image.allocated_bytes / 500e6)
    found = world.file(node, disk.path)
    if found is not None and found.size_bytes == disk.size_bytes:
        return f"{disk.path} is on {node.name} already and was left as it is"
    if found is not None:
        raise Refused(f"{node.name}: {disk.path} exists with another size; it is not overwritten")
    need = image.allocated_bytes if image is not None else EMPTY_BYTES
    new_file(world, node, disk, need)
    return f"created {disk.path} on {node.name}"


def new_file(world: World, node: Node, disk: DesiredDisk, allocated_bytes: int) -> File:
    """Create the file of `disk`.

    Errors: Refused when the file system is full.
    """
    free = free_bytes(world, node, disk.path.rpartition("/")[0])
    if free < allocated_bytes:
        raise Refused(f"{node.name}: no space left on device for {disk.path}")
    name = disk.path.rpartition("/")[2].rpartition(".")[0]
    file = File(disk.format, disk.size_bytes, allocated_bytes, name)
    world.store_of(node, disk.path)[disk.path] = file
    return file


def return_disk(world: World, action: ReturnDisk) -> Effect:
    """Give a file that was set aside its old name again, if it does not have it already."""
    yield Wait(0.1)
    node = world.node(action.node)
    store, aside = world.store_of(node, action.path), action.path + action.suffix
    if aside in store and action.path in store:
        raise Refused(f"{node.name}: {action.path} is there already")
    if aside not in store and action.path not in store:
        raise Refused(f"{node.name}: {aside} is no file")
    if aside in store:
        store[action.path] = store.pop(aside)
    return f"{action.path} is back on {node.name}"


def purge(world: World, action: PurgeFiles) -> Effect:
    """Delete files that were set aside and that no domain uses."""
    yield Wait(0.1)
    node = world.node(action.node)
    used = {disk.source for domain in node.domains.values()
            for config in (domain.live, domain.config) if config for disk in config.disks}
    for path in action.paths:
        if path in used:
            raise Refused(f"{node.name}: {path} is used by a domain")
        world.store_of(node, path).pop(path, None)
    return f"deleted {len(action.paths)} files on {node.name}"


def accept_pool(world: World, action: AcceptPool) -> Effect:
    """Report that a pool is accepted as it is now."""
    yield Wait(0.1)
    return f"pool {action.pool} of {world.node(action.node).name} counts as it is seen"
