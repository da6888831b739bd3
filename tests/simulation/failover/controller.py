"""A controller: it asks for the lease, looks, decides by the real `decide`, and does what it says.

It may die between any two orders, and knows of a machine only what that has answered.
"""

import math
from dataclasses import dataclass, field

from controller.failover import decide as decider
from controller.failover.orders import (
    Decision,
    Quarantine,
    Restore,
    Revoke,
    WriteRecord,
)
from controller.failover.states import Phase
from tests.simulation.failover.deck import MASK, SHARES
from tests.simulation.failover.estate import Estate
from tests.simulation.failover.hands import carry_out
from tests.simulation.failover.host import Host
from tests.simulation.failover.laws import check_orders
from tests.simulation.failover.nodes import Facts, Grantor, Node
from tests.simulation.failover.world import World

QUIET_S = 60.0
"""Longer than any limit by which anything is decided."""
LATE_S = 8.0
"""A node that has not answered for so long may make a difference, though nothing is wrong."""
TTL_S = 15.0
LEASE_S = 3.0
LOOP_S = 2.0
CALM_S = 8.0
ANSWERED = 0.9
"""This share of questions is answered, though nothing is wrong."""
ASKED_FROM_S = 5.0
"""Of a host that has been silent for so long the grantors are asked; what they say is used from
`survey.SUSPECT_S` on, and for `survey.FRESH_S`."""
MARGIN = 0.02
"""By how much the holder of a lease counts it shorter, and the witness longer."""


@dataclass
class Register:
    """The lease at the witness: durable, but for when it was renewed."""

    world: World
    holder: str = ""
    term: int = 0
    renewed_at: float = -1e6


@dataclass
class Answer:
    """What a node said, and when it reached us."""

    at: float
    facts: Facts
    grants_s: dict[str, float]
    """By host: how long ago it granted last."""
    heard_s: dict[str, float]
    listening_s: float


@dataclass
class Doom:
    """A death that waits for a phase, for whichever controller comes to it first."""

    phase: Phase
    after: int
    """How many orders are carried out in that phase before it."""
    met: str = ""
    """Who died of it."""


