"""Storms over one lease: slow and cut lines, wrong clocks, deaths; two never hold it at once."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from controller.errors import OutcomeUnknown
from controller.providers.simulated.virtual_time import run_virtual
from controller.reconcile.lease import Candidate
from controller.store.lease import Lease, LeaseState
from tests.reconcile.candidates import DRIFT, TTL_S, Client, Hosts, Place, kept, leased, time_s

STORM_S = 300.0
LOOK_S = 0.1


@dataclass
class Weather:
    """How wrong clocks are, and what is planted."""

    drift: float = DRIFT
    """By how much the place's clock is faster than the holders'."""
    counts_from_the_answer: bool = False
    forgets_at_reboot: bool = False


@dataclass
class Story:
    """What happened."""

    doubles: list[tuple[float, str, str]] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    held_s: float = 0.0


class Slow(Client):
    """A line that takes its time both ways, and loses questions and answers."""

    def __init__(self, at: Place, name: str, dice: random.Random) -> None:
        super().__init__(at, name)
        self.dice = dice

    async def take(self, holder: str, ttl_s: float, above: int = 0) -> LeaseState:
        """Take it over the line."""
        await self._line()
        said = await super().take(holder, ttl_s, above)
        await self._line()
        return said

    async def renew(self, holder: str, term: int, ttl_s: float) -> LeaseState:
        """Keep it over the line."""
        await self._line()
        said = await super().renew(holder, term, ttl_s)
        await self._line()
        return said

    async def read(self) -> LeaseState:
        """Read it over the line."""
        await self._line()
        said = await super().read()
        await self._line()
        return said

    async def _line(self) -> None:
        await asyncio.sleep(self.dice.choice((0.01, 0.1, 4.0)) * self.dice.random())
        if self.dice.random() < 0.05:
            raise OutcomeUnknown("the line broke")


class FromTheAnswer(Candidate):
    """Planted: it counts from when the answer came."""

    async def _take_in(self, lease: Lease, said: LeaseState, asked: float) -> None:
        await super()._take_in(lease, said, self._boottime())


async def storm(seed: int, weather: Weather) -> Story:
    """Let three controllers contend while everything goes wrong."""
    dice, story = random.Random(seed), Story()
    at, hosts = Place(rate=1 + weather.drift), Hosts()
    kind = FromTheAnswer if weather.counts_from_the_answer else Candidate
    known: list[Candidate] = []     # the dead, too: their last word still counts

    def clock() -> Callable[[], float]:
        """Return a machine's clock."""
        offset_s = dice.uniform(0, 1e5)
        return lambda: offset_s + time_s()

    async def lives(name: str) -> None:
        """One controller after another on one machine."""
        for life in range(1, 1000):
            holder = f"{name}/{life}"
            one = kind(holder, clock(), lambda _: Slow(at, name, dice), hosts.announce,
                       standby=dice.random() < 0.5)
            one.declare(leased())
            known.append(one)
            async with kept(one):
                await asyncio.sleep(dice.uniform(5, 90))
            await asyncio.sleep(dice.uniform(0, 20))

    async def place() -> None:
        """The place of the lease reboots now and then, and is cut off."""
        while True:
            await asyncio.sleep(dice.uniform(10, 60))
            if dice.random() < 0.5:
                at.until = at.now_s() + (0.0 if weather.forgets_at_reboot
                                         else TTL_S * (1 + DRIFT))
            at.cut = frozenset(dice.sample(("milan", "paris", "third"), dice.randrange(3)))

    tasks = [asyncio.create_task(lives(name)) for name in ("milan", "paris", "third")]
    tasks.append(asyncio.create_task(place()))
    while time_s() < STORM_S:
        holding = [one for one in known if (view := one.view()) is not None and view.held]
        if len(holding) > 1:
            story.doubles.append((time_s(), holding[0].holder, holding[1].holder))
        story.terms += [one.term() for one in holding]
        story.held_s += LOOK_S * bool(holding)
        await asyncio.sleep(LOOK_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return story


@pytest.mark.parametrize("seed", range(40))
def test_in_any_weather_at_most_one_holds_it_and_the_term_only_grows(seed: int) -> None:
    story = run_virtual(storm(seed, Weather()))
    assert story.doubles == []
    assert story.terms == sorted(story.terms)
    assert len(set(story.terms)) > 1
    assert story.held_s > STORM_S / 10


@pytest.mark.parametrize("planted", [
    Weather(drift=0.2), Weather(counts_from_the_answer=True), Weather(forgets_at_reboot=True)],
    ids=["clocks wronger than declared", "counts from the answer", "forgets at a reboot"])
def test_a_planted_mistake_makes_two_hold_it(planted: Weather) -> None:
    assert any(run_virtual(storm(seed, planted)).doubles for seed in range(60))
