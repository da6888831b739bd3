"""A small protected estate for stories about replicas, and the actions in them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from controller.model.desired import Desired
from controller.model.facts import Known, NodeFacts
from controller.model.replica import STORE, ReplicaFacts
from controller.plan.actions.replica import (
    CopyMode,
    DiskCopy,
    DrilledMachine,
    DrillReplica,
    RateLimit,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    SweepLeftovers,
    VerifyReplica,
)
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.replicas import Point, Replica
from controller.providers.simulated.virtual_time import run_virtual
from controller.providers.simulated.world import Domain
from tests.simulation.estates import document, storm_estate, with_vm

Story = Callable[[SimulatedEstate], Awaitable[Any]]
VM, HOST, OTHER = "sql", "paris-1", "milan-1"


def protected_estate() -> Desired:
    """The storms' estate with a policy for sql and for cold, which is off."""
    gold = document("ProtectionPolicy", "gold", rpo="5m")
    desired = replace(storm_estate(), protection_policies={"gold": gold})
    return with_vm(with_vm(desired, VM, protection="gold"), "cold", protection="gold")


def told(story: Story) -> Any:
    """Play `story` on the protected estate, in which sql is written a lot."""
    async def whole() -> Any:
        estate = SimulatedEstate(protected_estate(), converged=True)
        for file in estate.world.node(HOST).files.values():
            file.allocated_bytes = 1 << 30
        result = await story(estate)
        await estate.close()
        return result

    return run_virtual(whole())


def domain(estate: SimulatedEstate, vm: str = VM) -> tuple[str, Domain]:
    """Where a VM is, and its domain."""
    return next((node.name, node.domains[vm]) for node in estate.world.nodes.values()
                if vm in node.domains)


def replica(estate: SimulatedEstate, vm: str = VM) -> tuple[str, Replica]:
    """Where a VM's replica is, and the replica."""
    return next((node.name, one) for node in estate.world.nodes.values()
                for one in node.replicas.values() if one.machine == vm)


def point(estate: SimulatedEstate) -> Point:
    """The newest point of sql."""
    newest = replica(estate)[1].newest
    assert newest is not None
    return newest


def write(estate: SimulatedEstate, vm: str = VM) -> None:
    """Let the guest write to each of its disks."""
    host, of = domain(estate, vm)
    assert of.config is not None
    for disk in of.config.disks:
        estate.world.node(host).files[disk.source].writes += 1


def copy(estate: SimulatedEstate, sequence: int, vm: str = VM, **changes: Any) -> ReplicateDomain:
    """Make restore point `sequence` of a VM where its replica is."""
    host, of = domain(estate, vm)
    assert of.config is not None
    to = changes.pop("to", None) or replica(estate, vm)[0]
    disks = tuple(DiskCopy(disk.target, disk.source, disk.format, disk.size_bytes or 0,
                           CopyMode.INCREMENT) for disk in of.config.disks)
    given = {"target": f"Replica/{vm}", "node": host, "reason": "", "domain": vm, "uuid": of.uuid,
             "to": to, "path": f"/var/lib/libvirt/images/{STORE}/{of.uuid}", "disks": disks,
             "replication_address": host, "to_replication_address": to, "sequence": sequence}
    return ReplicateDomain(**(given | changes))


def at_most(bytes_per_s: float | None) -> tuple[RateLimit, ...]:
    """Return the limit of a copy that may take so many bytes a second."""
    return () if bytes_per_s is None else (RateLimit("Host/any", round(8 * bytes_per_s)),)


def at_replica(estate: SimulatedEstate, vm: str = VM) -> dict[str, Any]:
    """The fields of every action on a replica where it lies."""
    host, one = replica(estate, vm)
    return {"target": f"Replica/{vm}", "node": host, "reason": "", "path": one.path}


def retire(estate: SimulatedEstate, *sequences: int) -> RetirePoints:
    """Let points of sql go."""
    return RetirePoints(**at_replica(estate), sequences=sequences)


def drill(estate: SimulatedEstate, sequence: int) -> DrillReplica:
    """Start a point of sql apart."""
    host, one = replica(estate)
    return DrillReplica(
        target="Drill/sql", node=host, reason="", estate="lab", limit_s=120, grow_bytes=1 << 30,
        by="ann", machines=(DrilledMachine(
            machine="sql", uuid=one.uuid, path=one.path, sequence=sequence, memory_bytes=1 << 30,
            content="c0"),))


def verify(estate: SimulatedEstate, budget_s: float = 600.0) -> VerifyReplica:
    """Read sql's replica."""
    return VerifyReplica(**at_replica(estate), budget_s=budget_s)


def remove(estate: SimulatedEstate) -> RemoveReplica:
    """Delete sql's replica."""
    return RemoveReplica(**at_replica(estate), uuid=replica(estate)[1].uuid)


async def seen(estate: SimulatedEstate, node: str) -> NodeFacts:
    """What `node` says."""
    fact = await estate.observe(node)
    assert isinstance(fact, Known)
    return fact.value


async def replica_seen(estate: SimulatedEstate, vm: str = VM) -> ReplicaFacts:
    """What a poll says of a VM's replica."""
    host, one = replica(estate, vm)
    facts = await seen(estate, host)
    assert isinstance(facts.replicas, Known)
    return facts.replicas.value[one.uuid]


async def sweep_of(estate: SimulatedEstate, node: str) -> SweepLeftovers:
    """The action that removes all that a poll shows to be left over."""
    facts = await seen(estate, node)
    assert isinstance(facts.leftovers, Known)
    return SweepLeftovers(target=f"Host/{node}", node=node, reason="",
                          leftovers=facts.leftovers.value)


async def cut_short(estate: SimulatedEstate, action: ReplicateDomain, *faults: str,
                    after_s: float = 5.0) -> BaseException | str:
    """Begin a copy, strike after a while, and return how it ended."""
    running = asyncio.create_task(estate.apply(action))
    await asyncio.sleep(after_s)
    for fault in faults:
        estate.command(fault)
    return (await asyncio.gather(running, return_exceptions=True))[0]
