"""One restore point, from what is really there to what is really published.

Rule 1: until `publish` is asked for, nothing that was published has changed: all trouble before it
is Unavailable or Refused.
Rule 2: checkpoints that older points needed go only after the new one is published.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.replication.copy_plan import (
    BASE,
    DiskPlan,
    checkpoint_name,
    completed,
    first_course,
    known_from,
    next_course,
    since,
    time_limit_s,
    wanted_modes,
)
from controller.replication.manifest import Manifests
from controller.replication.mover import NotLetIn
from controller.replication.progress import OnProgress
from controller.replication.replica_state import ReplicaState
from controller.replication.report import CopyReport, tell
from controller.replication.source_host import Begun, Ended, SourceEnd
from controller.replication.ssh_route import Addresses, open_route
from controller.replication.target_host import TargetEnd
from controller.replication.transfer import CopyEnds, Senders, Transfer, request_of

MOST_SLICES: Final = 1000
NO_ROOM: Final = "no room left for"


@dataclass(slots=True)
class Work:
    """What has been done for the point so far."""

    courses: dict[str, DiskPlan] = field(default_factory=dict)
    transfers: dict[str, list[str]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    beyond: set[str] = field(default_factory=set)
    """Of which more came than the source's record of changes knows."""
    left: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    account: CopyReport = field(default_factory=CopyReport)


def do_nothing() -> None:
    """Hear that a disk was read of which nothing follows."""


