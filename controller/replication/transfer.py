"""Send one disk of an open copy: ask the source's mover, hear its progress, hear the result."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import OutcomeUnknown, Unavailable
from controller.plan.actions.replica import RateLimit, ReplicateDomain
from controller.replication.bandwidth import UNLIMITED, Shares
from controller.replication.copy_plan import DiskPlan, OpenDisk, time_limit_s
from controller.replication.mover import Mover, NotLetIn, failure, parse_answer, verb_command
from controller.replication.progress import OnProgress, Progress, expected_s
from controller.replication.replica_state import ReplicaState
from controller.replication.ssh_route import KeySource
from controller.transport.base import Conversation, Endpoint, SideChannel
from controller.transport.json_text import parse_json

LAST_WORD_S: Final = 30.0
ANSWER_S: Final = 600.0
"""For the other end to have on its disk what came last; the mover itself waits no longer."""
QUIET_S: Final = ANSWER_S + 120.0
"""A mover that sends says each second how far it is, but while the other end answers."""
QUIET_BITS: Final = 8 * (16 << 20)
"""What it may send between two such words."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What one transfer carried."""

    left: tuple[tuple[int, int], ...]
    """Ranges for which the time did not suffice."""
    reached: int | None
    wire_bytes: int
    data_bytes: int
    read_bytes: int
    beyond: bool = False
    """Something else had changed than the source's record of changes says."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every transfer of a point."""

    codec: str
    limits: tuple[RateLimit, ...] = ()
    scratch_bytes: int | None = None
    """How much old content a copy may gather; None: what the source's mover finds right."""
    level: int = 1


def request_of(state: ReplicaState, opened: OpenDisk, course: DiskPlan, terms: Terms, *,
               attempt: str,
               transfer: str, known: str, budget_s: float) -> dict[str, Any]:
    """Return the request for the mover's `send`, but for where to."""
    whole = "scan" if course.compare else "full"
    mode = whole if course.whole else "dirty"
    return {
        "socket": opened.socket, "export": opened.export, "disk": opened.target,
        "attempt": attempt, "transfer": transfer, "mode": mode,
        "bitmap": opened.bitmap if mode == "dirty" else "",
        "holes": mode == "dirty" and opened.holes,
        "ranges": course.ranges, "known": known if course.compare else "",
        "algorithm": state.algorithm, "secret": state.secret, "codec": terms.codec,
        "level": terms.level, "compress": "auto", "budget_s": budget_s}


def parse_sent(result: dict[str, Any]) -> Sent:
    """Return a transfer from the mover's result.

    Errors: KeyError, TypeError or ValueError for a result of another shape.
    """
    return Sent(tuple((int(first), int(length)) for first, length in result["left"]),
                result["reached"], int(result["wire_bytes"]), int(result["data_bytes"]),
                int(result["read_bytes"]), bool(result.get("beyond")))


