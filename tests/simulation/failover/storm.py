"""One storm: a seed decides all that goes wrong with two sites, a witness and two controllers.

A seed replays exactly: `python -m tests.simulation.failover.storm SEED` tells its whole story.
"""

import sys
from collections.abc import Callable
from random import Random

from controller.failover.case import newest_records
from controller.failover.states import Phase
from tests.simulation.failover.controller import Controller, Register
from tests.simulation.failover.deck import MASK
from tests.simulation.failover.estate import SMALL, TALK, Estate, Shape, make_estate
from tests.simulation.failover.host import Host
from tests.simulation.failover.lines import Line
from tests.simulation.failover.survey import situation_of
from tests.simulation.failover.world import GUARD, Mistakes, World
from tests.simulation.seeds import replay

PEACE_S = 20.0
STORM_S = 120.0
LONG_S = 500.0
LONG_EVERY = 8
"""Every so-many-th storm is long: sites are lost, mended and lost again."""
MENDED_S = 140.0
SOUND = Mistakes()
PASSING = frozenset({Phase.REVOKING, Phase.FENCING, Phase.GATING, Phase.PROMOTING,
                     Phase.RETURNING})
"""Where nothing may stay once all is mended."""


class Storm:
    """A world with an estate, its controllers, and what the dice do to them."""

    def __init__(self, seed: int, mistakes: Mistakes = SOUND, shape: Shape = SMALL, *,
                 edge: bool = False, exact: bool = False) -> None:
        self.edge = edge
        """Whether it begins at the edge of a deadline: where the inequality is needed."""
        self.world = World(Random(f"failover-{seed}"), mistakes,
                           exact=exact or mistakes.answers_first)
        self.storm_s = LONG_S if seed % LONG_EVERY == LONG_EVERY - 1 else STORM_S
        self.dice = self.world.dice
        self.estate: Estate = make_estate(self.world, shape)
        self.register = Register(self.world) if self.dice.random() < 0.8 else None
        self.controllers = [self._controller("c1"), *(
            [self._controller("c2")] if self.register is not None else [])]
        self.world.sleepers = list(self.controllers)
        self.bmcs_fail = self.dice.random() < 0.6
        """Whether they are cut off with their site."""
        self._introduce()

    def _controller(self, name: str) -> Controller:
        drift = GUARD.drift / 2
        place = "milan" if self.edge else self.dice.choice(("hq", "milan", "paris", "milan"))
        fates = {of: self.dice.randrange(MASK) for of in (*self.estate.nodes, "loop", "calm")}
        return Controller(name, self.world, 1 + self.dice.uniform(-drift, drift), place=place,
                          estate=self.estate, register=self.register, fates=fates)

    def _introduce(self) -> None:
        """Tell each host who grants to it: the witness, the other site, the controllers."""
        estate = self.estate
        assert estate.witness is not None
        for host in estate.hosts.values():
            for one in (estate.witness, *(other for other in estate.hosts.values()
                                          if other.site != host.site), *self.controllers):
                self._connect(Line(host, one))
        for host in estate.hosts.values():
            host.start_guard()
        for one in self.controllers:
            one.run()

    def _connect(self, line: Line) -> None:
        host, grantor = line.host, line.grantor
        grantor.lines[host.name] = line
        host.asks.append(line)
        for way in ((host.name, grantor.name), (grantor.name, host.name)):
            self.world.wires.setdefault(way, []).append(line)

    def at_place(self, place: str) -> list[str]:
        """Return the machines that stand somewhere, and perhaps the BMCs of its hosts."""
        found = [host.name for host in self.estate.hosts.values() if host.site == place]
        found += [f"bmc-{name}" for name in found if self.bmcs_fail]
        found += ["hq"] if place == "hq" else []
        return found + [one.name for one in self.controllers if one.place == place]

    def everybody(self) -> list[str]:
        """Return every machine."""
        hosts = list(self.estate.hosts)
        return [*hosts, *(f"bmc-{name}" for name in hosts), "hq",
                *(one.name for one in self.controllers)]

    def blow(self) -> World:
        """Play the whole storm."""
        self.world.run(PEACE_S)
        self._rage(self.storm_s)
        self._mend()
        self.world.run(self.world.now + MENDED_S)
        self._settled()
        return self.world

    def endure(self, rounds: int, round_s: float) -> World:
        """Play one storm after another, with peace between them in which nothing is settled by us.

        Whatever one leaves behind, such as VMs at the other site, is where the next one begins.
        """
        self.world.run(PEACE_S)
        for number in range(1, rounds + 1):
            self.world.is_over = False
            self._rage(STORM_S)
            self._mend()
            self.world.run(PEACE_S + number * round_s)
            self._settled()
        return self.world

    def _rage(self, storm_s: float) -> None:
        dice, world, start = self.dice, self.world, self.world.now
        self._strike(edge_of_the_deadline if self.edge else dice.choice(GREAT_STRIKES))
        for round_s in range(130, int(storm_s) - 20, 150):
            world.at(start + round_s, self._mend_for_now)
            for _ in range(2):
                world.at(start + round_s + dice.uniform(40, 140),
                         lambda: self._strike(dice.choice(GREAT_STRIKES)))
        for _ in range(dice.randrange(5)):
            world.after(dice.uniform(1, storm_s), lambda: self._strike(dice.choice(STRIKES)))
        for _ in range(dice.randrange(12)):
            world.after(dice.uniform(1, storm_s), self._flap)
        if dice.random() < 0.3:
            world.after(dice.uniform(10, storm_s), self._order)
        if dice.random() < 0.4:
            world.after(dice.uniform(10, storm_s), self._confirm)
        world.run(start + storm_s)

    def _strike(self, kind: Callable[["Storm"], str]) -> None:
        if not self.world.is_over:
            self.world.say(f"-- {kind(self)}")

    def _flap(self) -> None:
        """Cut or mend one way, perhaps in one direction only."""
        one, other = self.dice.sample(self.everybody(), 2)
        if self.dice.random() < 0.5:
            self.world.cut([one], [other], back=self.dice.random() < 0.6)
        elif self.dice.random() < 0.5:
            self.world.mend([one])

    def _order(self) -> None:
        target = self.dice.choice(("Site/paris", "Host/paris-1", "VirtualMachine/sql",
                                   "Group/erp", "Site/milan"))
        self.world.say(f"-- a person orders the failover of {target}")
        for one in self.controllers:
            one.orders.add(target)

    def _confirm(self) -> None:
        for host in self.estate.hosts.values():
            for one in self.controllers:
                one.give_word(host)

    def _mend_for_now(self) -> None:
        """Mend every way and switch everything on, in the middle of a long storm."""
        self.world.mend()
        self._guard_again()

    def _mend(self) -> None:
        """Mend every way, switch everything on, and let people go home."""
        world = self.world
        world.say("-- all is mended")
        world.is_over = True
        world.mend()
        for one in self.controllers:
            one.dies_after, one.lied_to, one.witness_late_s = None, False, 0.0
            one.orders.clear()
        for host in self.estate.hosts.values():
            if not host.power:
                world.after(self.dice.uniform(1, 30), host.power_on)
        world.after(40.0, self._guard_again)

    def _guard_again(self) -> None:
        for host in self.estate.hosts.values():
            host.power_on()
            if not host.guarded:
                host.start_guard()

    def _settled(self) -> None:
        """After the storm no grant is refused that nothing explains, and nobody waits for ever."""
        conductor = next((one for one in self.controllers if one.alive and one.conducts()), None)
        if conductor is None:
            self.world.fail("nobody conducts after the storm")
            return
        for name in self.estate.replicas:
            running = [host for host in self.estate.hosts.values() if name in host.guests]
            if len(running) > 1:
                self.world.fail(f"two copies of {name} after the storm")
        conductor.act()
        for decision in conductor.decisions:
            if decision.phase in PASSING and self.estate.shape is SMALL:    # else waves take longer
                self.world.fail(f"stuck in {decision.phase}: {decision.sentence}")
        records = newest_records(situation_of(conductor)).values()
        busy = {host for record in records if record.phase != Phase.CALM for host in record.hosts}
        for grantor in (*self.estate.nodes.values(), conductor):
            for host in grantor.revoked.keys() - busy if grantor.may_grant() else ():
                self.world.fail(f"{grantor.name} refuses {host}, and no failover needs that")


