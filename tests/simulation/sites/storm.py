"""One storm over two sites: power, links, witness and persons fail; afterwards all must be well.

A seed replays exactly: `python -m tests.simulation.sites.storm SEED` tells its whole story.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import cast

from controller.errors import JournalUnavailable
from controller.model.facts import Unknown
from controller.plan.gates.approval import content
from controller.plan.steps.plan import Verdict
from controller.plan.survey.context import Approval, Confirmation, FailoverRequest
from controller.providers.base import Provider
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event
from tests.mending import mending
from tests.simulation.crash import Fuse, fragile_store
from tests.simulation.estates import without_vm
from tests.simulation.laws import Laws, Witness
from tests.simulation.sites.estate import PLACE, site_estate
from tests.simulation.sites.laws import FailoverLaws, epoch
from tests.simulation.storm import Report

STORM_S = 240.0
REST_WITHIN_S = 600.0
HOME_WITHIN_S = 400.0
LOOK_S = 5.0
DIALECTS = ("down", "idrac", "openbmc", "liar", "stuck", "null-state", "flaky", "wrong-password",
            "slow-off", "always-on", "http500")
LEAPS_S = (-3600.0, -40.0, 0.0, 40.0, 3600.0)
STROKES: Mapping[str, int] = {
    "crash": 10, "wipe": 5, "clock": 5, "blink": 5, "damage": 4, "person": 20,
    "power {site}-1 off; power {site}-2 off": 14, "site {site} cut": 8, "power {host} off": 7,
    "bmc {host} {dialect}": 5, "power hq off": 5, "ssh {host} pause": 2, "ssh hq pause": 2,
    "lose-reply 1": 2, "lose-request 1": 2, "fill {host}": 3, "slow {host} 3": 3}
"""How often each thing goes wrong."""
Plant = Callable[[Provider], Provider]


class Storm:
    """A world, a controller that may die, be wiped and come back, and the laws."""

    def __init__(self, seed: int, plant: Plant) -> None:
        self.dice = Random(f"sites-{seed}")
        self.report = Report(seed)
        self.desired = site_estate()
        self.ahead_s = 0.0
        self.estate = SimulatedEstate(self.desired, converged=True, seed=seed, clock=self.clock)
        self.estate.world.epoch = epoch_clock
        self.fuse = Fuse(on_blow=self._die)
        self.store = fragile_store(self.fuse)
        self.laws = FailoverLaws(self.estate, self.store)
        self.provider = plant(Witness(self.estate, cast("Laws", self.laws)))
        self.estate.world.listeners.append(self.laws.look)
        self.mends: list[tuple[float, str]] = []
        self._seed = seed
        self._running: asyncio.Task[None] | None = None

    def clock(self) -> float:
        """Return what the controller's clock says."""
        return epoch_clock() + self.ahead_s

    def say(self, text: str) -> None:
        """Add one line to the story."""
        self.report.story.append(f"{asyncio.get_running_loop().time():8.2f}  {text}")

    def _tell(self, event: Event) -> None:
        self.say(f"{event.kind} {event.target} {event.node} {event.action_id} {event.sentence}")

    def _die(self) -> None:
        self.say("the controller dies")
        if self._running is not None:
            self._running.cancel()

    async def live(self) -> None:
        """Start a controller on the same journal."""
        self.fuse.mend()
        self.say("a controller starts")
        self.loop = Loop(self.provider, self.store, self.clock, seed=self._seed)
        self.loop.add_listener(self._tell)
        self.loop.stand_at(PLACE)
        await self.loop.set_desired(self.desired)
        self._running = asyncio.create_task(self.loop.run())

    async def end(self) -> None:
        """Stop the controller, however it is."""
        assert self._running is not None, "it was started"
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def wipe(self) -> None:
        """Let a controller begin that remembers nothing."""
        self.say("the controller and all it has stored are gone")
        await self.end()
        self.fuse.mend()
        self.store.close()
        self.store = self.laws.store = fragile_store(self.fuse)
        await self.live()

    async def stroke(self) -> None:
        """Let one thing go wrong; what a person types may be what the controller dies of."""
        with suppress(JournalUnavailable):
            await self.one_stroke()

    async def one_stroke(self) -> None:
        """Let one thing go wrong."""
        kind = self.dice.choices(tuple(STROKES), tuple(STROKES.values()))[0]
        site = self.dice.choice(("paris", "paris", "paris", "milan"))
        host = f"{site}-{self.dice.choice('12')}"
        match kind:
            case "crash":
                self.fuse.light(self.dice.randrange(12), committed=self.dice.random() < 0.5)
            case "wipe":
                await self.wipe()
            case "clock":
                self.ahead_s = self.dice.choice(LEAPS_S)
                self.say(f"the controller's clock is {self.ahead_s:+.0f} s from right now")
            case "blink":
                await self.blink()
            case "person":
                self.person()
            case "damage":
                self.damage()
            case _:
                self.strike(*(line.format(site=site, host=host, dialect=self.dice.choice(DIALECTS))
                              for line in kind.split("; ")))

    def person(self) -> None:
        """Let a person order something, or say what is true of the hosts without power."""
        off = [name for name, node in self.estate.world.nodes.items()
               if node.is_host and not node.powered]
        if off and self.dice.random() < 0.4:
            for name in off:
                self.confirm(name)
        else:
            self.order()

    def strike(self, *lines: str) -> None:
        """Do faults that belong together, and note when they are mended."""
        self.laws.look()
        due = self.estate.world.now() + self.dice.choice((4.0, 25.0, 60.0, 100.0, 150.0))
        for line in lines:
            self.say(f"fault: {line}")
            self.estate.command(line)
            mend = mending(line)
            if mend is not None:
                self.mends.append((due + self.dice.choice((0.0, 0.0, 30.0)), mend))

    def damage(self) -> None:
        """Let one restore point of one replica rot, if another one is left."""
        found = sorted((node.name, one.machine) for node in self.estate.world.nodes.values()
                       for one in node.replicas.values()
                       if sum(not point.known_bad for point in one.points) > 1)
        if found:
            self.strike(f"damage-replica {' '.join(self.dice.choice(found))} 1")

    async def blink(self) -> None:
        """Let a spec be missing, or a VM be unprotected, for a while."""
        name = self.dice.choice(("sql", "web", "mail", "files"))
        machine = self.desired.virtual_machines[name]
        bare = machine.model_copy(update={"spec": machine.spec.model_copy(
            update={"protection": None})})
        gone = self.dice.random() < 0.5
        self.say(f"the {'spec' if gone else 'protection'} of {name} is missing for a while")
        half = (without_vm(self.desired, name) if gone else replace(
            self.desired, virtual_machines={**self.desired.virtual_machines, name: bare}))
        await self.loop.set_desired(replace(half, revision=f"{self.desired.revision}-half"))
        await asyncio.sleep(self.dice.choice((1.0, 6.0, 40.0)))
        await self.loop.set_desired(self.desired)

    def order(self) -> None:
        """Let a person order something, right or wrong."""
        target = self.dice.choice(("Site/paris", "Site/milan", "Host/paris-1", "Group/shop",
                                   "VirtualMachine/wiki", "Host/milan-1"))
        kind = self.dice.choice(("failover", "failover", "failback", "planned"))
        self._order(target, planned=kind != "failover", back=kind == "failback",
                    accepts_loss=self.dice.random() < 0.5)

    def _order(self, target: str, *, planned: bool = False, back: bool = False,
               accepts_loss: bool = False) -> None:
        self.say(f"ordered: {'back ' if back else ''}{'planned ' if planned else ''}{target}")
        if planned:
            self.laws.ordered.add(target)
        if not self.fuse.blown:
            self.store.order_failover(FailoverRequest(
                target, "ann", "a storm", self.clock(), planned=planned, back=back,
                accepts_loss=accepts_loss))

    def confirm(self, host: str) -> None:
        """Let a person say that a host is off, which is true."""
        seen = self.loop.observed.nodes.get(host)
        if isinstance(seen, Unknown) and seen.last is not None and not self.fuse.blown:
            self.say(f"ann says that {host} is off")
            self.store.confirm_fenced(Confirmation(host, "ann", "pulled its cords",
                                                   seen.last.boot_id, self.clock()))

    def mend(self, *, all_of_them: bool = False) -> None:
        """Mend what is due."""
        now = self.estate.world.now()
        for due, line in sorted(self.mends):
            if all_of_them or due <= now:
                self.say(f"mended: {line}")
                self.estate.command(line)
        self.mends = [] if all_of_them else [one for one in self.mends if one[0] > now]

    def say_yes(self) -> None:
        """Let a person say yes to what is asked, but to nothing that would be made anew."""
        plan = self.loop.plan
        asked = [step.action for step in plan.steps if step.ruling.verdict is
                 Verdict.NEEDS_APPROVAL and step.ruling.rule != "anew"] if plan else []
        for action in asked:
            self.say(f"yes to {action.id}")
            self.store.approve(Approval(action.id, plan.revision if plan else "", "ann",
                                        self.clock() + 60, content(action)))
        if asked:
            self.loop.reread()

    def end_older_copies(self) -> None:
        """Let a person end older copies where the controller said that it waits for that."""
        split = [one for one in (self.loop.plan.failovers if self.loop.plan else ())
                 if one.phase == "split"]
        if not split:
            return
        newest = dict[str, int]()
        for node in self.estate.world.nodes.values():
            for domain in node.domains.values():
                newest[domain.uuid] = max(newest.get(domain.uuid, 0), epoch(domain))
        for node in self.estate.world.nodes.values():
            for domain in list(node.domains.values()):
                if domain.state.active and epoch(domain) < newest[domain.uuid]:
                    self.say(f"ann ends {domain.name} on {node.name}")
                    self.estate.command(f"shutoff {node.name} {domain.name}")

    def power_on(self) -> None:
        """Let a person switch on what was fenced."""
        for name, node in self.estate.world.nodes.items():
            if not node.powered:
                self.say(f"ann switches {name} on")
                self.estate.command(f"power {name} on")

    async def rage(self) -> None:
        """Let things go wrong for a while; a dead controller is started again."""
        await asyncio.sleep(20.0)
        self.strike(*self.dice.choice((
            ("power paris-1 off", "power paris-2 off"), ("site paris cut",),
            ("site paris cut", "bmc paris-1 down", "bmc paris-2 down"), ("ssh paris-1 pause",),
            ("power paris-1 off", "power paris-2 off", "bmc paris-1 down", "bmc paris-2 down"))))
        await asyncio.sleep(self.dice.choice((0.0, 14.0, 18.0, 21.0, 28.0, 33.0)))
        while self.estate.world.now() < STORM_S and not self.laws.broken:
            await asyncio.sleep(self.dice.choice((0.3, 1.0, 2.0, 8.0, 20.0, 35.0)))
            self.mend()
            await self.stroke()
            await self.revive()

    async def revive(self) -> None:
        """Start a controller where none runs."""
        if self._running is not None and self._running.done():
            await self.live()

    async def rest(self) -> None:
        """Mend everything; every VM must run once, wherever, and nothing may be under way."""
        self.mend(all_of_them=True)
        self.estate.lost_requests = self.estate.lost_replies = 0
        self.ahead_s, self.fuse.left = 0.0, None
        self.say("everything is mended")
        await self.until(self.not_at_rest, REST_WITHIN_S, "not at rest")

    async def go_home(self) -> None:
        """Let a person order everything back, and nothing else; then all must be as declared."""
        self.store.withdraw_failovers(self.store.failovers(self.clock()))
        opened = [one.scope for one in (self.loop.plan.failovers if self.loop.plan else ())
                  if one.phase == "protected-reversed"]
        for scope in sorted({"Site/paris", "Site/milan", *opened}):
            self._order(scope, planned=True, back=True)
        self.loop.reread()
        await self.until(self.not_at_home, HOME_WITHIN_S, "not at home")

    async def until(self, wrong: Callable[[], list[str]], within_s: float, law: str) -> None:
        """Wait until nothing is wrong any more."""
        deadline = self.estate.world.now() + within_s
        found = ["it has only begun"]
        while found and self.estate.world.now() < deadline and not self.laws.broken:
            await self.revive()
            await asyncio.sleep(LOOK_S)
            self.say_yes()
            self.end_older_copies()
            self.power_on()
            self.laws.look()
            found = wrong()
        if found and not self.laws.broken:
            states = [f"{one.scope} {one.phase}: {one.sentence} {one.waiting}"
                      for one in (self.loop.plan.failovers if self.loop.plan else ())]
            self.laws.broken.append(f"{law}: {'; '.join(found)} ({'; '.join(states)})")

    def not_at_rest(self) -> list[str]:
        """Return what is neither as it should be nor said to wait for anybody."""
        found = []
        for name in self.desired.virtual_machines:
            copies = self.estate.world.copies(name)
            if len(copies) != 1:
                found.append(f"{name} runs {len(copies)} times")
        found += [f"{one.scope} is {one.phase}" for one in (
            self.loop.plan.failovers if self.loop.plan else ())
            if one.phase not in {"calm", "protected-reversed"}]
        return found

    def not_at_home(self) -> list[str]:
        """Return what is not where it is declared."""
        found = self.not_at_rest()
        found += [f"{one.scope} is {one.phase}" for one in (
            self.loop.plan.failovers if self.loop.plan else ()) if one.phase != "calm"]
        for name, machine in self.desired.virtual_machines.items():
            place = machine.spec.placement
            for host in self.estate.world.copies(name):
                site = place.site or (self.laws.site(place.host) if place.host else None)
                if self.laws.site(host) != site:
                    found.append(f"{name} runs at {self.laws.site(host)}")
        return found


def blow(seed: int, plant: Plant = lambda provider: provider) -> Report:
    """Play the storm of `seed` and report."""
    logging.getLogger("hotsite").setLevel(logging.CRITICAL)

    async def whole() -> Report:
        storm = Storm(seed, plant)
        await storm.live()
        await storm.rage()
        if not storm.laws.broken:
            await storm.rest()
        if not storm.laws.broken:
            await storm.go_home()
        await storm.end()
        await storm.estate.close()
        storm.store.close()
        storm.report.broken = list(storm.laws.broken)
        faults = [line for line in storm.report.story if line[10:16] == "fault "]
        storm.report.broken += [f"the loop broke: {line}" for line in faults[:3]]
        return storm.report

    return run_virtual(whole())


if __name__ == "__main__":
    told = blow(int(sys.argv[1]))
    sys.stdout.write("\n".join([*told.story, "", *(told.broken or ["every law was kept"])]) + "\n")
