"""The estate of a storm: two sites, a witness, and what is true of the VMs."""

from dataclasses import dataclass, field

from tests.simulation.failover.deck import MASK
from tests.simulation.failover.host import Host
from tests.simulation.failover.nodes import Bmc, Node
from tests.simulation.failover.world import GUARD, Breach, World


@dataclass(frozen=True)
class Shape:
    """How large an estate is, and what runs in it."""

    twin: dict[str, str]
    """By host: the one at the other site that holds its replicas."""
    home: dict[str, str]
    """By VM: the host that it runs on in peace."""
    order: dict[str, int]
    group: dict[str, str]


DIALECTS = ("plain", "slow", "never", "lies", "dead", "other", "other")
SMALL = Shape(
    twin={"paris-1": "milan-1", "paris-2": "milan-2", "milan-1": "paris-1", "milan-2": "paris-2"},
    home={"sql": "paris-1", "app": "paris-1", "web": "paris-2", "wiki": "paris-2"},
    order={"sql": 10, "app": 20, "web": 20, "wiki": 30}, group={"sql": "erp", "app": "erp"})
TALK = Shape(
    twin={f"{one}-{number}": f"{other}-{number}" for number in range(1, 7)
          for one, other in (("paris", "milan"), ("milan", "paris"))},
    home={f"vm-{number}": f"{('paris', 'milan')[number % 2]}-{number % 6 + 1}"
          for number in range(35)},
    order={f"vm-{number}": number % 3 for number in range(35)}, group={})
"""The estate of the talk: 12 servers, 35 VMs."""


@dataclass
class Replica:
    """The copy of a VM at the other site: what writes to it has its epoch, or a higher one."""

    node: str
    epoch: int = 0


@dataclass
class Estate:
    """What is really there."""

    world: World
    shape: Shape = SMALL
    hosts: dict[str, Host] = field(default_factory=dict)
    witness: Node | None = None
    replicas: dict[str, Replica] = field(default_factory=dict)
    fresh_reverse: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)
    automatic: set[str] = field(default_factory=set)
    spared: set[str] = field(default_factory=set)
    disks: dict[tuple[str, str], int] = field(default_factory=dict)
    """By VM and host: the epoch that its disks there were last written for."""
    late_guests: dict[tuple[str, str], float] = field(default_factory=dict)
    """By VM and host: since when an old copy has run beside the new one."""

    @property
    def nodes(self) -> dict[str, Node]:
        """Return everything that holds records."""
        assert self.witness is not None
        return {**self.hosts, self.witness.name: self.witness}

    def start(self, name: str, host: Host, epoch: int) -> None:
        """Start a copy, and check the laws that a start can break."""
        if not host.up() or host.guests.get(name) == epoch:
            return
        highest = max((one for (machine, where), one in self.disks.items()
                       if machine == name and where != host.name), default=-1)
        if epoch <= highest:
            self.world.fail(f"older epoch: {name} starts on {host.name} for {epoch}, and a copy"
                            f" has {highest}")
        for other in self.hosts.values():
            if other is not host and name in other.guests and other.power:
                self._two(name, other)
        self.disks[name, host.name] = epoch
        host.add(name, epoch, self.world.now + self.world.dice.uniform(3, 25))
        self.world.say(f"{name} starts on {host.name} for epoch {epoch}")

    def _two(self, name: str, old: Host) -> None:
        """Note that an old copy may run beside a new one, and follow it until it is gone."""
        if (name, old.name) not in self.late_guests:
            self.late_guests[name, old.name] = 0.0
            self._follow(name, old, old.guests[name], self.world.now)

    def _follow(self, name: str, old: Host, epoch: int, since: float) -> None:
        """Measure how long the old copy ran while it was not frozen."""
        world = self.world
        if old.frozen:
            world.at(old.frozen_until, lambda: self._follow(name, old, epoch, world.now))
            return
        if not old.power or old.guests.get(name) != epoch or world.now > since + 60:
            length_s = self.late_guests.pop((name, old.name), 0.0)
            if length_s > 0:
                excused = not old.watchdog and name not in self.spared and any(
                    thawed > old.granted_by(world.now) for thawed in old.stalls)
                world.breaches.append(Breach(name, excused, length_s))
                if not excused:
                    world.fail(f"two running copies of {name}: on {old.name}, too, for"
                               f" {length_s:.1f} s")
            return
        self.late_guests[name, old.name] = max(world.now - since, 0.01)
        world.after(0.1, lambda: self._follow(name, old, epoch, since))


def make_estate(world: World, shape: Shape) -> Estate:
    """Return an estate at peace; the dice decide what it has."""
    dice = world.dice
    estate = Estate(world, shape)
    estate.witness = Node("hq", world, _fast(world))
    watchdogs = dice.random() < 0.7
    for name in shape.twin:
        site = name.partition("-")[0]
        late = world.mistakes.drift if site == "paris" else 0.0
        host = Host(name, world, _slow(world) - late, site=site, fate=dice.randrange(MASK))
        host.watchdog = watchdogs
        if dice.random() < 0.7:
            host.bmc = Bmc(dice.choice(DIALECTS))
        host.accept_freeze = not watchdogs and host.bmc is None and dice.random() < 0.7
        estate.hosts[name] = host
    for name, home in shape.home.items():
        estate.replicas[name] = Replica(shape.twin[home])
        if dice.random() < 0.95:
            estate.automatic.add(name)
        if dice.random() < 0.12:
            estate.spared.add(name)
        estate.hosts[home].guests[name] = estate.disks[name, home] = 0
    for host in estate.hosts.values():
        host.spared = estate.spared
    return estate


def _slow(world: World) -> float:
    """The rate of a host's clock: often as slow as the bound lets it be."""
    drift = GUARD.drift / 2
    return 1 - world.dice.choice([drift, world.dice.uniform(-drift, drift)])


def _fast(world: World) -> float:
    drift = GUARD.drift / 2
    return 1 + world.dice.choice([drift, world.dice.uniform(-drift, drift)])
