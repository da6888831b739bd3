"""Machines: hosts with a guard and a watchdog, BMCs, and grantors that note before they answer."""

from dataclasses import dataclass, field

from controller.model.failover.record import Record
from tests.simulation.failover.world import GUARD, World

ASK_S = 1.0
IDLE_S = 2.0


@dataclass
class Grantor:
    """Who grants: notes, answers, refuses durably, and forgets its notes when it restarts."""

    name: str
    world: World
    rate: float
    born_at: float = -1e6
    noted: dict[str, float] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    revoked: dict[str, int] = field(default_factory=dict)
    alive: bool = True

    def may_grant(self) -> bool:
        """Whether it grants to anybody at all."""
        return self.alive

    def asked(self, host: "Host", asked_at: float) -> None:
        """Hear a question; note, and then answer."""
        if not self.may_grant():
            return
        self.heard[host.name] = self.world.now
        if self.revoked.get(host.name, 0):
            return
        if self.world.mistakes.answers_first:
            noted_at = self.world.now
            self.world.after(90.0, lambda: self._note(host.name, noted_at))
        else:
            self._note(host.name, self.world.now)
        if self.world.passes(self.name, host.name):
            late_s = self.world.delay_s()
            if late_s:
                self.world.after(late_s, lambda: host.granted(asked_at))
            else:
                host.granted(asked_at)

    def _note(self, host: str, at: float) -> None:
        self.noted[host] = max(at, self.noted.get(host, -1e6))

    def restart(self) -> None:
        """Forget every note; what was revoked is durable."""
        self.born_at = self.world.now
        self.noted.clear()
        self.heard.clear()

    def last_grant_s(self, host: str) -> float:
        """How long ago it granted last, by its own clock."""
        born_at = -1e6 if self.world.mistakes.no_restart_rule else self.born_at
        return (self.world.now - max(self.noted.get(host, -1e6), born_at)) * self.rate

    def revoke(self, host: str, epoch: int) -> None:
        """Refuse a host from now on; an older order changes nothing."""
        self.revoked[host] = max(epoch, self.revoked.get(host, 0))

    def restore(self, host: str, epoch: int) -> None:
        """Grant again, unless it refuses for a higher epoch."""
        if self.revoked.get(host, 0) <= epoch:
            self.revoked.pop(host, None)


@dataclass
class Bmc:
    """A BMC with a dialect of its own."""

    dialect: str
    """plain, slow, never, lies, dead, or other: that of another machine, which is off."""
    off_since: float | None = None
    reads: int = 0


@dataclass
class Node(Grantor):
    """A machine that holds records, grants, and knows the highest term that gave it orders."""

    records: dict[str, Record] = field(default_factory=dict)
    term: int = 0

    def write(self, record: Record) -> None:
        """Hold a record, unless a newer one of its scope is held."""
        held = self.records.get(record.scope)
        if held is None or held.rank <= record.rank:
            self.records[record.scope] = record


