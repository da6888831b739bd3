"""A planned move: a VM goes to the host that holds its replica, and nothing of it is lost.

    1  copy what has changed, while it runs; again, if that took longer than a pause should
    2  shut it down, in good order: its power is never cut for a move
    3  copy the last difference, while it is off
    4  that point becomes the VM on the other host, with a higher epoch

It is off from 2 to 4. Before 4 everything is undone by starting it where it was: nothing there was
changed, and the points that were made are restore points like any other. From 4 on its old copy is
of an older epoch, and is left as it is. After a crash the VM is seen off where it was, or promoted;
whoever conducts then starts it or goes on.

Rule 1: only a point that was begun after the VM was seen off becomes the VM.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.machine import StartDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain
from controller.providers.libvirt.domain import STILL_ON, shut_down_command, start
from controller.providers.libvirt.virsh import OFF, failure, find_state
from controller.providers.node import Node
from controller.transport.base import Transport

PAUSE_S: Final = 5.0
"""A round that took longer is followed by another one, while the VM still runs."""
ROUNDS: Final = 5

Copy = Callable[[ReplicateDomain], Awaitable[bool]]
"""Makes a restore point; False if that one was there already."""
Promote = Callable[[PromoteReplica], Awaitable[str]]


async def move(transport: Transport, action: MoveDomain, copy: Copy, promote: Promote) -> str:
    """Move a VM, and return how long it was off.

    Errors: Refused or Unavailable when it runs where it was, or is off there as before;
    OutcomeUnknown when it may have been promoted.
    """
    source = Node(transport, action.node)
    failed = f"{action.domain} was not moved to {action.promotion.node}"
    state = await find_state(source, action.uuid)
    if state is None:
        raise Refused(f"{failed}: it is not on {source.name} any more")
    was_on = state not in OFF
    sequence = await _rounds(action, copy, failed) if was_on else action.copy.sequence
    began_s = time.monotonic()
    try:
        if was_on:
            await _shut_down(source, action, failed)
        if not await copy(replace(action.copy, sequence=sequence)):
            raise Unavailable(f"{failed}: somebody else copied it at the same time")
        if await find_state(source, action.uuid) not in OFF:
            raise Unavailable(f"{failed}: somebody started it while it was being moved")
    except ActionError as error:
        raise await _undone(source, action, error, was_on=was_on) from error
    said = await _promote(transport, action, sequence, promote, was_on=was_on)
    return f"{said}; it was off for {time.monotonic() - began_s:.1f} s"


async def _rounds(action: MoveDomain, copy: Copy, failed: str) -> int:
    """Copy what changes while the VM runs, until little is left; return the next sequence."""
    sequence = action.copy.sequence
    for _ in range(ROUNDS):
        began_s = time.monotonic()
        if not await copy(replace(action.copy, sequence=sequence)):
            raise Unavailable(f"{failed}: somebody else copied it at the same time")
        sequence += 1
        if time.monotonic() - began_s <= PAUSE_S:
            break
    return sequence


async def _shut_down(source: Node, action: MoveDomain, failed: str) -> None:
    reply = await source.run(shut_down_command(action.uuid, action.limit_s))
    if reply.exit_status != 0:
        if await find_state(source, action.uuid) in OFF:
            return
        if reply.exit_status == STILL_ON:
            raise Refused(f"{failed}: it did not shut down within {action.limit_s:.0f} s, and its"
                          " power is not cut for a move; shut it down by hand, and order it again")
        raise failure(reply, failed)


async def _promote(transport: Transport, action: MoveDomain, sequence: int, promote: Promote, *,
                   was_on: bool) -> str:
    """Make the last point the VM; where that surely did not happen, start it where it was."""
    try:
        return await promote(replace(action.promotion, sequence=sequence))
    except (Refused, Unavailable) as error:
        target = Node(transport, action.promotion.node)
        if await find_state(target, action.uuid) not in {None, *OFF}:
            raise OutcomeUnknown(f"{action.domain} may run on {target.name}: {error}") from error
        raise await _undone(Node(transport, action.node), action, error, was_on=was_on) from error


async def _undone(source: Node, action: MoveDomain, error: ActionError, *,
                  was_on: bool) -> ActionError:
    """Start the VM where it was, if it ran, and return what to raise."""
    if not was_on:
        return error
    try:
        await start(source, StartDomain(target=action.target, node=source.name, uuid=action.uuid,
                                        reason=action.reason, domain=action.domain))
    except ActionError as second:
        return type(error)(f"{error}; and it could not be started on {source.name} again: {second}")
    return type(error)(f"{error}; it runs on {source.name} as before")

