"""The data of one restore point, from an opened route to the committed point.

One Transfer lives as long as an attempt at a point. It sends the disks of each slice, one at a
time, remembers what was sent, and at the end has the target commit that as a point.

    source host                          target host
    mover `job`   (backup job, NBD)      mover `attend`  (the replica)
         │                                    │ authorize / deauthorize
    mover `send` ───── ssh, one-time key ───► mover `receive`       the direct route
         └───────────► controller ──────────► mover `receive`       relayed

Order of one slice:

    connect    open the route and start a sender while the source begins its backup job. Only if
               something most likely has to be sent: it costs an SSH login.
    open       an incoming file on the target for every disk that changed; the target returns which
               ranges of a first copy it lacks
    send       each disk: a request to the sender, then its progress lines, then its result. When
               the last disk has been read, the source may end its backup job: what follows is only
               on the wire and on the target. A disk that runs out of time leaves ranges over.
    settle     in the last slice: the target syncs and re-reads what it received

`publish` then commits all disks in one step on the target. Until then the published points are
untouched, and what was received stays for the next attempt (dropped only when the disk is full).

The route. A sender that cannot reach the target ends with `unreached` before any data is sent; from
then on the whole attempt is relayed through the controller: slower, but better than no copy.
A route that breaks later is no reason to relay: the attempt fails and is tried again.

The rate. The copies that run at the same time share the limits (bandwidth.py). While a disk is
sent, every new share is sent to the sender as a line; a request carries the share of its moment.

What ends a wait: the sender writes progress every second, so silence of QUIET_S (more at a low
rate) ends it; the whole disk has the copy's time limit plus ANSWER_S. Both mean Unavailable.

A crash of the controller closes every connection: sender and receiver end, the key expires, the
source host ends its backup job by itself, and incoming files stay for the next attempt.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import OutcomeUnknown, Unavailable
from controller.model.replica import CLUSTER_BYTES
from controller.plan.actions.replica import CopyMode, RateLimit, ReplicateDomain
from controller.replication.bandwidth import UNLIMITED, Shares
from controller.replication.copy_plan import (
    BASE,
    OVERLAY,
    DiskPlan,
    OpenDisk,
    Ranges,
    ReplicaState,
    first_plan,
    next_plan,
    sent_mode,
    time_limit_s,
    with_missing,
)
from controller.replication.mover import (
    Mover,
    RouteUnavailable,
    failure,
    parse_answer,
    verb_command,
)
from controller.replication.report import CopyReport, OnProgress, Sent, parse_sent, progress_of
from controller.replication.source_host import OpenCopy
from controller.replication.ssh_route import Addresses, KeySource, open_route
from controller.replication.target_host import TargetEnd
from controller.transport.base import Conversation, Endpoint, SideChannel
from controller.transport.json_text import parse_json

EXIT_S: Final = 30.0
ANSWER_S: Final = 600.0
"""For the target to have the last data on disk; the mover itself waits no longer."""
QUIET_S: Final = ANSWER_S + 120.0
"""A sender writes progress each second, except while it waits for the target."""
QUIET_BITS: Final = 8 * (16 << 20)
"""At most so much is sent between two progress lines."""
MANIFEST_S: Final = 3600.0
KNOWN_FOLDER: Final = "/var/lib/hotsite/known"
"""On a disk of the source: a hash of each cluster of a large disk is too much for memory."""
HASH_BYTES: Final = 16
HEADER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every disk of a point."""

    codec: str
    limits: tuple[RateLimit, ...] = ()
    scratch_bytes: int | None = None
    """How much old content the backup job may keep; None: as the source's mover decides."""


@dataclass(frozen=True, slots=True)
class CopyEnds:
    """Both hosts of a copy, and what it shares with other copies."""

    source: Mover
    target: Mover
    endpoint: Endpoint
    """The target's."""
    keys: KeySource
    terms: Terms
    shares: Shares


