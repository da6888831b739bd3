"""A planned move: a VM goes to the host that holds its replica, and nothing of it is lost.

    1  copy what has changed, while it runs; again, until that takes no longer than a pause may
    2  shut it down, in good order, or save its memory (memory.py), as is declared; its power is
       never cut for a move
    3  copy the last difference, while it is off, and carry its memory at the same time
    4  that point becomes the VM on the other host, with a higher epoch, which starts or goes on

Which copy is the VM, and who may start it, at each moment:

    before 4                   the one at the source: its mark has the highest epoch. Any start
                               there boots it after a shutdown, or goes on from its memory
    4, up to the definition    still that one: libvirt at the target knows of none. The replica is
                               promoted already; `demote` takes that back, since no guest wrote
    from the definition on     the one at the target: the source's is of an older epoch, and nobody
                               starts it. Any start at the target boots it, or goes on from memory

A step that surely failed is undone: the definition goes while the domain at the target is off, then
the promotion, then the VM is started where it was. After a crash in between whoever conducts looks:
it starts the VM where it is, or orders the move again, which begins by taking back what is left of
the attempt before.

Rule 1: only a point that was begun after the VM was seen off becomes the VM.
Rule 2: it is started at the source again only once the target surely has neither a domain of it nor
        a promotion.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.units import render_duration
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.machine import StartDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain
from controller.providers.libvirt.domain import STILL_ON, shut_down_command, start
from controller.providers.libvirt.facts import parse_ownership
from controller.providers.libvirt.virsh import CONNECT, OFF, failure, find_state, find_xml
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import Node, script_command
from controller.replication import memory
from controller.replication.mover import Mover
from controller.replication.promotion import OnMade

ROUNDS: Final = 5
UNDEFINE: Final = """
uuid=$1 connect=$2 epoch=$3
xml=$(virsh -q -c "$connect" dumpxml --inactive -- "$uuid" 2>/dev/null) || exit 0
case $xml in *"epoch='$epoch'"*|*"epoch=\\"$epoch\\""*) ;; *) exit 0;; esac
[ "$(virsh -q -c "$connect" domstate -- "$uuid")" = 'shut off' ] || { echo 'it is not off' >&2
    exit 1; }
saved=$4/$(virsh -q -c "$connect" domname -- "$uuid").save
[ ! -e "$saved" ] || mv -f -- "$saved" "$saved.gone" || exit
virsh -q -c "$connect" undefine --nvram --checkpoints-metadata -- "$uuid" >&2 || {
    status=$?
    [ ! -e "$saved.gone" ] || mv -f -- "$saved.gone" "$saved"
    exit $status
}
rm -f -- "$saved.gone"
"""
"""Only a definition of that epoch goes: an older one is not ours to take. libvirt undefines none
that has saved memory, which virsh cannot take from it where we gave it: so that goes first."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What a move is made of besides virsh."""

    copy: Callable[[ReplicateDomain], Awaitable[bool]]
    """Makes a restore point; False if that one was there already."""
    promote: Callable[[PromoteReplica, OnMade | None], Awaitable[str]]
    """Makes a point the VM; calls back before that is defined."""
    carry: Callable[[ReplicateDomain, int, str], Awaitable[None]]
    """Brings saved memory of so many bytes to the target."""


async def move(source: Node, action: MoveDomain, hands: Hands) -> str:
    """Move a VM, and return how long it was off or stood still.

    Errors: Refused or Unavailable when it runs where it was, or is off there as before;
    OutcomeUnknown when nobody knows where it is.
    """
    return await Move(source, action, hands).run()