class Cycle:
    """Makes the next restore point of one VM."""

    def __init__(self, action: ReplicateDomain, way: CopyEnds, estate: str,
                 clock: Callable[[], float], on_progress: OnProgress) -> None:
        self.action, self.way, self._estate = action, way, estate
        self._clock = clock
        self._failed = f"no restore point of {action.machine} was made on {action.to}"
        self._work = Work()
        self._target: TargetEnd
        self._carrier = Transfer(action, way, self._failed, clock, on_progress)
        self._manifests = Manifests(way.source, way.target, action.path, self._failed)

    async def run(self) -> str:
        """Make the point and return a sentence that says what was done and why."""
        try:
            return await self._run()
        except (KeyError, TypeError, ValueError) as error:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: a mover answered with"
                                 f" something that is not understood ({error!r})") from error

    async def _run(self) -> str:
        async with AsyncExitStack() as stack:
            starting = await self._before_publish(stack.enter_async_context(
                self.way.source.starting("job", {"uuid": self.action.uuid}, self._failed)))
            attendant = await self._before_publish(stack.enter_async_context(
                self.way.target.attended(self._failed)))
            self._target = TargetEnd(attendant, self.action, self._failed)
            state = await self._before_publish(self._target.look(self._estate))
            if state.newest >= self.action.sequence:
                return (f"restore point {state.newest} of {self.action.machine} is on"
                        f" {self.action.to} already")
            if state.recovered:
                self._work.account.remarks.append(
                    f"state.json of its replica was put right from a copy ({state.recovered})")
            source = SourceEnd(self.way.source, await self._before_publish(starting.ready()),
                               self._failed)
            began, started_at = await self._before_publish(self._slices(source, state))
            published = await self._target.publish(
                began, self._contents(), self._work.beyond, started_at, self._clock())
            self._work.account.stored_bytes = sum(
                int(file["stored_bytes"]) for file in published["files"].values())
            await self._let_go(source, began)
        self._work.account.relayed = self._carrier.relayed
        return tell(self.action, self._work.account)

    async def _before_publish(self, doing: Any) -> Any:
        """Return what `doing` gives; whatever goes wrong in it, no point has been touched."""
        try:
            return await doing
        except OutcomeUnknown as error:
            raise Unavailable(f"{error}; the restore points are as they were") from error

    async def _slices(self, source: SourceEnd, state: ReplicaState) -> tuple[Begun, float]:
        """Copy in as many slices as it takes; return the last, and its point in time."""
        last: Begun | None = None
        nonce = secrets.token_hex(4)
        for number in range(1, MOST_SLICES):
            name = checkpoint_name(self.action.sequence, nonce, number)
            async with AsyncExitStack() as stack:
                begun, started_at = await self._slice(
                    source, state, self._order(state, name, last), stack, first=number == 1)
            if not any(self._work.left.values()):
                self._work.account.slices = number
                return begun, started_at
            await self._note(begun)
            last = begun
        raise Unavailable(f"{self._failed}: it was not done in {MOST_SLICES} slices")

    def _order(self, state: ReplicaState, name: str, last: Begun | None) -> dict[str, Any]:
        """Return the order that begins a copy; `last` is the slice before."""
        action = self.action
        base = last.checkpoint if last else since(state)
        origins, run = (last.origins, last.run) if last else known_from(state)
        modes = wanted_modes(state, action.disks)
        if last:
            modes = {disk.target: "increment" if disk.tracked else "full"
                     for disk in action.disks}
        return {
            "modes": modes, "checkpoint": name, "since": base, "quiesce": action.quiesce,
            "keep": sorted({state.checkpoint, base} - {""}),
            "limit_s": time_limit_s(action), "scratch_bytes": self.way.terms.scratch_bytes,
            "known": {} if last or self._needs_sending(state) else dict(state.fingerprints),
            "origins": origins, "run": run, "unbroken": not state.newest,
            "sent": {} if last else dict(state.sent)}

    def _needs_sending(self, state: ReplicaState) -> bool:
        wanted = {disk.target for disk in self.action.disks} - state.left_out
        return bool(self.action.compare or state.repair or state.scan
                    or set(state.sizes) - state.left_out != wanted)

    async def _slice(self, source: SourceEnd, state: ReplicaState, order: dict[str, Any],
                     stack: AsyncExitStack, *, first: bool) -> tuple[Begun, float]:
        """Open a copy, send every disk of it, close it; return it and its point in time."""
        source.ask_begin(order)
        reach = Senders(self.way.source, self.action.uuid, self._passage, stack)
        trouble = None
        if self._expects_much(state, first=first):
            try:
                await reach.prepare()
            except NotLetIn as error:
                self._carrier.give_way(error)
            except ActionError as error:
                trouble = error     # the copy is beginning all the same, and is ended in order
        begun = await source.begun()
        started_at = self._clock() - begun.ago_s
        try:
            if trouble is not None:
                raise trouble
            await self._fill(source, state, begun, reach, first=first)
        except ActionError as error:
            raise await self._after_failure(source, error) from error
        self._heed(await source.end())
        return begun, started_at

    def _expects_much(self, state: ReplicaState, *, first: bool) -> bool:
        """Return whether something most likely has to be sent from host to host."""
        return not self._carrier.relayed and (
            not first or state.busy or not state.newest or self._needs_sending(state))

    def _passage(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        action = self.action
        addresses = Addresses(action.replication_address, action.to_replication_address)
        return open_route(self._target.attendant, self.way.endpoint, addresses, action.path,
                            self.way.locksmith, time_limit_s(action))

    async def _fill(self, source: SourceEnd, state: ReplicaState, begun: Begun, reach: Senders, *,
                    first: bool) -> None:
        """Send every disk of an open copy, and see that all that came is on the target's disk."""
        work = self._work
        work.account.hear(begun)
        for target, opened in begun.disks.items():
            work.courses[target] = (
                first_course(state, opened, self.action.compare) if first
                else next_course(work.courses[target], work.left.get(target, ()), opened))
        courses = [course for course in work.courses.values() if not course.unchanged]
        if not courses:
            return
        for target, missing in (await self._target.open({
                course.target: {"kind": course.kind,
                                "size_bytes": begun.disks[course.target].size_bytes}
                for course in courses})).items():
            work.courses[target] = completed(work.courses[target], missing)
        courses = [work.courses[course.target] for course in courses]
        began_at = self._clock()
        for course in courses:
            spent_s = self._clock() - began_at
            await self._send(state, begun, course, reach,
                             max(1.0, self.action.budget_s - spent_s),
                             source.ask_end if course is courses[-1] else do_nothing)
        if not any(work.left.values()):
            await self._target.settle(sorted(work.transfers))

    async def _send(self, state: ReplicaState, begun: Begun, course: DiskPlan, reach: Senders,
                    budget_s: float, on_read: Callable[[], None]) -> None:
        """Send one disk and note what it carried, and what was left."""
        target, opened = course.target, begun.disks[course.target]
        transfer = f"{self.action.sequence}-{target}-{secrets.token_hex(4)}"
        known = ""
        if course.compare:
            known = await self._manifests.fetch(
                target, max(opened.size_bytes, state.sizes.get(target, 0)))
        can_slice = bool(begun.checkpoint) and not begun.off and (
            opened.tracked or self._is_tracked(target))
        request = request_of(
            state, opened, course, self.way.terms, attempt=self._target.attempt,
            transfer=transfer, known=known, budget_s=budget_s if can_slice else 0)
        sent = await self._carrier.carry(request, reach, on_read)
        self._work.transfers.setdefault(target, []).append(transfer)
        self._work.left[target] = sent.left
        if course.whole:
            self._work.whole.add(target)
        if sent.beyond:
            self._work.beyond.add(target)
        self._work.account.add(course, opened, sent)

    def _is_tracked(self, target: str) -> bool:
        return any(disk.target == target and disk.tracked for disk in self.action.disks)

    async def _after_failure(self, source: SourceEnd, error: ActionError) -> ActionError:
        """End the copy and return what the failure means."""
        try:
            ended = await source.end()
        except ActionError:
            return error        # the host ends it by itself
        self._work.account.incidents += [ended.incident] if ended.incident else []
        if NO_ROOM in str(error):
            await self._target.drop()
            return Refused(f"{self._failed}: the disk of {self.action.to} is full; what had come"
                           " was dropped, the restore points are as they were. Free some room")
        also = f"; {ended.incident}" if ended.incident else ""
        if ended.reason != "asked":
            guest = also or "; the guest was not touched"
            return Unavailable(f"{self._failed}: the copy was ended because {ended.reason}{guest};"
                               " it is tried again")
        return type(error)(f"{error}{also}") if also else error

    def _heed(self, ended: Ended) -> None:
        """Complain of a copy that is worth nothing; remember what happened to the guest."""
        self._work.account.incidents += [ended.incident] if ended.incident else []
        if ended.moved:
            raise Unavailable(f"{self._failed}: the VM was started while its disks were read at"
                              " rest; what was read is not used, and it is tried again")

    async def _note(self, begun: Begun) -> None:
        """Note with what has come of each new disk from where it can be gone on with."""
        disks = {}
        for target, course in self._work.courses.items():
            left = self._work.left.get(target, ())
            if course.kind == BASE:
                size = begun.disks[target].size_bytes
                disks[target] = {"kind": BASE, "size_bytes": size, "note": {
                    "checkpoint": begun.checkpoint, "covered": left[0][0] if left else size,
                    "origin": begun.origins.get(target), "run": begun.run}}
        await self._target.note(disks)

    def _contents(self) -> dict[str, Any]:
        """Return what the point has of each disk."""
        work = self._work
        disks: dict[str, Any] = {}
        for target, course in work.courses.items():
            transfers = work.transfers.get(target, [])
            whole = target in work.whole
            disks[target] = {
                "transfers": transfers, "whole": whole and course.mode == CopyMode.SCAN,
                "compared": whole} if transfers else {"unchanged": True}
        return disks

    async def _let_go(self, source: SourceEnd, begun: Begun) -> None:
        """Delete the checkpoints that no point needs any more; the next cycle does it else."""
        try:
            await source.drop_checkpoints((begun.checkpoint,))
        except ActionError as error:
            self._work.account.remarks.append(f"older checkpoints were not deleted ({error})")


