"""Virtual time, ways between machines, and what really happens; nobody in it knows all of this.

Times are true times in seconds. Each machine has a clock of its own, which runs at its `rate`.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

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
    _down: set[tuple[str, str]] = field(default_factory=set)
    _queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def say(self, text: str) -> None:
        """Add one line to the story."""
        self.story.append(f"{self.now:8.2f}  {text}")

    def fail(self, law: str) -> None:
        """Note that a law was broken."""
        self.broken.append(f"{self.now:.2f}: {law}")
        self.say(f"BROKEN {law}")

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have something happen at a time."""
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        """Have something happen after a while."""
        self.at(self.now + delay_s, what)

    def run(self, until: float) -> None:
        """Let time pass."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, what = heapq.heappop(queue)
            what()
        self.now = until

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
        for line in dict.fromkeys(line for way in changed for line in self.wires.get(way, ())):
            line.refresh()

    def passes(self, start: str, end: str) -> bool:
        """Whether a message gets through now."""
        return (start, end) not in self._down

    def answers(self, one: str, other: str) -> bool:
        """Whether a question and its answer get through now."""
        return self.passes(one, other) and self.passes(other, one)
