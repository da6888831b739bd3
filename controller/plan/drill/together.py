"""What is drilled together: a group from points of one instant, each host by itself.

    app ─┐ milan-1  one drill: app and cache, on one isolated network
  cache ─┘
     db ── milan-2  another one: db

VMs that fail over together need each other: an application that is started without its database
proves nothing. Where the replicas of a group lie on several hosts, each host drills what it holds,
and it is said who is not there. Their networks are never joined: whatever leads from one host to
another could lead further. A VM that boots and does not serve in such a drill is not called broken
for that; it has booted.

Rule 1: all of a group come from points of one instant, where there is one; otherwise each comes
        from its newest, and that is said.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from controller.model.desired import Desired
from controller.model.facts import Known, Observed
from controller.model.protection_policy import HealthSpec
from controller.model.replica import PointFacts, ReplicaFacts
from controller.model.units import render_size
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import DrilledMachine, DrillGateway, DrillReplica
from controller.plan.promotion.point import NEWEST, Asked, common_points, usable

GROW_BYTES: Final = 16 << 30
"""How much a drilled guest may write; one that checks its file systems writes some."""
RESERVE_BYTES: Final = 1 << 30
"""Of a host's memory: a drill never takes the last of it."""

LEAST_ADDRESSES: Final = 4
"""Of a subnet: the smallest one with room for a gateway and a guest."""


class Holding(NamedTuple):
    """A VM, and the replica of it that may be drilled."""

    vm: VirtualMachine
    host: str
    replica: ReplicaFacts
    points: tuple[PointFacts, ...]
    """Those that may be started, oldest first; never none."""

    @property
    def name(self) -> str:
        """Return the VM's name."""
        return self.vm.metadata.name


class Unit(NamedTuple):
    """What one host starts together."""

    host: str
    members: tuple[tuple[Holding, PointFacts], ...]
    absent: str = ""
    """Who of their group is not among them, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the VMs in it."""
        return tuple(one.name for one, _ in self.members)

    @property
    def memory_bytes(self) -> int:
        """Return what they take of their host's memory."""
        return sum(one.vm.spec.memory_bytes for one, _ in self.members)


def startable(replica: ReplicaFacts, asked: Asked = NEWEST) -> tuple[PointFacts, ...]:
    """Return the points of a replica that may be drilled, oldest first.

    Shapes: one that is named by its number may be what an older copy of the VM held at its end.
    """
    if replica.promoted is not None:
        return ()
    if asked.sequence is None:
        return usable(replica.points, asked)
    return tuple(one for one in replica.points
                 if one.sequence == asked.sequence and not one.damaged_clusters)


def units_of(held: Sequence[Holding], missing: Mapping[str, str] | None = None) -> list[Unit]:
    """Return the drills of VMs that belong together, one for each host that holds any of them.

    Shapes: `missing` are those of which there is nothing to start, and why.
    """
    common = common_points([one.points for one in held]) if len(held) > 1 else None
    points = [one.points[-1] for one in held] if common is None else common
    here: dict[str, list[tuple[Holding, PointFacts]]] = defaultdict(list)
    for one, point in sorted(zip(held, points, strict=True),
                             key=lambda pair: (pair[0].vm.spec.start_order, pair[0].name)):
        here[one.host].append((one, point))
    found = []
    for host, members in sorted(here.items()):
        absent = [f"{one.name}, whose replica is on {one.host}" for one in held if one.host != host]
        absent += [f"{name}, {why}" for name, why in sorted((missing or {}).items())]
        if common is None and len(held) > 1:
            absent.append("points of one instant, which they do not have")
        found.append(Unit(host, tuple(members), " and ".join(absent)))
    return found


def drill_of(unit: Unit, desired: Desired, *, by: str, cause: Cause, reason: str) -> DrillReplica:
    """Return the drill of what one host starts together."""
    healths = {one.name: _health(one.vm, desired) for one, _ in unit.members}
    limit_s = max(health.within_s + health.boots_s for health in healths.values())
    return DrillReplica(
        target=f"Drill/{unit.names[0]}", node=unit.host, estate=desired.estate.name,
        limit_s=limit_s, grow_bytes=GROW_BYTES, by=by, absent=unit.absent, cause=cause,
        reason=reason, gateways=tuple(_gateways(unit, desired)),
        machines=tuple(_drilled(one, point, healths[one.name], desired)
                       for one, point in unit.members),
        consequence=f"{render_size(unit.memory_bytes)} of memory on {unit.host} for at most"
        f" {limit_s:g} s; no file of the replica changes")


def _health(vm: VirtualMachine, desired: Desired) -> HealthSpec:
    policy = desired.protection_policies.get(vm.spec.protection or "")
    return HealthSpec() if policy is None else policy.spec.health


def _gateways(unit: Unit, desired: Desired) -> Iterator[DrillGateway]:
    """Yield the addresses by which the gateways of a drill's networks are played.

    A network without a declared gateway has one at the last address that no card is declared with.
    """
    cards = [nic for vm in desired.virtual_machines.values() for nic in vm.spec.nics]
    taken = {nic.address for nic in cards if nic.address is not None}
    for name in sorted({nic.on for one, _ in unit.members for nic in one.vm.spec.nics
                        if not nic.kept}):
        network = desired.networks[name].spec
        if network.subnet is None or network.subnet.num_addresses < LEAST_ADDRESSES:
            continue
        last = int(network.subnet.broadcast_address) - 1
        address = str(network.gateway.address) if network.gateway is not None else next(
            (str(spare) for spare in (type(network.subnet.network_address)(last - back)
                                      for back in range(network.subnet.num_addresses - 2))
             if spare not in taken), "")
        if address:
            yield DrillGateway(network.vlan, f"{address}/{network.subnet.prefixlen}")


def _drilled(one: Holding, point: PointFacts, health: HealthSpec, desired: Desired
             ) -> DrilledMachine:
    nics = one.vm.spec.nics
    asked = next((nic for nic in nics if nic.address is not None), None)
    return DrilledMachine(
        address="" if asked is None else str(asked.address), mac="" if asked is None else asked.mac,
        vlans=tuple((nic.mac, desired.networks[nic.on].spec.vlan) for nic in nics if not nic.kept),
        machine=one.name, uuid=one.replica.uuid, path=one.replica.path, sequence=point.sequence,
        memory_bytes=one.vm.spec.memory_bytes, content=content_of(one.vm), agent=health.agent,
        tcp=health.tcp, ping=health.ping, boots_s=health.boots_s,
        without=tuple(disk.name for disk in one.vm.spec.disks if not disk.replicate))


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


