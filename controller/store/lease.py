"""
The lease: which controller conducts. One place keeps it; every driver keeps this contract.

A lease has a holder, a time to live and a term. The term only grows: whoever gets the lease anew
gets a higher one, and nobody else ever gets that one. A holder that renews in time keeps its term.

    take      free, or run out, or ours        ─► ours; a higher term unless it was ours all along
              another's                        ─► denied: whose it is, and for how long
    renew     ours in that term, not run out   ─► ours for another time to live
    release   ours in that term                ─► free at once; the term stays noted
    read      whose it is; changes nothing

Who counts from when is what makes it safe. The holder counts from the moment before it asked; the
place counts from the moment when it noted the answer, which is later, and adds what its clock may
run faster. So the holder stops before the place gives the lease to another. No two clocks are ever
compared, only durations, and each is counted by a clock that goes on while the machine sleeps.

A restarted place cannot know how long it was away: what it had noted counts from its start. What
it cannot read it does not guess: then there is no answer, never term 0.

The lease alone keeps nobody from acting: a process may be stopped between its last look at the
clock and its next command. That is why every command carries the term, and hosts refuse a lower
one (`providers/termed.py`).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol


class Term(NamedTuple):
    """Which controller conducts: a number that only grows, and who has it."""

    number: int
    holder: str


HIGHEST_TERM: Final = 2**53 - 1
"""What every shell and JSON reader can hold; one takeover a second reaches it never."""


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A lease as its place knows it, in answer to one question."""

    holder: str
    """Who has it, or had it last if it ran out; empty when it was released or never taken."""
    term: int
    granted: bool
    """Whether the asker has it now, in this term."""
    left_s: float
    """How long the place gives it to nobody else; 0 when it is free."""
    sentence: str


class Lease(Protocol):
    """A lease at one place; errors of every method: Unavailable or OutcomeUnknown (the place gave
    no answer), Refused (it cannot read what it has noted).

    Shapes: every question may be repeated, also when its first answer was lost: a holder asks under
    a name that no other process has.
    """

    @property
    def place(self) -> str:
        """Return where it is kept, for sentences."""
        ...

    async def take(self, holder: str, ttl_s: float, above: int = 0) -> LeaseState:
        """Take it if it is free; a new term is higher than `above`, the highest that hosts know."""
        ...

    async def renew(self, holder: str, term: int, ttl_s: float) -> LeaseState:
        """Keep it for another time to live."""
        ...

    async def release(self, holder: str, term: int) -> LeaseState:
        """Give it up, so that the next controller need not wait."""
        ...

    async def read(self) -> LeaseState:
        """Return whose it is."""
        ...

    async def close(self) -> None:
        """Close what was opened for it."""
        ...