def lose_site(storm: Storm) -> str:
    """A site loses its power, and its BMCs perhaps with it."""
    site = storm.dice.choice(("paris", "paris", "paris", "milan"))
    for host in _hosts(storm, site):
        host.power_off()
        if storm.dice.random() < 0.3:
            storm.world.after(storm.dice.uniform(20, 150), host.power_on)
    for one in storm.controllers:
        if one.place == site:
            one.die()
    if storm.dice.random() < 0.7:
        storm.world.cut([f"bmc-{host.name}" for host in _hosts(storm, site)], storm.everybody())
    return f"{site} loses its power"


def _hosts(storm: Storm, site: str) -> list[Host]:
    return [host for host in storm.estate.hosts.values() if host.site == site]


def lose_host(storm: Storm) -> str:
    """One host loses its power."""
    host = storm.dice.choice(list(storm.estate.hosts.values()))
    host.power_off()
    if storm.dice.random() < 0.3:
        storm.world.after(storm.dice.uniform(5, 100), host.power_on)
    return f"{host.name} loses its power"


def cut_site(storm: Storm) -> str:
    """A site is cut off, from all or from some, for a while or for good."""
    site = storm.dice.choice(("paris", "paris", "milan"))
    inside = storm.at_place(site)
    others = [one for one in storm.everybody() if one not in inside]
    if storm.dice.random() < 0.4:
        others = storm.dice.sample(others, storm.dice.randrange(1, len(others)))
    storm.world.cut(inside, others)
    if storm.dice.random() < 0.5:
        storm.world.after(storm.dice.uniform(5, 120), lambda: storm.world.mend(inside))
    return f"{site} is cut off from {', '.join(others)}"


