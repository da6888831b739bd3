"""A copy, from the decision to the published restore point.

plan/ has decided that point N of a VM is due, from which host to which. One Cycle is one attempt at
that point. It holds a conversation with the source's mover (`job`) and one with the target's
(`attend`), and goes through these steps:

      source host                             target host
    1 start the mover ─────── at once ─────── start the mover
    2                                         look: the replica's state; N there already: done
    3 begin: backup job, checkpoint,          meanwhile: open the route, if something most
      guest quiesced for that instant         likely has to be sent
    4 send the disks that changed ─────────►  incoming files                   (transfer.py)
    5 end the job, once all is read           meanwhile: settle (sync, re-read)
    6                                         publish: the commit, one rename of state.json
    7 delete older checkpoints

The order matters. A backup job slows its guest, so it begins after the target has answered and ends
as soon as all disks are read. The point is published after the job has ended well, since a VM that
was off may have been started meanwhile: then what was read is not one instant. Older checkpoints
are deleted last: until the new point exists, the next attempt builds upon them.

Slices. A backup job keeps the old content of what the guest overwrites, so it must not last long. A
disk that does not get done in its time leaves ranges over. The slice is closed, the offset and its
checkpoint are noted on the target, and the next slice copies what changed since that checkpoint and
what was left over. Only the last slice becomes the point: its instant is the point's. Raw disks and
VMs that are off cannot be sliced.

What an end at each step leaves, by a crash, a broken connection or an error:

    before 3     nothing
    in 3, 4, 5   the source host ends the job by itself, when its conversation ends, its time limit
                 passes or its scratch space fills up; its checkpoint and the incoming files stay.
                 The next attempt compares with what was received; a first copy resumes at its note.
    in 6         unknown whether the point exists: the replica is observed, never published again
    in 7         the point exists; the next copy deletes the checkpoints

Each attempt has an id, and a nonce in its checkpoints' names. The target accepts data only of the
attempt that opened the incoming files last, so nothing late of an earlier one is taken for this
one's.

Rule 1: until `publish` is requested, no published point has changed: every error before it is
Unavailable or Refused.
Rule 2: checkpoints that older points need are deleted only after the new point is published.
"""

import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.replication.copy_plan import (
    ReplicaState,
    checkpoint_name,
    known_origins,
    since,
    time_limit_s,
    wanted_mode,
)
from controller.replication.report import CopyReport, OnProgress, describe_copy
from controller.replication.source_host import Ended, OpenCopy, SourceEnd
from controller.replication.target_host import TargetEnd
from controller.replication.transfer import CopyEnds, Transfer

MOST_SLICES: Final = 1000
NO_ROOM: Final = "no room left for"


