"""The lease at a witness: asked and noted over SSH, with nothing to install there."""

import json
from typing import Any, Final, Protocol

from controller.errors import OutcomeUnknown, Refused
from controller.providers.linux.program import load_program
from controller.store.lease import HIGHEST_TERM, LeaseState
from controller.transport.json_text import parse_json

FOLDER: Final = "/var/lib/hotsite/lease"


class Asks(Protocol):
    """The part of a transport that asks a resident helper on a node."""

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Send one line to the helper, and return its one-line answer."""
        ...


class WitnessLease:
    """The lease of one estate, in a file at one witness."""

    def __init__(self, transport: Asks, witness: str, estate: str, *, drift: float,
                 answer_s: float, folder: str = FOLDER) -> None:
        self._transport, self._witness = transport, witness
        self._drift, self._answer_s = drift, answer_s
        self._common = {"folder": folder, "estate": estate}

    @property
    def place(self) -> str:
        """Return which witness keeps it."""
        return f"witness {self._witness}"

    async def take(self, holder: str, ttl_s: float, above: int = 0) -> LeaseState:
        """Take it if it is free."""
        return await self._ask({"verb": "take", "holder": holder, "ttl_s": ttl_s,
                                "drift": self._drift, "above": above})

    async def renew(self, holder: str, term: int, ttl_s: float) -> LeaseState:
        """Keep it for another time to live."""
        return await self._ask({"verb": "renew", "holder": holder, "term": term, "ttl_s": ttl_s,
                                "drift": self._drift})

    async def release(self, holder: str, term: int) -> LeaseState:
        """Give it up."""
        return await self._ask({"verb": "release", "holder": holder, "term": term})

    async def read(self) -> LeaseState:
        """Return whose it is."""
        return await self._ask({"verb": "read"})

    async def close(self) -> None:
        """Do nothing: the transport is another's."""

    async def _ask(self, question: dict[str, Any]) -> LeaseState:
        """Ask the witness; a repeated question has the same effect as one (see the contract)."""
        line = json.dumps(question | self._common)
        text = await self._transport.ask(self._witness, load_program("witness/lease.py"), line,
                                         self._answer_s)
        try:
            answer = parse_json(text)
            if "refused" in answer:
                raise Refused(f"{self._witness} does not say whose the lease is:"
                              f" {answer['refused']}")
            if "failed" in answer:
                raise OutcomeUnknown(f"{self._witness} could not note the lease:"
                                     f" {answer['failed']}")
            return parse_state(answer)
        except (ValueError, TypeError, KeyError) as error:
            raise OutcomeUnknown(f"{self._witness} answered about the lease with something that is"
                                 f" not understood ({error})") from error


def parse_state(answer: dict[str, Any]) -> LeaseState:
    """Return a lease as it was answered.

    Errors: ValueError, TypeError or KeyError for anything else.
    """
    term, left_s, granted = answer["term"], float(answer["left_s"]), answer["granted"]
    if not isinstance(term, int) or not 0 <= term <= HIGHEST_TERM or not isinstance(granted, bool):
        raise ValueError(f"a lease in term {term!r}")
    if granted and term == 0:
        raise ValueError("a lease without a term")
    return LeaseState(str(answer["holder"]), term, granted, left_s, str(answer["sentence"]))
