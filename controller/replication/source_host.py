"""The source end of a restore point: one conversation with the mover that conducts the VM's copies.

Rule 1: whatever becomes of this end, the host ends the copy by itself.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Unavailable
from controller.replication.copy_plan import OpenDisk, parse_opened
from controller.replication.mover import LAST_WORD_S, Mover, failure
from controller.transport.base import Conversation
from controller.transport.json_text import parse_json

PATIENCE_S: Final = {"begun": 1200.0, "ended": 600.0, "dropped": 600.0}
"""By answer: longer than the mover takes at worst, which waits for libvirt itself, with limits."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A copy that is open on the source."""

    off: bool
    checkpoint: str
    """That was made with it, or, at rest, that it builds on."""
    quiesced: bool
    unquiesced_because: str
    ago_s: float
    disks: dict[str, OpenDisk]
    fingerprints: dict[str, Any]
    origins: dict[str, Any]
    """What each disk lies in."""
    run: str
    """Of which process of the guest's this is an instant; empty where none is known."""
    definition: str
    nvram: str | None
    """Squeezed, as it is kept; None where there is none, or why it is missing is told."""
    nvram_missing: str
    left_out: dict[str, str]
    """By disk: why the source would not copy it."""

    @property
    def lacking(self) -> tuple[str, ...]:
        """Return the disks that the source would not copy, each with why."""
        return tuple(f"disk {target} ({why})" for target, why in sorted(self.left_out.items()))


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
        fingerprints=told.get("fingerprints", {}), origins=told.get("origins", {}),
        run=told.get("run", ""), definition=told["xml"],
        nvram=told.get("nvram"), nvram_missing=told.get("nvram_missing", ""),
        left_out=dict(told.get("left_out", {})))


def parse_ended(told: dict[str, Any]) -> Ended:
    """Return how a copy ended."""
    return Ended(told["reason"], told["was"] == "moved", told["was"] == "running",
                 told["incident"])


class SourceEnd:
    """Orders to the mover that conducts a VM's copies; `failed` begins every complaint.

    Rule 1: an order that is `ask…` is under way until its answer is awaited, before any other.
    Rule 2: once an answer has not been heard, nothing is asked any more: the host ends the copy.
    """

    def __init__(self, mover: Mover, talk: Conversation, failed: str) -> None:
        self._mover, self._talk, self._failed = mover, talk, failed
        self._is_ending = self._is_over = False
        self._number = self._copy = 0

    def ask_begin(self, order: dict[str, Any]) -> None:
        """Have a copy opened."""
        self._is_ending = False
        self._copy = self._tell("begin", order)

    async def begun(self) -> Begun:
        """Return the copy that was asked for.

        Errors: Refused, Unavailable (a job of somebody else's, a lock), OutcomeUnknown.
        """
        return parse_begun(await self._answer("begun", self._copy))

    def ask_end(self) -> None:
        """Have the copy closed, unless that was asked for already."""
        if not self._is_ending:
            self._is_ending = True
            self._tell("end", True)

    async def end(self) -> Ended:
        """Close the copy, or hear how it ended by itself."""
        self.ask_end()
        return parse_ended(await self._answer("ended", self._copy))

    async def drop_checkpoints(self, keep: tuple[str, ...]) -> list[str]:
        """Delete every checkpoint of ours but those to keep."""
        answer = await self._answer("dropped", self._tell("drop", list(keep)))
        return list(answer["names"])

    def _tell(self, name: str, value: Any) -> int:
        self._number += 1
        self._talk.send(json.dumps({"number": self._number, name: value}))
        return self._number

    async def _answer(self, answer: str, number: int) -> dict[str, Any]:
        if self._is_over:
            raise Unavailable(f"{self._failed}: {self._mover.name} was not asked any more, since an"
                              " earlier answer of its mover was not heard; it is tried again")
        self._is_over = True    # until the answer is here, whatever ends the waiting for it
        try:
            async with asyncio.timeout(PATIENCE_S[answer]):
                line = await self._talk.receive()
        except TimeoutError:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: {self._mover.name} did not"
                                 f" answer within {PATIENCE_S[answer]:g} s; it is looked at again"
                                 ) from None
        if line is None:
            raise await self.complaint()
        try:
            whole = parse_json(line)
            if whole["number"] != number:
                raise ValueError(f"an answer to question {whole['number']}, not to {number}")
            told = whole[answer]
            self._is_over = False
            return told if isinstance(told, dict) else {"names": told}
        except (ValueError, KeyError, TypeError) as error:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: {self._mover.name} answered"
                                 f" with something that is not understood ({error})") from error

    async def complaint(self) -> ActionError:
        """Return why the mover has ended."""
        return failure(await self._talk.outcome(LAST_WORD_S), self._failed)