class Cycle:
    """Makes the next restore point of one VM."""

    def __init__(self, action: ReplicateDomain, ends: CopyEnds, estate: str,
                 clock: Callable[[], float], on_progress: OnProgress) -> None:
        self._action, self._ends, self._estate = action, ends, estate
        self._clock, self._on_progress = clock, on_progress
        self._failed = f"no restore point of {action.machine} was made on {action.to}"
        self._report = CopyReport()
        self.made = True
        """False once the point was found to be there already."""
        self._source: SourceEnd
        self._target: TargetEnd
        self._transfer: Transfer

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
                self._ends.source.starting("job", {"uuid": self._action.uuid}, self._failed)))
            session = await self._before_publish(stack.enter_async_context(
                self._ends.target.session(self._failed)))
            self._target = TargetEnd(session, self._action, self._failed)
            state = await self._before_publish(self._target.look(self._estate))
            if state.newest >= self._action.sequence:
                self.made = False
                return (f"restore point {state.newest} of {self._action.machine} is on"
                        f" {self._action.to} already")
            if state.recovered:
                self._report.remarks.append(
                    f"state.json of its replica was put right from a copy ({state.recovered})")
            self._source = SourceEnd(
                self._ends.source, await self._before_publish(starting.ready()), self._failed)
            self._transfer = Transfer(self._action, self._ends, self._target, self._failed,
                                      self._clock, self._on_progress, self._report)
            copy, started_at = await self._before_publish(self._slices(state))
            await self._transfer.publish(copy, started_at)
            try:
                await self._source.drop_checkpoints((copy.checkpoint,))
            except ActionError as error:    # the next copy deletes them
                self._report.remarks.append(f"older checkpoints were not deleted ({error})")
        return describe_copy(self._action, self._report)

    async def _before_publish(self, doing: Any) -> Any:
        """Return the result of `doing`; no error in it can have changed a point."""
        try:
            return await doing
        except OutcomeUnknown as error:
            raise Unavailable(f"{error}; the restore points are as they were") from error

    async def _slices(self, state: ReplicaState) -> tuple[OpenCopy, float]:
        """Copy in as many slices as it takes; return the last one, and its instant."""
        last: OpenCopy | None = None
        nonce = secrets.token_hex(4)
        for number in range(1, MOST_SLICES):
            request = self._request(
                state, checkpoint_name(self._action.sequence, nonce, number), last)
            async with self._transfer.slice():
                copy, started_at = await self._slice(state, request, first=last is None)
            if not self._transfer.unfinished:
                self._report.slices = number
                return copy, started_at
            await self._transfer.note(copy)
            last = copy
        raise Unavailable(f"{self._failed}: it was not done in {MOST_SLICES} slices")

    def _request(self, state: ReplicaState, name: str, last: OpenCopy | None) -> dict[str, Any]:
        """Return the request that begins a slice; `last` is the slice before."""
        action = self._action
        base = last.checkpoint if last else since(state)
        origins, run = (last.origins, last.run) if last else known_origins(state)
        modes = {disk.target: wanted_mode(state, disk) for disk in action.disks}
        if last:
            modes = {disk.target: CopyMode.INCREMENT if disk.trackable else CopyMode.SCAN
                     for disk in action.disks}
        return {
            "modes": modes, "checkpoint": name, "since": base, "quiesce": action.quiesce,
            "keep": sorted({state.checkpoint, base} - {""}),
            "limit_s": time_limit_s(action), "scratch_bytes": self._ends.terms.scratch_bytes,
            "known": {} if last or self._must_send(state) else dict(state.fingerprints),
            "origins": origins, "run": run, "unbroken": not state.newest,
            "sent": {} if last else dict(state.sent)}

    def _must_send(self, state: ReplicaState) -> bool:
        """Return whether something has to be sent even if the guest wrote nothing."""
        wanted = {disk.target for disk in self._action.disks} - state.left_out
        return bool(self._action.compare or state.repair or state.scan
                    or set(state.sizes) - state.left_out != wanted)

    async def _slice(self, state: ReplicaState, request: dict[str, Any], *,
                     first: bool) -> tuple[OpenCopy, float]:
        """Open a copy, send its disks and close it; return it and its instant."""
        self._source.ask_begin(request)
        not_connected = None
        most_likely_sends = (not first or state.busy or not state.newest
                             or self._must_send(state))
        if most_likely_sends and not self._transfer.relayed:
            try:
                await self._transfer.connect()
            except ActionError as error:
                not_connected = error   # the copy is beginning all the same, and is ended in order
        copy = await self._source.begun()
        started_at = self._clock() - copy.ago_s
        try:
            if not_connected is not None:
                raise not_connected
            self._report.add_copy(copy)
            await self._transfer.send_disks(state, copy, first=first, on_read=self._source.ask_end)
        except ActionError as error:
            raise await self._end_failed(error) from error
        if (await self._end()).moved:
            raise Unavailable(f"{self._failed}: the VM was started while its disks were read at"
                              " rest; what was read is not used, and it is tried again")
        return copy, started_at

    async def _end(self) -> Ended:
        """End the copy; report what happened to the guest, if anything."""
        ended = await self._source.end()
        self._report.incidents += [ended.incident] if ended.incident else []
        return ended

    async def _end_failed(self, error: ActionError) -> ActionError:
        """End a copy that failed and return the error to raise."""
        try:
            ended = await self._end()
        except ActionError:
            return error        # the host ends the copy by itself
        if NO_ROOM in str(error):
            await self._target.drop()
            return Refused(f"{self._failed}: the disk of {self._action.to} is full; what had been"
                           " received was deleted, the restore points are as they were. Free some"
                           " room")
        also = f"; {ended.incident}" if ended.incident else ""
        if ended.reason != "asked":
            guest = also or "; the guest was not touched"
            return Unavailable(f"{self._failed}: the copy was ended because {ended.reason}{guest};"
                               " it is tried again")
        return type(error)(f"{error}{also}") if also else error
