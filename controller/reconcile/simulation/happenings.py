"""What happens in a simulation, and when: by words of a person, or each single loss in turn."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from controller.errors import SpecError
from controller.model.desired import Desired
from controller.model.units import parse_duration_s, parse_instant_at, render_instant

LOST: Final = "lost"
BACK: Final = "back"
WORDS: Final = re.compile(r"(site|host)=([^:@=]+):(lost|back)@(.+)")
CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
FORM: Final = ("site=NAME:lost@22:00, host=NAME:back@+3h or …@2026-12-01T22:00:00Z; clocks are"
               " UTC")


class Happening(NamedTuple):
    """One site or host that is lost, or comes back."""

    at: float
    target: str
    """`Site/NAME` or `Host/NAME`."""
    state: str
    """lost or back."""

    @property
    def name(self) -> str:
        """Return the name of the site or host."""
        return self.target.partition("/")[2]


def happenings_of(words: Iterable[str], desired: Desired, began_at: float,
                  hours: float) -> list[Happening]:
    """Return what happens by the words of a person, in the order of time.

    Errors: SpecError that names every word that is wrong.
    """
    found, problems = [], []
    for word in words:
        try:
            found.append(parse_happening(word, desired, began_at, hours))
        except ValueError as error:
            problems.append(f"--what {word}: {error}")
    found.sort()
    lost: set[str] = set()
    for one in found:
        if one.state == BACK and one.target not in lost:
            problems.append(f"{one.target} cannot be back at {render_instant(one.at)}: it is not"
                            " lost before")
        if one.state == LOST and one.target in lost:
            problems.append(f"{one.target} cannot be lost at {render_instant(one.at)}: it is lost"
                            " already")
        (lost.add if one.state == LOST else lost.discard)(one.target)
    if problems:
        raise SpecError(tuple(problems))
    return found


def parse_happening(word: str, desired: Desired, began_at: float, hours: float) -> Happening:
    """Return what one word says.

    Errors: ValueError with what to write instead.
    """
    match = WORDS.fullmatch(word)
    if match is None:
        raise ValueError(f"it is not understood: write {FORM}")
    kind, name, state, when = match.groups()
    declared = desired.sites if kind == "site" else desired.hosts
    if name not in declared:
        raise ValueError(f"no {kind} {name} is declared: there are {', '.join(sorted(declared))}")
    at = parse_when(when, began_at)
    if at < began_at:
        raise ValueError(f"{render_instant(at)} is over: the simulation begins at"
                         f" {render_instant(began_at)}")
    if at > began_at + hours * 3600:
        raise ValueError(f"{render_instant(at)} is after the end, {hours:g} hours from"
                         f" {render_instant(began_at)}: say --hours")
    return Happening(at, f"{kind.capitalize()}/{name}", state)


def parse_when(text: str, began_at: float) -> float:
    """Return an instant: the next `22:00` UTC, `+3h` from the beginning, or as it is written.

    Errors: ValueError.
    """
    if text.startswith("+"):
        return began_at + parse_duration_s(text[1:])
    clock = CLOCK.fullmatch(text)
    if clock is None:
        return parse_instant_at(text)
    began = datetime.fromtimestamp(began_at, UTC)
    at = began.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    return (at if at >= began else at + timedelta(days=1)).timestamp()


def every_loss(desired: Desired, began_at: float, hours: float, seed: int) -> list[Happening]:
    """Return the loss of each site and each host, in an order by the seed, spread over the hours.
    """
    targets = [*(f"Site/{name}" for name in sorted(desired.sites)),
               *(f"Host/{name}" for name in sorted(desired.hosts))]
    Random(seed).shuffle(targets)
    step_s = hours * 3600 / (len(targets) + 1)
    return [Happening(began_at + number * step_s, target, LOST)
            for number, target in enumerate(targets, start=1)]
