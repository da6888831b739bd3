"""
The queue of targets: which one is looked into next, and what each of the others waits for.

A key is the name of an object (`VirtualMachine/sql`, `Replica/sql`, `Host/milan-1`). The queue
holds keys and no content: whoever takes one asks for the current plan, so a key that is offered
ten times while facts change makes one piece of work, on the last facts. This is level triggering.

                 offer              take                 done
    (not there) ───────► READY ────────────► TAKEN ───────────────► (not there, or READY where it
                           ▲                  │ │ │                  was offered meanwhile)
                           │ due, or urgent   │ │ └─ stall ─► STALLED     ends: `free` alone
                           ├──────────────────┼─┼─ retry ──► BACKING_OFF  ends: its time
                           │ offer            │ └─ park ───► PARKED       ends: the next offer
                           └──────────────────┘

One key is never taken by two workers: of one VM there is one step at a time, whatever else the
plan allows. What ends a wait depends on what would help: time, after an error that may pass
(BACKING_OFF); a plan in which the target has a step again (PARKED); a commit, a person, or a
change that lifts the refusal (STALLED, by `free`). A person or an emergency does not wait for the
back-off of something less urgent.

Priority: a person first, then what is down, commits, other drift, routine. As all keys age alike,
class and arrival make one number that never changes: 30s of waiting lift a key by one class, so
that no class starves, and a heap is enough. Heap entries are never removed: a ticket tells those
that are out of date.

Only the loop's own tasks touch it, between awaits, so there is no lock. No method reads a clock.
A crash loses it whole; the first plan after a restart fills it again.
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
from controller.reconcile.decide.attempts import BACK_OFF_MOST_S, back_off_s

AGE_S: Final = 30.0
"""Waiting this long lifts a key by one class."""


class Priority(IntEnum):
    """The classes, most urgent first."""

    HUMAN = 0
    EMERGENCY = 1
    COMMIT = 2
    HEAL = 3
    PERIODIC = 4


class State(StrEnum):
    """The states of a key."""

    READY = "ready"
    TAKEN = "taken"
    BACKING_OFF = "backing off"
    """After an error that may pass: ready again at its time."""
    PARKED = "parked"
    """Something it needs is missing: ready again with the next offer."""
    STALLED = "stalled"
    """Trying again is useless until a person, a commit or the world changes something."""


@dataclass(slots=True)
class _Entry:
    """What is known of one key."""

    state: State
    priority: Priority
    since_s: float
    why: str = ""
    failures: int = 0
    due_s: float = 0.0
    again: Priority | None = None
    """Offered while taken: the class in which it comes again."""
    ticket: int = 0
    """Heap entries with another ticket are out of date."""


class KeyedQueue:
    """Keys by priority and age."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = Random(seed)
        self._entries: dict[str, _Entry] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._due: list[tuple[float, int, str]] = []
        self._tickets = 0

    def state(self, key: str) -> State | None:
        """Return the state of `key`; None when the queue does not hold it."""
        entry = self._entries.get(key)
        return entry.state if entry else None

    def why(self, key: str) -> str:
        """Return the sentence with which `key` was retried, parked or stalled."""
        entry = self._entries.get(key)
        return entry.why if entry else ""

    def keys(self, state: State) -> tuple[str, ...]:
        """Return every key in that state, sorted."""
        return tuple(sorted(key for key, e in self._entries.items() if e.state is state))

    def offer(self, key: str, priority: Priority, now_s: float) -> None:
        """Ask for `key` to be looked into.

        Shapes: a key that is ready only ever gets more urgent; a parked one becomes ready. A
        stalled one stays so, and so does one in back-off, unless a person or an emergency asks and
        what failed was less urgent.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(State.READY, priority, now_s)
            self._push(key, entry)
        elif entry.state is State.TAKEN:
            entry.again = priority if entry.again is None else min(entry.again, priority)
        elif entry.state is State.PARKED or (
                entry.state is State.BACKING_OFF
                and priority < entry.priority and priority <= Priority.EMERGENCY):
            self._make_ready(key, entry, priority, now_s)
        elif entry.state is State.READY and priority < entry.priority:
            entry.priority = priority
            self._push(key, entry)

    def take(self, now_s: float, wanted: Callable[[str], bool] = lambda key: True) -> str | None:
        """Take the most urgent ready key that is wanted; None when there is none."""
        self._wake_due(now_s)
        passed_over = []
        try:
            while self._ready:
                place = heapq.heappop(self._ready)
                _, ticket, key = place
                entry = self._entries.get(key)
                if not (entry and entry.ticket == ticket and entry.state is State.READY):
                    continue
                if not wanted(key):
                    passed_over.append(place)
                    continue
                entry.state, entry.since_s = State.TAKEN, now_s
                return key
            return None
        finally:
            for place in passed_over:
                heapq.heappush(self._ready, place)

    def done(self, key: str, now_s: float) -> None:
        """Give `key` back after success; its failures are forgotten."""
        entry = self._taken(key)
        if entry.again is None:
            del self._entries[key]
        else:
            entry.failures, priority, entry.again = 0, entry.again, None
            self._make_ready(key, entry, priority, now_s)

    def retry(self, key: str, now_s: float, why: str = "",
              most_s: float = BACK_OFF_MOST_S) -> float:
        """Give `key` back after an error that may pass, and return its back-off in seconds."""
        entry = self._taken(key)
        delay_s = back_off_s(entry.failures, most_s, self._dice)
        entry.failures, entry.again, entry.why = entry.failures + 1, None, why
        entry.state, entry.since_s, entry.due_s = State.BACKING_OFF, now_s, now_s + delay_s
        heapq.heappush(self._due, (entry.due_s, self._new_ticket(entry), key))
        return delay_s

    def park(self, key: str, now_s: float, why: str) -> None:
        """Let `key` wait until something changes; it may be new, waiting or taken."""
        self._set_aside(key, State.PARKED, now_s, why)

    def stall(self, key: str, now_s: float, why: str) -> None:
        """Let `key` wait until a person, a commit or the world changes what it was refused for.
        """
        self._set_aside(key, State.STALLED, now_s, why)

    def free(self, key: str, priority: Priority, now_s: float) -> None:
        """End every wait of `key`, stalled or not: a person or a commit said so."""
        entry = self._entries.get(key)
        if entry and entry.state not in {State.TAKEN, State.READY}:
            entry.failures = 0
            self._make_ready(key, entry, priority, now_s)

    def free_all(self, now_s: float) -> None:
        """End every wait; keys that are taken stay so."""
        for key in sorted(self._entries):
            self.free(key, self._entries[key].priority, now_s)

    def drop(self, key: str) -> None:
        """Forget `key`, unless it is taken or in back-off."""
        entry = self._entries.get(key)
        if entry and entry.state is State.TAKEN:
            entry.again = None
        elif entry and entry.state is not State.BACKING_OFF:
            del self._entries[key]

    def next_due(self) -> float | None:
        """Return the instant at which the next back-off ends; None when none runs."""
        while self._due:
            due_s, ticket, key = self._due[0]
            entry = self._entries.get(key)
            if entry and entry.ticket == ticket:
                return due_s
            heapq.heappop(self._due)
        return None

    def _wake_due(self, now_s: float) -> None:
        """Make everything ready whose back-off has ended."""
        due_s = self.next_due()
        while due_s is not None and due_s <= now_s:
            key = heapq.heappop(self._due)[2]
            entry = self._entries[key]
            self._make_ready(key, entry, entry.priority, now_s)
            due_s = self.next_due()

    def _set_aside(self, key: str, state: State, now_s: float, why: str) -> None:
        """Put `key` into a state that no clock ends; a key already in it keeps its age."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(state, Priority.PERIODIC, now_s)
        if entry.state is not state:
            entry.state, entry.since_s = state, now_s
        entry.again, entry.why = None, why
        self._new_ticket(entry)

    def _make_ready(self, key: str, entry: _Entry, priority: Priority, now_s: float) -> None:
        """Make `key` ready, in a class."""
        entry.state, entry.priority, entry.since_s = State.READY, priority, now_s
        self._push(key, entry)

    def _push(self, key: str, entry: _Entry) -> None:
        """Add `key` to the heap; since all keys age alike, its rank never changes."""
        rank = entry.priority * AGE_S + entry.since_s
        heapq.heappush(self._ready, (rank, self._new_ticket(entry), key))

    def _new_ticket(self, entry: _Entry) -> int:
        """Make every heap entry that `entry` has out of date."""
        self._tickets += 1
        entry.ticket = self._tickets
        return self._tickets

    def _taken(self, key: str) -> _Entry:
        """Return the entry of a key that must be taken."""
        entry = self._entries.get(key)
        assert entry is not None, f"{key} is not in the queue"
        assert entry.state is State.TAKEN, f"{key} is {entry.state}, not taken"
        return entry


def priority_of(action: Action) -> Priority:
    """Return the class of an action: a person's, then what is down, commits, other drift, routine.

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
