"""Layout: the estate as placement sees it, where each VM belongs, and who must leave first.

Placement (packing/) knows hosts and machines with sizes and nothing else. This file translates: the
state of a VM decides whether it may move, what it occupies, and on which hosts it could be created;
what a host reports decides how much may go there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from controller.model.facts import Absent, runs
from controller.model.host import Host
from controller.model.virtual_machine import Power, VirtualMachine
from controller.plan.actions.machine import MigrateDomain, StartDomain
from controller.plan.machine.capacity import (
    ON_ITS_WAY,
    arrivals,
    disk_sizes,
    memory_for_guests,
    moves_under_way,
    pool_space,
    with_actual_size,
)
from controller.plan.machine.domain import disk_files
from controller.plan.machine.removal import MARK, parse_aside
from controller.plan.machine.state import Location, MachineState
from controller.plan.network.card import no_switch
from controller.plan.network.host import pool_of
from controller.plan.packing.packing import Packing
from controller.plan.packing.placement import arrange
from controller.plan.packing.problem import Limits, PlaceHost, PlaceMachine, Placement, misplaced
from controller.plan.steps.contained import FAULTS, break_off, contained
from controller.plan.steps.draft import Draft, Item
from controller.plan.survey.grants import WOULD
from controller.plan.survey.survey import Survey


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every VM belongs, with reasons; of the `skipped` ones nothing more is planned."""

    goals: Mapping[str, str]
    why: Mapping[str, str]
    skipped: frozenset[str]
    lost: frozenset[str]
    """VMs that a what-if takes as lost."""
    packing: Packing
    """Every host with the machines that belong on it."""
    hosts: Mapping[str, PlaceHost]
    machines: Mapping[str, PlaceMachine]
    arriving: tuple[tuple[PlaceMachine, str], ...] = ()
    """Machines that are moving, with their destination."""


FIXED: Final = frozenset({MachineState.UNKNOWN, MachineState.BUSY, MachineState.RENAMED,
                          MachineState.TAKEN})
"""In these states a VM is neither moved nor created."""


def lay_out(locations: Mapping[str, Location], survey: Survey, draft: Draft) -> Layout:
    """Return where every VM belongs, and report those that have no place."""
    moving = moves_under_way(locations, survey)
    hosts = place_hosts(moving, survey, draft)
    files: Mapping[tuple[str, str], tuple[str, ...]] | None = None
    machines: dict[str, PlaceMachine] = {}
    current: dict[str, str] = {}
    skipped: set[str] = set()
    lost: list[str] = []
    for name, vm in survey.desired.virtual_machines.items():
        with_files: tuple[str, ...] = ()
        if survey.lost and is_lost(name, survey):
            lost.append(name)
            machines[name] = lost_machine(vm, survey)
            continue
        if locations[name].state is MachineState.ABSENT:
            files = _files(survey) if files is None else files
            with_files = _hosts_with_files(vm, files, survey)
            if len(with_files) > 1:
                skipped.add(name)
                draft.stall(f"VirtualMachine/{name}", "SeveralCopies", (
                    f"{name} is defined nowhere, and files of its disks lie on"
                    f" {' and '.join(with_files)}: move the old ones away by hand"))
                continue
        try:
            found = _to_place(vm, locations[name], with_files, survey)
        except FAULTS as error:
            break_off(f"VirtualMachine/{name}", draft, draft.mark(), error)
            skipped.add(name)
            continue
        if found is None:
            continue
        machines[name], host = found
        if host is not None:
            current[name] = host
    extra = arrivals(moving, machines)
    packing, placement = arrange(
        tuple(hosts.values()), [*machines.values(), *(machine for machine, _ in extra.values())],
        current | {name: host for name, (_, host) in extra.items()},
        Limits(survey.desired.estate.spec.limits.cpu_ratio),
        cache(partial(disk_sizes, survey=survey)))
    if survey.lost:
        skipped.update(lost)
    why = _reasons(placement, current, draft) | _kept(machines, hosts, current, survey, draft)
    goals = {name: host for name, host in placement.assignments.items() if name not in extra}
    return Layout(goals, why, frozenset(skipped), frozenset(lost), packing, hosts, machines,
                  tuple(extra.values()))


def _reasons(placement: Placement, current: Mapping[str, str], draft: Draft) -> dict[str, str]:
    """Return why VMs move, or cannot; report those that should leave their host and cannot."""
    why = {move.machine: move.why for move in placement.moves}
    for name, sentence in placement.unplaced:
        why[name] = sentence
        if name in current:
            draft.remark(f"VirtualMachine/{name}", f"{name} should leave {current[name]}"
                         f" and has nowhere to go: {sentence}")
    return why


