"""A queue of names: what should be looked into next, and what must wait for what.

Rule 1: it holds names, never content; whoever takes a name looks at the world anew.
Rule 2: one name is never in two hands; offered while it is in hand, it comes again afterwards.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from random import Random
from typing import Final

from controller.model.document import Rung
from controller.plan.actions.action import Action, Cause
from controller.plan.actions.machine import ResumeDomain, StartDomain

AGE_S: Final = 30.0
"""Waiting this long lifts a name by one class, so that no class starves."""
BACK_OFF_FIRST_S: Final = 1.0
BACK_OFF_MOST_S: Final = 300.0
JITTER: Final = 0.2


class Priority(IntEnum):
    """The classes, most urgent first."""

    HUMAN = 0
    EMERGENCY = 1
    COMMIT = 2
    HEAL = 3
    PERIODIC = 4


class Standing(StrEnum):
    """Where a name stands."""

    READY = "ready"
    IN_HAND = "in hand"
    BACKING_OFF = "backing off"
    """A transient error: it comes again by itself at its time."""
    PARKED = "parked"
    """Something it needs is missing: a change of the world wakes it."""
    STALLED = "stalled"
    """Trying again is useless until a person or a commit changes something."""


@dataclass(slots=True)
class _Entry:
    """What is known of one name."""

    standing: Standing
    priority: Priority
    since_s: float
    why: str = ""
    failures: int = 0
    due_s: float = 0.0
    again: Priority | None = None
    """Offered while in hand: the class in which it comes again."""
    ticket: int = 0
    """Heap entries with another ticket are out of date."""


class KeyedQueue:
    """Names by urgency and age. Every method takes the instant; nothing here reads a clock."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = Random(seed)
        self._entries: dict[str, _Entry] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._due: list[tuple[float, int, str]] = []
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._entries)

    def standing(self, name: str) -> Standing | None:
        """Return where `name` stands; None when the queue does not hold it."""
        entry = self._entries.get(name)
        return entry.standing if entry else None

    def why(self, name: str) -> str:
        """Return the sentence with which `name` was put where it is."""
        entry = self._entries.get(name)
        return entry.why if entry else ""

    def names(self, standing: Standing) -> tuple[str, ...]:
        """Return every name that stands so, sorted."""
        return tuple(sorted(name for name, e in self._entries.items() if e.standing is standing))

    def offer(self, name: str, priority: Priority, now_s: float) -> None:
        """Ask for `name` to be looked into.

        Shapes: one that is ready only ever gets more urgent; one that is parked is woken; one that
        is stalled stays so, and so does one that backs off, unless a person or an emergency asks
        and what failed was less urgent.
        """
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry(Standing.READY, priority, now_s)
            self._push(name, entry)
        elif entry.standing is Standing.IN_HAND:
            entry.again = priority if entry.again is None else min(entry.again, priority)
        elif entry.standing is Standing.PARKED or (
                entry.standing is Standing.BACKING_OFF
                and priority < entry.priority and priority <= Priority.EMERGENCY):
            self._make_ready(name, entry, priority, now_s)
        elif entry.standing is Standing.READY and priority < entry.priority:
            entry.priority = priority
            self._push(name, entry)

    def take(self, now_s: float, wanted: Callable[[str], bool] = lambda name: True) -> str | None:
        """Return the most urgent name that is wanted, and hold it in hand; None when none is ready.
        """
        self._wake_due(now_s)
        passed_over = []
        try:
            while self._ready:
                place = heapq.heappop(self._ready)
                _, ticket, name = place
                entry = self._entries.get(name)
                if not (entry and entry.ticket == ticket and entry.standing is Standing.READY):
                    continue
                if not wanted(name):
                    passed_over.append(place)
                    continue
                entry.standing, entry.since_s = Standing.IN_HAND, now_s
                return name
            return None
        finally:
            for place in passed_over:
                heapq.heappush(self._ready, place)

    def done(self, name: str, now_s: float) -> None:
        """Put `name` down after success; its failures are forgotten."""
        entry = self._held(name)
        if entry.again is None:
            del self._entries[name]
        else:
            entry.failures, priority, entry.again = 0, entry.again, None
            self._make_ready(name, entry, priority, now_s)

    def retry(self, name: str, now_s: float, why: str = "",
              most_s: float = BACK_OFF_MOST_S) -> float:
        """Put `name` down after a transient error, and return when it comes again, in seconds."""
        entry = self._held(name)
        delay_s = min(BACK_OFF_FIRST_S * 2.0 ** min(entry.failures, 20), most_s)
        delay_s *= 1.0 + JITTER * (2.0 * self._dice.random() - 1.0)
        entry.failures, entry.again, entry.why = entry.failures + 1, None, why
        entry.standing, entry.since_s, entry.due_s = Standing.BACKING_OFF, now_s, now_s + delay_s
        heapq.heappush(self._due, (entry.due_s, self._new_ticket(entry), name))
        return delay_s

    def park(self, name: str, now_s: float, why: str) -> None:
        """Let `name` wait until something changes; it may be new, waiting or in hand."""
        self._set_aside(name, Standing.PARKED, now_s, why)

    def stall(self, name: str, now_s: float, why: str) -> None:
        """Let `name` wait until a person, a commit or the world changes what it was refused for.
        """
        self._set_aside(name, Standing.STALLED, now_s, why)

    def free(self, name: str, priority: Priority, now_s: float) -> None:
        """End every wait of `name`, stalled or not: a person or a commit said so."""
        entry = self._entries.get(name)
        if entry and entry.standing not in {Standing.IN_HAND, Standing.READY}:
            entry.failures = 0
            self._make_ready(name, entry, priority, now_s)

    def free_all(self, now_s: float) -> None:
        """End every wait there is; what is in hand stays there."""
        for name in sorted(self._entries):
            self.free(name, self._entries[name].priority, now_s)

    def drop(self, name: str) -> None:
        """Forget `name`, unless it is in hand, or its back-off still has to be remembered."""
        entry = self._entries.get(name)
        if entry and entry.standing is Standing.IN_HAND:
            entry.again = None
        elif entry and entry.standing is not Standing.BACKING_OFF:
            del self._entries[name]

    def next_due(self) -> float | None:
        """Return the instant at which the next back-off ends; None when none runs."""
        while self._due:
            due_s, ticket, name = self._due[0]
            entry = self._entries.get(name)
            if entry and entry.ticket == ticket:
                return due_s
            heapq.heappop(self._due)
        return None

    def _wake_due(self, now_s: float) -> None:
        """Make everything ready whose back-off has ended."""
        due_s = self.next_due()
        while due_s is not None and due_s <= now_s:
            name = heapq.heappop(self._due)[2]
            entry = self._entries[name]
            self._make_ready(name, entry, entry.priority, now_s)
            due_s = self.next_due()

    def _set_aside(self, name: str, standing: Standing, now_s: float, why: str) -> None:
        """Put `name` where no clock wakes it; one that already stands there keeps its age."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry(standing, Priority.PERIODIC, now_s)
        if entry.standing is not standing:
            entry.standing, entry.since_s = standing, now_s
        entry.again, entry.why = None, why
        self._new_ticket(entry)

    def _make_ready(self, name: str, entry: _Entry, priority: Priority, now_s: float) -> None:
        """Put `name` in line in a class."""
        entry.standing, entry.priority, entry.since_s = Standing.READY, priority, now_s
        self._push(name, entry)

    def _push(self, name: str, entry: _Entry) -> None:
        """Enter the line: since all age alike, class and arrival make one number for ever."""
        rank = entry.priority * AGE_S + entry.since_s
        heapq.heappush(self._ready, (rank, self._new_ticket(entry), name))

    def _new_ticket(self, entry: _Entry) -> int:
        """Make every heap entry that `entry` has out of date."""
        self._tickets += 1
        entry.ticket = self._tickets
        return self._tickets

    def _held(self, name: str) -> _Entry:
        """Return the entry of a name that must be in hand."""
        entry = self._entries.get(name)
        assert entry is not None, f"{name} is not in the queue"
        assert entry.standing is Standing.IN_HAND, f"{name} is {entry.standing}, not in hand"
        return entry


def urgency_of(action: Action) -> Priority:
    """Return the class: a person first, then what is down, then commits, then other drift.

    A copy is routine; one that is late, or that mends something, is as urgent as other drift.
    """
    if action.cause is Cause.HUMAN:
        return Priority.HUMAN
    if action.cause is Cause.ROUTINE or (
            action.rung is Rung.REPLICATE and action.cause is Cause.COMMIT):
        return Priority.PERIODIC
    if action.cause is Cause.COMMIT:
        return Priority.COMMIT
    down = isinstance(action, StartDomain | ResumeDomain) or action.rung is Rung.FAILOVER
    return Priority.EMERGENCY if down else Priority.HEAL
