"""Promotion: a restore point becomes the VM, by two requests to the host that holds the replica.

    promote    the mover there: epoch and pin in one commit, overlays, NVRAM; it returns the point's
               definition (remote/mover/failover/promote.py)
    launch     the mover there: define, autostart off, start (remote/mover/failover/launch.py)

The VMs of a host that are promoted at the same time share both: what precedes a start is done for
all of them at once, and of the starts so many at a time as the host's width says.

Each step finds what was done before, so that all of it may be asked for again after any crash. A
managed save of an older copy is not resumed: its memory belongs to other disks.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused
from controller.plan.actions.promotion import PromoteReplica
from controller.providers.libvirt.virsh import failure as virsh_failure
from controller.providers.libvirt.xml.domain import place_nics
from controller.replication.mover import Mover, failure_of
from controller.transport.base import Reply

OnMade = Callable[[dict[str, Any], str], Awaitable[None]]
PROMOTE_S: Final = 120.0
START_S: Final = 180.0
TURNS: Final = 4
"""Of the event loop, for each that shared a request: it comes out of that one after the other."""


@dataclass(slots=True)
class Waiting:
    """A VM whose promotion is asked for, and how that ended."""

    request: dict[str, Any]
    answer: dict[str, Any] | None = None
    error: ActionError | None = None
    together: int = 1
    """How many shared its request."""


class Shared:
    """Requests of one verb: those to one host that come together are one."""

    def __init__(self, verb: str, timeout_s: float) -> None:
        self._verb, self._timeout_s = verb, timeout_s
        self._waiting: defaultdict[str, list[Waiting]] = defaultdict(list)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, mover: Mover, request: dict[str, Any], failed: str,
                  others: int = 0) -> Waiting:
        """Return a request with its answer; whoever is first asks for all that wait.

        `others` come at the same time, as far as is known: they are let go first.
        """
        mine, waiting = Waiting(request), self._waiting[mover.name]
        waiting.append(mine)
        for _ in range(1 + TURNS * others):
            await asyncio.sleep(0)      # until those that come together have come
        async with self._locks[mover.name]:
            if mine in waiting:
                batch = list(waiting)
                waiting.clear()
                await self._ask(mover, batch, failed)
        if mine.error is not None:
            raise mine.error
        if mine.answer is None:     # whoever asked was cancelled
            return await self.ask(mover, request, failed)
        return mine

    async def _ask(self, mover: Mover, batch: list[Waiting], failed: str) -> None:
        """Ask for all of a batch in one request, and note for each how it ended."""
        try:
            told = await mover.ask(self._verb, {"machines": [one.request for one in batch]},
                                   failed=failed, timeout_s=self._timeout_s)
            for one, answer in zip(batch, told["machines"], strict=True):
                one.answer, one.together = dict(answer), len(batch)
        except ActionError as error:
            for one in batch:
                one.error = error
        except (KeyError, TypeError, ValueError) as error:
            for one in batch:
                one.error = OutcomeUnknown(
                    f"{failed}, as far as is known: {mover.name} answered with something that is"
                    f" not understood ({error!r})")


class Promotions:
    """Promotes VMs; those of one host that come together share their requests."""

    def __init__(self) -> None:
        self._promote = Shared("promote", PROMOTE_S)
        self._launch = Shared("launch", START_S)

    async def promote(self, mover: Mover, action: PromoteReplica,
                      on_made: OnMade | None = None) -> str:
        """Make a restore point the VM and return a sentence that says what was done.

        `on_made` gets what the mover answered, and the definition, before that is defined.
        """
        failed = f"{action.machine} was not promoted on {action.node}"
        asked = await self._promote.ask(mover, request_of(action), failed)
        answer = asked.answer or {}
        if "failed" in answer:
            raise failure_of(answer["failed"], failed)
        try:
            promoted = answer["promoted"]
            definition, runs = str(promoted["xml"]), bool(promoted["runs"])
            lacking = [*promoted["remarks"], *(f"{medium} is not on {action.node}, its drive is"
                                               " empty" for medium in promoted["ejected"])]
            if action.nics:
                definition = place_nics(definition, action.nics)
        except (KeyError, TypeError) as error:
            raise OutcomeUnknown(f"{failed}, as far as is known: its mover answered with something"
                                 f" that is not understood ({error!r})") from error
        except ValueError as error:
            raise Refused(f"{failed}: {error}") from error
        if not runs and on_made is not None:
            await on_made(promoted, definition)
        if not runs:
            await self._define(mover, action, definition, asked.together - 1)
        said = "runs on {0} already" if runs else (
            "was promoted on {0} and started" if action.start else "was promoted on {0}")
        return "; ".join([f"{action.machine} {said.format(action.node)}: restore point"
                          f" {action.sequence} is the VM, epoch {action.epoch}", *lacking])

    async def _define(self, mover: Mover, action: PromoteReplica, definition: str,
                      others: int) -> None:
        """Define the VM and start it; of a domain of an earlier copy only its definition goes."""
        failed = (f"{action.machine} was promoted on {action.node}, and not"
                  f" {'started' if action.start else 'defined'} there")
        asked = await self._launch.ask(mover, {
            "uuid": action.uuid, "epoch": action.epoch, "xml": definition, "start": action.start,
            "width": action.width}, failed, others)
        told = asked.answer or {}
        try:
            error = None if not told else (
                virsh_failure(Reply(int(told["status"]), "", str(told["stderr"])), failed)
                if "stderr" in told else failure_of(told, failed))
        except (KeyError, TypeError, ValueError) as fault:
            raise OutcomeUnknown(f"{failed}, as far as is known: its mover answered with something"
                                 f" that is not understood ({fault!r})") from fault
        if error is not None:
            raise error


def request_of(action: PromoteReplica) -> dict[str, Any]:
    """Return what the mover is asked for one VM."""
    return {"replica": action.path, "sequence": action.sequence, "epoch": action.epoch,
            "uuid": action.uuid, "machine": action.machine, "without": list(action.without),
            "mark": {"estate": action.estate}}