def _kept(machines: Mapping[str, PlaceMachine], hosts: Mapping[str, PlaceHost],
          current: Mapping[str, str], survey: Survey, draft: Draft) -> dict[str, str]:
    """Return why VMs that are only observed belong elsewhere; nothing moves them."""
    managing, found = survey.specs.managing, {}
    for name, host in current.items() if managing.watches else ():
        if managing.of_machine(survey.desired.virtual_machines[name], host) is not None and (
                why := misplaced(machines[name], hosts[host])):
            found[name] = why
            draft.remark(f"VirtualMachine/{name}", f"{WOULD}{name} is on {host}, and {why}")
    return found


def place_hosts(moving: Mapping[str, str], survey: Survey,
                draft: Draft) -> dict[str, PlaceHost]:
    """Return every host as placement sees it; one whose facts cannot be evaluated takes nothing."""
    found = {}
    for name, host in survey.desired.hosts.items():
        found[name] = PlaceHost(name, host.spec.site, 0, 0, accepts=False)
        with contained(f"Host/{name}", draft):
            found[name] = place_host(host, moving, survey)
    return found


def place_host(host: Host, moving: Mapping[str, str], survey: Survey) -> PlaceHost:
    """Return a host as placement sees it, less what undeclared guests use."""
    name, spec = host.name, host.spec
    hardware = survey.hardware(name)
    memory_bytes, huge_bytes = memory_for_guests(host, survey)
    node = survey.nodes.get(name)
    sees = node is not None and name in survey.domains and not isinstance(node.domains, Absent)
    return PlaceHost(
        name, spec.site, memory_bytes, 0 if hardware is None else hardware.cpus,
        accepts=(sees and hardware is not None and not spec.maintenance
                 and survey.specs.managing.observer(node=name) is None
                 and no_switch(host, survey) is None),
        drains=spec.maintenance and sees, offers=frozenset(pool.name for pool in spec.folders),
        huge_bytes=huge_bytes, space=pool_space(name, moving, survey))


def _to_place(vm: VirtualMachine, location: Location, with_files: tuple[str, ...],
              survey: Survey) -> tuple[PlaceMachine, str | None] | None:
    """Return a VM as placement sees it, and its host; None if it occupies nothing anywhere.

    A VM that has disk files is created where they are and nowhere else: it moves once it runs.
    """
    spec, name = vm.spec, vm.metadata.name
    machine = survey.specs.to_place[name]
    if (name in survey.epochs and location.host is not None
            and not came_home(name, location.host, survey)):
        machine = kept_where_promoted(machine, location.host, survey)
    if survey.specs.managing.of_machine(vm, location.host) is not None:
        machine = machine._replace(fixed=True)
    state = location.state
    if (state is MachineState.RUNNING and spec.power is Power.ON and location.domain is not None
            and location.domain.state == "running"):
        return with_actual_size(machine, location.domain), location.host
    machine = with_actual_size(machine, location.domain)
    counts = spec.power is Power.ON or (
        location.domain is not None and runs(location.domain))
    host = location.host
    if state is MachineState.UNKNOWN:
        last_seen = survey.last_seen.get(name)
        if not last_seen and host is None:
            return None
        host = last_seen[0].host if last_seen else host
    elif state in {MachineState.SPLIT_BRAIN, MachineState.AMBIGUOUS} or (
            state is MachineState.TAKEN and host is None):
        return None
    elif with_files:
        host = with_files[0]
    running = state is MachineState.RUNNING
    fixed = machine.fixed or bool(with_files) or state in FIXED or (
        running and (location.domain is None or location.domain.state != "running"
                     or spec.power is Power.OFF))
    return machine._replace(
        memory_bytes=machine.memory_bytes if counts else 0, cpus=machine.cpus if counts else 0,
        huge_bytes=machine.huge_bytes if counts else 0,
        groups=machine.groups if counts else (), fixed=fixed,
        has_local_disks=not running and host is not None), host


def came_home(name: str, host: str, survey: Survey) -> bool:
    """Return whether the last that a failover did with a VM was to bring it back to this site.

    From then on it belongs where the specs say, as if nothing had been.
    """
    site = survey.site_of(host)
    return any(record.phase == "calm" and record.back
               and survey.epochs[name] == record.epoch + 1
               and site == (scope if kind == "Site" else survey.site_of(scope))
               for record in survey.records.values()
               for kind, _, scope in (record.scope.partition("/"),))


