"""Survivable and TwinMatches: whether the twin site could take over, and is still like this one."""

from collections import Counter
from heapq import heapify, heapreplace
from operator import attrgetter

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.machine.capability import nobody_can_run, versions_at
from controller.plan.machine.device_support import coverage_of
from controller.plan.machine.layout import Layout
from controller.plan.packing.packing import Packing
from controller.plan.packing.placement import complaint
from controller.plan.packing.problem import PlaceHost, PlaceMachine
from controller.plan.steps.draft import counted
from controller.plan.survey.survey import Survey

Answer = tuple[Status, str, str]
BY_SIZE = attrgetter("memory_bytes")
LIKE = 0.1
"""Totals that differ by more than this share are reported."""
SHOWN = 5


def site_conditions(survey: Survey, layout: Layout) -> list[Condition]:
    """Return Survivable and TwinMatches of every site."""
    desired = survey.desired
    protected: dict[str, list[str]] = {site: [] for site in desired.sites}
    for name, host in layout.goals.items():
        vm = desired.virtual_machines[name]
        if vm.spec.protection is not None and host in desired.hosts:
            protected[desired.hosts[host].spec.site].append(name)
    found = []
    for site in sorted(desired.sites):
        twin = desired.sites[site].spec.twin
        if twin is None and not protected[site]:
            continue
        found.append(Condition(
            f"Site/{site}", ConditionType.SURVIVABLE,
            *survivable(site, twin, sorted(protected[site]), survey, layout), desired.revision))
        if twin is not None and twin in desired.sites:
            found.append(Condition(
                f"Site/{site}", ConditionType.TWIN_MATCHES,
                *twin_matches(site, twin, survey), desired.revision))
    return found


def survivable(site: str, twin: str | None, names: list[str], survey: Survey,
               layout: Layout) -> Answer:
    """Return whether `twin` could run every protected VM of `site` besides its own."""
    if twin is None:
        return Status.FALSE, "NoTwin", f"{site} has no twin and {len(names)} protected VMs"
    if not names:
        return Status.TRUE, "NothingProtected", f"no protected VM runs at {site}"
    far = _networks_missing(names, twin, survey)
    if far is not None:
        return Status.FALSE, "NetworkMissing", far
    cannot_run = _cannot_run(names, twin, survey)
    if cannot_run is not None:
        return Status.FALSE, "CannotRunThere", cannot_run
    hosts = [host for host in layout.hosts.values() if host.site == twin]
    arriving = [layout.machines[name] for name in names]    # by name, and then by size
    arriving.sort(key=BY_SIZE, reverse=True)
    packing = layout.packing
    left = left_over(arriving, hosts, packing)
    if left is None:
        packing = packing.frozen_copy()
        at_twin = (PlaceMachine(one.name, one.memory_bytes, one.cpus, (twin,), None, one.groups,
                                one.needs) for one in arriving)
        left = [machine for machine in at_twin if not packing.place(machine, "")]
    if not left:
        fits = f"{twin} has room for all {len(names)} protected VMs of {site}"
        lacks = _lacking(names, survey)
        return (Status.TRUE, "Fits", fits) if not lacks else (
            Status.FALSE, "DiskLeftOut", f"{fits}, but not what {lacks} on disks that no restore"
            " point has: see `hotsite explain VirtualMachine/NAME`")
    silent = [host.name for host in hosts if host.name in survey.unreachable]
    words = ", ".join(one.name for one in left[:SHOWN])
    words += f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    if silent:
        return (Status.UNKNOWN, "HostsSilent", f"without {', '.join(silent)}, which cannot be"
                f" seen, {twin} has no room for {words}")
    roomiest = max((packing.free[host.name] for host in hosts if host.accepts), default=0)
    # memory is not what lacks
    if packing is not layout.packing and left[-1].memory_bytes <= roomiest:
        return (Status.FALSE, "DoesNotFit", f"{twin} cannot take {len(left)} of {len(names)}"
                f" protected VMs of {site} ({words}): {complaint(left[-1], packing)}")
    need, free, most = (gib / (1 << 30) for gib in (
        sum(machine.memory_bytes for machine in arriving),
        sum(layout.packing.free[host.name] for host in hosts if host.accepts),
        max((layout.packing.free[host.name] for host in hosts if host.accepts), default=0)))
    return (Status.FALSE, "DoesNotFit", f"{twin} has no room for {len(left)} of {len(names)}"
            f" protected VMs of {site} ({words}): together they need {need:.3g} GiB, and {twin} has"
            f" {free:.3g} GiB free, at most {most:.3g} GiB on one host")


def _lacking(names: list[str], survey: Survey) -> str:
    """Return the VMs with disks that are left out of the restore points, and not declared so."""
    found = []
    for name in names:
        seen = survey.sightings.get(name)
        left = survey.specs.cached(coverage_of, name, seen[0].domain.live or seen[0].domain.config,
                                  survey.desired).left if seen else ()
        if left and any(part.disk and not part.declared for part in left):
            found.append(name)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    verb = "keep" if len(found) > 1 else "keeps"
    return f"{', '.join(found[:SHOWN])}{more} {verb}" if found else ""


