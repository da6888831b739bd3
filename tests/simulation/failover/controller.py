"""A controller: it asks for the lease, looks, decides by the real `decide`, and does what it says.

It may die between any two orders, and knows of a machine only what that has answered.
"""

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
from controller.model.failover.record import Record
from tests.simulation.failover.estate import Estate
from tests.simulation.failover.laws import check_orders
from tests.simulation.failover.nodes import Grantor, Host, Node
from tests.simulation.failover.world import World

TTL_S = 15.0
LEASE_S = 3.0
LOOP_S = 2.0
CALM_S = 8.0
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
    boot: int
    guests: dict[str, int]
    healthy: frozenset[str]
    ended: frozenset[str]
    records: tuple[Record, ...]
    grants: dict[str, tuple[float, int]]
    """By host: how long ago it granted last, and for which epoch it refuses."""
    heard_s: dict[str, float]
    listening_s: float
    guarded: bool


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
    said: str = ""
    dies_after: int | None = None
    """After how many orders it dies; None: not for now."""
    decisions: tuple[Decision, ...] = ()

    def conducts(self) -> bool:
        """Whether it holds the lease, as far as it knows."""
        if self.register is None or self.world.mistakes.ignores_leases:
            return self.register is None or self.term > 0
        return self.world.now < self.fresh_until

    def may_grant(self) -> bool:
        """A controller grants while it conducts."""
        return self.alive and self.conducts()

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
            self.alive = False
            self.fresh_until = -1.0
            self.world.say(f"{self.name} dies")
            self.world.after(self.world.dice.uniform(5, 90), self.run)

    def _renew(self) -> None:
        if not self.alive or self.register is None:
            return
        world, register, asked_at = self.world, self.register, self.world.now
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
        self.look()
        self.decisions = ()
        if self.conducts() and not self._is_calm():
            self.act()
        if self.alive:
            busy = any(isinstance(order, WriteRecord | Revoke | Restore)
                       for decision in self.decisions for order in decision.orders)
            self.world.after(0.4 if busy else self.world.dice.uniform(0.5, 1.5) * LOOP_S,
                             self._loop)

    def _is_calm(self) -> bool:
        """Whether there is surely nothing to decide; then it mostly is not even asked."""
        assert self.estate is not None
        now = self.world.now
        return (len(self.answers) == len(self.estate.nodes) and not self.orders and not self.revoked
                and all(now - answer.at < CALM_S and not answer.records
                        and not any(epoch for _, epoch in answer.grants.values())
                        for answer in self.answers.values())
                and self.world.dice.random() < 0.9)

    def look(self) -> None:
        """Ask every node that can be reached; some answers are lost."""
        assert self.estate is not None
        for name, node in self.estate.nodes.items():
            if (not (isinstance(node, Host) and not node.up()) and node.alive
                    and self.world.answers(self.name, name) and self.world.dice.random() < 0.9):
                self.answers[name] = self._answer(node)
        for name, host in self.estate.hosts.items():
            answer = self.answers.get(name)
            if answer is None or answer.at < self.world.now:
                continue
            if host.bmc is not None and host.bmc.dialect == "other":
                self.distrusted.add(name)       # it reads Off, and the host answers
            for guest in answer.guests:
                self.home[guest] = name
            if answer.guarded:
                self.guarded.add(name)
            else:
                self.guarded.discard(name)

    def _answer(self, node: Node) -> Answer:
        host = node if isinstance(node, Host) else None
        now = self.world.now
        return Answer(
            at=now, boot=host.boot if host else 0, guests=dict(host.guests) if host else {},
            healthy=frozenset(one for one, at in host.healthy_at.items() if at <= now)
            if host else frozenset(),
            ended=frozenset(host.ended) if host else frozenset(),
            records=tuple(node.records.values()),
            grants={one.name: (node.last_grant_s(one.name), node.revoked.get(one.name, 0))
                    for one in (self.estate.hosts.values() if self.estate else ())},
            heard_s={one: now - at for one, at in node.heard.items()},
            listening_s=now - node.born_at, guarded=bool(host and host.guarded))

    def act(self) -> None:
        """Decide, and carry out what is ordered until death."""
        from tests.simulation.failover.survey import situation_of

        situation = situation_of(self)
        self.decisions = decider.decide(situation)
        for decision in self.decisions:
            words = f"{decision.scope} {decision.phase}: {decision.sentence}"
            if words != self.said:
                self.said = words
                self.world.say(f"{self.name} {words[:200]}")
            check_orders(self.world, situation, decision)
            for order in decision.orders:
                if self.dies_after is not None:
                    self.dies_after -= 1
                    if self.dies_after < 0:
                        self.dies_after = None
                        self.die()
                        return
                self.carry_out(order)

    def _reached(self, name: str) -> Node | None:
        """Return a node that takes orders of this controller's term."""
        assert self.estate is not None
        node = self.estate.nodes.get(name)
        if (node is None or not node.alive or (isinstance(node, Host) and not node.up())
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
                    host.guests.pop(machine)
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

