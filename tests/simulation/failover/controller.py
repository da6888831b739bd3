"""A controller: it asks for the lease, looks, decides by the real `decide`, and does what it says.

It may die between any two orders, and knows of a machine only what that has answered.
"""

import math
from dataclasses import dataclass, field

from controller.failover import decide as decider
from controller.failover.orders import (
    Decision,
    Fence,
    Order,
    Promote,
    Quarantine,
    Restore,
    Resume,
    Reverse,
    Revoke,
    WriteRecord,
)
from tests.simulation.failover.deck import MASK, SHARES
from tests.simulation.failover.estate import Estate
from tests.simulation.failover.host import Host
from tests.simulation.failover.laws import check_orders
from tests.simulation.failover.nodes import Facts, Grantor, Node
from tests.simulation.failover.world import World

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
    decisions: tuple[Decision, ...] = ()
    concerned: frozenset[str] = frozenset()
    known: object = None
    """All that a decision depends on, as far as it can make a difference to it."""
    known_decisions: tuple[Decision, ...] = ()
    """What was decided of that."""
    loops: int = 0
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
        if not self.conducts():
            self.refresh_lines()
        if world.answers(self.name, "hq"):
            free = (world.now - register.renewed_at) >= TTL_S * (1 + MARGIN)
            if register.holder != self.name and free:
                register.holder, register.term = self.name, register.term + 1
                self.term, self.term_at = register.term, world.now
                world.say(f"{self.name} conducts with term {self.term}")
            if register.holder == self.name:
                self.term = register.term
                register.renewed_at = world.now
                self.fresh_until = asked_at + TTL_S * (1 - MARGIN)
        world.after(LEASE_S, self._renew)

    def _loop(self) -> None:
        if not self.alive:
            return
        self.loops += 1
        self.look()
        self.decisions = ()
        if self.conducts() and not self._is_calm():
            self.act()
        if self.alive:
            busy = any(isinstance(order, WriteRecord | Revoke | Restore)
                       for decision in self.decisions for order in decision.orders)
            self.world.after(0.4 if busy else (0.5 + self._chance("loop")) * LOOP_S, self._loop)

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
            answer, mine = self.answers[node.name], self.concerned & node.lines.keys()
            answer.grants_s = {host: node.last_grant_s(host) for host in mine}
            if not isinstance(node, Host):
                answer.heard_s = {host: heard_s for host in mine
                                  if (heard_s := node.heard_s(host)) is not None}
        if news:
            for node in heard:
                if isinstance(node, Host):
                    self._learn(node, self.answers[node.name].facts)

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

        survey.read_bmcs(self)
        key = None if self.world.exact else survey.key_of(self)
        if key is None or key != self.known:
            situation = survey.situation_of(self)
            self.known, self.known_decisions = key, decider.decide(situation)
            for decision in self.known_decisions:
                self._tell(decision)
                check_orders(self.world, situation, decision)
        self.decisions = self.known_decisions
        for order in (order for decision in self.decisions for order in decision.orders):
            if self.dies_after is not None:
                self.dies_after -= 1
                if self.dies_after < 0:
                    self.dies_after = None
                    self.die()
                    return
            self.carry_out(order)

    def _tell(self, decision: Decision) -> None:
        """Add to the story what is decided, where it is anything new."""
        words = f"{decision.phase}", *(type(order).__name__ for order in decision.orders)
        if self.said.get(decision.scope) != words:
            self.said[decision.scope] = words
            self.world.say(f"{self.name} {decision.scope} {decision.phase}:"
                           f" {decision.sentence[:200]} [{' '.join(dict.fromkeys(words[1:]))}]")

    def _reached(self, name: str) -> Node | None:
        """Return a node that takes orders of this controller's term."""
        assert self.estate is not None
        node = self.estate.nodes.get(name)
        if (node is None or not node.up()
                or not self.world.answers(self.name, name)):
            return None
        if node.term > self.term and not self.world.mistakes.ignores_leases:
            self.world.say(f"{name} refuses term {self.term} of {self.name}")
            return None
        node.term = max(node.term, self.term)
        return node

    def carry_out(self, order: Order) -> None:
        """Do one order, if whom it is for can be reached."""
        assert self.estate is not None
        if isinstance(order, Revoke | Restore):
            self._grant(order)
        elif isinstance(order, WriteRecord):
            for name in order.nodes:
                node = self._reached(name)
                if node is not None:
                    node.write(order.record)
        elif isinstance(order, Fence):
            self._fence(self.estate.hosts[order.host])
        elif isinstance(order, Promote | Resume):
            self._start(order)
        elif isinstance(order, Quarantine):
            self._quarantine(order)
        elif isinstance(order, Reverse):
            self._reverse(order)

    def _grant(self, order: Revoke | Restore) -> None:
        grantor: Grantor | None = (self if order.grantor == "controller"
                                   else self._reached(order.grantor))
        for host in order.hosts if grantor is not None else ():
            if isinstance(order, Revoke):
                grantor.revoke(host, order.epoch)
            else:
                grantor.restore(host, order.epoch)

    def _fence(self, host: Host) -> None:
        bmc = host.bmc
        if bmc is None or bmc.dialect == "dead" or not self.world.passes(self.name,
                                                                          f"bmc-{host.name}"):
            return
        if bmc.dialect in {"plain", "slow"}:
            boot = host.boot
            delay_s = 1.0 if bmc.dialect == "plain" else 8.0
            self.world.after(delay_s, lambda: host.power_off() if host.boot == boot
                             and host.power else None)
            if self.world.dice.random() < 0.3:          # AlwaysOn, or a person
                self.world.after(self.world.dice.uniform(30, 120), host.power_on)

    def _start(self, order: Promote | Resume) -> None:
        assert self.estate is not None
        name = order.node if isinstance(order, Promote) else order.host
        host = self._reached(name)
        if not isinstance(host, Host):
            return
        epoch = order.epoch
        if self.world.mistakes.forgets_epoch:
            epoch = 0
        if isinstance(order, Promote):
            self.world.promotions += 1
            self.estate.replicas[order.machine].epoch = epoch
            self.estate.fresh_reverse.discard(order.machine)
            self.estate.compared.discard(order.machine)
        self.estate.start(order.machine, host, epoch)

    def _quarantine(self, order: Quarantine) -> None:
        host = self._reached(order.host)
        if isinstance(host, Host):
            for machine in order.machines:
                if host.guests.get(machine, order.epoch) < order.epoch:
                    host.remove(machine)
                    self.world.say(f"the stale {machine} on {host.name} is ended")
            if self.estate is not None:
                self.estate.compared.update(order.machines)

    def _reverse(self, order: Reverse) -> None:
        assert self.estate is not None
        replica = self.estate.replicas[order.machine]
        if self._reached(order.host) is not None and self.world.dice.random() < 0.3:
            running = next((host.name for host in self.estate.hosts.values()
                            if order.machine in host.guests), None)
            if running is not None and self._reached(running) is not None:
                replica.node, replica.epoch = order.host, order.epoch
                self.estate.fresh_reverse.add(order.machine)

    def give_word(self, host: Host) -> None:
        """Have a person look at a host, and say that it is off where it is."""
        if not host.power:
            self.words[host.name] = (f"boot-{host.boot}", self.world.now)
            self.world.say(f"a person confirms that {host.name} is off")

