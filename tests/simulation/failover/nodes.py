"""Machines: grantors, which note before they answer, nodes, which hold records, and BMCs."""

import math
from dataclasses import dataclass, field
from functools import cached_property

from controller.model.failover.record import Record
from tests.simulation.failover.lines import NEVER, Line
from tests.simulation.failover.world import World

MANY = 9
"""Nobody counts further how often a BMC was read."""


@dataclass
class Grantor:
    """Who grants: notes, answers, refuses durably, and forgets its notes when it restarts."""

    name: str
    world: World
    rate: float
    born_at: float = NEVER
    lines: dict[str, Line] = field(default_factory=dict)
    """By host: what it asks of us."""
    revoked: dict[str, int] = field(default_factory=dict)
    alive: bool = True

    def may_grant(self) -> bool:
        """Whether it grants to anybody at all."""
        return self.alive

    def up(self) -> bool:
        """Whether it can answer."""
        return self.alive

    def listens(self) -> bool:
        """Whether it grants to anybody, as long as `until` has not come."""
        return self.may_grant()

    @property
    def until(self) -> float:
        """When it will stop to grant by itself."""
        return math.inf

    def refresh_lines(self) -> None:
        """Settle what is asked of it, after a change."""
        for line in self.lines.values():
            line.refresh()

    def restart(self) -> None:
        """Forget every note; what was revoked is durable."""
        self.born_at = self.world.now
        self.refresh_lines()
        for line in self.lines.values():
            line.forget()

    def last_grant_s(self, host: str, at: float) -> float:
        """How long ago it had granted last, by its own clock, at a time since the last change."""
        line = self.lines[host]
        return self._granted_s(line.noted if self.world.exact else line.until(at).noted, at)

    def said_of(self, host: str, at: float) -> tuple[float, float | None]:
        """Return the same, and how long ago it had heard a host last; None: not since it restarted.
        """
        line = self.lines[host]
        found = line if self.world.exact else line.until(at)
        heard = found.heard
        return self._granted_s(found.noted, at), None if heard <= NEVER else at - heard

    def _granted_s(self, noted: float, at: float) -> float:
        born_at = NEVER if self.world.mistakes.no_restart_rule else self.born_at
        return (at - max(noted, born_at)) * self.rate

    def revoke(self, host: str, epoch: int) -> None:
        """Refuse a host from now on; an older order changes nothing."""
        if epoch > self.revoked.get(host, 0):
            self.revoked[host] = epoch
            self.changed(host)

    def restore(self, host: str, epoch: int) -> None:
        """Grant again, unless it refuses for a higher epoch."""
        if self.revoked.get(host, epoch + 1) <= epoch:
            del self.revoked[host]
            self.changed(host)

    def changed(self, host: str) -> None:
        """Settle what one host asked of it."""
        self.lines[host].refresh()


@dataclass
class Bmc:
    """A BMC with a dialect of its own, and how it was read."""

    dialect: str
    """plain, slow, never, lies, dead, or other: that of another machine, which is off."""
    off_since: float | None = None
    reads: int = 0
    said: str = ""
    """What it said last: failed, On, Off, PoweringOff, or a lie."""

    def read(self, now: float, *, power: bool, reached: bool) -> None:
        """Ask it once whether its host is off."""
        self.said = self._reading(power=power) if reached else "failed"
        if self.said == "failed":
            self.off_since = None
        elif self.said == "On":
            self.off_since, self.reads = None, 0
        elif self.said == "Off":
            self.off_since = now if self.off_since is None else self.off_since
            self.reads = min(self.reads + 1, MANY)

    def _reading(self, *, power: bool) -> str:
        if self.dialect == "lies" and power:
            return "lie"
        if self.dialect in {"never", "dead"}:
            return "PoweringOff" if self.dialect == "never" else "failed"
        return "Off" if self.dialect == "other" or not power else "On"


@dataclass(frozen=True, eq=False)
class Facts:
    """What a machine says of itself; the same object while nothing of it changes."""

    boot: int
    guests: dict[str, int]
    healthy_at: dict[str, float]
    records: tuple[Record, ...]
    revoked: dict[str, int]
    guarded: bool

    @cached_property
    def concerns(self) -> frozenset[str]:
        """Return the hosts that it refuses, or that are of a failover which it knows of."""
        return frozenset(self.revoked).union(*(
            record.hosts for record in self.records if record.phase != "calm"))


@dataclass
class Node(Grantor):
    """A machine that holds records, grants, and knows the highest term that gave it orders."""

    records: dict[str, Record] = field(default_factory=dict)
    term: int = 0
    facts: Facts | None = None
    """As they were told last; None: they have changed since."""

    def write(self, record: Record) -> None:
        """Hold a record, unless a newer one of its scope is held."""
        held = self.records.get(record.scope)
        if held is None or (held.rank <= record.rank and held != record):
            self.records[record.scope] = record
            self.forget_told()

    def changed(self, host: str) -> None:
        """Settle what one host asked of it, and tell it anew."""
        super().changed(host)
        self.forget_told()

    def tell(self) -> Facts:
        """Return what it says of itself."""
        if self.facts is None:
            self.facts = self._told()
        return self.facts

    def forget_told(self) -> None:
        """Say everything anew when it is asked next."""
        self.facts = None
        self.world.stir()

    def _told(self) -> Facts:
        return Facts(0, {}, {}, tuple(self.records.values()), dict(self.revoked), guarded=False)