def cut_host(storm: Storm) -> str:
    """One host is cut off from all, or from some."""
    name = storm.dice.choice(list(storm.estate.hosts))
    others = storm.everybody()
    if storm.dice.random() < 0.5:
        others = storm.dice.sample(others, storm.dice.randrange(1, len(others)))
    storm.world.cut([name], others, back=storm.dice.random() < 0.7)
    if storm.dice.random() < 0.4:
        storm.world.after(storm.dice.uniform(5, 100), lambda: storm.world.mend([name]))
    return f"{name} is cut off"


def secret_grantor(storm: Storm) -> str:
    """A site is cut off from all but one grantor, which nobody else can ask."""
    inside = storm.at_place("paris")
    one = storm.dice.choice(["milan-1", "milan-2"])
    outside = [name for name in storm.everybody() if name not in inside and name != one]
    storm.world.cut(inside, outside)
    storm.world.after(storm.dice.choice((0.0, storm.dice.uniform(0, 30))), lambda: storm.world.cut(
        [one], [name for name in outside if name != "hq"]))
    _stall_at_the_edge(storm, _hosts(storm, "paris"))
    return f"paris is cut off from all but {one}, and {one} from all but paris"


def edge_of_the_deadline(storm: Storm) -> str:
    """A site is cut off, from one grantor last, and stumbles at the moment when it matters."""
    inside, estate, world = storm.at_place("paris"), storm.estate, storm.world
    assert estate.witness is not None
    last = storm.dice.choice([estate.witness, estate.hosts["milan-1"], estate.hosts["milan-2"]])
    outside = [name for name in storm.everybody() if name not in inside and name != last.name]
    world.cut(inside, outside)
    later_s = storm.dice.choice((0.0, storm.dice.uniform(0, 40)))
    world.after(later_s, lambda: world.cut(inside, [last.name]))
    if storm.dice.random() < 0.4:
        world.after(later_s + storm.dice.uniform(0, 5), last.restart)
    world.after(later_s, lambda: _stall_at_the_edge(storm, _hosts(storm, "paris")))
    return f"paris is cut off, and {later_s:.0f} s later from {last.name}, too"


