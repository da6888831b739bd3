"""A simulation: what the losses of sites and hosts would come to, in an estate of one's own.

    specs, facts ──► world in memory ──► the loop of `run`, on virtual time ──► what came back
                          ▲
                 losses and returns, each at its instant

Nothing happens for most of a month but copies, so that time is skipped: the loop is stopped, the
points of all VMs whose copies would have gone on are made as much younger, and a loop goes on as
after a restart. Around each event every second is played.

Rule 1: the loop, its plans and its gates are those of `run`, and know nothing of the events.
Rule 2: what came back is seen in the world itself, and not in the facts that the loop has of it.
Rule 3: nobody does anything, unless it is said after how long a person answers: then that one
        orders the failover, and says of each lost host that it is off, which is true here. The
        words reach the loop through the store, by another connection, as those of verbs do.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from controller.failover.states import Phase
from controller.model.desired import Desired
from controller.model.facts import Unknown
from controller.model.virtual_machine import Power
from controller.plan.steps.prediction import Prediction
from controller.plan.survey.context import Confirmation, FailoverRequest
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.power import power_off, power_on
from controller.providers.simulated.world import executes
from controller.reconcile.loop import Loop
from controller.reconcile.simulation.happenings import BACK, Happening
from controller.reconcile.simulation.seen import Facts, make_as_seen, placed_as_seen, skip
from controller.store.store import Store

WARM_S: Final = 90.0
"""For so long an estate is looked at before something happens to it."""
SETTLE_S: Final = 420.0
"""So long after a loss, and after a person's answer, whatever comes back is back."""
POLL_S: Final = 1.0
STILL_S: Final = 90.0
"""Where every failover waits for a person for so long, nothing more comes back."""
PERSON: Final = "a person"


class Setting(NamedTuple):
    """What a simulation begins with."""

    desired: Desired
    facts: Facts
    """What was last seen; empty: all is as declared."""
    place: str | None
    """Where the controller stands."""
    seed: int
    answer_s: float | None
    """After how long a person answers; None: nobody does."""


@dataclass(slots=True)
class Played:
    """How one event went."""

    what: Happening
    lost: tuple[str, ...] = ()
    """The VMs that ran there, or were to."""
    back_s: dict[str, float] = field(default_factory=dict)
    """By VM that came back: how long after its loss."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By VM that did not: why."""
    ages_s: dict[str, float] = field(default_factory=dict)
    """By VM that came back: how old its newest restore point was when it was lost."""
    predicted_s: float | None = None
    """When the last start was predicted, just before."""
    twice: tuple[str, ...] = ()
    """VMs of which two copies ran at one moment."""

    @property
    def last_s(self) -> float | None:
        """Return how long after the loss the last VM was back."""
        return max(self.back_s.values(), default=None)

    @property
    def worst(self) -> tuple[float, str] | None:
        """Return the most that any VM lost that came back, and which."""
        return max(((age_s, name) for name, age_s in self.ages_s.items()), default=None)


async def play(setting: Setting, happenings: Sequence[Happening], began_at: float, *,
               alone: bool) -> list[Played]:
    """Return how things go that happen one after the other, or each to an estate that is well."""
    if not alone:
        return await Simulation(setting, began_at).play(happenings)
    return [played for one in happenings
            for played in await Simulation(setting, one.at - WARM_S).play([one])]


