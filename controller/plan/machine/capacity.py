"""Capacity: how much memory and disk space hosts have and VMs use, as kernel and libvirt report it.

Rule 1: of the declared and the actual size of a VM the larger counts.
Rule 2: a guest in huge pages uses huge pages only, and nothing else can use those.
Rule 3: a VM that is moving counts on its destination as soon as the move has begun.
Rule 4: no host is given more than its kernel reports as available; no VM leaves because of that.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from controller.model.document import Rung
from controller.model.facts import DomainFacts, DomainState, Known, PoolFacts
from controller.model.host import Host
from controller.plan.machine.state import Location, MachineState
from controller.plan.network.host import pool_of
from controller.plan.packing.problem import PlaceMachine
from controller.plan.survey.identity import Names, owner_of
from controller.plan.survey.survey import Survey

ON_ITS_WAY: Final = " on its way"
DiskSizes = tuple[tuple[str, int], ...]
"""By pool: the bytes that the disks of a VM would take up on another host."""


class GuestMemory(NamedTuple):
    """How much of a host's memory its guests use."""

    ours_bytes: int
    """Those of declared VMs, apart from huge pages."""
    foreign_bytes: int
    foreign_huge_bytes: int


def with_actual_size(machine: PlaceMachine, domain: DomainFacts | None) -> PlaceMachine:
    """Return a VM as placement sees it, with its actual memory and CPUs where those are more."""
    config = None if domain is None else domain.live or domain.config
    if config is None:
        return machine
    if config.hugepages:
        return machine._replace(memory_bytes=0, cpus=max(machine.cpus, config.cpus),
                             huge_bytes=max(machine.memory_bytes, config.memory_max_bytes))
    if config.memory_bytes <= machine.memory_bytes and config.cpus <= machine.cpus:
        return machine
    return machine._replace(memory_bytes=max(machine.memory_bytes, config.memory_bytes),
                         cpus=max(machine.cpus, config.cpus))


def memory_for_guests(host: Host, survey: Survey) -> tuple[int, int]:
    """Return the memory that declared VMs may use on a host in all, and the same in huge pages."""
    hardware = survey.hardware(host.name)
    if hardware is None:
        return 0, 0
    here = survey.domains.get(host.name)
    if here is None:
        silent = survey.unreachable.get(host.name)
        here = (silent.domains or {}) if silent is not None else {}
    guests = survey.specs.cached(guest_memory, host.name, here, survey.specs.to_place,
                                 survey.specs.names)
    whole = (hardware.memory_bytes - hardware.huge_bytes - host.spec.reserve.memory_bytes
             - guests.foreign_bytes)
    node = survey.nodes.get(host.name)
    if node is not None and isinstance(node.hardware, Known):
        whole = min(whole, guests.ours_bytes + hardware.memory_available_bytes)
    return whole, hardware.huge_bytes - guests.foreign_huge_bytes


def guest_memory(_: str, here: Mapping[str, DomainFacts], to_place: Mapping[str, PlaceMachine],
              names: Names) -> GuestMemory:
    """Return how much memory the running domains of a host use."""
    foreign, foreign_huge, ours = 0, 0, 0
    for domain in here.values():
        live = domain.live
        if live is None:
            continue
        machine = to_place.get(owner_of(domain, names))
        if machine is None and live.hugepages:
            foreign_huge += live.memory_max_bytes
        elif machine is None:
            foreign += live.memory_bytes
        elif not live.hugepages:
            ours += max(live.memory_bytes, machine.memory_bytes)
    return GuestMemory(ours, foreign, foreign_huge)


def pool_space(host: str, coming: Mapping[str, str], survey: Survey) -> Mapping[str, int] | None:
    """Return the free space of each pool of a host, less what is moving there; None if unknown.

    A pool that is still to be created, or is unknown now, has no entry: the gates wait for it.
    """
    pools = survey.pools(host)
    if pools is None:
        return None
    left = {name: pool.available_bytes for name, pool in pools.items() if not pool.unknown}
    for name, to in coming.items():
        for pool, size_bytes in disk_sizes(name, survey)[1] if to == host else ():
            if pool in left:
                left[pool] -= size_bytes
    return left


def moves_under_way(locations: Mapping[str, Location], survey: Survey) -> dict[str, str]:
    """Return the destination of each VM that is moving to another host, whoever moves it."""
    found = {}
    for flight in survey.context.in_flight:
        name = flight.target.partition("/")[2]
        if flight.rung is Rung.MIGRATE and len(flight.nodes) > 1 and name in locations and (
                locations[name].state is MachineState.BUSY):
            found[name] = flight.nodes[1]
    for name, location in locations.items():
        if location.state is MachineState.BUSY:
            for seen in survey.sightings.get(name, ()):
                if seen.domain.state is DomainState.INCOMING and seen.host != location.host:
                    found[name] = seen.host
    return found


def arrivals(coming: Mapping[str, str],
             machines: Mapping[str, PlaceMachine]) -> dict[str, tuple[PlaceMachine, str]]:
    """Return each moving VM as a second machine on its destination, under a name of its own."""
    return {f"{name}{ON_ITS_WAY}": (machines[name]._replace(name=f"{name}{ON_ITS_WAY}",
                                                            fixed=True), host)
            for name, host in sorted(coming.items()) if name in machines}


def disk_sizes(name: str, survey: Survey) -> tuple[str, DiskSizes]:
    """Return the host with a VM's disks, and by pool the space they would need on another one."""
    seen = survey.sightings.get(name, ())
    if not seen:
        return "", ()
    host, domain = next((one for one in seen if one.domain.state.active), seen[0])
    config = domain.live or domain.config
    declared = survey.desired.hosts[host]
    pools = survey.pools(host) or {}
    taken: dict[str, int] = {}
    for disk in () if config is None else config.disks:
        spec = next((one for one in survey.desired.virtual_machines[name].spec.disks
                     if one.name == disk.target), None)
        pool = None if spec is None else pool_of(declared, spec.pool)
        if spec is None or not spec.is_pooled or (pool is not None and pool.shared):
            continue
        size = max(disk.size_bytes or 0, spec.size_bytes)
        taken[spec.pool] = taken.get(spec.pool, 0) + allocated_bytes(disk.source, size, pools)
    return host, tuple(sorted(taken.items()))


def allocated_bytes(source: str, size_bytes: int, pools: Mapping[str, PoolFacts]) -> int:
    """Return the allocated size of a disk file; its full size if the file cannot be seen."""
    folder, _, name = source.rpartition("/")
    for pool in pools.values():
        if pool.path.rstrip("/") == folder and name in pool.volumes:
            return pool.volumes[name].allocated_bytes or size_bytes
    return size_bytes