class Transfer:
    """Sends the disks of one restore point, one at a time, and has them committed."""

    def __init__(self, action: ReplicateDomain, ends: CopyEnds, target: TargetEnd, failed: str,
                 clock: Callable[[], float], on_progress: OnProgress, report: CopyReport) -> None:
        self._action, self._ends, self._target = action, ends, target
        self._failed, self._clock, self._on_progress = failed, clock, on_progress
        self._report = report
        # of the point
        self._plans: dict[str, DiskPlan] = {}
        self._ids: dict[str, list[str]] = {}
        self._left: dict[str, Ranges] = {}
        self._whole: set[str] = set()
        self._beyond: set[str] = set()
        self.relayed = False
        # of the slice
        self._stack: AsyncExitStack
        self._route: dict[str, Any] | None = None
        self._waiting: Conversation | None = None
        # of the disk that is being sent
        self._rate_bps = self._requested_bps = UNLIMITED
        self._send_line: Callable[[str], None] | None = None
        self._on_read: Callable[[], None] | None = None
        self._began_at = 0.0
        self._result: Any = None

    @property
    def unfinished(self) -> bool:
        """Return whether the last slice ran out of time before everything was sent."""
        return any(self._left.values())

    @asynccontextmanager
    async def slice(self) -> AsyncIterator[None]:
        """Keep the route and the senders of one slice until its end."""
        async with AsyncExitStack() as self._stack:
            self._route = self._waiting = None
            yield

    async def connect(self) -> None:
        """Open the route and start a sender, before it is known what has to be sent."""
        try:
            self._waiting = await self._sender()
        except RouteUnavailable as error:
            self._relay_from_now_on(error)

    async def send_disks(self, state: ReplicaState, copy: OpenCopy, *, first: bool,
                         on_read: Callable[[], None]) -> None:
        """Send every disk of an open copy; in the last slice, have the target settle them.

        `on_read` is called once no disk of the copy is needed any more.
        """
        for target, opened in copy.disks.items():
            self._plans[target] = (
                first_plan(state, opened, self._action.compare) if first
                else next_plan(self._plans[target], self._left.get(target, ()), opened))
        due = [target for target, plan in self._plans.items() if not plan.unchanged]
        if not due:
            return
        for target, missing in (await self._target.open({
                target: {"kind": self._plans[target].kind,
                         "size_bytes": copy.disks[target].size_bytes}
                for target in due}, copy.epoch)).items():
            self._plans[target] = with_missing(self._plans[target], missing)
        began_at = self._clock()
        for target in due:
            left_s = max(1.0, self._action.budget_s - (self._clock() - began_at))
            await self._send_disk(state, copy, self._plans[target], left_s,
                                  on_read if target == due[-1] else None)
        if not self.unfinished:
            await self._target.settle(sorted(self._ids))

    async def note(self, copy: OpenCopy) -> None:
        """Store with each unfinished first copy the checkpoint and offset it can resume from."""
        disks = {}
        for target, plan in self._plans.items():
            if plan.kind == BASE:
                left, size = self._left.get(target, ()), copy.disks[target].size_bytes
                disks[target] = {"kind": BASE, "size_bytes": size, "note": {
                    "checkpoint": copy.checkpoint, "covered": left[0][0] if left else size,
                    "origin": copy.origins.get(target), "run": copy.run}}
        await self._target.note(disks, copy.epoch)

    async def publish(self, copy: OpenCopy, started_at: float) -> None:
        """Commit what was sent as a restore point.

        Errors: OutcomeUnknown when the point may exist: its replica must be observed.
        """
        disks: dict[str, Any] = {target: {"unchanged": True} for target in self._plans}
        for target, ids in self._ids.items():
            whole = target in self._whole
            disks[target] = {
                "transfers": ids, "compared": whole,
                "whole": whole and self._plans[target].mode == CopyMode.SCAN}
        published = await self._target.publish(copy, disks, self._beyond, started_at,
                                               self._clock())
        self._report.stored_bytes = sum(
            int(file["stored_bytes"]) for file in published["files"].values())

    async def _send_disk(self, state: ReplicaState, copy: OpenCopy, plan: DiskPlan, budget_s: float,
                         on_read: Callable[[], None] | None) -> None:
        """Send one disk, and record what was sent and what was left over."""
        target, opened = plan.target, copy.disks[plan.target]
        transfer_id = f"{self._action.sequence}-{target}-{secrets.token_hex(4)}"
        known = ""
        if plan.compare:
            known = await self._fetch_manifest(
                target, max(opened.size_bytes, state.sizes.get(target, 0)))
        can_slice = bool(copy.checkpoint) and not copy.off and (opened.tracked or any(
            disk.target == target and disk.trackable for disk in self._action.disks))
        request = {
            **request_of(state, opened, plan, self._ends.terms, known),
            "attempt": self._target.attempt, "transfer": transfer_id,
            "budget_s": budget_s if can_slice else 0}
        self._on_read, self._send_line, self._result = on_read, None, None
        self._began_at = self._clock()
        with self._ends.shares.taken(self._ends.terms.limits, self.set_rate):
            sent = await self._send(request)
        self._ids.setdefault(target, []).append(transfer_id)
        self._left[target] = sent.left
        if plan.whole:
            self._whole.add(target)
        if sent.beyond:
            self._beyond.add(target)
        self._report.add_sent(plan, opened, sent)

    async def _send(self, request: dict[str, Any]) -> Sent:
        """Send one disk over the direct route, or relayed where that does not work.

        Errors: Unavailable when a route or an end broke or fell silent (what was received is kept),
        Refused, OutcomeUnknown.
        """
        result = None
        if not self.relayed:
            try:
                result = await self._send_directly(request)
            except RouteUnavailable as error:
                self._relay_from_now_on(error)
        if self.relayed:
            result = await self._relay(request)
        try:
            if result is None:
                raise ValueError("it ended without a result")
            return parse_sent(result)
        except (KeyError, TypeError, ValueError) as error:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: {error}") from error

    async def _send_directly(self, request: dict[str, Any]) -> Any:
        """Have a sender send one disk to the target, and return its result."""
        sender = await self._sender()
        limit_s = time_limit_s(self._action) + ANSWER_S
        sender.send(json.dumps(self._at_current_rate(request)))
        self._follow_rate(sender.send)
        try:
            async with asyncio.timeout(limit_s):
                while (line := await self._next_line(sender)) is not None:
                    self.on_line(line)
        except TimeoutError:
            raise Unavailable(f"{self._failed}: what was sent was not there within {limit_s:.0f} s;"
                              " it is tried again") from None
        reply = await sender.outcome(EXIT_S)
        if reply.exit_status != 0:
            raise failure(reply, self._failed)
        return self._result

    async def _sender(self) -> Conversation:
        """Return a sender that waits for its request; each sends one disk."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            return waiting
        if self._route is None:
            action = self._action
            self._route = await self._stack.enter_async_context(open_route(
                self._target.session, self._ends.endpoint,
                Addresses(action.replication_address, action.to_replication_address), action.path,
                self._ends.keys, time_limit_s(action)))
        return await self._stack.enter_async_context(
            self._ends.source.converse("send", {"to": self._route}, self._action.uuid))

    async def _next_line(self, sender: Conversation) -> str | None:
        quiet_s = quiet_limit_s(self._rate_bps)
        try:
            async with asyncio.timeout(quiet_s):
                return await sender.receive()
        except TimeoutError:
            raise Unavailable(f"{self._failed}: the mover that sends has said nothing for"
                              f" {quiet_s:.0f} s; it is tried again") from None

    def _relay_from_now_on(self, error: RouteUnavailable) -> None:
        self.relayed = True
        self._report.relayed = (f"{self._ends.source.name} cannot reach {self._action.to} at"
                                f" {self._action.to_replication_address} ({error})")

    async def _relay(self, request: dict[str, Any]) -> Any:
        """Send one disk through the controller, and return the sender's result."""
        source, target = self._ends.source, self._ends.target
        limit_s = time_limit_s(self._action) + ANSWER_S
        text = json.dumps({**self._at_current_rate(request), "to": {"fds": [1]}}) + "\n"
        feeding = verb_command("send", self._action.uuid, text=text, timeout_s=limit_s)
        taking = verb_command("receive", self._action.path, timeout_s=limit_s)
        channel = SideChannel(self.on_line)
        self._follow_rate(channel.send)
        sent, received = await source.node.transport.relay(
            (source.name, feeding), (target.name, taking), channel)
        for reply in (received, sent):
            if reply.exit_status != 0:
                raise failure(reply, self._failed)
        with suppress(ValueError):
            return parse_answer(sent.stderr).get("result")
        return None

    def on_line(self, line: str) -> None:
        """Handle one line of the sender; what is not understood is ignored."""
        try:
            event = parse_json(line)
        except ValueError:
            return
        if not isinstance(event, dict):
            return
        match event.get("progress"):
            case {"read_bytes": int(read), "total_bytes": int(total), "wire_bytes": int(wire)}:
                self._on_progress(progress_of(self._action.target, read, total, wire,
                                              self._clock() - self._began_at))
        if "read" in event and self._on_read is not None:
            self._on_read()
        self._result = event.get("result", self._result)

    def set_rate(self, rate_bps: float) -> None:
        """Set what the disk may be sent at, and tell its sender if it has begun."""
        self._rate_bps = rate_bps
        if self._send_line is not None:
            self._send_line(json.dumps({"rate_bps": rate_bps}))

    def _at_current_rate(self, request: dict[str, Any]) -> dict[str, Any]:
        self._requested_bps = self._rate_bps
        return {**request, "rate_bps": self._rate_bps}

    def _follow_rate(self, send_line: Callable[[str], None]) -> None:
        """Send rate changes to the sender from now on, and one made since its request."""
        self._send_line = send_line
        if self._rate_bps != self._requested_bps:
            self.set_rate(self._rate_bps)

    async def _fetch_manifest(self, disk: str, size_bytes: int) -> str:
        """Bring the hashes of what the target has of a disk to the source; return their path.

        Relayed, never held in memory: 256 MiB for each TiB. The source accepts no more than a disk
        of that size can have, and deletes the file when the copy ends.
        """
        replica = self._action.path
        path = f"{KNOWN_FOLDER}/known-{replica.rsplit('/', 1)[-1]}-{disk}.man"
        text = json.dumps({"replica": replica, "disk": disk, "incoming": True}) + "\n"
        most_bytes = HEADER_BYTES + -(-size_bytes // CLUSTER_BYTES) * HASH_BYTES
        replies = await self._ends.target.node.transport.relay(
            (self._ends.target.name,
             verb_command("manifest-out", text=text, timeout_s=MANIFEST_S)),
            (self._ends.source.name,
             verb_command("manifest-in", path, str(most_bytes), timeout_s=MANIFEST_S)))
        for reply in replies:
            if reply.exit_status != 0:
                raise failure(reply, self._failed)
        return path


def quiet_limit_s(rate_bps: float) -> float:
    """Return how long a sender at this rate may write nothing."""
    return QUIET_S + (QUIET_BITS / rate_bps if rate_bps else 0.0)


def request_of(state: ReplicaState, opened: OpenDisk, plan: DiskPlan, terms: Terms,
               known: str) -> dict[str, Any]:
    """Return what the mover's `send` needs to know of a disk; `known`: its manifest's path."""
    mode = sent_mode(plan)
    increment = mode is CopyMode.INCREMENT
    return {
        "socket": opened.socket, "export": opened.export, "disk": opened.target, "mode": mode,
        "bitmap": opened.bitmap if increment else "",
        "holes": increment and opened.holes,
        "ranges": plan.ranges, "known": known if plan.compare else "",
        "algorithm": state.algorithm, "secret": state.secret, "codec": terms.codec,
        "level": 1, "compress": "auto", "blocks": plan.kind == OVERLAY}
