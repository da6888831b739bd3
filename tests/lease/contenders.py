"""Controllers that contend for one lease, die and come back; and whether two ever acted at once.

A contender acts from when the answer came until what it counted from before it asked. Slow lines,
deaths in the middle of a question, and holders that sleep through their lease are part of it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from controller.errors import ActionError
from controller.store.lease import Lease, LeaseState


def boot_clock() -> float:
    """Return the clock that goes on while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Span:
    """One holder may act from `begin` to `end`, in a term."""

    holder: str
    term: int
    begin: float
    end: float


@dataclass
class Contest:
    """What happened."""

    spans: list[Span] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    """From the last instant at which a dead holder might have acted, to the next holder."""
    deaths: int = 0
    errors: int = 0

    @property
    def takeovers(self) -> int:
        """Return how many terms there were after the first."""
        return max(0, len({span.term for span in self.spans}) - 1)

    def double_acts(self) -> list[tuple[Span, Span]]:
        """Return spans of different terms that overlap."""
        found = []
        last: Span | None = None
        for span in sorted(self.spans, key=lambda one: one.begin):
            if last is not None and span.term != last.term and span.begin < last.end:
                found.append((last, span))
            if last is None or span.end > last.end:
                last = span
        return found

    def shared_terms(self) -> set[int]:
        """Return terms that two holders had."""
        holders: dict[int, set[str]] = {}
        for span in self.spans:
            holders.setdefault(span.term, set()).add(span.holder)
        return {term for term, names in holders.items() if len(names) > 1}

    def falling_terms(self) -> list[tuple[Span, Span]]:
        """Return spans whose term is lower than an earlier one's."""
        ordered = sorted(self.spans, key=lambda one: one.begin)
        return [(a, b) for a, b in pairwise(ordered) if b.term < a.term]


@dataclass
class Weather:
    """What goes wrong, each as a share of the questions."""

    slow_s: float = 0.0
    """The longest way to or from the place."""
    dies: float = 0.0
    asleep: float = 0.0


async def contend(make: Callable[[], Lease], names: tuple[str, ...], ttl_s: float, takeovers: int,
                  weather: Weather, seed: int = 0) -> Contest:
    """Let controllers contend until there were so many takeovers."""
    contest = Contest()
    await asyncio.gather(*(
        _controller(contest, make, name, ttl_s, takeovers, weather, random.Random(f"{seed}{name}"))
        for name in names))
    return contest


async def _controller(contest: Contest, make: Callable[[], Lease], name: str, ttl_s: float,
                      takeovers: int, weather: Weather, dice: random.Random) -> None:
    """Contend, one life after another: each has a name of its own."""
    life = 0
    lease = make()
    while contest.takeovers < takeovers:
        life += 1
        holder, term, renewals = f"{name}/{life}", 0, dice.randrange(0, 4)
        while contest.takeovers < takeovers:
            asked = boot_clock()
            await asyncio.sleep(dice.random() * weather.slow_s)
            try:
                question = (lease.renew(holder, term, ttl_s) if term else
                            lease.take(holder, ttl_s))
                if dice.random() < weather.dies:
                    await _cut_off(question, dice.random() * ttl_s / 10)
                    contest.deaths += 1
                    break
                said = await question
            except ActionError:
                contest.errors += 1
                term = 0
                await asyncio.sleep(ttl_s / 10)
                continue
            await asyncio.sleep(dice.random() * weather.slow_s)
            term = _note(contest, said, holder, asked + ttl_s)
            if term and renewals == 0:
                contest.deaths += 1     # it dies while it holds the lease
                break
            renewals -= 1 if term else 0
            asleep = term and dice.random() < weather.asleep
            await asyncio.sleep(2 * ttl_s if asleep else ttl_s / (3 if term else 10))
    await lease.close()


async def _cut_off(question: Coroutine[Any, Any, LeaseState], after_s: float) -> None:
    """Ask, and be gone before the answer, or just after."""
    task = asyncio.create_task(question)
    await asyncio.wait({task}, timeout=after_s)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _note(contest: Contest, said: LeaseState, holder: str, until: float) -> int:
    """Note what a holder may do now, and return its term; 0 if it holds nothing."""
    now = boot_clock()
    if not said.granted:
        return 0
    if now < until:
        first = all(span.term != said.term for span in contest.spans)
        if first and contest.spans:
            contest.waits_s.append(now - max(span.end for span in contest.spans))
        contest.spans.append(Span(holder, said.term, now, until))
    return said.term
