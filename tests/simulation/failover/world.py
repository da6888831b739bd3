"""Virtual time, ways between machines, and what really happens; nobody in it knows all of this.

Times are true times in seconds. Each machine has a clock of its own, which runs at its `rate`.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from controller.model.failover.spec import GuardSpec

if TYPE_CHECKING:
    from tests.simulation.failover.lines import Line

GUARD = GuardSpec()


@dataclass(frozen=True)
class Mistakes:
    """What is planted; all off: nothing is."""

    skip_grantor: bool = False
    """The survey does not ask one of the grantors."""
    answers_first: bool = False
    """Grantors answer, and note it much later."""
    forgets_epoch: bool = False
    """A VM keeps the epoch that it had."""
    drift: float = 0.0
    """By how much the clocks of one site's hosts run slower than the bound says."""
    no_restart_rule: bool = False
    """A grantor that has restarted says that it never granted."""
    ignores_leases: bool = False
    """A controller takes its lease for fresh for ever, and nodes take orders of any term."""


@dataclass
class Breach:
    """Two copies of one VM that ran at once, and for how long."""

    machine: str
    excused: bool
    """Whether a freeze without a watchdog explains it, which is declared to be possible."""
    length_s: float


class Sleeper(Protocol):
    """Who can be left out while nothing changes, and then knows what it would have seen."""

    loops_at: float

    def is_idle(self) -> bool:
        """Whether it does the same over and over, until something changes."""

    def sleep(self) -> None:
        """Do nothing from now on."""

    def dream(self) -> bool:
        """Leave one loop out; False: there it has to look for itself."""

    def wake(self) -> None:
        """Know what it would know now, and go on."""


@dataclass
class World:
    """True time, what is connected, and the laws that were broken."""

    dice: Random
    mistakes: Mistakes
    now: float = 0.0
    story: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    promotions: int = 0
    is_over: bool = False
    exact: bool = False
    """Whether every ask of every guard is played, and every decision made anew."""
    wires: dict[tuple[str, str], list["Line"]] = field(default_factory=dict)
    """By way, from whom to whom: what is asked and answered by it."""
    sleepers: list["Sleeper"] = field(default_factory=list)
    """Who does the same over and over while nothing changes."""
    changed_at: float = 0.0
    """When anything changed last that anybody could see."""
    _asleep: bool = False
    _down: set[tuple[str, str]] = field(default_factory=set)
    _queue: list[tuple[float, int, Callable[[], None], bool]] = field(default_factory=list)
    _number: int = 0

    def say(self, text: str) -> None:
        """Add one line to the story."""
        self.story.append(f"{self.now:8.2f}  {text}")
        self.stir()

    def fail(self, law: str) -> None:
        """Note that a law was broken."""
        self.broken.append(f"{self.now:.2f}: {law}")
        self.say(f"BROKEN {law}")

    def at(self, when: float, what: Callable[[], None], *, quiet: bool = False) -> None:
        """Have something happen at a time; quiet: nobody else sees that, or it stirs by itself."""
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, what, quiet))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        """Have something happen after a while."""
        self.at(self.now + delay_s, what)

    def run(self, until: float) -> None:
        """Let time pass."""
        queue = self._queue
        while True:
            if not (self.exact or self._asleep) and all(one.is_idle() for one in self.sleepers):
                self._asleep = True
                for one in self.sleepers:
                    one.sleep()
            if self._asleep:
                self._dream(min(until, queue[0][0] if queue else until))
            if not queue or queue[0][0] > until:
                break
            self.now, _, what, quiet = heapq.heappop(queue)
            if not quiet:
                self.rouse()
            what()
        self.now = until
        self.rouse()

    def stir(self) -> None:
        """Note that something changes."""
        self.changed_at = self.now
        self.rouse()

    def rouse(self) -> None:
        """Have everybody go on who is asleep; before anything changes that they would see."""
        if self._asleep:
            self._asleep = False
            for one in self.sleepers:
                one.wake()

    def _dream(self, until: float) -> None:
        """Let time pass for those asleep, up to where one of them has to see something."""
        while True:
            first = min(self.sleepers, key=lambda one: one.loops_at)
            if first.loops_at >= until:
                return
            if not first.dream():
                self.now = first.loops_at
                self.rouse()
                return

    def cut(self, one: Iterable[str], other: Iterable[str], *, back: bool = True) -> None:
        """Cut the ways from some to others, and back; once the storm is over, nothing is cut."""
        wanted = {(a, b) for a in (() if self.is_over else one) for b in other if a != b}
        if back:
            wanted |= {(b, a) for a, b in wanted}
        self._now_down(self._down | wanted)

    def mend(self, one: Iterable[str] | None = None) -> None:
        """Mend all ways, or those from and to some."""
        these = set(one or ())
        self._now_down({way for way in self._down if one is not None and these.isdisjoint(way)})

    def _now_down(self, ways: set[tuple[str, str]]) -> None:
        changed, self._down = sorted(ways ^ self._down), ways
        if changed:
            self.stir()
        for line in dict.fromkeys(line for way in changed for line in self.wires.get(way, ())):
            line.refresh()

    def passes(self, start: str, end: str) -> bool:
        """Whether a message gets through now."""
        return (start, end) not in self._down

    def answers(self, one: str, other: str) -> bool:
        """Whether a question and its answer get through now."""
        return self.passes(one, other) and self.passes(other, one)