class RateControl:
    """What a transfer may take at most; it is told of every change while it lasts."""

    def __init__(self) -> None:
        self.rate_bps = UNLIMITED
        self._asked_bps = UNLIMITED
        self._tell: Callable[[str], None] | None = None

    def asked(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request that begins at this pace."""
        self._asked_bps = self.rate_bps
        return {**request, "rate_bps": self.rate_bps}

    def follow(self, tell: Callable[[str], None]) -> None:
        """Tell a transfer that has begun what has changed since it was asked, and what will."""
        self._tell = tell
        if self.rate_bps != self._asked_bps:
            self.set(self.rate_bps)

    @property
    def quiet_s(self) -> float:
        """Return how long a mover at this pace may say nothing."""
        return QUIET_S + (QUIET_BITS / self.rate_bps if self.rate_bps else 0.0)

    def set(self, rate_bps: float) -> None:
        """Change it."""
        self.rate_bps = rate_bps
        if self._tell is not None:
            self._tell(json.dumps({"rate_bps": rate_bps}))


@dataclass(slots=True)
class TransferEvents:
    """Takes what a mover says while it sends; `on_bytes` hears bytes read, to be read, and sent.

    `on_read` hears that the disk is no longer needed: the rest of it is on its way.
    """

    on_bytes: Callable[[int, int, int], None]
    on_read: Callable[[], None]
    result: dict[str, Any] | None = None

    def hear(self, line: str) -> None:
        """Take a line that may be of anything."""
        try:
            told = parse_json(line)
        except ValueError:
            return
        if not isinstance(told, dict):
            return
        match told.get("progress"):
            case {"read_bytes": int(read), "total_bytes": int(total), "wire_bytes": int(wire)}:
                self.on_bytes(read, total, wire)
        if "read" in told:
            self.on_read()
        self.result = told.get("result", self.result)


async def relay(source: Mover, target: Mover, root: str, uuid: str, request: dict[str, Any],
                failed: str, pace: RateControl, hearer: TransferEvents, *, lasts_s: float) -> Sent:
    """Send one disk through the controller; the same errors as `send`."""
    told = {**pace.asked(request), "to": {"fds": [1]}}
    feeding = verb_command("send", uuid, text=json.dumps(told) + "\n", timeout_s=lasts_s + ANSWER_S)
    taking = verb_command("receive", root, timeout_s=lasts_s + ANSWER_S)
    channel = SideChannel(hearer.hear)
    pace.follow(channel.send)
    sent, got = await source.node.transport.relay(
        (source.name, feeding), (target.name, taking), channel)
    if got.exit_status != 0:
        raise failure(got, failed)
    if sent.exit_status != 0:
        raise failure(sent, failed)
    try:
        return parse_sent(parse_answer(sent.stderr)["result"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error


async def send(sender: Conversation, request: dict[str, Any], failed: str, pace: RateControl,
               hearer: TransferEvents, *, lasts_s: float) -> Sent:
    """Send one disk by a mover that waits for it, see `Reach`; the copy itself lasts `lasts_s`.

    Errors: Unavailable when the way or an end broke or fell silent (what has come is kept),
    Refused, OutcomeUnknown.
    """
    sender.send(json.dumps(pace.asked(request)))
    pace.follow(sender.send)
    try:
        async with asyncio.timeout(lasts_s + ANSWER_S):
            while (line := await _next_word(sender, failed, pace)) is not None:
                hearer.hear(line)
    except TimeoutError:
        raise Unavailable(f"{failed}: what was sent was not there within {lasts_s + ANSWER_S:.0f}"
                          " s; it is tried again") from None
    reply = await sender.outcome(LAST_WORD_S)
    if reply.exit_status != 0:
        raise failure(reply, failed)
    try:
        if hearer.result is None:
            raise ValueError("it ended without a result")
        return parse_sent(hearer.result)
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error


async def _next_word(sender: Conversation, failed: str, pace: RateControl) -> str | None:
    quiet_s = pace.quiet_s
    try:
        async with asyncio.timeout(quiet_s):
            return await sender.receive()
    except TimeoutError:
        raise Unavailable(f"{failed}: the mover that sends has said nothing for {quiet_s:.0f} s; it"
                          " is tried again") from None


Route = Callable[[], AbstractAsyncContextManager[dict[str, Any]]]
"""Opens the way, see passage.open_passage; it stays open until it is left."""


class Senders:
    """Movers on the source that reach the target, each for one transfer; `stack` ends them."""

    def __init__(self, source: Mover, uuid: str, passage: Route, stack: AsyncExitStack) -> None:
        self._source, self._uuid, self._passage, self._stack = source, uuid, passage, stack
        self._to: dict[str, Any] | None = None
        self._waiting: Conversation | None = None

    async def prepare(self) -> None:
        """Have a mover reach the target now, for the first transfer.

        Errors: as `open_passage`; that the target cannot be reached is told by the transfer.
        """
        self._waiting = await self.sender()

    async def sender(self) -> Conversation:
        """Return a mover that waits to be told what to send."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            return waiting
        if self._to is None:
            self._to = await self._stack.enter_async_context(self._passage())
        return await self._stack.enter_async_context(
            self._source.converse("send", {"to": self._to}, self._uuid))


@dataclass(frozen=True, slots=True)
class CopyEnds:
    """Both ends of a copy, and what they share."""

    source: Mover
    target: Mover
    endpoint: Endpoint
    """Of the target."""
    locksmith: KeySource
    terms: Terms
    shares: Shares


class Transfer:
    """Carries the disks of one restore point, within its share of every limit."""

    def __init__(self, action: ReplicateDomain, way: CopyEnds, failed: str,
                 clock: Callable[[], float], on_progress: OnProgress) -> None:
        self._action, self._way, self._failed = action, way, failed
        self._clock, self._on_progress = clock, on_progress
        self.relayed = ""
        """Why the rest goes through the controller; empty while it does not."""

    async def carry(self, request: dict[str, Any], reach: Senders,
                    on_read: Callable[[], None]) -> Sent:
        """Send one disk; `on_read` is called once it is no longer needed.

        Errors: as `send`; a target that cannot be reached, or does not let the source in, is none,
        for it is relayed to.
        """
        way, pace, hearer = self._way, RateControl(), TransferEvents(self._telling(), on_read)
        lasts_s = time_limit_s(self._action)
        with way.shares.taken(way.terms.limits, pace.set):
            if not self.relayed:
                try:
                    return await send(await reach.sender(), request, self._failed, pace, hearer,
                                      lasts_s=lasts_s)
                except NotLetIn as error:
                    self.give_way(error)
            return await relay(way.source, way.target, self._action.path, self._action.uuid,
                               request, self._failed, pace, hearer, lasts_s=lasts_s)

    def give_way(self, error: NotLetIn) -> None:
        """Send through the controller from now on, and say why."""
        self.relayed = (f"{self._way.source.name} cannot reach {self._action.to} at"
                        f" {self._action.to_replication_address} ({error})")

    def _telling(self) -> Callable[[int, int, int], None]:
        """Return what turns a transfer's bytes into progress."""
        began_at = self._clock()

        def _told(done: int, total: int, wire: int) -> None:
            since_s = self._clock() - began_at
            self._on_progress(Progress(self._action.target, done, total,
                                       wire / since_s if since_s > 0 else 0.0,
                                       expected_s(done, total, since_s)))
        return _told