class Move:
    """One attempt at a move."""

    def __init__(self, source: Node, action: MoveDomain, hands: Hands) -> None:
        self._source, self._action, self._hands = source, action, hands
        self._target = Node(source.transport, action.promotion.node)
        self._failed = f"{action.domain} was not moved to {self._target.name}"
        self._size_bytes = 0
        self._epoch = 0
        """Of the copy at the source."""

    async def run(self) -> str:
        """Move it."""
        action, source = self._action, self._source
        was_on = await self._look()
        sequence = await self._rounds() if was_on else action.copy.sequence
        began_s = time.monotonic()
        try:
            if was_on:
                await self._stop()
            await self._bring(sequence, with_memory=action.by_memory and was_on)
            if await find_state(source, action.uuid) not in OFF:
                raise Unavailable(f"{self._failed}: somebody started it while it was being moved")
        except (Refused, Unavailable) as error:
            raise await self._undone(error, was_on=was_on) from error
        said = await self._promote(sequence, was_on=was_on)
        took_s = time.monotonic() - began_s
        if not (action.by_memory and was_on):
            return f"{said}; it was off for {took_s:.1f} s"
        left = await memory.forget(source, action)
        return f"{said}; its memory went along, and it stood still for {took_s:.1f} s{left}"

    async def _look(self) -> bool:
        """Take back what an earlier attempt left, and return whether the VM has to be stopped.

        One that libvirt has saved is resumed first: without its memory it would boot as after a
        power cut.
        """
        action, source = self._action, self._source
        state = await find_state(source, action.uuid)
        text = await find_xml(source, action.uuid, inactive=True)
        if state is None or text is None:
            raise Refused(f"{self._failed}: it is not on {source.name} any more")
        try:
            mark = parse_ownership(parse_xml(text))
        except ValueError as error:
            raise Refused(f"{self._failed}: its definition is not understood ({error})") from error
        self._epoch = 0 if mark is None else mark.epoch
        await self._demote()
        if state in OFF and await memory.is_saved(source, action.uuid):
            await self._start()
            state = await find_state(source, action.uuid)
        if state not in OFF and action.by_memory:
            self._size_bytes = await memory.require_movable(source, self._target, action,
                                                            self._failed)
        return state not in OFF

    async def _rounds(self) -> int:
        """Copy what changes while the VM runs, until little is left; return the next sequence.

        Errors: Refused where even the last round took longer than the declared pause.
        """
        action, sequence, took_s = self._action, self._action.copy.sequence, 0.0
        for _ in range(ROUNDS):
            began_s = time.monotonic()
            await self._copy(sequence)
            sequence += 1
            took_s = time.monotonic() - began_s
            if took_s <= action.pause_s:
                return sequence
        raise Refused(
            f"{self._failed}, and runs as before: after {ROUNDS} rounds what it had changed still"
            f" took {render_duration(took_s)} to copy, and `move.pause` of its policy is"
            f" {render_duration(action.pause_s)}: raise that, or move it when it writes less")

    async def _copy(self, sequence: int) -> None:
        if not await self._hands.copy(replace(self._action.copy, sequence=sequence)):
            raise Unavailable(f"{self._failed}: somebody else copied it at the same time")

    async def _bring(self, sequence: int, *, with_memory: bool) -> None:
        """Copy the last difference, and carry the memory meanwhile; both have ended afterwards.

        Errors: of both failures the one after which least is known.
        """
        both: list[Awaitable[None]] = [self._copy(sequence)]
        if with_memory:
            both.append(self._hands.carry(self._action.copy, self._size_bytes, self._failed))
        said = await asyncio.gather(*both, return_exceptions=True)
        errors = [one for one in said if one is not None]
        if errors:
            raise next((one for one in errors if not isinstance(one, (Refused, Unavailable))),
                       errors[0])

    async def _stop(self) -> None:
        """Shut the VM down, or save its memory."""
        action, source = self._action, self._source
        if action.by_memory:
            await memory.save(source, action, self._size_bytes, self._failed)
            return
        reply = await source.run(shut_down_command(action.uuid, action.limit_s))
        if reply.exit_status == 0 or await find_state(source, action.uuid) in OFF:
            return
        if reply.exit_status == STILL_ON:
            raise Refused(f"{self._failed}: it did not shut down within {action.limit_s:.0f} s, and"
                          " its power is not cut for a move; order it again, and shut it down by"
                          " hand while that is tried")
        raise failure(reply, self._failed)

    async def _promote(self, sequence: int, *, was_on: bool) -> str:
        """Make the last point the VM; where that surely did not happen, start it where it was."""
        action = self._action
        promotion = replace(action.promotion, sequence=sequence)
        try:
            if not (action.by_memory and was_on):
                return await self._hands.promote(promotion, None)
            said = await self._hands.promote(replace(promotion, start=False), self._place)
            await memory.resume(self._target, action, self._failed)
            return said
        except (Refused, Unavailable) as error:
            if await find_state(self._target, action.uuid) not in {None, *OFF}:
                raise OutcomeUnknown(
                    f"{action.domain} may run on {self._target.name}: {error}") from error
            raise await self._undone(error, was_on=was_on) from error

    async def _place(self, promoted: dict[str, Any], definition: str) -> None:
        await memory.place(Mover(self._target), self._action, promoted, definition, self._failed)

    async def _undone(self, error: ActionError, *, was_on: bool) -> ActionError:
        """Take back what was done at the target, start the VM where it was, if it ran, and return
        what to raise."""
        try:
            reply = await self._target.run(script_command(
                UNDEFINE, self._action.uuid, CONNECT, str(self._action.promotion.epoch),
                memory.SAVES))
            if reply.exit_status != 0:
                raise failure(reply, f"its definition stays on {self._target.name}")
            await self._demote()
        except ActionError as second:
            return OutcomeUnknown(
                f"{error}; and what was made of it on {self._target.name} could not be taken back"
                f" ({second}): it is off on both hosts, and is looked at again")
        if not was_on:
            return error
        try:
            await self._start()
        except ActionError as second:
            return type(error)(f"{error}; and it could not be started on {self._source.name} again:"
                               f" {second}")
        return type(error)(f"{error}; it runs on {self._source.name} as before")

    async def _demote(self) -> None:
        """Let the replica follow the copy at the source again, unless it does."""
        action = self._action
        await Mover(self._target).ask(
            "demote", {"replica": action.promotion.path, "uuid": action.uuid, "to": self._epoch},
            failed=f"{self._failed}: what an attempt at it left on {self._target.name} was not"
                   " taken back")

    async def _start(self) -> None:
        action = self._action
        await start(self._source, StartDomain(
            target=action.target, node=self._source.name, uuid=action.uuid, reason=action.reason,
            domain=action.domain))