@dataclass
class Host(Node):
    """A hypervisor: its guests, its guard, its watchdog and its BMC."""

    site: str = ""
    watchdog: bool = True
    bmc: Bmc | None = None
    accept_freeze: bool = False
    grantors: list[Grantor] = field(default_factory=list)
    guests: dict[str, int] = field(default_factory=dict)
    """By VM: the epoch of the copy that runs here."""
    spared: set[str] = field(default_factory=set)
    """VMs that run on when it is cut off."""
    healthy_at: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    power: bool = True
    boot: int = 1
    guarded: bool = False
    granted_at: float = -1e6
    """The ask of its youngest grant."""
    fed_at: float = 0.0
    frozen_until: float = -1.0
    stalled_until: float = -1.0
    """The guard alone is suspended until then."""
    stalls: list[float] = field(default_factory=list)
    """When it, or its guard, thawed."""

    @property
    def frozen(self) -> bool:
        """Whether all of it stands still."""
        return self.world.now < self.frozen_until

    def up(self) -> bool:
        """Whether it can answer."""
        return self.power and not self.frozen

    def may_grant(self) -> bool:
        """Whether it grants to anybody at all."""
        return self.up()

    def start_guard(self) -> None:
        """Begin to ask, and to judge."""
        self.guarded = True
        self.granted_at = self.fed_at = self.world.now
        boot = self.boot
        self.world.at(self.world.now, lambda: self._ask(boot))
        self.world.at(self.world.now, lambda: self._judge(boot))
        if self.watchdog:
            self.world.after(GUARD.watchdog_s, lambda: self._bark(boot))

    def _awake(self, boot: int) -> bool:
        return self.power and boot == self.boot

    def _stalled(self) -> float:
        """Until when the guard does nothing."""
        return max(self.frozen_until, self.stalled_until)

    def _content(self) -> bool:
        return (self.world.now - self.granted_at) * self.rate < GUARD.deadline_s

    def _ask(self, boot: int) -> None:
        if not self._awake(boot):
            return
        world = self.world
        if world.now < self._stalled():
            world.at(self._stalled(), lambda: self._ask(boot))
            return
        asked_at = world.now
        if self._content() or self.guests.keys() <= self.spared:
            self.fed_at = world.now
        if not self.guests:
            self._ask_idly()
            world.after(IDLE_S, lambda: self._ask(boot))
            return
        for grantor in self.grantors:
            if world.passes(self.name, grantor.name):
                late_s = world.delay_s()
                if late_s:
                    world.after(late_s, lambda one=grantor: one.asked(self, asked_at))
                else:
                    grantor.asked(self, asked_at)
        world.after(ASK_S / self.rate, lambda: self._ask(boot))

    def _ask_idly(self) -> None:
        """Ask all at once, without guests that anything could happen to: it costs less."""
        for grantor in self.grantors:
            if self.world.passes(self.name, grantor.name) and grantor.may_grant():
                grantor.heard[self.name] = self.world.now
                if not grantor.revoked.get(self.name, 0):
                    grantor.noted[self.name] = self.granted_at = self.world.now

    def granted(self, asked_at: float) -> None:
        """Hear a grant."""
        if self.power and not self.frozen:
            self.granted_at = max(self.granted_at, asked_at)

    def _judge(self, boot: int) -> None:
        """End the guests once nobody has granted for so long."""
        if not self._awake(boot):
            return
        world = self.world
        if world.now < self._stalled():
            world.at(self._stalled() + 0.1, lambda: self._judge(boot))
        elif self._content():
            left_s = GUARD.deadline_s / self.rate - (world.now - self.granted_at)
            late_s = world.dice.uniform(0, GUARD.tick_s)
            world.after(max(left_s, 0.0) + late_s, lambda: self._judge(boot))
        else:
            self._end_guests(boot)
            world.after(GUARD.kill_s, lambda: self._judge(boot))

    def _end_guests(self, boot: int) -> None:
        for name in sorted(self.guests.keys() - self.spared):
            takes_s = self.world.dice.uniform(0, GUARD.kill_s) / self.rate
            self.world.after(takes_s, lambda one=name: self._end(one, boot))

    def _end(self, name: str, boot: int) -> None:
        if not self._awake(boot) or name not in self.guests:
            return
        if self.frozen:
            self.world.at(self.frozen_until + 0.1, lambda: self._end(name, boot))
            return
        self.guests.pop(name)
        self.ended.add(name)
        self.world.say(f"guard of {self.name} ended {name}")

    def _bark(self, boot: int) -> None:
        """Cut the power if nobody fed the watchdog in time: it runs on whatever is frozen."""
        if not self._awake(boot):
            return
        left_s = self.fed_at + GUARD.watchdog_s - self.world.now
        if left_s > 1e-9:
            self.world.after(left_s, lambda: self._bark(boot))
            return
        self.world.say(f"watchdog of {self.name} cuts its power")
        self.power_off()
        self.world.after(self.world.dice.uniform(60, 200), self.power_on)

    def freeze(self, length_s: float) -> None:
        """Stand still for a while."""
        if self.world.is_over:
            return
        self.frozen_until = self.world.now + length_s
        self.stalls.append(self.frozen_until)
        self.world.say(f"{self.name} is frozen for {length_s:.0f} s")

    def stall(self, length_s: float) -> None:
        """Suspend the guard alone; the guests run on."""
        if self.world.is_over:
            return
        self.stalled_until = self.world.now + length_s
        self.stalls.append(self.stalled_until)
        self.world.say(f"the guard of {self.name} is suspended for {length_s:.0f} s")

    def power_off(self) -> None:
        """Lose the power, and all that ran."""
        self.power = False
        self.frozen_until = self.stalled_until = -1.0
        self.guests.clear()
        self.world.say(f"{self.name} is off")

    def power_on(self) -> None:
        """Boot, with nothing running."""
        if not self.power:
            self.power, self.guarded = True, False
            self.boot += 1
            self.restart()
            self.ended.clear()
            self.world.say(f"{self.name} is on again")
