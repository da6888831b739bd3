"""One command under way in the world: it continues on its node even if nobody waits for it."""

import asyncio
from random import Random

from controller.errors import ActionError, OutcomeUnknown, Unavailable
from controller.plan.actions.action import Action
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.hands.perform import effect_of, libvirt_nodes
from controller.providers.simulated.world import World

HUNG_LOOK_S = 1.0


class Operation:
    """Drives one effect; call `cut` when the controller that sent it is gone."""

    def __init__(self, world: World, action: Action, dice: Random) -> None:
        self._world = world
        self._action = action
        self._dice = dice
        self._boots = {name: world.node(name).boot for name in action.nodes}
        self._effect: Effect = effect_of(world, action)
        self._cut = False

    def cut(self) -> None:
        """Send no further command; the running one continues to its end."""
        self._cut = True

    async def run(self) -> str:
        """Drive the effect to its end and return its sentence.

        Errors: Refused, Unavailable or OutcomeUnknown, as the effect ended.
        """
        try:
            for name in libvirt_nodes(self._action):
                if not self._world.node(name).libvirt_up:
                    raise Unavailable(f"{name}: failed to connect to the hypervisor: libvirtd is"
                                      " down")
            step = resumed(self._effect, None)
            while isinstance(step, Wait):
                step = resumed(self._effect, await self._pass(step))
            return step
        finally:
            self._effect.close()
            for node in self._action.nodes:
                self._world.notify(node)

    async def _pass(self, wait: Wait) -> str | None:
        """Let the time pass, and return what went wrong meanwhile, if anything."""
        node = self._world.node(self._action.node)
        await asyncio.sleep(wait.seconds * self._dice.uniform(0.8, 1.3) + node.slow_s)
        while any(self._world.node(name).hung for name in self._action.nodes):
            await asyncio.sleep(HUNG_LOOK_S)
        return self._trouble(wait)

    def _trouble(self, wait: Wait) -> str | None:
        """Return what went wrong during a wait, None if nothing."""
        for name in self._action.nodes:
            node = self._world.node(name)
            if not node.powered or node.boot != self._boots[name]:
                return f"{name} lost its power in the middle of {self._action.verb}"
            if name in libvirt_nodes(self._action) and not node.libvirt_up:
                return f"{name}: lost the connection to libvirtd in the middle"
        gone = self._cut or not self._world.reachable(self._action.node)
        if wait.command_ends and gone:
            return f"{self._action.node}: the controller did not come back after the first command"
        return None


def resumed(effect: Effect, trouble: str | None) -> Wait | str:
    """Resume an effect, or raise `trouble` inside it; return its next wait, or its sentence."""
    try:
        return next(effect) if trouble is None else effect.throw(OutcomeUnknown(trouble))
    except StopIteration as ended:
        return str(ended.value)


def read_result(operation: "asyncio.Task[str]") -> None:
    """Read the result of an operation that nobody waits for any more."""
    if not operation.cancelled():
        error = operation.exception()
        assert error is None or isinstance(error, ActionError), f"the world broke: {error!r}"
