"""A stage: the lab's specs, a simulated estate and a running loop, on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.facts import Fact, NodeFacts
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event, EventKind
from controller.source.load import load_folder
from controller.store.store import Store

SPECS = Path(__file__).parent.parent.parent / "specs"


@cache
def lab() -> Desired:
    """Return the lab's specs without replicas, whose copies would stand among all else."""
    desired = load_folder(SPECS)
    return replace(desired, virtual_machines={
        name: vm.model_copy(update={"spec": vm.spec.model_copy(update={"protection": None})})
        for name, vm in desired.virtual_machines.items()})


def with_estate(desired: Desired, revision: str | None = None, **fields: Any) -> Desired:
    """Return specs whose estate has other fields."""
    spec = desired.estate.spec.model_copy(update=fields)
    return replace(desired, revision=revision or desired.revision,
                   estate=desired.estate.model_copy(update={"spec": spec}))


def with_machine(desired: Desired, name: str, revision: str, **fields: Any) -> Desired:
    """Return specs of another revision in which one VM has other fields."""
    vm = desired.virtual_machines[name]
    spec = vm.spec.model_copy(update=fields)
    machines = {**desired.virtual_machines, name: vm.model_copy(update={"spec": spec})}
    return replace(desired, revision=revision, virtual_machines=machines)


def reporting(desired: Desired) -> Desired:
    """Return specs that let the loop do nothing by itself."""
    return with_estate(desired, autonomy=Rung.REPORT)


class Stage:
    """The provider that the loop sees: the simulated estate, with a hand in between."""

    def __init__(self, desired: Desired, *, converged: bool = True) -> None:
        self.ahead_s = 0.0
        """By how much the controller's clock is wrong."""
        self.estate = SimulatedEstate(desired, converged=converged, clock=self.clock)
        self.estate.world.epoch = epoch_clock
        self.looks: list[tuple[str, float]] = []
        self.applied: list[str] = []
        self.meddle: Callable[[Action], Awaitable[None]] | None = None

    def clock(self) -> float:
        """Return what the controller's clock says."""
        return epoch_clock() + self.ahead_s

    async def declare(self, desired: Desired) -> None:
        """Pass on."""
        await self.estate.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Pass on and count."""
        self.looks.append((node, epoch_clock()))
        return await self.estate.observe(node)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Pass it on."""
        return await self.estate.observe_power(host)

    async def apply(self, action: Action) -> str:
        """Let the test meddle, then pass on."""
        self.applied.append(action.id)
        if self.meddle is not None:
            await self.meddle(action)
        return await self.estate.apply(action)

    def watch(self) -> AsyncIterator[str]:
        """Pass on."""
        return self.estate.watch()

    async def close(self) -> None:
        """Pass on."""
        await self.estate.close()


class Show:
    """A running loop with all that it told."""

    def __init__(self, stage: Stage, store: Store) -> None:
        self.stage = stage
        self.store = store
        self.loop = Loop(stage, store, stage.clock)
        self.events: list[Event] = []
        self.loop.add_listener(self.events.append)

    def told(self, kind: EventKind, target: str = "") -> list[Event]:
        """Return the events of a kind about a target."""
        return [one for one in self.events if one.kind is kind and target in {"", one.target}]

    def strike(self, fault: str) -> float:
        """Do a fault and return when."""
        self.events.clear()
        self.stage.applied.clear()
        self.stage.estate.command(fault)
        return epoch_clock()

    async def until(self, true: Callable[[], bool], limit_s: float = 120.0) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(limit_s):
            while not true():
                await asyncio.sleep(0.01)

    async def settled(self, limit_s: float = 120.0) -> None:
        """Wait until there is a plan and nothing is left to do."""
        await self.until(lambda: self.loop.plan is not None and not self.loop.plan.steps, limit_s)

    def state_of(self, host: str, vm: str) -> str:
        """Return the state of a domain in the simulated world."""
        return str(self.stage.estate.world.node(host).domains[vm].state)


@asynccontextmanager
async def playing(desired: Desired, *, converged: bool = True, store: Store | None = None,
                  stage: Stage | None = None) -> AsyncIterator[Show]:
    """Run a loop over a simulated estate until the block ends."""
    show = Show(stage or Stage(desired, converged=converged), store or Store.open(":memory:"))
    await show.loop.set_desired(desired)
    running = asyncio.create_task(show.loop.run())
    try:
        yield show
    finally:
        show.loop.stop()
        await running
        if stage is None:
            await show.stage.close()