@dataclass
class Controller(Grantor):
    """One controller."""

    place: str = "milan"
    estate: Estate | None = None
    register: Register | None = None
    fresh_until: float = -1.0
    term: int = 0
    term_at: float = -1e6
    started_at: float = 0.0
    answers: dict[str, Answer] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    """By VM: where it was last seen to run; durable."""
    guarded: set[str] = field(default_factory=set)
    distrusted: set[str] = field(default_factory=set)
    """Hosts whose BMC was seen to be another's; durable."""
    words: dict[str, tuple[str, float]] = field(default_factory=dict)
    orders: set[str] = field(default_factory=set)
    """What a person ordered, as targets."""
    lied_to: bool = False
    """Whether the witness claims to hear nobody."""
    witness_late_s: float = 0.0
    said: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dies_after: int | None = None
    """After how many orders it dies; None: not for now."""
    doom: "Doom | None" = None
    decisions: tuple[Decision, ...] = ()
    concerned: frozenset[str] = frozenset()
    known: object = None
    """All that a decision depends on, as far as it can make a difference to it."""
    known_decisions: tuple[Decision, ...] = ()
    """What was decided of that."""
    loops: int = 0
    loops_at: float = 0.0
    renews_at: float = 0.0
    """When it loops and renews next."""
    reached: list[str] = field(default_factory=list)
    leased_until: float = -1.0
    """Of its sleep: who answers, and until when its lease was fresh when that began."""
    life: int = 0
    """What is in the queue from an earlier life means nothing."""
    fates: dict[str, int] = field(default_factory=dict)
    """By node: where in the deck it is found which of our questions are lost."""

    def conducts(self) -> bool:
        """Whether it holds the lease, as far as it knows."""
        if self.register is None or self.world.mistakes.ignores_leases:
            return self.register is None or self.term > 0
        return self.world.now < self.fresh_until

    def may_grant(self) -> bool:
        """A controller grants while it conducts."""
        return self.alive and self.conducts()

    def listens(self) -> bool:
        """It grants while it lives, until its lease is over."""
        return self.alive

    @property
    def until(self) -> float:
        """When its lease is over."""
        if self.register is None or (self.world.mistakes.ignores_leases and self.term > 0):
            return math.inf
        return self.fresh_until

    def run(self) -> None:
        """Begin, or begin again after a death."""
        self.alive = True
        self.started_at = self.world.now
        self.answers.clear()
        self.restart()
        self.life += 1
        self.world.stir()
        self._renew()
        self._loop()

    def die(self) -> None:
        """Stop in the middle of anything."""
        if self.alive:
            self.refresh_lines()
            self.alive = False
            self.refresh_lines()
            self.fresh_until = -1.0
            self.world.say(f"{self.name} dies")
            self.world.after(self.world.dice.uniform(5, 90), self.run)

    def _renew(self) -> None:
        if not self.alive or self.register is None:
            return
        world, register, asked_at = self.world, self.register, self.world.now
        if world.answers(self.name, "hq"):
            free = (world.now - register.renewed_at) >= TTL_S * (1 + MARGIN)
            if (free or register.holder == self.name) and not self.conducts():
                self.refresh_lines()    # it grants from now on
            if register.holder != self.name and free:
                register.holder, register.term = self.name, register.term + 1
                self.term, self.term_at = register.term, world.now
                world.say(f"{self.name} conducts with term {self.term}")
            if register.holder == self.name:
                self.term = register.term
                register.renewed_at = world.now
                self.fresh_until = asked_at + TTL_S * (1 - MARGIN)
        self._renew_at(world.now + LEASE_S)

    def _loop(self) -> None:
        if not self.alive:
            return
        self.loops += 1
        self.look()
        self.decisions = ()
        if self.conducts():
            self._read_bmcs()
            if not self._is_calm():
                self.act()
        if self.alive:
            busy = any(isinstance(order, WriteRecord | Revoke | Restore)
                       for decision in self.decisions for order in decision.orders)
            self._loop_at(self.world.now + (0.4 if busy else self._pause_s()))

    def _loop_at(self, when: float) -> None:
        self.loops_at, life = when, self.life
        self.world.at(when, lambda: self._loop() if life == self.life else None, quiet=True)

    def _renew_at(self, when: float) -> None:
        self.renews_at, life = when, self.life
        self.world.at(when, lambda: self._renew() if life == self.life else None, quiet=True)

    def _pause_s(self) -> float:
        return (0.5 + self._chance("loop")) * LOOP_S

    def is_idle(self) -> bool:
        """Whether every limit has passed since anything changed, and nothing is left to chance."""
        return not self.alive or (
            self.world.now - self.world.changed_at >= QUIET_S and not any(
                not isinstance(order, Quarantine | Restore) or self.dies_after is not None
                for decision in self.decisions for order in decision.orders))

    def sleep(self) -> None:
        """Loop no more; what is in the queue of it means nothing."""
        assert self.estate is not None
        self.life += 1
        self.reached = [name for name, node in self.estate.nodes.items()
                        if node.up() and self.world.answers(self.name, name)]
        self.leased_until = self.fresh_until
        if self.alive and self.conducts():
            self.fresh_until = math.inf

    def dream(self) -> bool:
        """Leave a loop out, in which some answer and nothing new is seen."""
        if not self.alive:
            self.loops_at = math.inf
            return True
        number = self.loops + 1
        late = [name for name in self.reached
                if SHARES[(self.fates[name] + number) & MASK] >= ANSWERED]
        if late and any(self.loops_at - self.last_seen_at(name) >= LATE_S for name in late):
            return False
        for name in self.reached:
            if name not in late:
                self.answers[name].at = self.loops_at
        self.loops = number
        self.loops_at += self._pause_s()
        return True

    def wake(self) -> None:
        """Know what it would know now, and loop on."""
        assert self.estate is not None
        if not self.alive:
            return
        if self.register is not None:
            self._wake_with_lease(self.register)
        for name in self.reached:
            self.answers[name].listening_s = (self.answers[name].at
                                              - self.estate.nodes[name].born_at)
            self._hear_of_grants(self.estate.nodes[name])
        self._loop_at(self.loops_at)

    def _wake_with_lease(self, register: Register) -> None:
        """Know when it would have renewed its lease."""
        renewals = max(0, math.ceil((self.world.now - self.renews_at) / LEASE_S))
        held, self.fresh_until = self.fresh_until == math.inf, self.leased_until
        if held and renewals:
            register.renewed_at = self.renews_at + (renewals - 1) * LEASE_S
            self.fresh_until = register.renewed_at + TTL_S * (1 - MARGIN)
        self._renew_at(self.renews_at + renewals * LEASE_S)

    def _chance(self, of: str) -> float:
        """Return a share that depends on the number of the loop alone."""
        return SHARES[(self.fates[of] + self.loops) & MASK]

    def _is_calm(self) -> bool:
        """Whether there is surely nothing to decide; then it mostly is not even asked."""
        assert self.estate is not None
        now = self.world.now
        return (len(self.answers) == len(self.estate.nodes) and not self.orders and not self.revoked
                and all(now - answer.at < CALM_S and not answer.facts.records
                        and not answer.facts.revoked for answer in self.answers.values())
                and self._chance("calm") < 0.9)

    def _read_bmcs(self) -> None:
        """Read every BMC once."""
        assert self.estate is not None
        for host in self.estate.hosts.values():
            if host.bmc is not None:
                host.bmc.read(self.world.now, power=host.power, reached=self.world.passes(
                    self.name, f"bmc-{host.name}"))

    def look(self) -> None:
        """Ask every node that can be reached; some answers are lost."""
        assert self.estate is not None
        now, heard, news = self.world.now, list[Node](), False
        for name, node in self.estate.nodes.items():
            if (node.up() and self.world.answers(self.name, name)
                    and self._chance(name) < ANSWERED):
                heard.append(node)
                before, facts = self.answers.get(name), node.tell()
                news = news or before is None or before.facts is not facts
                self.answers[name] = Answer(now, facts, {}, {}, now - node.born_at)
        self.concerned = self._concerned()
        for node in heard:
            self._hear_of_grants(node)
        if news:
            for node in heard:
                if isinstance(node, Host):
                    self._learn(node, self.answers[node.name].facts)

    def _hear_of_grants(self, node: Node) -> None:
        """Complete what a node answered by what it says of those that ask it."""
        answer = self.answers[node.name]
        mine = sorted(self.concerned & node.lines.keys())
        if isinstance(node, Host):
            answer.grants_s = {host: node.last_grant_s(host, answer.at) for host in mine}
            return
        said = {host: node.said_of(host, answer.at) for host in mine}
        answer.grants_s = {host: grant_s for host, (grant_s, _) in said.items()}
        answer.heard_s = {host: heard_s for host, (_, heard_s) in said.items()
                          if heard_s is not None}

    def _learn(self, host: Host, facts: Facts) -> None:
        """Keep what is to be known of a host when it is silent."""
        if host.bmc is not None and host.bmc.dialect == "other":
            self.distrusted.add(host.name)       # it reads Off, and the host answers
        self.home |= dict.fromkeys(facts.guests, host.name)
        if facts.guarded:
            self.guarded.add(host.name)
        else:
            self.guarded.discard(host.name)

    def _concerned(self) -> frozenset[str]:
        """Return the hosts about which anything might be decided: who granted to them counts."""
        assert self.estate is not None
        now, answers = self.world.now, self.answers
        late = [one for one in self.estate.hosts
                if now - self.last_seen_at(one) >= ASKED_FROM_S]
        return frozenset(late).union(self.revoked, *(
            answer.facts.concerns for answer in answers.values()))

    def last_seen_at(self, node: str) -> float:
        """Return when a node answered last; if never, since when it has been asked."""
        answer = self.answers.get(node)
        return self.started_at if answer is None else answer.at

    def act(self) -> None:
        """Decide, unless it is known what comes of that; carry out what is ordered until death."""
        from tests.simulation.failover import survey

        key = None if self.world.exact else survey.key_of(self)
        if key is None or key != self.known:
            situation = survey.situation_of(self)
            self.known, self.known_decisions = key, decider.decide(situation)
            for decision in self.known_decisions:
                self._tell(decision)
                check_orders(self.world, situation, decision)
        self.decisions = self.known_decisions
        self._meet_doom()
        if not self.alive:
            return
        for order in (order for decision in self.decisions for order in decision.orders):
            if self.dies_after is not None:
                self.dies_after -= 1
                if self.dies_after < 0:
                    self.dies_after = None
                    self.die()
                    return
            carry_out(self, order)

    def _meet_doom(self) -> None:
        """Die where it is told to: in a phase, after so many orders."""
        doom = self.doom
        if doom is not None and not doom.met and any(
                decision.phase is doom.phase for decision in self.decisions):
            doom.met, self.dies_after = self.name, doom.after
            if not any(decision.orders for decision in self.decisions):
                self.dies_after = None
                self.die()

    def _tell(self, decision: Decision) -> None:
        """Add to the story what is decided, where it is anything new."""
        words = f"{decision.phase}", *(type(order).__name__ for order in decision.orders)
        if self.said.get(decision.scope) != words:
            self.said[decision.scope] = words
            self.world.say(f"{self.name} {decision.scope} {decision.phase}:"
                           f" {decision.sentence[:200]} [{' '.join(dict.fromkeys(words[1:]))}]")

    def give_word(self, host: Host) -> None:
        """Have a person look at a host, and say that it is off where it is."""
        if not host.power:
            self.words[host.name] = (f"boot-{host.boot}", self.world.now)
            self.world.say(f"a person confirms that {host.name} is off")

