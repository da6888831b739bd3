"""What if: where the VMs of a site or host that is taken as lost would have to start instead.

Nothing here becomes an action: their disks are where they were, and a replica is only told of.
"""

from controller.model.units import render_duration, render_size
from controller.model.virtual_machine import Power, VirtualMachine
from controller.plan.draft import Draft, counted
from controller.plan.placement import Placement
from controller.plan.places import PlaceMachine
from controller.plan.replica_index import ReplicaIndex, index_replicas
from controller.plan.survey import Survey


def is_lost(name: str, survey: Survey) -> bool:
    """Return whether a VM is nowhere but on what a what-if takes as lost."""
    return name in survey.ruins and not survey.sightings.get(name) and name not in survey.ghosts


def lost_machine(vm: VirtualMachine, survey: Survey) -> PlaceMachine:
    """Return a lost VM as placement sees it: any surviving site that its networks reach."""
    spec, name = vm.spec, vm.metadata.name
    sites = {site for site, hosts in survey.hosts_of_site.items()
             if not survey.lost.issuperset(hosts)}
    for nic in spec.nics:
        sites &= set(survey.desired.networks[nic.network].spec.sites)
    if spec.placement.site in sites:
        sites = {spec.placement.site}
    on = spec.power is Power.ON
    return PlaceMachine(
        name, spec.memory_bytes if on else 0, spec.cpus if on else 0,
        tuple(sorted(sites)) or ("no site that its networks reach",), None,
        spec.placement.anti_affinity if on else (), tuple(disk.pool for disk in spec.disks))


def tell_lost(names: list[str], placement: Placement, survey: Survey, draft: Draft) -> None:
    """Remark on every lost VM where it would have to start, and on the whole how many could."""
    why = {unplaced.machine: unplaced.sentence for unplaced in placement.unplaced}
    index = index_replicas(survey)
    fits = 0
    for name in sorted(names):
        vm = survey.desired.virtual_machines[name]
        was = survey.ruins[name][0].host
        if vm.spec.power is Power.OFF:
            continue
        size = render_size(vm.spec.memory_bytes)
        if name in placement.assignments:
            fits += 1
            sentence = (f"{name} ({size}) would be lost with {was} and would have to start on"
                        f" {placement.assignments[name]}; {_replica(name, index, survey)}")
        else:
            sentence = (f"{name} ({size}) would be lost with {was} and could not start anywhere:"
                        f" {why.get(name, 'no host has room')}")
        draft.remark(f"VirtualMachine/{name}", sentence)
    running = sum(survey.desired.virtual_machines[name].spec.power is Power.ON for name in names)
    for target in sorted(survey.policy.assumed_down):
        draft.remark(target, f"taken as lost: of {counted(running, 'VM')} lost, {fits} would have"
                     f" room elsewhere and {running - fits} would not")


def _replica(name: str, index: ReplicaIndex, survey: Survey) -> str:
    """Return how old the newest replica of a lost VM is, as far as one is seen."""
    uuid = survey.ruins[name][0].domain.uuid
    found = [(point.started_at, one.host) for one in index.held.get(uuid, ())
             if (point := one.sound) is not None]
    if not found:
        return "nothing is known of a replica there yet"
    started_at, host = max(found)
    return f"its replica on {host} is {render_duration(survey.now_s - started_at)} old"
