"""An estate whose replicas are made and kept by the conductor; all else is another's business."""

from collections.abc import AsyncIterator

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts
from controller.plan.actions import Action
from controller.providers.base import Provider
from controller.providers.linux.estate import LinuxEstate, endpoints_of
from controller.replication.hands import ReplicaHands
from controller.replication.progress import OnProgress


class ReplicatedEstate(Provider):
    """Nodes as `estate` sees and changes them, with replicas."""

    def __init__(self, estate: LinuxEstate, hands: ReplicaHands) -> None:
        self._estate, self._hands = estate, hands

    def report_to(self, on_progress: OnProgress) -> None:
        """Tell `on_progress` from now on how far long copies have come."""
        self._hands.on_progress = on_progress

    async def declare(self, desired: Desired) -> None:
        """Learn the nodes."""
        self._hands.declare(desired.estate.metadata.name, endpoints_of(desired))
        await self._estate.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Return what one poll of `node` says."""
        return await self._estate.observe(node)

    async def apply(self, action: Action) -> str:
        """Make one change by the hands whose business it is; errors as in the protocol."""
        if type(action) in self._hands.HANDLES:
            return await self._hands.apply(action)
        return await self._estate.apply(action)

    def watch(self) -> AsyncIterator[str]:
        """Yield a node's name when something happened there."""
        return self._estate.watch()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._estate.close()
