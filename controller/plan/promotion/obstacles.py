"""Obstacles: what would keep a lost VM from coming back, found before it is lost.

The disks are local: the host that holds the newest replica of a VM is the host that it would be
promoted on. What that host lacks is an obstacle, however much of it others of its site have.

Rule 1: what cannot be seen is an obstacle of its own kind (`sure` is False): neither good nor bad.
Rule 2: VMs come one after the other, in the order of `start_rank`; one that does not fit takes
        nothing, so that smaller ones after it still may.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.plan.machine.capability import cannot_run
from controller.plan.machine.layout import Layout
from controller.plan.machine.promotion_room import (
    Obstacle,
    Obstacles,
    PromotionRoom,
    closed_host,
    size_when_promoted,
)
from controller.plan.replication.copy import parts_left_out
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.replication.unseen import unsure_of_replica
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey


class Surroundings(NamedTuple):
    """What all VMs that come to a site find there."""

    site: str
    closed: Mapping[str, Obstacle]
    """By host that takes no VM now: why."""
    far: frozenset[str]
    """Networks that are not declared there."""
    room: PromotionRoom
    layout: Layout
    replicas: ReplicaIndex
    survey: Survey


def surroundings_of(site: str, lost: Sequence[str], layout: Layout, index: ReplicaIndex,
                    survey: Survey) -> Surroundings:
    """Return what VMs find at `site` if those called `lost` are lost elsewhere."""
    hosts = survey.hosts_of_site.get(site, ())
    closed = {host: why for host in hosts if (why := closed_host(host, survey)) is not None}
    far = frozenset(name for name, network in survey.desired.networks.items()
                    if site not in network.spec.sites)
    return Surroundings(site, closed, far, PromotionRoom(layout, hosts, lost), layout, index,
                        survey)


def find_obstacles(arriving: Sequence[ProtectedMachine],
                   there: Surroundings) -> dict[str, Obstacles]:
    """Return, by VM with any, what is in its way if all of `arriving` are lost at once."""
    found: dict[str, Obstacles] = {}
    room = there.room
    for protected in sorted(arriving, key=start_rank):
        own = own_obstacles(protected, there)
        current = protected.current
        if current is not None and current.host not in there.closed:
            machine = size_when_promoted(protected.name, there.layout, there.survey)
            if room.fits(machine, current.host):
                room.take(machine, current.host)
            else:
                own += room.obstacles(machine, current.host)
        if own:
            found[protected.name] = own
    return found


def start_rank(protected: ProtectedMachine) -> tuple[int, int, str]:
    """Return who comes first where not all can: never shed, started early, by name."""
    return protected.policy.shedding, protected.vm.spec.start_order, protected.name


def own_obstacles(protected: ProtectedMachine, there: Surroundings) -> Obstacles:
    """Return what is in the way of one VM, however many others come."""
    current = protected.current
    if current is None or protected.stale:
        unsure = unsure_of_replica(protected, there.replicas, there.survey)
        hidden = protected.hidden
        if hidden is not None:
            unsure = f"its replica is on {hidden.host}, where it cannot be seen now"
        if unsure:
            return (Obstacle("CannotBeSeen", unsure, sure=False),)
    if current is None:
        if not protected.disks and protected.location.domain is not None:
            return ()   # there is nothing to copy
        return (Obstacle("NoReplica", f"there is no replica of it at {there.site}"),)
    found = []
    if current.host in there.closed:
        closed = there.closed[current.host]
        found.append(closed._replace(
            sentence=f"its replica is on {current.host}, and {closed.sentence}"))
    if protected.point is None:
        found.append(Obstacle("NoPoint",
                              f"no restore point on {current.host} is complete and sound"))
    found += _unlike(protected, current.host, there)
    return tuple(found)


def _unlike(protected: ProtectedMachine, host: str, there: Surroundings) -> list[Obstacle]:
    """Return what a VM has or needs that it would not find on the host of its replica."""
    found = []
    if there.far:
        found += [Obstacle("NetworkMissing", f"network {nic.network} does not reach {there.site}:"
                           f" add {there.site} to its sites")
                  for nic in protected.vm.spec.nics if nic.network in there.far]
    why_not = cannot_run(protected.location.domain, host, there.survey)
    if why_not is not None:
        found.append(Obstacle("CannotRunThere", why_not))
    lacking = [part for part in parts_left_out(protected) if part.disk and not part.declared]
    if lacking:
        found.append(Obstacle("DiskLeftOut", "no restore point has its"
                              f" {' and '.join(map(str, lacking))}"))
    return found
