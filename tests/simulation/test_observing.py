"""Storms over what is only observed: nothing of it is ever touched, but copies of protected VMs."""

import asyncio
import logging
from collections.abc import Callable
from random import Random

import pytest

from controller.model.desired import Desired
from controller.plan import compute as planner
from controller.plan.actions.action import Action
from controller.plan.gates.observing import COPYING, NOTHING_OBSERVED
from controller.providers.base import Provider
from controller.providers.simulated.virtual_time import run_virtual
from tests.plan.gates.test_observing import watched
from tests.simulation.crash import fragile_store
from tests.simulation.plants import Blunderer
from tests.simulation.storm import LOOK_S, Storm

WATCHED = ("Estate/storm", "Site/paris", "Host/paris-1", "Host/milan-2", "VirtualMachine/sql",
           "VirtualMachine/web", "VirtualMachine/cold")
SEEDS = 14
CALM_S = 60.0


def touches(action: Action, target: str, desired: Desired) -> bool:
    """Whether an action touches an object, or anything inside it."""
    kind, _, name = target.partition("/")
    if kind == "Estate":
        return True
    if kind == "VirtualMachine":
        return action.target.partition("/")[2] == name
    sites = {one.name: one.spec.site
             for one in (*desired.hosts.values(), *desired.switches.values())}
    return name in {*action.nodes, *(sites[node] for node in action.nodes)}


class Watcher(Blunderer):
    """A provider that notes every touch of what is only observed."""

    target = ""
    desired: Desired
    tell: Callable[[str], None]

    async def apply(self, action: Action) -> str:
        """Look, and pass it on."""
        copies = isinstance(action, COPYING) or action.verb == "sweep"
        if not copies and touches(action, self.target, self.desired):
            self.tell(f"{action.id} touches {self.target}, which is only observed")
        return await self.inner.apply(action)


class WatchedStorm(Storm):
    """A storm in which one object is only observed, and nobody commits anything."""

    def __init__(self, seed: int) -> None:
        self.watcher: Watcher | None = None
        super().__init__(seed, self._watch, fragile_store)
        target = Random(f"watched-{seed}").choice(WATCHED)
        self.desired = watched(self.desired, target)
        assert self.watcher is not None
        self.watcher.target, self.watcher.desired = target, self.desired
        self.watcher.tell = self.laws.break_

    def _watch(self, inner: Provider) -> Provider:
        self.watcher = Watcher(inner)
        return self.watcher

    async def edit(self) -> None:
        """Nobody commits anything."""

    async def calm(self) -> None:
        """Mend everything, and let the loop do what it likes for a while."""
        self.mend(all_of_them=True)
        until = self.estate.world.now() + CALM_S
        while self.estate.world.now() < until and not self.laws.broken:
            if self._running is not None and self._running.done():
                await self.live()
            self.say_yes()
            await asyncio.sleep(LOOK_S)
            self.laws.look()


def blow(seed: int) -> list[str]:
    """Play one storm and return what it broke."""
    logging.getLogger("hotsite").setLevel(logging.CRITICAL)

    async def whole() -> list[str]:
        storm = WatchedStorm(seed)
        await storm.live()
        await storm.rage()
        await storm.calm()
        await storm.end()
        await storm.estate.close()
        storm.store.close()
        return storm.laws.broken

    return run_virtual(whole())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_touches_what_is_only_observed(seed: int) -> None:
    assert blow(seed) == []


def test_a_plan_that_forgets_what_is_only_observed_is_found(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "only_observe", lambda *_: NOTHING_OBSERVED)
    assert any("only observed" in law for seed in range(SEEDS) for law in blow(seed))
