"""Promotion: a restore point becomes the VM, by two requests to the host that holds the replica.

    promote    the mover there: epoch and pin in one commit, overlays, NVRAM; it returns the point's
               definition (remote/mover/failover/promote.py). The VMs of a host that are promoted
               at the same time share one request
    define     virsh there: define, autostart off, start

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
from controller.providers.libvirt.virsh import CONNECT
from controller.providers.libvirt.virsh import failure as virsh_failure
from controller.providers.libvirt.xml.domain import place_nics
from controller.providers.node import script_command
from controller.replication.mover import Mover, failure_of

OnMade = Callable[[dict[str, Any], str], Awaitable[None]]
PROMOTE_S: Final = 120.0
START_S: Final = 180.0
DEFINE: Final = """
uuid=$1 start=$2
set -- virsh -q -c "$3"
for old in $("$@" checkpoint-list --name -- "$uuid" 2>/dev/null); do
    "$@" checkpoint-delete --metadata -- "$uuid" "$old" >&2
done
"$@" define /dev/stdin >&2 || exit
"$@" autostart --disable -- "$uuid" >&2 || exit
[ "$start" = no ] || "$@" start --force-boot -- "$uuid" >&2 || exit
ovs-appctl --timeout=5 fdb/flush >/dev/null 2>&1 || :
"""
"""At last the host's switches forget where they saw which address: a guest that says nothing would
be looked for behind the uplink, where its old copy was, for minutes."""


@dataclass(slots=True)
class Waiting:
    """A VM whose promotion is asked for, and how that ended."""

    request: dict[str, Any]
    answer: dict[str, Any] | None = None
    error: ActionError | None = None


class Promotions:
    """Promotes VMs; those of one host that come together share a request."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[Waiting]] = defaultdict(list)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def promote(self, mover: Mover, action: PromoteReplica,
                      on_made: OnMade | None = None) -> str:
        """Make a restore point the VM and return a sentence that says what was done.

        `on_made` gets what the mover answered, and the definition, before that is defined.
        """
        failed = f"{action.machine} was not promoted on {action.node}"
        answer = await self._asked(mover, request_of(action), failed)
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
            await define(mover, action, definition)
        said = "runs on {0} already" if runs else (
            "was promoted on {0} and started" if action.start else "was promoted on {0}")
        return "; ".join([f"{action.machine} {said.format(action.node)}: restore point"
                          f" {action.sequence} is the VM, epoch {action.epoch}", *lacking])

    async def _asked(self, mover: Mover, request: dict[str, Any], failed: str) -> dict[str, Any]:
        """Return what the mover answers for one VM; whoever is first asks for all that wait."""
        mine, waiting = Waiting(request), self._waiting[mover.name]
        waiting.append(mine)
        await asyncio.sleep(0)      # until those that come together have come
        async with self._locks[mover.name]:
            if mine in waiting:
                batch = list(waiting)
                waiting.clear()
                await _ask(mover, batch, failed)
        if mine.error is not None:
            raise mine.error
        if mine.answer is None:     # whoever asked was cancelled
            return await self._asked(mover, request, failed)
        if "failed" in mine.answer:
            raise failure_of(mine.answer["failed"], failed)
        return mine.answer


async def _ask(mover: Mover, batch: list[Waiting], failed: str) -> None:
    """Ask for all of a batch in one request, and note for each how it ended."""
    try:
        told = await mover.ask("promote", {"machines": [one.request for one in batch]},
                               failed=failed, timeout_s=PROMOTE_S)
        for one, answer in zip(batch, told["machines"], strict=True):
            one.answer = dict(answer)
    except ActionError as error:
        for one in batch:
            one.error = error
    except (KeyError, TypeError, ValueError) as error:
        for one in batch:
            one.error = OutcomeUnknown(f"{failed}, as far as is known: {mover.name} answered with"
                                       f" something that is not understood ({error!r})")


def request_of(action: PromoteReplica) -> dict[str, Any]:
    """Return what the mover is asked for one VM."""
    return {"replica": action.path, "sequence": action.sequence, "epoch": action.epoch,
            "uuid": action.uuid, "machine": action.machine, "without": list(action.without),
            "mark": {"estate": action.estate}}


async def define(mover: Mover, action: PromoteReplica, definition: str) -> None:
    """Define the VM and start it; of a domain of an earlier copy only its definition goes."""
    reply = await mover.node.run(script_command(
        DEFINE, action.uuid, "yes" if action.start else "no", CONNECT, text=definition,
        timeout_s=START_S))
    if reply.exit_status != 0 and "already active" not in reply.stderr:
        raise virsh_failure(reply, f"{action.machine} was promoted on {action.node}, and not"
                            f" {'started' if action.start else 'defined'} there")
