"""A simulated world that begins as an estate was last seen, as far as facts of it are there.

Taken from facts: memory and processors of hosts, on which host each VM is, on which host its
replica lies and how old its newest sound point is. All else is as declared.

Rule 1: a VM of which all hosts of its other site have been asked, and none has a replica, has none
        here either. Where a host was never asked nobody knows, and the VM has one, as declared.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from controller.model.desired import Desired
from controller.model.facts import Known, NodeFacts
from controller.providers.simulated.replicas import Replica
from controller.providers.simulated.world import Node, World

Facts = Mapping[str, Known[NodeFacts]]
"""By node, as it was last seen."""


class SeenReplica(NamedTuple):
    """Where a replica was seen, and how old its newest sound point was then."""

    host: str
    age_s: float


def hosts_seen(desired: Desired, facts: Facts) -> dict[str, str]:
    """Return, by VM, the host on which it was seen; a running one outweighs all others."""
    names = {vm.libvirt_name: name for name, vm in desired.virtual_machines.items()}
    found: dict[str, tuple[bool, str]] = {}
    for host in sorted(desired.hosts.keys() & facts.keys()):
        domains = facts[host].value.domains
        for domain in domains.value.values() if isinstance(domains, Known) else ():
            mark = domain.ownership
            name = names.get(domain.name) if mark is None or not mark.name else mark.name
            if name is not None and name in desired.virtual_machines:
                found[name] = max(found.get(name, (False, "")), (domain.state.active, host))
    return {name: host for name, (_, host) in found.items()}


def placed_as_seen(desired: Desired, facts: Facts) -> Desired:
    """Return the specs with each VM pinned to the host on which it was seen."""
    machines = dict(desired.virtual_machines)
    for name, host in hosts_seen(desired, facts).items():
        vm = machines[name]
        placement = vm.spec.placement.model_copy(update={"host": host, "site": None})
        machines[name] = vm.model_copy(update={
            "spec": vm.spec.model_copy(update={"placement": placement})})
    return replace(desired, virtual_machines=machines)


def replicas_seen(desired: Desired, facts: Facts) -> dict[str, SeenReplica]:
    """Return, by VM, the replica with the newest sound point that any host has."""
    found: dict[str, SeenReplica] = {}
    for host in sorted(desired.hosts.keys() & facts.keys()):
        replicas = facts[host].value.replicas
        for one in replicas.value.values() if isinstance(replicas, Known) else ():
            started = [point.started_at for point in one.points
                       if not point.damaged_clusters and not point.diverged]
            age_s = max(0.0, facts[host].observed_at - max(started)) if started else None
            before = found.get(one.machine)
            if age_s is not None and (before is None or age_s < before.age_s):
                found[one.machine] = SeenReplica(host, age_s)
    return found


def make_as_seen(world: World, desired: Desired, facts: Facts) -> None:
    """Give the hosts and replicas of a converged world what was seen of them."""
    for name in desired.hosts.keys() & facts.keys():
        hardware = facts[name].value.hardware
        if isinstance(hardware, Known):
            world.nodes[name].memory_bytes = hardware.value.memory_bytes
            world.nodes[name].cpus = hardware.value.cpus
    seen = replicas_seen(desired, facts)
    asked = {name for name in desired.hosts if name in facts and isinstance(
        facts[name].value.replicas, Known)}
    for node in list(world.nodes.values()):
        for replica in list(node.replicas.values()):
            here = {name for name, host in desired.hosts.items() if host.spec.site == node.site}
            if replica.machine in seen:
                _as_seen(world, node, replica, seen[replica.machine])
            elif here <= asked:
                del node.replicas[replica.uuid]


def _as_seen(world: World, node: Node, replica: Replica, seen: SeenReplica) -> None:
    """Put a replica where it was seen, as old as it was."""
    began_at = world.epoch() - seen.age_s
    for point in replica.points:
        point.started_at = point.committed_at = began_at
    if seen.host != node.name and world.nodes[seen.host].site == node.site:
        world.nodes[seen.host].replicas[replica.uuid] = node.replicas.pop(replica.uuid)


def skip(world: World, seconds: float) -> None:
    """Let copies go on for so long at once, where both the VM and its replica's host are up.

    The points of others stay as they are, and so grow old.
    """
    running = {domain.uuid for node in world.nodes.values() if world.reachable(node.name)
               for domain in node.domains.values() if domain.state.active}
    for node in world.nodes.values():
        for replica in node.replicas.values():
            own = node.domains.get(replica.machine)
            if (replica.uuid in running and world.reachable(node.name)
                    and not (own is not None and own.state.active)):
                _move_on(replica, seconds)


def _move_on(replica: Replica, seconds: float) -> None:
    for point in replica.points:
        point.started_at += seconds
        point.committed_at += seconds
        point.verified_at = None if point.verified_at is None else point.verified_at + seconds
    replica.scrubbed_at = None if replica.scrubbed_at is None else replica.scrubbed_at + seconds
    replica.compared_at = None if replica.compared_at is None else replica.compared_at + seconds
