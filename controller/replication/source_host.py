"""The source end of a restore point: one conversation with the mover that conducts the VM's copies.

Rule 1: if the controller or the connection goes away, the host ends the copy by itself.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import OutcomeUnknown, Unavailable
from controller.model.replica import PARTS
from controller.replication.copy_plan import OpenDisk
from controller.replication.mover import EXIT_S, Mover, failure
from controller.transport.base import Conversation
from controller.transport.json_text import parse_json

ANSWER_LIMITS_S: Final = {"begun": 1200.0, "ended": 600.0, "dropped": 600.0}
"""By answer: longer than the mover's own time limits add up to."""


@dataclass(frozen=True, slots=True)
class OpenCopy:
    """A copy that is open on the source: all disks at one instant."""

    off: bool
    checkpoint: str
    """The one made at its instant; of a VM that is off, the one it builds on."""
    quiesced: bool
    unquiesced_because: str
    ago_s: float
    disks: dict[str, OpenDisk]
    fingerprints: dict[str, Any]
    origins: dict[str, Any]
    """By disk: its image files."""
    run: str
    """The run of the guest: which QEMU process; empty if unknown."""
    definition: str
    parts: dict[str, str]
    """What it has besides its disks, see PARTS: compressed."""
    parts_missing: dict[str, str]
    """Which of them could not be read, and why."""
    left_out: dict[str, str]
    """By disk: why the source could not copy it."""
    epoch: int = 0
    """Which copy of its VM the domain is, by its mark."""

    @property
    def lacking(self) -> tuple[str, ...]:
        """Return the disks that the source could not copy, each with why."""
        return tuple(f"disk {target} ({why})" for target, why in sorted(self.left_out.items()))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a copy ended."""

    reason: str
    moved: bool
    """Whether a VM that was off was started meanwhile: then the copy is not one instant."""
    incident: str
    """What happened to the guest, if anything."""


def parse_begun(answer: dict[str, Any]) -> OpenCopy:
    """Return a copy from the mover's answer to `begin`.

    Errors: KeyError, TypeError or ValueError for an answer of another shape.
    """
    return OpenCopy(
        off=answer["state"] == "off", checkpoint=answer["checkpoint"], quiesced=answer["quiesced"],
        unquiesced_because=answer["unquiesced_because"], ago_s=float(answer["ago_s"]),
        disks={name: parse_opened(name, disk) for name, disk in sorted(answer["disks"].items())},
        fingerprints=answer.get("fingerprints", {}), origins=answer.get("origins", {}),
        run=answer.get("run", ""), definition=answer["xml"],
        parts={name: str(answer[name]) for name in PARTS if answer.get(name) is not None},
        parts_missing={name: str(why) for name in PARTS
                       if (why := answer.get(f"{name}_missing"))},
        left_out=dict(answer.get("left_out", {})), epoch=int(answer.get("epoch", 0)))


def parse_opened(target: str, answer: Mapping[str, Any]) -> OpenDisk:
    """Return one disk from the mover's `begun`."""
    return OpenDisk(
        target, tracked=bool(answer["tracked"]), why=answer["why"],
        socket=answer.get("socket", ""), export=answer.get("export", target),
        bitmap=answer.get("bitmap", ""), size_bytes=int(answer["size_bytes"]),
        dirty_bytes=int(answer["dirty_bytes"]), changed=answer.get("changed", ""),
        holes=bool(answer.get("holes")))


def parse_ended(answer: dict[str, Any]) -> Ended:
    """Return how a copy ended, from the mover's answer to `end`."""
    return Ended(answer["reason"], answer["was"] == "moved", answer["incident"])


class SourceEnd:
    """Requests to the mover that conducts a VM's copies; `failed` begins each error's sentence.

    Rule 1: `ask_…` sends a request without waiting; its answer is awaited before another request.
    Rule 2: after an answer that was not received, nothing more is asked: the host ends the copy.
    """

    def __init__(self, mover: Mover, talk: Conversation, failed: str) -> None:
        self._mover, self._talk, self._failed = mover, talk, failed
        self._is_ending = self._is_over = False
        self._number = self._copy = 0

    def ask_begin(self, order: dict[str, Any]) -> None:
        """Ask for a copy to be opened."""
        self._is_ending = False
        self._copy = self._send("begin", order)

    async def begun(self) -> OpenCopy:
        """Wait for the copy that was asked for.

        Errors: Refused, Unavailable (another program's backup job, a lock), OutcomeUnknown.
        """
        return parse_begun(await self._answer("begun", self._copy))

    def ask_end(self) -> None:
        """Ask for the copy to be closed, once."""
        if not self._is_ending:
            self._is_ending = True
            self._send("end", True)

    async def end(self) -> Ended:
        """Close the copy and return how it ended, by this request or by itself."""
        self.ask_end()
        return parse_ended(await self._answer("ended", self._copy))

    async def drop_checkpoints(self, keep: tuple[str, ...]) -> None:
        """Delete all our checkpoints except `keep`."""
        await self._answer("dropped", self._send("drop", list(keep)))

    def _send(self, name: str, value: Any) -> int:
        self._number += 1
        self._talk.send(json.dumps({"number": self._number, name: value}))
        return self._number

    async def _answer(self, kind: str, number: int) -> Any:
        if self._is_over:
            raise Unavailable(f"{self._failed}: {self._mover.name} was not asked, because an"
                              " earlier answer of its mover was not received; it is tried again")
        self._is_over = True    # until the answer is here, however the wait for it ends
        try:
            async with asyncio.timeout(ANSWER_LIMITS_S[kind]):
                line = await self._talk.receive()
        except TimeoutError:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: {self._mover.name} did not"
                                 f" answer within {ANSWER_LIMITS_S[kind]:g} s; it is looked at"
                                 " again") from None
        if line is None:
            raise failure(await self._talk.outcome(EXIT_S), self._failed)
        try:
            whole = parse_json(line)
            if whole["number"] != number:
                raise ValueError(f"an answer to question {whole['number']}, not to {number}")
            answer = whole[kind]
            self._is_over = False
            return answer
        except (ValueError, KeyError, TypeError) as error:
            raise OutcomeUnknown(f"{self._failed}, as far as is known: {self._mover.name} answered"
                                 f" with something that is not understood ({error})") from error
