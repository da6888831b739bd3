"""A drill by hand: which restore point of a VM is started beside its replica on request."""

from hashlib import blake2b
from typing import Final

from controller.errors import Refused
from controller.model.desired import Desired
from controller.model.facts import Known, Observed
from controller.model.protection_policy import HealthSpec
from controller.model.replica import PointFacts, ReplicaFacts
from controller.model.units import render_size
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import DrillReplica
from controller.plan.replication.export import replicas_of

GROW_BYTES: Final = 16 << 30
"""How much a drilled guest may write; one that checks its file systems writes some."""
RESERVE_BYTES: Final = 1 << 30
"""Of a host's memory: a drill never takes the last of it."""


def plan_drill(desired: Desired, observed: Observed, machine: str, sequence: int | None = None, *,
               by: str = "somebody") -> DrillReplica:
    """Return the drill of a VM's newest whole point, or of the one that is named.

    Errors: Refused with a sentence, if there is no such point or it cannot be drilled now.
    """
    vm = desired.virtual_machines.get(machine)
    if vm is None:
        raise Refused(f"no VM {machine} is declared: there are"
                      f" {', '.join(sorted(desired.virtual_machines)) or 'none'}")
    host, replica, point = _newest(observed, vm, sequence)
    lacks = no_room(observed, host, vm.spec.memory_bytes)
    if lacks:
        raise Refused(f"{machine} is not drilled on {host}: {lacks}")
    return drill_of(vm, desired, host, replica, point, by=by, cause=Cause.HUMAN,
                    reason=f"{by} wants to see restore point {point.sequence} of {machine} boot")


def drill_of(vm: VirtualMachine, desired: Desired, host: str, replica: ReplicaFacts,
             point: PointFacts, *, by: str, cause: Cause, reason: str) -> DrillReplica:
    """Return the drill of one point."""
    policy = desired.protection_policies.get(vm.spec.protection or "")
    health = HealthSpec() if policy is None else policy.spec.health
    limit_s = health.within_s + health.boots_s
    return DrillReplica(
        target=f"Drill/{vm.metadata.name}", node=host, uuid=replica.uuid, path=replica.path,
        sequence=point.sequence, estate=desired.estate.name, memory_bytes=vm.spec.memory_bytes,
        limit_s=limit_s, agent=health.agent, tcp=health.tcp, ping=health.ping,
        boots_s=health.boots_s, grow_bytes=GROW_BYTES, content=content_of(vm), by=by,
        without=tuple(disk.name for disk in vm.spec.disks if not disk.replicate), cause=cause,
        reason=reason, consequence=f"{render_size(vm.spec.memory_bytes)} of memory on {host} for"
        f" at most {limit_s:g} s; no file of the replica changes")


def content_of(vm: VirtualMachine) -> str:
    """Return a digest of what is declared of a VM, besides how it is protected."""
    text = vm.spec.model_dump_json(exclude={"protection", "autonomy", "manage"})
    return blake2b(text.encode(), digest_size=8).hexdigest()


def no_room(observed: Observed, host: str, memory_bytes: int) -> str:
    """Return why a host has no room for a drill; empty where it has, or does not say."""
    fact = observed.nodes.get(host)
    if not isinstance(fact, Known) or not isinstance(fact.value.hardware, Known):
        return ""       # the host looks again, right before it starts anything
    free_bytes = fact.value.hardware.value.memory_available_bytes
    if free_bytes < memory_bytes + RESERVE_BYTES:
        return (f"it wants {render_size(memory_bytes)} of memory, {render_size(free_bytes)} are"
                f" free there, and {render_size(RESERVE_BYTES)} of these stay free")
    return ""


def _newest(observed: Observed, vm: VirtualMachine,
            sequence: int | None) -> tuple[str, ReplicaFacts, PointFacts]:
    """Return the point to be drilled, and where it is."""
    name = vm.metadata.name
    held = replicas_of(observed, (name, *vm.spec.formerly))
    if not held:
        unseen = ", ".join(sorted(node for node, fact in observed.nodes.items()
                                  if not isinstance(fact, Known)))
        also = f"; {unseen} cannot be seen now and may have it" if unseen else ""
        raise Refused(f"no host that answers holds a replica of {name}{also}")
    found = [(host, replica, point) for host, replica in held for point in replica.points
             if sequence in {None, point.sequence} and replica.promoted is None]
    if not found:
        raise Refused(f"the replica of {name} has become the VM: there is nothing to drill"
                      if any(replica.promoted is not None for _, replica in held) else
                      f"the replica of {name} has no restore point"
                      f"{'' if sequence is None else f' {sequence}'}:"
                      f" `hotsite replica show {name}` lists them")
    whole = [one for one in found if not one[2].damaged_clusters
             and not (one[2].diverged and sequence is None)]
    if not whole:
        point = found[-1][2]
        raise Refused(f"restore point {point.sequence} of {name} reads wrong in"
                      f" {point.damaged_clusters} clusters: it would never be started in earnest"
                      if point.damaged_clusters else
                      f"{name} has no restore point but {point.sequence}, which is what an older"
                      " copy of it held at its end: name it with --point")
    return max(whole, key=lambda one: (one[2].started_at, one[0]))
