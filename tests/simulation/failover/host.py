"""A hypervisor: its guests, its guard, and the watchdog that the guard feeds.

When nothing but asks and grants goes on, nobody looks: the guard's judgement and the watchdog's
bark are put into the queue only while no grantor surely grants. Whatever changes that calls
`reseat`, or `refresh` of the line that it changes, and these look again by `watch`.
"""

from dataclasses import dataclass, field

from tests.simulation.failover.deck import MASK, SHARES
from tests.simulation.failover.lines import NEVER, Line, Rhythm
from tests.simulation.failover.nodes import Bmc, Facts, Node
from tests.simulation.failover.world import GUARD

ASK_S = 1.0
IDLE_S = 2.0


@dataclass
class Host(Node):
    """A hypervisor: its guests, its guard, its watchdog and its BMC."""

    site: str = ""
    watchdog: bool = True
    bmc: Bmc | None = None
    accept_freeze: bool = False
    asks: list[Line] = field(default_factory=list)
    """Whom its guard asks."""
    guests: dict[str, int] = field(default_factory=dict)
    """By VM: the epoch of the copy that runs here."""
    spared: set[str] = field(default_factory=set)
    """VMs that run on when it is cut off."""
    healthy_at: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    power: bool = True
    boot: int = 1
    guarded: bool = False
    asking: bool = False
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(0.0, 0, ASK_S))
    asked: int = 0
    """How often it had asked when it lost its power."""
    granted_at: float = NEVER
    """The ask of its youngest grant, as far as its lines are settled."""
    fed_at: float = 0.0
    fed: int = 0
    """The number of the last ask of which it is known whether it fed the watchdog."""
    barks_at: float | None = None
    judges_at: float | None = None
    """When somebody looks next; None: nothing can come of it before something changes."""
    frozen_until: float = -1.0
    stalled_until: float = -1.0
    """The guard alone is suspended until then."""
    stalls: list[float] = field(default_factory=list)
    """When it, or its guard, thawed."""
    fate: int = 0
    """Where in the deck its own chances begin."""

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

    def _told(self) -> Facts:
        return Facts(self.boot, dict(self.guests), dict(self.healthy_at),
                     tuple(self.records.values()), dict(self.revoked), self.guarded)

    def start_guard(self) -> None:
        """Begin to ask, and to judge."""
        now = self.world.now
        self.forget_told()
        self.guarded = self.asking = True
        self.granted_at = self.fed_at = now
        first_at = now + SHARES[self.fate] * ASK_S
        self.rhythm = Rhythm(first_at, self.asked, self._period_s())
        self.fed = self.asked - 1
        self.barks_at = self.judges_at = None
        for line in self.asks:
            line.number = self.rhythm.number
            line.capture()
        if self.world.exact:
            self._ask_at(first_at)
        else:
            self.reseat()
        self.watch()

    def _period_s(self) -> float:
        return (ASK_S if self.guests else IDLE_S) / self.rate

    def _awake(self, boot: int) -> bool:
        return self.power and boot == self.boot

    def _stalled(self) -> float:
        """Until when the guard does nothing."""
        return max(self.frozen_until, self.stalled_until)

    def _content(self, at: float) -> bool:
        """Whether it was granted lately, as seen at a time up to now."""
        return ((at - self.granted_at) * self.rate < GUARD.deadline_s
                or (at - self.granted_by(at)) * self.rate < GUARD.deadline_s)

    def granted_by(self, end: float) -> float:
        """Return the ask of its youngest grant that arrived before a time."""
        if self.world.exact:
            return self.granted_at
        return max(self.granted_at, *(line.until(end).granted for line in self.asks
                                      if line.out and line.back and line.grants), NEVER)

    def _ask_at(self, when: float) -> None:
        boot = self.boot
        self.world.at(when, lambda: self._ask(boot))

    def _ask(self, boot: int) -> None:
        """Ask everybody; played only where every ask is."""
        if not self._awake(boot):
            return
        world, rhythm = self.world, self.rhythm
        if world.now < self._stalled():
            self.rhythm = Rhythm(self._stalled(), rhythm.before(world.now) + 1, rhythm.period_s)
            self._ask_at(self._stalled())
            return
        asked_at, number = world.now, rhythm.before(world.now) + 1
        if self._content(asked_at) or self.guests.keys() <= self.spared:
            self.fed_at = asked_at
        for line in self.asks:
            line.ask(asked_at, number)
        if rhythm.period_s != self._period_s():
            self.rhythm = rhythm = Rhythm(asked_at, number, self._period_s())
        self._ask_at(rhythm.time_of(number + 1))

    def reseat(self) -> None:
        """Have the guard ask on, in the rhythm that its guests and suspensions allow from now."""
        if self.world.exact or not self.asking:
            return
        now, old = self.world.now, self.rhythm
        self.feed()
        for line in self.asks:
            line.settle()
        number = old.before(now) + 1
        due = old.time_of(number)
        if old.due is not None and now <= old.due and number == old.number:
            due = old.due
        start = max(due, self._stalled())
        if start != old.time_of(number) or self._period_s() != old.period_s:
            self.rhythm = Rhythm(start, number, self._period_s())
            self.rhythm.due = due if due < start else None
        self.watch()

    def feed(self) -> None:
        """Look which of the asks up to now fed the watchdog last."""
        if self.world.exact or not self.asking:
            return
        rhythm, last = self.rhythm, self.rhythm.before(self.world.now)
        content = self.guests.keys() <= self.spared
        if not content and not any(line.out for line in self.asks):
            end = self.granted_at + GUARD.deadline_s / self.rate
            last = min(last, rhythm.before(end) + 1)
        for number in range(last, self.fed, -1):
            if content or self._content(rhythm.time_of(number)):
                self.fed_at = rhythm.time_of(number)
                break
        self.fed = rhythm.before(self.world.now)

    def granted(self, asked_at: float) -> None:
        """Hear a grant."""
        if self.power and not self.frozen and asked_at > self.granted_at:
            self.feed()
            self.granted_at = asked_at

    def watch(self) -> None:
        """Look again when the guard may be discontent, and the watchdog hungry."""
        if not (self.power and self.guarded) or self._is_fine():
            return
        boot = self.boot
        if self.judges_at is None:
            self.judges_at = max(self._judgement_at(), self.world.now)
            self.world.at(self.judges_at, lambda: self._judge(boot), quiet=True)
        if self.watchdog and self.barks_at is None:
            self.feed()
            self.barks_at = max(self.fed_at + GUARD.watchdog_s, self.world.now)
            self.world.at(self.barks_at, lambda: self._bark(boot), quiet=True)

    def _is_fine(self) -> bool:
        """Whether nothing can come of it before something changes."""
        return (not self.world.exact and self.world.now >= self._stalled()
                and any(line.is_granting() for line in self.asks))

    def _judgement_at(self) -> float:
        """When the guard is discontent, unless it is granted meanwhile; it is late at times."""
        granted_at = self.granted_by(self.world.now)
        late_s = SHARES[(self.fate + int(granted_at * 64)) & MASK] * GUARD.tick_s
        return granted_at + GUARD.deadline_s / self.rate + late_s

    def _judge(self, boot: int) -> None:
        """End the guests once nobody has granted for so long."""
        if not self._awake(boot):
            return
        now, ready_at, due = self.world.now, self._stalled() + 0.1, self._judgement_at()
        if now < ready_at:
            self._judge_at(ready_at, boot)
        elif now < due:
            self._judge_at(None if self._is_fine() else due, boot)
        else:
            self._end_guests(boot)
            self._judge_at(now + GUARD.kill_s, boot)

    def _judge_at(self, when: float | None, boot: int) -> None:
        self.judges_at = when
        if when is not None:
            self.world.at(when, lambda: self._judge(boot), quiet=True)

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
        self.remove(name)
        self.ended.add(name)
        self.world.say(f"guard of {self.name} ended {name}")

    def add(self, name: str, epoch: int, healthy_at: float) -> None:
        """Have a guest, which is well from some time on."""
        self.feed()
        self.healthy_at[name] = healthy_at
        self.forget_told()
        self.world.at(healthy_at, self.forget_told)
        if not self.guests:
            self.granted_at = self.world.now        # it begins to ask when it has a guest
        self.guests[name] = epoch
        self.ended.discard(name)
        self.reseat()

    def remove(self, name: str) -> None:
        """Have a guest no more."""
        self.feed()
        self.forget_told()
        del self.guests[name]
        self.reseat()

    def _bark(self, boot: int) -> None:
        """Cut the power if nobody fed the watchdog in time: it runs on whatever is frozen."""
        if not self._awake(boot):
            return
        self.feed()
        due = self.fed_at + GUARD.watchdog_s
        if due - self.world.now > 1e-9:
            self.barks_at = None if self._is_fine() else due
            if self.barks_at is not None:
                self.world.at(due, lambda: self._bark(boot), quiet=True)
            return
        self.world.say(f"watchdog of {self.name} cuts its power")
        self.power_off()
        self.world.after(self.world.dice.uniform(60, 200), self.power_on)

    def freeze(self, length_s: float) -> None:
        """Stand still for a while."""
        if self.world.is_over:
            return
        self.feed()
        self.frozen_until = self.world.now + length_s
        self.stalls.append(self.frozen_until)
        self.world.say(f"{self.name} is frozen for {length_s:.0f} s")
        self.reseat()
        self.refresh_lines()
        self.world.at(self.frozen_until, self._thaw)

    def _thaw(self) -> None:
        self.refresh_lines()
        self.world.stir()

    def stall(self, length_s: float) -> None:
        """Suspend the guard alone; the guests run on."""
        if self.world.is_over:
            return
        self.feed()
        self.stalled_until = self.world.now + length_s
        self.stalls.append(self.stalled_until)
        self.world.say(f"the guard of {self.name} is suspended for {length_s:.0f} s")
        self.world.at(self.stalled_until, self.world.stir)
        self.reseat()

    def power_off(self) -> None:
        """Lose the power, and all that ran."""
        for line in self.asks:
            line.settle()
        if self.asking:
            self.asked = self.rhythm.before(self.world.now) + 1
        self.asking = self.power = False
        self.frozen_until = self.stalled_until = -1.0
        self.guests.clear()
        self.forget_told()
        self.refresh_lines()
        self.world.say(f"{self.name} is off")

    def power_on(self) -> None:
        """Boot, with nothing running."""
        if not self.power:
            self.power, self.guarded = True, False
            self.forget_told()
            self.boot += 1
            self.restart()
            self.ended.clear()
            self.world.say(f"{self.name} is on again")
