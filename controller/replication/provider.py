"""Hands for replicas: make points, retire, verify, export, remove, sweep; errors as all hands."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

from controller.errors import Refused, Unavailable
from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts
from controller.model.failover.power import PowerFacts
from controller.model.replica import STORE
from controller.plan.actions.action import Action
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.promotion import AdoptDisks, PromoteReplica, ReleaseTail
from controller.plan.actions.replica import (
    DrillReplica,
    DropPoints,
    ExportPoint,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    SweepLeftovers,
    VerifyReplica,
)
from controller.providers.base import Provider
from controller.providers.linux.estate import LinuxEstate, endpoints_of
from controller.providers.node import Node
from controller.providers.termed import TermedTransport
from controller.replication.bandwidth import Shares
from controller.replication.cycle import Cycle
from controller.replication.memory import carry
from controller.replication.move import Hands, move
from controller.replication.mover import Mover
from controller.replication.points.drill import drill
from controller.replication.points.export import export
from controller.replication.promotion import OnMade, Promotions
from controller.replication.report import OnProgress, ignore
from controller.replication.reversal import adopt, release
from controller.replication.ssh_route import KeySource
from controller.replication.transfer import CopyEnds, Terms
from controller.transport.base import Endpoint, Transport

RETIRE_S: Final = 4 * 3600.0
REMOVE_S: Final = 600.0
SWEEP_S: Final = 300.0
VERIFY_SLACK_S: Final = 120.0


class ReplicaHands:
    """Applies the actions that change replicas."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset({
        ReplicateDomain, RetirePoints, DropPoints, VerifyReplica, RemoveReplica, SweepLeftovers,
        ExportPoint, DrillReplica, PromoteReplica, MoveDomain, AdoptDisks, ReleaseTail})

    def __init__(self, transport: Transport, keys: KeySource, clock: Callable[[], float],
                 on_progress: OnProgress = ignore, *, scratch_bytes: int | None = None) -> None:
        self._transport, self._keys, self._clock = transport, keys, clock
        self.on_progress = on_progress
        self._scratch_bytes = scratch_bytes
        self._endpoints: Mapping[str, Endpoint] = {}
        self._estate = ""
        self._codecs: dict[str, tuple[str, ...]] = {}
        self._shares = Shares()
        self._promotions = Promotions()

    def declare(self, estate: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Set the estate's name and its nodes' endpoints."""
        self._estate = estate
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done."""
        mover = Mover(Node(self._transport, action.node))
        match action:
            case ReplicateDomain():
                return await (await self._cycle(action)).run()
            case MoveDomain():
                return await move(mover.node, action,
                                  Hands(self._copy, self._promote, self._carry))
            case VerifyReplica():
                return await verify(mover, action, self._clock())
            case PromoteReplica():
                return await self._promote(action)
            case AdoptDisks() | ReleaseTail():
                if isinstance(action, ReleaseTail):
                    return await release(mover, action)
                promoted_on = Mover(Node(self._transport, action.promoted_on or action.node))
                return await adopt(mover, promoted_on if action.promoted_on else None, action,
                                   self._clock())
        if type(action) in ALONE:
            return await ALONE[type(action)](mover, action)
        raise Refused(f"nothing here can do {action.verb} on {action.node}")

    async def _cycle(self, action: ReplicateDomain) -> Cycle:
        ends = await self._ends(Mover(Node(self._transport, action.node)), action)
        return Cycle(action, ends, self._estate, self._clock, self.on_progress)

    async def _copy(self, action: ReplicateDomain) -> bool:
        """Make a restore point; return False if it was there already."""
        cycle = await self._cycle(action)
        await cycle.run()
        return cycle.made

    async def _promote(self, action: PromoteReplica, on_made: OnMade | None = None) -> str:
        return await self._promotions.promote(Mover(Node(self._transport, action.node)), action,
                                              on_made)

    async def _carry(self, copy: ReplicateDomain, size_bytes: int, failed: str) -> None:
        """Bring what was saved of a guest to the host of its replica."""
        ends = await self._ends(Mover(Node(self._transport, copy.node)), copy)
        await carry(ends, copy, size_bytes, failed)

    async def _ends(self, source: Mover, action: ReplicateDomain) -> CopyEnds:
        target = Mover(Node(self._transport, action.to))
        endpoint = self._endpoints.get(action.to)
        if endpoint is None:
            raise Refused(f"{action.to} is not a declared host: no replica can be made there")
        ours, theirs = await self._codecs_of(source), await self._codecs_of(target)
        codec = next((one for one in ours if one in theirs), "none")
        return CopyEnds(source, target, endpoint, self._keys,
                        Terms(codec, action.limits, self._scratch_bytes), self._shares)

    async def _codecs_of(self, mover: Mover) -> tuple[str, ...]:
        """Return the codecs of a host, best first; each host is asked once."""
        if mover.name not in self._codecs:
            answer = await mover.ask("probe", {}, failed=f"{mover.name} cannot run the mover")
            self._codecs[mover.name] = tuple(answer["codecs"])
        return self._codecs[mover.name]


def name_of(action: Action) -> str:
    """Return the name of the VM whose replica an action is about."""
    return action.target.partition("/")[2]


async def retire(mover: Mover, action: RetirePoints | DropPoints) -> str:
    """Retire points: merge what newer points need, then delete them."""
    answer = await mover.ask(
        "retire", {"replica": action.path, "sequences": action.sequences, "epoch": action.epoch},
        timeout_s=RETIRE_S,
        failed=f"no restore point at {action.path} on {mover.name} was retired")
    gone = ", ".join(map(str, action.sequences))
    left = ", ".join(map(str, answer["points"]))
    return (f"let restore point {gone} of {name_of(action)} on {mover.name} go; {left} stay"
            f"{describe_abandoned(answer)}")


def describe_abandoned(answer: Mapping[str, Any]) -> str:
    """Return a sentence about merges that were abandoned because a file is lost, if any."""
    disks = ", ".join(answer["given_up"])
    return (f"; a merge of {disks} that had been cut off has lost a file and is given up: the next"
            " copy compares the whole disk") if disks else ""


def describe_waiting(answer: Mapping[str, Any]) -> str:
    """Return a sentence about merges that wait because a point is pinned, if any."""
    holders = ", ".join(answer["waiting"])
    return (f"; a merge that had been cut off waits until {holders} unpins its restore point"
            if holders else "")


async def verify(mover: Mover, action: VerifyReplica, now: float) -> str:
    """Read a replica against its hashes for as long as the budget lasts; finish a merge cut off.

    Until such a merge is finished no point counts as verified, and retention, which finishes it,
    may have nothing to retire for a long time.
    """
    answer = await mover.ask(
        "verify", {"replica": action.path, "budget_s": action.budget_s,
                   "rate_bps": 8 * (action.rate_bps or 0), "at": now,
                   "epoch": action.epoch},
        timeout_s=action.budget_s + VERIFY_SLACK_S,
        failed=f"the replica at {action.path} on {mover.name} was not verified")
    read = int(answer["read_bytes"]) >> 20
    rest = "" if answer["complete"] else "; the rest is read next time"
    if answer["merging"]:
        merged = await mover.ask(
            "retire", {"replica": action.path, "sequences": (), "epoch": action.epoch},
            timeout_s=RETIRE_S,
            failed=f"the merge at {action.path} on {mover.name} that had been cut off was not"
                   " finished")
        rest = describe_abandoned(merged) or describe_waiting(merged) or (
            "; a merge that had been cut off was finished, so all of it is read again")
    if not answer["found_clusters"]:
        return f"verified {read} MiB of {name_of(action)} on {mover.name}: all as it was sent{rest}"
    mended, found = answer["repaired_clusters"], answer["found_clusters"]
    spoilt = ", ".join(number for number, damaged in answer["points"].items() if damaged)
    left = f"; restore points {spoilt} read wrong" if spoilt else ""
    left += ("; the next copy brings what the newest lacks"
             if answer["repair"] or answer["scan"] else "")
    return (f"verified {read} MiB of {name_of(action)} on {mover.name}: {found} clusters were"
            f" damaged, {mended} were mended from other points{left}{rest}")


async def sweep(mover: Mover, action: SweepLeftovers) -> str:
    """Remove what a crash of ours left on a host, if the host finds again that nobody owns it."""
    answer = await mover.ask(
        "sweep", {"leftovers": [[str(one.kind), one.name] for one in action.leftovers]},
        failed=f"what is left over on {mover.name} was not removed", timeout_s=SWEEP_S)
    gone, kept = answer["removed"], answer["kept"]
    stays = "; ".join(f"{name} stays: {why}" for name, why in sorted(kept.items()))
    if kept and not gone:
        raise Unavailable(f"nothing was swept up on {mover.name}: {stays}; it is looked at again")
    names = ", ".join(sorted(gone))
    return f"swept up on {mover.name}: {names or 'nothing'}" + (f"; {stays}" if stays else "")


async def remove(mover: Mover, action: RemoveReplica) -> str:
    """Delete a whole replica."""
    what = f"the replica at {action.path} on {mover.name}"
    await mover.ask(
        "remove", {"replica": action.path, "store": STORE, "uuid": action.uuid,
                   "epoch": action.epoch}, timeout_s=REMOVE_S, failed=f"{what} was not removed")
    return f"removed {what}"


ALONE: Final[Mapping[type[Action], Callable[[Mover, Any], Awaitable[str]]]] = {
    RetirePoints: retire, DropPoints: retire, RemoveReplica: remove, SweepLeftovers: sweep,
    ExportPoint: export, DrillReplica: drill}
"""What the mover on one host does by itself."""


class ReplicatedEstate(Provider):
    """A Linux estate whose replicas can be changed, too."""

    def __init__(self, estate: LinuxEstate, hands: ReplicaHands,
                 termed: TermedTransport | None = None) -> None:
        self._estate, self._hands = estate, hands
        self.termed = termed
        """What its changes go over, where they can carry a term."""

    def report_to(self, on_progress: OnProgress) -> None:
        """Report the progress of copies to `on_progress` from now on."""
        self._hands.on_progress = on_progress

    async def declare(self, desired: Desired) -> None:
        """Set the nodes."""
        self._hands.declare(desired.estate.metadata.name, endpoints_of(desired))
        await self._estate.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Return what one poll of `node` says."""
        return await self._estate.observe(node)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Return what a host's BMC says."""
        return await self._estate.observe_power(host)

    async def apply(self, action: Action) -> str:
        """Make one change by the hands that handle it; errors as in the protocol."""
        if type(action) in self._hands.HANDLES:
            return await self._hands.apply(action)
        return await self._estate.apply(action)

    def watch(self) -> AsyncIterator[str]:
        """Yield a node's name when something happened there."""
        return self._estate.watch()

    async def close(self) -> None:
        """Close every connection."""
        await self._estate.close()