def _stall_at_the_edge(storm: Storm, hosts: list[Host]) -> None:
    for host in hosts:
        if storm.dice.random() < 0.6:
            storm.world.after(storm.dice.uniform(22, 34),
                              lambda one=host: one.stall(storm.dice.uniform(3, 9)))


def freeze_host(storm: Storm) -> str:
    """A host, or all of a site, stands still, or its guard alone."""
    host = storm.dice.choice(list(storm.estate.hosts.values()))
    length_s = storm.dice.choice((1, 5, 20, 60, 120, 180)) * storm.dice.random()
    if not host.power:
        return f"{host.name} is off already"
    if storm.dice.random() < 0.6:
        host.freeze(length_s)
    else:
        host.stall(length_s)
    return f"{host.name} stands still"


def restart_grantor(storm: Storm) -> str:
    """A grantor restarts, and forgets what it granted."""
    assert storm.estate.witness is not None
    one = storm.dice.choice([storm.estate.witness, storm.estate.witness, *storm.controllers])
    if isinstance(one, Controller):
        one.die()
        return f"{one.name} is killed"
    one.restart()
    return "hq restarts"


def hide_witness(storm: Storm) -> str:
    """The witness is slow, lies, or is cut off."""
    kind = storm.dice.random()
    for one in storm.controllers:
        if kind < 0.3:
            one.witness_late_s = storm.dice.uniform(0, 30)
        elif kind < 0.6:
            one.lied_to = True
    if kind >= 0.6:
        storm.world.cut(["hq"], storm.dice.sample(storm.everybody(), 3))
        return "hq is cut off from some"
    return "hq is slow" if kind < 0.3 else "hq lies"


def kill_controller(storm: Storm) -> str:
    """A controller dies between two of its next orders."""
    one = storm.dice.choice(storm.controllers)
    one.dies_after = storm.dice.randrange(12)
    return f"{one.name} dies after {one.dies_after} orders"


def mend_all(storm: Storm) -> str:
    """Everything that was cut is mended."""
    storm.world.mend()
    return "all ways are mended"


STRIKES: tuple[Callable[[Storm], str], ...] = (
    lose_site, lose_site, cut_site, cut_site, edge_of_the_deadline, edge_of_the_deadline,
    secret_grantor, lose_host, cut_host, freeze_host, restart_grantor, hide_witness,
    kill_controller, kill_controller, mend_all)


GREAT_STRIKES = (lose_site, cut_site, edge_of_the_deadline, secret_grantor)
"""What each storm begins with."""


def blow(seed: int, mistakes: Mistakes = SOUND, shape: Shape = SMALL, *,
         edge: bool = False, exact: bool = False) -> World:
    """Play one storm."""
    return Storm(seed, mistakes, shape, edge=edge, exact=exact).blow()


def endure(seed: int, rounds: int, round_s: float, shape: Shape = TALK, *,
           exact: bool = False) -> World:
    """Play storms on end, of one estate."""
    return Storm(seed, SOUND, shape, exact=exact).endure(rounds, round_s)


def command(seed: int, *words: str) -> str:
    """Return what has to be typed to be told a storm."""
    return replay("tests.simulation.failover.storm", seed, *words)


def main(seed: str, *words: str) -> None:
    """Tell one storm: `talk` of the estate of the talk, `edge` from the edge of the deadline on,
    `exact` with every ask played."""
    told = blow(int(seed), shape=TALK if "talk" in words else SMALL, edge="edge" in words,
                exact="exact" in words)
    sys.stdout.write("\n".join((*told.story, *told.broken, *map(str, told.breaches))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