class Simulation:
    """One world, and the loop that keeps it while things happen."""

    def __init__(self, setting: Setting, began_at: float) -> None:
        self._setting = setting
        self._offset_s = began_at - asyncio.get_running_loop().time()
        self._estate = SimulatedEstate(
            placed_as_seen(setting.desired, setting.facts), converged=True, seed=setting.seed,
            clock=self.clock)
        self._world = self._estate.world
        make_as_seen(self._world, setting.desired, setting.facts)
        self._folder = TemporaryDirectory(prefix="hotsite-simulate-")
        state = Path(self._folder.name) / "state.db"
        self._store, self._person = Store.open(state), Store.open(state)
        self._loop: Loop | None = None
        self._running: asyncio.Task[None] | None = None
        self._twice: set[str] = set()

    def clock(self) -> float:
        """Return the instant that it is in the simulated world."""
        return self._offset_s + asyncio.get_running_loop().time()

    async def play(self, happenings: Sequence[Happening]) -> list[Played]:
        """Let things happen one after the other, and return how each went."""
        found = []
        try:
            for number, one in enumerate(happenings):
                await self._reach(one.at)
                until_at = happenings[number + 1].at if number + 1 < len(happenings) else None
                found.append(await self._happen(one, until_at))
        finally:
            await self._end()
            await self._estate.close()
            self._store.close()
            self._person.close()
            self._folder.cleanup()
        return found

    async def _reach(self, at: float) -> None:
        """Wait until an instant; of a long wait all but its end is skipped."""
        rest_s = at - self.clock()
        if rest_s > 2 * WARM_S:
            await self._end()
            self._offset_s += rest_s - WARM_S
            skip(self._world, rest_s - WARM_S)
        if self._loop is None:
            self._loop = Loop(self._estate, self._store, self.clock, self._setting.seed)
            self._loop.stand_at(self._setting.place)
            await self._loop.set_desired(self._setting.desired)
            self._running = asyncio.create_task(self._loop.run())
        await asyncio.sleep(max(0.0, at - self.clock()))

    async def _end(self) -> None:
        """Stop the loop, once what runs has ended."""
        if self._loop is not None and self._running is not None:
            self._loop.stop()
            await asyncio.gather(self._running, return_exceptions=True)
        self._loop = self._running = None

    async def _happen(self, what: Happening, until_at: float | None) -> Played:
        """Let one thing happen, and return how it went, by the next one at the latest."""
        played = Played(what, predicted_s=self._predicted_s(what))
        ages_s, self._twice = self._ages_s(), set()
        nodes = self._nodes_of(what)
        if what.state == BACK:
            for name in nodes:
                self._world.node(name).bmc_up = True
                power_on(self._world, self._world.node(name))
        else:
            names = self._names()
            played.lost = tuple(sorted(
                names[domain.name] for node in nodes
                for domain in self._world.node(node).domains.values()
                if domain.name in names and executes(domain)))
            for name in nodes:
                power_off(self._world, self._world.node(name))
                self._world.node(name).bmc_up = what.target.startswith("Host/")
        await self._wait(played, until_at)
        played.ages_s = {name: ages_s[name] for name in played.back_s if name in ages_s}
        played.reasons = {name: self._why_not(name) for name in played.lost
                          if name not in played.back_s}
        played.twice = tuple(sorted(self._twice))
        return played

    async def _wait(self, played: Played, until_at: float | None) -> None:
        """Wait until all that was lost is back, or nothing more comes back."""
        what, answer_s = played.what, self._setting.answer_s
        ends_at = self.clock() + SETTLE_S + (answer_s or 0.0)
        ends_at = ends_at if until_at is None else min(ends_at, until_at - POLL_S)
        answers_at = None if answer_s is None or not played.lost else self.clock() + answer_s
        still_at = self.clock() + 2 * STILL_S
        while self.clock() < ends_at and (what.state == BACK or len(played.back_s) < len(
                played.lost)):
            await asyncio.sleep(POLL_S)
            if answers_at is not None or not self._waits_for_person():
                still_at = max(still_at, self.clock() + STILL_S)
            elif self.clock() >= still_at:
                return
            names = self._names()
            running = Counter(names[domain.name] for node in self._world.nodes.values()
                              for domain in node.domains.values()
                              if domain.name in names and executes(domain))
            self._twice |= {name for name, count in running.items() if count > 1}
            for name in played.lost:
                if name in running and name not in played.back_s:
                    played.back_s[name] = self.clock() - what.at
            if answers_at is not None and self.clock() >= answers_at:
                answers_at = None
                self._answer(what)

    def _waits_for_person(self) -> bool:
        """Return whether there is a failover, and none goes on by itself."""
        plan = None if self._loop is None else self._loop.plan
        return plan is not None and bool(plan.failovers) and all(
            one.phase == Phase.AWAITING_HUMAN for one in plan.failovers)

    def _answer(self, what: Happening) -> None:
        """Do what a person would who knows that it is lost."""
        assert self._loop is not None, "it runs while something happens"
        now_s = self.clock()
        self._person.order_failover(FailoverRequest(what.target, PERSON, "it is lost", now_s))
        for host in self._nodes_of(what):
            seen = self._loop.observed.nodes.get(host)
            if isinstance(seen, Unknown) and host in self._setting.desired.hosts:
                boot = "" if seen.last is None else seen.last.boot_id
                self._person.confirm_fenced(Confirmation(host, PERSON, "it is lost", boot, now_s))

    def _nodes_of(self, what: Happening) -> list[str]:
        """Return the hosts and switches that are lost, or come back."""
        if what.target.startswith("Host/"):
            return [what.name]
        return sorted(node.name for node in self._world.nodes.values()
                      if node.site == what.name and not node.is_witness)

    def _names(self) -> dict[str, str]:
        return {vm.libvirt_name: name for name, vm in self._setting.desired.virtual_machines.items()
                if vm.spec.power is Power.ON}

    def _ages_s(self) -> dict[str, float]:
        """Return, by VM, how old its newest sound restore point is now."""
        newest: dict[str, float] = {}
        for node in self._world.nodes.values():
            for replica in node.replicas.values():
                started = [one.started_at for one in replica.points if one.sound]
                if started:
                    newest[replica.machine] = max(newest.get(replica.machine, 0.0), *started)
        return {name: self.clock() - at for name, at in newest.items()}

    def _predicted_s(self, what: Happening) -> float | None:
        """Return when the last start is predicted if this is lost now."""
        plan = None if self._loop is None else self._loop.plan
        several: tuple[Prediction, ...] = () if plan is None else (
            *plan.predictions, *plan.host_predictions)
        found = next((one for one in several if one.lost == what.name and bool(one.host) ==
                      what.target.startswith("Host/")), None)
        return None if found is None or what.state == BACK else found.schedule.last_start_s

    def _why_not(self, name: str) -> str:
        """Return why a VM has not come back, as the loop says it."""
        vm, plan = self._setting.desired.virtual_machines[name], self._loop and self._loop.plan
        if vm.spec.protection is None:
            return "no protection policy gives it a replica"
        if not plan:
            return "nothing was decided"
        waiting = [why for one in plan.failovers for why in one.waiting if name in why.split()]
        if waiting:
            return waiting[0]
        held = [step.ruling.sentence or step.action.reason for step in plan.steps
                if step.action.target == f"VirtualMachine/{name}"]
        about = [one.sentence for one in plan.failovers]
        return next(iter((*held, *about)), "its failover had not begun")
