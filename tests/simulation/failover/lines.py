"""Who asks whom for grants, and what became of it: played out ask by ask, or only looked up.

A guard asks each of its grantors once a second, for days, and almost always nothing follows from
it. Between two changes of what a line depends on (its ways, whether the grantor listens and
grants, the guard's rhythm) every ask ends alike. So nothing is played then: what was heard, noted
and granted last is looked up, from the last few asks backwards, since no message takes longer than
`LATEST_S`. When something changes, `settle` writes down what has been so far, and puts what is
still on its way into the world's queue, where it meets the world as it is when it arrives.

In the same way nobody's loop is played while nothing changes for longer than any limit: `World`
lets controllers sleep then, and when something happens they know what they would have seen.

`World.exact` plays every ask and every loop instead. Both ways must tell the same story; a test
says so.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.failover.deck import LATE_S, LATEST_S, MASK

if TYPE_CHECKING:
    from tests.simulation.failover.host import Host
    from tests.simulation.failover.nodes import Grantor

NEVER = -1e6


class Outcome(NamedTuple):
    """What has become of the asks of a line until some time."""

    heard: float
    noted: float
    granted: float
    """The ask of the youngest grant that has arrived."""


class Line:
    """One host, and one of its grantors."""

    def __init__(self, host: "Host", grantor: "Grantor") -> None:
        self.host, self.grantor, self.world = host, grantor, host.world
        self.asks_at, self.answers_at = (host.world.dice.randrange(MASK) for _ in range(2))
        """Where in the deck its messages begin."""
        self.heard = self.noted = NEVER
        self.number = 0
        """Of the first ask that is not settled."""
        self.out = self.back = self.listens = self.grants = True
        """What it depends on, as it has been since it was settled last."""

    def capture(self) -> None:
        """Look what it depends on from now on."""
        world, host, grantor = self.world, self.host.name, self.grantor
        self.out = world.passes(host, grantor.name)
        self.back = world.passes(grantor.name, host)
        self.listens = grantor.listens()
        self.grants = not grantor.revoked.get(host, 0)

    def is_granting(self) -> bool:
        """Whether its asks are surely granted until something changes."""
        return (self.out and self.back and self.listens and self.grants
                and self.grantor.until == math.inf)

    def refresh(self) -> None:
        """Settle it, after something that it depends on has changed."""
        if self.world.exact:
            return
        self.host.feed()
        self.settle()
        self.capture()
        self.host.watch()

    def until(self, end: float) -> Outcome:
        """Return what has become of its asks before a time."""
        heard, granted, noted = self.heard, NEVER, self.noted
        if not (self.out and self.listens and self.host.asking):
            return Outcome(heard, noted, granted)
        rhythm, last = self.host.rhythm, min(end, self.grantor.until)
        answered = self.back and self.grants
        for number in range(rhythm.before(last), self.number - 1, -1):
            asked_at = rhythm.time_of(number)
            if heard >= asked_at + LATEST_S and (not answered or granted >= asked_at
                                                 or asked_at < end - 2 * LATEST_S):
                break
            arrives_at = asked_at + LATE_S[(self.asks_at + number) & MASK]
            if arrives_at >= last:
                continue
            heard = max(heard, arrives_at)
            if answered and arrives_at + LATE_S[(self.answers_at + number) & MASK] < end:
                granted = max(granted, asked_at)
        return Outcome(heard, heard if self.grants and heard > self.heard else noted, granted)

    def settle(self) -> None:
        """Write down what has been, and send on what is under way."""
        now, host = self.world.now, self.host
        if self.world.exact or not host.asking:
            return
        found = self.until(now)
        if self.out:
            self._send_on(now)
        self.heard, self.noted = found.heard, found.noted
        host.granted_at = max(host.granted_at, found.granted)
        self.number = host.rhythm.before(now) + 1

    def _send_on(self, now: float) -> None:
        rhythm, open_until = self.host.rhythm, self.grantor.until
        for number in range(rhythm.before(now), self.number - 1, -1):
            asked_at = rhythm.time_of(number)
            if asked_at < now - 2 * LATEST_S:
                break
            arrives_at = asked_at + LATE_S[(self.asks_at + number) & MASK]
            if arrives_at >= now:
                self.world.at(arrives_at, lambda at=asked_at, one=number: self.arrive(at, one),
                              quiet=True)
            elif self.listens and self.grants and self.back and arrives_at < open_until:
                back_at = arrives_at + LATE_S[(self.answers_at + number) & MASK]
                if back_at >= now:
                    self.world.at(back_at, lambda at=asked_at: self.host.granted(at), quiet=True)

    def ask(self, asked_at: float, number: int) -> None:
        """Send one ask, if it gets through."""
        if self.world.passes(self.host.name, self.grantor.name):
            late_s = LATE_S[(self.asks_at + number) & MASK]
            if late_s:
                self.world.after(late_s, lambda: self.arrive(asked_at, number))
            else:
                self.arrive(asked_at, number)

    def arrive(self, asked_at: float, number: int) -> None:
        """The grantor hears an ask; it notes, and then answers."""
        world, host, grantor = self.world, self.host, self.grantor
        if not grantor.may_grant():
            return
        self.heard = max(self.heard, world.now)
        if grantor.revoked.get(host.name, 0):
            return
        noted_at = world.now
        if world.mistakes.answers_first:
            world.after(90.0, lambda: self.note(noted_at))
        else:
            self.note(noted_at)
        if world.passes(grantor.name, host.name):
            late_s = LATE_S[(self.answers_at + number) & MASK]
            if late_s:
                world.after(late_s, lambda: host.granted(asked_at))
            else:
                host.granted(asked_at)

    def note(self, at: float) -> None:
        """The grantor notes that it grants."""
        self.noted = max(self.noted, at)

    def forget(self) -> None:
        """The grantor has restarted, and knows nothing of what it granted."""
        self.heard = self.noted = NEVER


class Rhythm:
    """When a guard asks: from one ask on at even distances, until something changes it."""

    def __init__(self, start: float, number: int, period_s: float) -> None:
        self.start, self.number, self.period_s = start, number, period_s
        self.due: float | None = None
        """When it would have asked next, had it not been suspended."""

    def time_of(self, number: int) -> float:
        """Return when the ask of a number is sent."""
        return self.start + (number - self.number) * self.period_s

    def before(self, end: float) -> int:
        """Return the number of the last ask before a time; the one before its first if none is."""
        if end <= self.start:
            return self.number - 1
        found = self.number + int((end - self.start) / self.period_s)
        while self.time_of(found) >= end:
            found -= 1
        while self.time_of(found + 1) < end:
            found += 1
        return found
