"""The source end of a restore point: one conversation with the mover that conducts the VM's copies.

Rule 1: whatever becomes of this end, the host ends the copy by itself.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from controller.errors import ActionError, OutcomeUnknown
from controller.replication.choice import Opened, parse_opened
from controller.replication.mover import LAST_WORD_S, Mover, failure
from controller.transport.base import Conversation


@dataclass(frozen=True, slots=True)
class Begun:
    """A copy that is open on the source."""

    off: bool
    checkpoint: str
    """That was made with it, or, at rest, that it builds on."""
    quiesced: bool
    unquiesced_because: str
    ago_s: float
    disks: dict[str, Opened]
    fingerprints: dict[str, Any]
    definition: str
    nvram: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a copy ended."""

    reason: str
    moved: bool
    """A VM at rest did not stay so: what was read is worth nothing."""
    stuck: bool
    incident: str


def parse_begun(told: dict[str, Any]) -> Begun:
    """Return what the mover says of a copy that it opened.

    Errors: KeyError, TypeError or ValueError for an answer of another shape.
    """
    return Begun(
        off=told["state"] == "off", checkpoint=told["checkpoint"], quiesced=told["quiesced"],
        unquiesced_because=told["unquiesced_because"], ago_s=float(told["ago_s"]),
        disks={name: parse_opened(name, disk) for name, disk in sorted(told["disks"].items())},
        fingerprints=told.get("fingerprints", {}), definition=told["xml"],
        nvram=told.get("nvram"))


def parse_ended(told: dict[str, Any]) -> Ended:
    """Return how a copy ended."""
    return Ended(told["reason"], told["was"] == "moved", told["was"] == "running",
                 told["incident"])


class SourceEnd:
    """Orders to the mover that conducts a VM's copies; `failed` begins every complaint."""

    def __init__(self, mover: Mover, talk: Conversation, failed: str) -> None:
        self._mover, self._talk, self._failed = mover, talk, failed

    async def begin(self, order: dict[str, Any]) -> Begun:
        """Open a copy.

        Errors: Refused, Unavailable (a job of somebody else's, a lock), OutcomeUnknown.
        """
        return parse_begun(await self._order("begin", order, "begun"))

    async def end(self) -> Ended:
        """Close the copy, or hear how it ended by itself."""
        return parse_ended(await self._order("end", True, "ended"))

    async def drop_checkpoints(self, keep: tuple[str, ...]) -> list[str]:
        """Delete every checkpoint of ours but those to keep."""
        answer = await self._order("drop", list(keep), "dropped")
        return list(answer["names"])

    async def _order(self, name: str, value: Any, answer: str) -> dict[str, Any]:
        self._talk.tell(json.dumps({name: value}))
        line = await self._talk.hear()
        if line is None:
            raise await self.complaint()
        try:
            told = json.loads(line)[answer]
            return told if isinstance(told, dict) else {"names": told}
        except (ValueError, KeyError, TypeError) as error:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: {self._mover.name} answered"
                                 f" with something that is not understood ({error})") from error

    async def complaint(self) -> ActionError:
        """Return why the mover has ended."""
        return failure(await self._talk.outcome(LAST_WORD_S), self._failed)


@asynccontextmanager
async def source_end(mover: Mover, uuid: str, failed: str) -> AsyncIterator[SourceEnd]:
    """Start the mover that conducts a VM's copies; it is put there where it is not."""
    async with mover.started("job", {"uuid": uuid}, failed) as talk:
        yield SourceEnd(mover, talk, failed)