def kept_where_promoted(machine: PlaceMachine, host: str, survey: Survey) -> PlaceMachine:
    """Return a VM as placement sees it after a failover: it stays until somebody fails it back."""
    site = survey.site_of(host)
    if machine.sites == (site,) or (not machine.sites and machine.host in {None, host}):
        return machine
    return machine._replace(sites=(site,), host=host)


def _files(survey: Survey) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the hosts that have a file, by pool and name; set-aside files under a marked name."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for host in sorted(survey.domains):
        for pool, facts in (survey.pools(host) or {}).items():
            for file in facts.volumes:
                found[pool, file] = (*found.get((pool, file), ()), host)
                aside = parse_aside(file) if MARK in file else None
                if aside is not None:
                    found[pool, MARK + aside.name] = (
                        *found.get((pool, MARK + aside.name), ()), host)
    return found


def _hosts_with_files(vm: VirtualMachine, files: Mapping[tuple[str, str], tuple[str, ...]],
                      survey: Survey) -> tuple[str, ...]:
    """Return the hosts that hold the VM's disk files; files in shared pools do not count.

    Files that were set aside count only if no host has any other.
    """
    for mark in ("", MARK):
        hosts = {host for disk in vm.spec.disks for file in disk_files(vm, disk)
                 for host in files.get((disk.pool, mark + file), ())
                 if (pool := pool_of(survey.desired.hosts[host], disk.pool)) is None
                 or not pool.shared}
        if hosts:
            return tuple(sorted(hosts))
    return ()


def wait_for_capacity(layout: Layout, survey: Survey, draft: Draft) -> None:
    """Make each start and arrival that does not fit now wait for the moves away from its host."""
    arriving = [(index, item) for index, item in enumerate(draft.items)
                if isinstance(item.action, StartDomain | MigrateDomain)]
    if not arriving:
        return
    leaving: dict[str, list[str]] = {}
    for _, item in arriving:
        if isinstance(item.action, MigrateDomain):
            leaving.setdefault(item.action.node, []).append(item.action.id)
    free = _free_now(layout, survey)
    refused: set[int] = set()
    for index, item in sorted(arriving, key=lambda one: one[1].action.id):
        action = item.action
        host = action.to if isinstance(action, MigrateDomain) else action.node
        name = action.target.partition("/")[2]
        machine = layout.machines.get(name)
        if machine is None:
            continue
        free[host] -= machine.memory_bytes
        if free[host] >= 0:
            continue
        first = tuple(one for one in sorted(leaving.get(host, ()))
                      if not one.startswith(f"migrate:{action.target}@"))
        if first:
            draft.items[index] = Item(action, (*item.after, *first), item.rank)
        elif isinstance(action, StartDomain):
            refused.add(index)
            free[host] += machine.memory_bytes
            draft.remark(action.target, f"{name} is not started on {host}: the memory of {host} is"
                         " full; move or shut down another VM there, or move its disks")
    if refused:
        draft.items[:] = [item for index, item in enumerate(draft.items) if index not in refused]


def _free_now(layout: Layout, survey: Survey) -> dict[str, int]:
    """Return the memory of each host that active and arriving machines leave free now."""
    free = {name: host.memory_bytes for name, host in layout.hosts.items()}
    for name, seen in survey.sightings.items():
        machine = layout.machines.get(name)
        for host, domain in seen:
            if machine is not None and domain.state.active:
                free[host] -= machine.memory_bytes
    for machine, host in layout.arriving:
        if not any(seen.host == host for seen in survey.sightings.get(
                machine.name.removesuffix(ON_ITS_WAY), ())):
            free[host] -= machine.memory_bytes
    return free


def is_lost(name: str, survey: Survey) -> bool:
    """Return whether a VM is only on hosts that a what-if takes as lost."""
    return (name in survey.assumed_lost and not survey.sightings.get(name)
            and name not in survey.last_seen)


def lost_machine(vm: VirtualMachine, survey: Survey) -> PlaceMachine:
    """Return a lost VM as placement sees it: it may go to any surviving site with its networks."""
    spec, name = vm.spec, vm.metadata.name
    sites = {site for site, hosts in survey.hosts_of_site.items()
             if not survey.lost.issuperset(hosts)}
    for nic in spec.nics:
        if nic.network is not None:
            sites &= set(survey.desired.networks[nic.network].spec.sites)
    if spec.placement.site in sites:
        sites = {spec.placement.site}
    on = spec.power is Power.ON
    return PlaceMachine(
        name, spec.memory_bytes if on else 0, spec.cpus if on else 0,
        tuple(sorted(sites)) or ("no site that its networks reach",), None,
        spec.placement.anti_affinity if on else (), spec.pools)
