"""One storm: a seed decides all that goes wrong; afterwards the estate must be as declared.

A seed replays exactly: `python -m tests.simulation.storm SEED` tells its whole story.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from controller.plan.gates.approval import content
from controller.plan.steps.plan import Verdict
from controller.plan.survey.context import Approval
from controller.providers.base import Provider
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event
from controller.store.store import Store
from tests.simulation.crash import Fuse, fragile_store
from tests.simulation.estates import EDITS, storm_estate, without_vm
from tests.simulation.laws import Laws, Witness
from tests.simulation.truth import complaints
from tests.simulation.weather import strike

CALM_WITHIN_S = 900.0
LOOK_S = 5.0
STORM_S = 45.0
STRICT_EVERY = 3
"""In every so-many-th storm replicas are made, retired and read all the time; in all there is one.
"""

LEAPS_S = (-86400.0, -3600.0, -40.0, -6.0, 0.0, 6.0, 40.0, 700.0, 3600.0, 10 * 86400.0)
"""How far the controller's clock is set wrong, by hand or by a time server that is."""

Plant = Callable[[Provider], Provider]


@dataclass
class Report:
    """What came of one storm."""

    seed: int
    broken: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)


class Storm:
    """A world, a controller that may die and come back, and the laws."""

    def __init__(self, seed: int, plant: Plant, store: Callable[[Fuse], Store]) -> None:
        self.dice = Random(f"storm-{seed}")
        self.report = Report(seed)
        self.desired = storm_estate(strict=seed % STRICT_EVERY == 0)
        self.ahead_s = 0.0
        self.estate = SimulatedEstate(self.desired, converged=self.dice.random() < 0.7, seed=seed,
                                      clock=self.clock)
        self.estate.world.epoch = epoch_clock
        self.fuse = Fuse(on_blow=self._die)
        self.store = store(self.fuse)
        self.laws = Laws(self.estate, self.store)
        self.provider = plant(Witness(self.estate, self.laws))
        self.estate.world.listeners.append(self.laws.look)
        self.mends: list[tuple[float, str]] = []
        self._seed = seed
        self._running: asyncio.Task[None] | None = None

    def clock(self) -> float:
        """Return what the controller's clock says, by which it dates what it sees."""
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
        loop = Loop(self.provider, self.store, self.clock, seed=self._seed)
        loop.add_listener(self._tell)
        await loop.set_desired(self.desired)
        self._running = asyncio.create_task(loop.run())
        self.loop = loop

    async def end(self) -> None:
        """Stop the controller, however it is."""
        assert self._running is not None, "it was started"
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def one_stroke(self) -> None:
        """Let one thing go wrong."""
        draw = self.dice.random()
        if draw < 0.15:
            self.fuse.light(self.dice.randrange(12), committed=self.dice.random() < 0.5)
            self.say(f"the controller will die in {self.fuse.left} writes")
        elif draw < 0.3:
            await self.edit()
        elif draw < 0.35:
            await self.blink()
        elif draw < 0.38:
            self.ahead_s = self.dice.choice(LEAPS_S)
            self.say(f"the controller's clock is set, and {self.ahead_s:+.0f} s from right now")
        else:
            self.laws.look()    # else the fault would be blamed on what was done just before
            struck = strike(self.estate, self.dice)
            if struck is not None:
                self.say(f"fault: {struck[0]}")
                if struck[1] is not None:
                    due = self.estate.world.now() + self.dice.choice((3.0, 20.0, 40.0))
                    self.mends.append((due, struck[1]))

    async def edit(self) -> None:
        """Let a person commit something."""
        name = self.dice.choice(sorted(EDITS))
        edited = EDITS[name](self.desired, self.dice)
        self.desired = replace(edited, revision=f"{self.desired.revision[:1]}"
                                                f"{int(self.desired.revision[1:]) + 1}")
        self.laws.expendable |= {"proxy"} - set(self.desired.virtual_machines)
        self.say(f"commit {self.desired.revision}: {name}")
        await self.loop.set_desired(self.desired)

    async def blink(self) -> None:
        """Let the file of one VM be missing for a moment, as while a folder is copied."""
        name = self.dice.choice(sorted(self.desired.virtual_machines))
        self.say(f"the spec of {name} is missing for a moment")
        await self.loop.set_desired(replace(
            without_vm(self.desired, name), revision=f"{self.desired.revision}-half"))
        await asyncio.sleep(self.dice.choice((0.1, 1.0, 6.0)))
        await self.loop.set_desired(self.desired)

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
            self.store.approve(Approval(action.id, self.loop.plan.revision, "ann",
                                        self.clock() + 60, content(action)))
        if asked:
            self.loop.reread()

    async def rage(self) -> None:
        """Let things go wrong for a while; a dead controller is started again."""
        while self.estate.world.now() < STORM_S and not self.laws.broken:
            await asyncio.sleep(self.dice.choice((0.05, 0.4, 2.0, 4.0, 13.0)))
            self.mend()
            await self.one_stroke()
            if self._running is not None and self._running.done():
                await self.live()

    async def calm(self) -> None:
        """Mend everything and wait until the world is as declared."""
        self.mend(all_of_them=True)
        self.estate.lost_requests = self.estate.lost_replies = 0
        self.ahead_s = 0.0
        self.fuse.left = None
        deadline = self.estate.world.now() + CALM_WITHIN_S
        wrong = ["it has only begun"]
        while wrong and self.estate.world.now() < deadline and not self.laws.broken:
            if self._running is not None and self._running.done():
                await self.live()
            await asyncio.sleep(LOOK_S)
            self.say_yes()
            self.laws.look()
            wrong = complaints(self.estate, self.desired)
        self.laws.broken += [f"not healed in {CALM_WITHIN_S:.0f} s: {one}" for one in wrong
                             if not self.laws.broken]


async def _play(storm: Storm) -> None:
    await storm.live()
    await storm.rage()
    await storm.calm()
    await storm.end()
    await storm.estate.close()


def blow(seed: int, plant: Plant = lambda provider: provider,
         store: Callable[[Fuse], Store] = fragile_store) -> Report:
    """Play the storm of `seed` and report."""
    logging.getLogger("hotsite").setLevel(logging.CRITICAL)

    async def whole() -> Report:
        storm = Storm(seed, plant, store)
        await _play(storm)
        storm.store.close()
        storm.report.broken = storm.laws.broken
        faults = [line for line in storm.report.story if line[10:16] == "fault "]
        storm.report.broken += [f"the loop broke: {line}" for line in faults[:3]]
        return storm.report

    return run_virtual(whole())


def blow_many(first: int, count: int) -> list[tuple[int, list[str]]]:
    """Play `count` storms and return the seeds that broke a law, with what they broke."""
    reports = (blow(seed) for seed in range(first, first + count))
    return [(report.seed, report.broken) for report in reports if report.broken]


if __name__ == "__main__":
    told = blow(int(sys.argv[1]))
    sys.stdout.write("\n".join([*told.story, "", *(told.broken or ["every law was kept"])]) + "\n")
