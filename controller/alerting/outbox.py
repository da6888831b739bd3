"""
What waits to be sent to one receiver: letters in their order, and when the next one is tried.

    a letter was        then
    taken               it goes; what was given up before it has been said, in it
    refused             it waits, twice as long each time, and others go before it
    not answered        all letters wait: nobody was reached, or nobody knows
    perhaps taken       as not answered, but it is sent TRIES times at most: a receiver that takes
                        everything and never says so must not wake somebody for ever

What ends it: a letter is given up when it is older than LASTS_S, and the oldest when more than MOST
wait. What was given up is counted, said in the condition Notified, and in the next letter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from controller.alerting.message import Message
from controller.model.units import render_duration, render_instant

MOST: Final = 50
LASTS_S: Final = 86400.0
FIRST_AGAIN_S: Final = 5.0
LONGEST_AGAIN_S: Final = 300.0
TRIES: Final = 3
"""Of a letter that may have arrived."""
LATE_S: Final = 120.0
"""A letter that arrives later than this says so."""
BAD_AFTER: Final = 2
"""One failure in a row is nothing to be told of."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that was not taken yet."""

    message: Message
    tries: int = 0
    not_before: float = 0.0
    perhaps: int = 0
    """How often it may have arrived."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """The letters to one receiver, and how it fares."""

    letters: tuple[Letter, ...] = ()
    failures: int = 0
    """In a row."""
    failing_since: float | None = None
    not_before: float = 0.0
    fault: str = ""
    """What the last try failed with, or what was odd about it."""
    lost: int = 0
    """Letters that were given up since the last that was taken."""
    taken_at: float | None = None

    def next_due(self) -> float | None:
        """Return when something is to be tried; None where nothing waits."""
        return min((max(self.not_before, letter.not_before) for letter in self.letters),
                   default=None)

    def due(self, now_s: float) -> Letter | None:
        """Return the letter to be sent now; None where none is."""
        if self.not_before > now_s:
            return None
        return next((letter for letter in self.letters if letter.not_before <= now_s), None)

    @property
    def is_bad(self) -> bool:
        """Return whether somebody should know that this receiver does not get everything."""
        return self.failures >= BAD_AFTER or self.lost > 0 or (
            self.failures == 0 and self.fault != "")

    def sentence(self) -> str:
        """Return how it fares; empty where all is well."""
        if not self.is_bad:
            return ""
        parts = [self.fault or "it was not reached"]
        if self.failing_since is not None:
            parts.append(f"so since {render_instant(self.failing_since)}")
        if self.letters:
            parts.append(f"{counted(len(self.letters))} {_wait(len(self.letters))}")
        if self.lost:
            parts.append(f"{counted(self.lost)} {'was' if self.lost == 1 else 'were'} given up")
        return "; ".join(parts)


def put(outbox: Outbox, message: Message) -> Outbox:
    """Return the outbox with one more letter; the oldest is given up where too many wait."""
    letters = (*outbox.letters, Letter(message))
    too_many = max(0, len(letters) - MOST)
    return replace(outbox, letters=letters[too_many:], lost=outbox.lost + too_many)


def without_old(outbox: Outbox, now_s: float) -> Outbox:
    """Return the outbox without letters that nobody needs any more."""
    kept = tuple(one for one in outbox.letters if now_s - one.message.at < LASTS_S)
    return outbox if len(kept) == len(outbox.letters) else replace(
        outbox, letters=kept, lost=outbox.lost + len(outbox.letters) - len(kept))


def taken(outbox: Outbox, letter: Letter, remark: str, now_s: float) -> Outbox:
    """Return the outbox after a letter was taken; `remark` is what was odd about that."""
    return Outbox(_without(outbox.letters, letter), fault=remark, taken_at=now_s)


def refused(outbox: Outbox, letter: Letter, why: str, now_s: float) -> Outbox:
    """Return the outbox after a letter was refused: it waits, and others go before it."""
    later = replace(letter, tries=letter.tries + 1, not_before=now_s + pause_s(letter.tries))
    return _failed(replace(outbox, letters=_with(outbox.letters, later)), why, now_s)


def not_answered(outbox: Outbox, letter: Letter, why: str, now_s: float, *,
                 perhaps: bool) -> Outbox:
    """Return the outbox after nobody answered; `perhaps`: the letter may have arrived."""
    count = letter.perhaps + 1 if perhaps else letter.perhaps
    failed = _failed(outbox, why, now_s)
    wait = replace(failed, not_before=now_s + pause_s(outbox.failures))
    if count >= TRIES:
        return replace(wait, letters=_without(outbox.letters, letter), lost=outbox.lost + 1)
    return replace(wait, letters=_with(outbox.letters, replace(
        letter, tries=letter.tries + 1, perhaps=count)))


def as_sent(letter: Letter, outbox: Outbox, now_s: float) -> Message:
    """Return a letter's message as it is sent now: it says that it is late, and what is missing."""
    message, said = letter.message, []
    if now_s - message.at > LATE_S:
        said.append(f"Late: this was written {render_duration(now_s - message.at)} ago, and could"
                    " not be sent until now.")
    if outbox.lost:
        said.append(f"Before it {counted(outbox.lost)} could not be sent and"
                    f" {'was' if outbox.lost == 1 else 'were'} given up: see `hotsite status`.")
    if not said:
        return message
    return replace(message, text="\n".join((*said, "", message.text)))


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failures before this one."""
    return float(min(LONGEST_AGAIN_S, FIRST_AGAIN_S * 2 ** min(failures, 16)))


def counted(number: int) -> str:
    """Return a number of messages in words."""
    return "one message" if number == 1 else f"{number} messages"


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _failed(outbox: Outbox, why: str, now_s: float) -> Outbox:
    since = now_s if outbox.failing_since is None else outbox.failing_since
    return replace(outbox, failures=outbox.failures + 1, failing_since=since, fault=why)


def _without(letters: Iterable[Letter], letter: Letter) -> tuple[Letter, ...]:
    return tuple(one for one in letters if one.message.id != letter.message.id)


def _with(letters: Iterable[Letter], letter: Letter) -> tuple[Letter, ...]:
    return tuple(letter if one.message.id == letter.message.id else one for one in letters)
