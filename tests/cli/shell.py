"""A command line over a simulated estate: what a person types, and what comes back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from controller.cli.app import build
from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action
from controller.providers.base import Provider
from controller.providers.simulated.estate import SimulatedEstate
from controller.reconcile.manager import Manager

SPECS = Path(__file__).parent.parent.parent / "specs"
EXAMPLES = SPECS.parent / "examples"
Clock = Callable[[], float]


class Lasting:
    """A simulated estate that outlives the commands that connect to it."""

    def __init__(self, estate: SimulatedEstate) -> None:
        self._estate = estate

    async def declare(self, desired: Desired) -> None:
        await self._estate.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        return await self._estate.observe(node)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Pass it on."""
        return await self._estate.observe_power(host)

    async def apply(self, action: Action) -> str:
        return await self._estate.apply(action)

    def watch(self) -> Any:
        return self._estate.watch()

    async def close(self) -> None:
        """Stay: the world does not end when somebody looks away."""


class Shell:
    """Runs `hotsite` with a state folder of its own against one simulated world."""

    def __init__(self, state: Path, world: Callable[[Desired, Clock], SimulatedEstate]) -> None:
        self.state = state
        self._make_world = world
        self.estate: SimulatedEstate | None = None

    def manager(self, state: Path | None) -> Manager:
        """Return a manager whose estate is simulated."""
        return Manager(state or self.state, make_provider=self._provider)

    def _provider(self, desired: Desired, clock: Clock) -> Provider:
        if self.estate is None:
            self.estate = self._make_world(desired, clock)
        return Lasting(self.estate)

    def __call__(self, *words: str, typed: str | None = None) -> Result:
        """Run `hotsite` with `words` and return how it ended and what it said."""
        return CliRunner().invoke(build(), list(words), obj=self.manager, input=typed,
                                  prog_name="hotsite")