def left_over(arriving: list[PlaceMachine], hosts: list[PlaceHost],
              packing: Packing) -> list[PlaceMachine] | None:
    """Return the machines that do not fit if each goes where most memory is free; a quick check.

    None if more than memory matters, so that they have to be packed. `packing` stays unchanged.
    """
    heap = [(-packing.free[host.name], packing.cpus[host.name] - packing.cpu_capacity[host.name],
             host.offers)
            for host in hosts if host.accepts]
    heapify(heap)
    left = []
    for machine in arriving:
        if not heap or machine.groups:
            return None
        free, cpus, offers = heap[0]
        if -free < machine.memory_bytes:
            left.append(machine)
        elif cpus + machine.cpus > 0 or not offers.issuperset(machine.needs):
            return None
        else:
            heapreplace(heap, (free + machine.memory_bytes, cpus + machine.cpus, offers))
    return left


def _networks_missing(names: list[str], twin: str, survey: Survey) -> str | None:
    far = {name for name, network in survey.desired.networks.items()
           if twin not in network.spec.sites}
    for name in names if far else ():
        for nic in survey.desired.virtual_machines[name].spec.nics:
            if nic.network in far:
                return (f"network {nic.network} of {name} does not reach {twin}: add {twin} to its"
                        " sites")
    return None


def _cannot_run(names: list[str], twin: str, survey: Survey) -> str | None:
    """Return which VMs no host of the twin could boot, and why."""
    found = []
    known: dict[tuple[str, str], str | None] = {}   # many VMs, few kinds
    for name in names:
        seen = survey.sightings.get(name) or survey.last_seen.get(name)
        config = seen[0].domain.config or seen[0].domain.live if seen else None
        if seen is None or config is None:
            continue
        kind = (config.machine, config.cpu_model)
        if kind not in known:
            known[kind] = nobody_can_run(seen[0].domain, survey.hosts_of_site.get(twin, ()), survey)
        why = known[kind]
        if why is not None:
            found.append(f"{name}: {why}")
    if not found:
        return None
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{twin} cannot run {counted(len(found), 'protected VM')}: " + (
        "; ".join(found[:SHOWN]) + more)


def _versions(site: str, twin: str, survey: Survey) -> list[str]:
    """Return which programs differ between the two sites, by their first two numbers."""
    found = []
    for program, called in (("qemu", "QEMU"), ("libvirt", "libvirt")):
        here, there = (versions_at(one, program, survey) for one in (site, twin))
        if here and there and here != there:
            found.append(f"{called} is {' and '.join(here)} at {site} and {' and '.join(there)} at"
                         f" {twin}")
    return found


def twin_matches(site: str, twin: str, survey: Survey) -> Answer:
    """Return whether two sites are near-identical: VLANs, host profiles, capacity."""
    here, there = set(survey.site_vlans[site]), set(survey.site_vlans[twin])
    names = {vlan: name for name, vlan in sorted(survey.vlan_of.items())}
    differences = [f"network {names[vlan]} is at {site if vlan in here else twin} alone"
                   for vlan in sorted(here ^ there)]
    differences += _profiles(site, twin, survey)
    differences += _versions(site, twin, survey)
    unseen = [host for one in (site, twin) for host in survey.hosts_of_site.get(one, ())
              if survey.hardware(host) is None]
    if not unseen:
        differences += _capacity(site, twin, survey)
    if differences:
        return Status.FALSE, "Differs", "; ".join(differences)
    if unseen:
        return (Status.UNKNOWN, "HostsSilent",
                f"the hardware of {', '.join(unseen)} has not been seen yet")
    return Status.TRUE, "NearIdentical", f"{site} and {twin} have the same networks, hosts and room"


def _hosts_like(site: str, survey: Survey) -> Counter[tuple[str, str, int, tuple[str, ...]]]:
    return Counter(
        (spec.driver, spec.bridge, len(spec.uplinks),
         tuple(sorted(pool.name for pool in spec.pools)))
        for spec in (survey.desired.hosts[name].spec
                     for name in survey.hosts_of_site.get(site, ())))


def _profiles(site: str, twin: str, survey: Survey) -> list[str]:
    here, there = _hosts_like(site, survey), _hosts_like(twin, survey)
    if here.total() != there.total():
        return [f"{site} has {here.total()} hosts and {twin} has {there.total()}"]
    return [] if here == there else [f"hosts of {site} and {twin} differ in bridge, uplinks or"
                                     " pools"]


def _totals(site: str, survey: Survey) -> tuple[int, int]:
    hardware = [survey.hardware(host) for host in survey.hosts_of_site.get(site, ())]
    return (sum(each.memory_bytes for each in hardware if each is not None),
            sum(each.cpus for each in hardware if each is not None))


def _capacity(site: str, twin: str, survey: Survey) -> list[str]:
    totals = zip(("memory", "CPUs"), _totals(site, survey), _totals(twin, survey), strict=True)
    found = []
    for what, here, there in totals:
        if abs(here - there) > LIKE * max(here, there):
            share = abs(here - there) / max(here, there)
            found.append(f"{site if here < there else twin} has {share:.0%} less {what}")
    return found
