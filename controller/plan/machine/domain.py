"""The desired domain of a VM on a host, and how far the domain that is there differs from it."""

from collections import Counter
from collections.abc import Callable, Mapping

from controller.model.desired import Desired
from controller.model.facts import DomainConfig, DomainFacts, Ownership, PoolFacts, Role
from controller.model.host import Host, HostSpec
from controller.model.units import is_memory_of, render_size, render_sizes
from controller.model.virtual_machine import DiskSpec, VirtualMachine
from controller.plan.actions.desired import (
    DesiredDisk,
    DesiredDomain,
    DetachDisk,
    DetachNic,
    DomainChange,
    SetCpus,
    SetMemory,
)
from controller.plan.network.card import desired_nics, is_card
from controller.plan.network.host import pool_of
from controller.plan.survey.identity import domain_uuid
from controller.plan.survey.networks.attachment import attachment_of
from controller.plan.survey.survey import Survey


def disk_file(vm: str, disk: DiskSpec) -> str:
    """Return the file name of a VM's disk in its pool."""
    return f"{vm}-{disk.name}.{disk.format}"


def disk_files(vm: VirtualMachine, disk: DiskSpec) -> tuple[str, ...]:
    """Return every file name that we may have given to a VM's disk, the present one first."""
    if not disk.is_pooled:
        return ()
    return tuple(disk_file(name, disk) for name in (vm.name, *vm.spec.formerly))


def desired_disk(vm: VirtualMachine, disk: DiskSpec, host: Host,
              pools: Mapping[str, PoolFacts] | None = None) -> DesiredDisk:
    """Return `disk` as it should lie on `host`; a file of a former name in `pools` is that disk."""
    if disk.source is not None:
        return DesiredDisk(disk.name, "", disk.source.path, disk.format, disk.size_bytes)
    there = (pools or {}).get(disk.pool)
    file = next((one for one in disk_files(vm, disk)
                 if there is not None and one in there.volumes), disk_file(vm.name, disk))
    pool = pool_of(host, disk.pool)
    folder = pool.path.rstrip("/") if pool is not None else "/var/lib/libvirt/images"
    image = None if disk.image is None else f"{folder}/{disk.image}"
    return DesiredDisk(disk.name, disk.pool, f"{folder}/{file}", disk.format,
                    disk.size_bytes, image)


def desired_domain(vm: VirtualMachine, host: Host, seen: DomainFacts | None,
                survey: Survey) -> DesiredDomain:
    """Return the whole domain of `vm` as it should be on `host`; `seen` has its uuid and name."""
    desired, spec = survey.desired, vm.spec
    uuid = seen.uuid if seen is not None else (
        spec.uuid or domain_uuid(desired.estate.name, vm.name))
    name = vm.libvirt_name if seen is None else seen.name
    return DesiredDomain(
        name, uuid, spec.memory_bytes, spec.cpus,
        tuple(desired_disk(vm, disk, host, survey.pools(host.name)) for disk in spec.disks),
        desired_nics(vm, host, survey),
        ownership_of(vm, uuid, name, None if seen is None else seen.ownership, survey),
        desired.templates.get(vm.name))


def ownership_of(vm: VirtualMachine, uuid: str, name: str, seen: Ownership | None,
                 survey: Survey) -> Ownership:
    """Return the mark that a domain of `vm` should carry; what it was promoted to stays."""
    kept = seen is not None and seen.uuid == uuid and seen.role is not Role.DRILL
    return Ownership(survey.estate_name, vm.spec.deletion.value, vm.metadata.name,
                     seen.role if kept and seen is not None else Role.PRODUCTION,
                     seen.epoch if kept and seen is not None else 0, uuid, name)


def is_in_order(name: str, domain: DomainFacts, host: str, desired: Desired) -> bool:
    """Return whether a VM's domain has nothing to change, in its mark or in either XML."""
    vm, spec = desired.virtual_machines[name], desired.hosts[host].spec
    live, config = domain.live, domain.config
    return ((live is None or is_as_declared(vm, live, spec, desired))
            and (config is None or (is_as_declared(vm, config, spec, desired)
                                    and is_marked(vm, domain, desired))))


def is_marked(vm: VirtualMachine, domain: DomainFacts, desired: Desired) -> bool:
    """Return whether a domain carries the mark that it should."""
    seen = domain.ownership
    return (seen is not None and seen.deletion == vm.spec.deletion
            and seen.estate == desired.estate.name and seen.name == vm.metadata.name
            and seen.uuid == domain.uuid and seen.domain == domain.name
            and seen.role is not Role.DRILL)


