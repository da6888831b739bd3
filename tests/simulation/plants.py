"""Planted violations: a provider that lies or blunders, one for each law that storms must guard."""

from collections.abc import AsyncIterator
from dataclasses import replace

from controller.errors import OutcomeUnknown
from controller.model.desired import Desired
from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action
from controller.plan.actions.machine import MigrateDomain, UndefineDomain
from controller.plan.actions.network import NarrowTrunk, WidenTrunk
from controller.plan.actions.replica import ReplicateDomain
from controller.providers.base import Provider
from controller.providers.simulated.replicas import Replica, Version
from controller.providers.simulated.virtual_time import epoch_clock
from tests.simulation.laws import Witness
from tests.simulation.truth import STRANGERS


class Blunderer:
    """A provider that passes everything on as it is; each plant bends one thing."""

    def __init__(self, inner: Provider) -> None:
        assert isinstance(inner, Witness), "a plant stands between the loop and the witness"
        self.inner = inner
        self.estate = inner.estate

    async def declare(self, desired: Desired) -> None:
        """Pass it on."""
        await self.inner.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Pass it on."""
        return await self.inner.observe(node)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Pass it on."""
        return await self.inner.observe_power(host)

    async def apply(self, action: Action) -> str:
        """Pass it on."""
        return await self.inner.apply(action)

    def watch(self) -> AsyncIterator[str]:
        """Pass it on."""
        return self.inner.watch()

    async def close(self) -> None:
        """Pass it on."""
        await self.inner.close()


class SilenceIsAbsence(Blunderer):
    """A host that does not answer is said to have no guests, no files, and no room."""

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Say of a silent host that it is empty."""
        fact = await self.inner.observe(node)
        if not isinstance(fact, Unknown) or fact.last is None:
            return fact
        now, last = epoch_clock(), fact.last
        if not self.estate.world.node(node).is_host:
            return fact
        pools = last.pools.value if isinstance(last.pools, Known) else {}
        empty = {name: replace(pool, volumes={}) for name, pool in pools.items()}
        return Known(replace(last, domains=Known({}, now), pools=Known(empty, now),
                             hardware=Absent(now)), now)


class MovedIsForgotten(Blunderer):
    """After a move the source keeps its copy running."""

    async def apply(self, action: Action) -> str:
        """Start the old copy again after a move."""
        before = {}
        if isinstance(action, MigrateDomain):
            before = dict(self.estate.world.node(action.node).domains)
        done = await self.inner.apply(action)
        if isinstance(action, MigrateDomain) and action.domain in before:
            old = before[action.domain]
            self.estate.world.node(action.node).domains[action.domain] = old
            self.estate.command(f"start {action.node} {action.domain}")
        return done


class UndefineDeletes(Blunderer):
    """Whatever leaves a host takes its disks along into nothing."""

    async def apply(self, action: Action) -> str:
        """Delete the disks of what is undefined, and of what has moved, at both ends."""
        done = await self.inner.apply(action)
        if isinstance(action, UndefineDomain | MigrateDomain):
            name = action.domain
            for node in action.nodes:
                files = self.estate.world.node(node).files
                for path in [path for path in files if f"/{name}-vd" in path]:
                    del files[path]
        return done


class RepeatsBlindly(Blunderer):
    """An unknown outcome is simply tried again."""

    async def apply(self, action: Action) -> str:
        """Try again at once."""
        try:
            return await self.inner.apply(action)
        except OutcomeUnknown:
            return await self.inner.apply(action)


class ClaimsTrunks(Blunderer):
    """Says that trunks are changed, and that they are as they should be, and does nothing."""

    async def apply(self, action: Action) -> str:
        """Claim it."""
        if isinstance(action, WidenTrunk | NarrowTrunk):
            return f"{action.port} of {action.node} is changed"
        return await self.inner.apply(action)


class OverlooksStrangers(Blunderer):
    """Guests that no spec knows are not seen, and neither are their ports."""

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Leave them out."""
        fact = await self.inner.observe(node)
        if not isinstance(fact, Known) or not isinstance(fact.value.domains, Known):
            return fact
        domains, bridges = fact.value.domains, fact.value.bridges
        assert isinstance(bridges, Known)
        ours = {name: one for name, one in domains.value.items()
                if not name.startswith(STRANGERS)}
        known = {name: replace(bridge, ports={
            key: port for key, port in bridge.ports.items()
            if not (port.attached_mac or "").startswith("52:54:01:")})
            for name, bridge in bridges.value.items()}
        return replace(fact, value=replace(
            fact.value, domains=replace(domains, value=ours),
            bridges=replace(bridges, value=known)))


class WritesInPlace(Blunderer):
    """Makes the next restore point by writing over the last one."""

    async def apply(self, action: Action) -> str:
        """Let what is sent land in the newest point."""
        replica = _replica(self, action)
        if replica is not None and replica.newest is not None:
            replica.newest.versions = {target: Version(version.serial, version.writes + 1)
                                       for target, version in replica.newest.versions.items()}
        return await self.inner.apply(action)


class DropsTheOldFirst(Blunderer):
    """Makes room for the next restore point before it is there."""

    async def apply(self, action: Action) -> str:
        """Forget all points, then copy."""
        replica = _replica(self, action)
        if replica is not None:
            replica.points.clear()
        return await self.inner.apply(action)


class TornPoints(Blunderer):
    """Reads the disks of a VM one after the other, while the guest writes."""

    async def apply(self, action: Action) -> str:
        """Let the first disk be of another instant than the rest."""
        done = await self.inner.apply(action)
        replica = _replica(self, action)
        if replica is not None and replica.newest is not None and replica.machine == "sql":
            first, *rest = sorted(replica.newest.versions.items())
            older = Version(first[1].serial, first[1].writes - 1)
            torn = {first[0]: older, **dict(rest)}
            replica.points.append(replace(replica.newest, sequence=999, versions=torn))
        return done


class CopiesOntoTheDisk(Blunderer):
    """Takes the folder of the disks for that of the replicas."""

    async def apply(self, action: Action) -> str:
        """Send the copy to where disks lie."""
        if isinstance(action, ReplicateDomain):
            action = replace(action, path="/var/lib/libvirt/images")
        return await self.inner.apply(action)


def _replica(plant: Blunderer, action: Action) -> Replica | None:
    if not isinstance(action, ReplicateDomain):
        return None
    replica: Replica | None = plant.estate.world.node(action.to).replicas.get(action.uuid)
    return replica