def is_as_declared(vm: VirtualMachine, seen: DomainConfig, host: HostSpec,
                   desired: Desired) -> bool:
    """Return whether one XML is as declared: the quick check that nearly always suffices."""
    spec = vm.spec
    if seen.memory_bytes != spec.memory_bytes and not is_memory_of(
            seen.memory_bytes, spec.memory_bytes):
        return False
    if (seen.cpus != spec.cpus or len(seen.nics) != len(spec.nics)
            or len(seen.disks) != len(spec.disks)):
        return False
    for disk, disk_seen in zip(spec.disks, seen.disks, strict=True):
        if disk.name != disk_seen.target or (
                disk_seen.size_bytes != disk.size_bytes and disk.size_bytes):
            return False
        if disk.source is not None and disk.source.path not in {"", disk_seen.source}:
            return False
    for nic, nic_seen in zip(spec.nics, seen.nics, strict=True):
        if nic.kept:
            if nic.mac != nic_seen.mac:
                return False
        elif not is_card(nic, nic_seen, attachment_of(
                nic.on, desired.networks[nic.on].spec.vlan, host), host.driver):
            return False
    return True


def cannot_hold(vm: VirtualMachine, seen: DomainConfig) -> list[str]:
    """Return why one XML of a domain cannot become what the spec says, whoever tries."""
    found = []
    if has_fixed_cells(vm, seen):
        found.append("its memory is laid out in NUMA cells, and"
                     f" {render_size(vm.spec.memory_bytes)} is declared, which is more than they"
                     " hold: change <memory> and the cells by hand, or declare what it has")
    found += [f"{count} cards of it have the MAC {mac}, and nobody can tell which one is meant:"
              " give each its own by hand" for mac, count in sorted(twin_cards(seen).items())]
    return found


def has_fixed_cells(vm: VirtualMachine, seen: DomainConfig) -> bool:
    """Return whether the declared memory is above what the NUMA cells of a domain add up to."""
    return seen.numa and vm.spec.memory_bytes > seen.memory_max_bytes and not is_memory_of(
        seen.memory_bytes, vm.spec.memory_bytes)


def twin_cards(seen: DomainConfig) -> dict[str, int]:
    """Return the MACs that several cards of a domain have, with how many."""
    return {mac: count for mac, count in Counter(nic.mac for nic in seen.nics).items()
            if mac and count > 1}


Say = Callable[[str], None]


def takes_away(change: DomainChange, seen: DomainConfig) -> bool:
    """Return whether a change detaches something, or leaves less memory or fewer CPUs."""
    match change:
        case DetachNic() | DetachDisk():
            return True
        case SetMemory(size):
            return size < seen.memory_bytes
        case SetCpus(cpus):
            return cpus < seen.cpus
    return False


def sizing_changes(vm: VirtualMachine, seen: DomainConfig, *, live: bool, say: Say,
                   take: Say, restart: Say) -> list[DomainChange]:
    """Return the changes of memory and CPUs, with the reasons passed to the callbacks.

    Shapes: `say` gets what is added or changed, `take` what a running guest would lose, `restart`
    what a running guest can only get by a restart.
    """
    spec = vm.spec
    changes: list[DomainChange] = []
    if not is_memory_of(seen.memory_bytes, spec.memory_bytes) and not has_fixed_cells(vm, seen):
        has, wanted = render_sizes(seen.memory_bytes, spec.memory_bytes)
        words = f"memory is {has} and {wanted} is declared"
        if live and spec.memory_bytes > seen.memory_max_bytes:
            ceiling, _ = render_sizes(seen.memory_max_bytes, spec.memory_bytes)
            restart(f"{words}, above the {ceiling} that it can reach while it runs")
        else:
            changes.append(SetMemory(spec.memory_bytes))
            (take if live and spec.memory_bytes < seen.memory_bytes else say)(words)
    if seen.cpus != spec.cpus:
        words = f"it has {seen.cpus} CPUs and {spec.cpus} are declared"
        if live and not seen.cpus < spec.cpus <= seen.cpus_max:
            restart(f"{words}, which cannot be changed while it runs")
        else:
            changes.append(SetCpus(spec.cpus))
            say(words)
    return changes
