"""The stage of a case: a provider, its specs, and a hand that breaks things."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from controller.errors import ActionError
from controller.model.desired import Desired
from controller.model.facts import DomainFacts, Fact, Known, NodeFacts, Observed, PortFacts
from controller.plan.actions.action import Action
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Context
from controller.providers.base import Provider
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from tests.mending import mending

WITHIN_S = 300.0
PAUSE_S = 0.3


class Stage(Protocol):
    """One provider with its estate converged to `desired`."""

    provider: Provider
    desired: Desired

    def clock(self) -> float:
        """Return the instant now."""
        ...

    def strike(self, fault: str) -> None:
        """Break something, in the words of the simulated estate."""
        ...

    def mend(self, fault: str) -> None:
        """Mend what `fault` broke."""
        ...


Case = Callable[[Stage], Coroutine[Any, Any, None]]


class SimulatedStage:
    """The estate in memory, converged, on virtual time."""

    def __init__(self, desired: Desired) -> None:
        self.desired = desired
        self._estate = SimulatedEstate(desired, converged=True)
        self.provider: Provider = self._estate

    def clock(self) -> float:
        """Return the virtual instant."""
        return epoch_clock()

    def strike(self, fault: str) -> None:
        """Break something."""
        self._estate.command(fault)

    def mend(self, fault: str) -> None:
        """Mend it."""
        line = mending(fault)
        assert line is not None, f"nothing mends {fault}"
        self._estate.command(line)


def play_simulated(desired: Desired, case: Case) -> None:
    """Play `case` in memory."""
    async def whole() -> None:
        stage = SimulatedStage(desired)
        await case(stage)
        await stage.provider.close()

    run_virtual(whole())


async def known(stage: Stage, node: str) -> NodeFacts:
    """What `node` says, which must be something."""
    fact = await stage.provider.observe(node)
    assert isinstance(fact, Known), f"{node}: {fact}"
    return fact.value


async def domain(stage: Stage, node: str, name: str) -> DomainFacts | None:
    """The domain on `node`, None where it is not."""
    facts = await known(stage, node)
    assert isinstance(facts.domains, Known), f"the domains of {node} are {facts.domains}"
    return facts.domains.value.get(name)


async def where(stage: Stage, name: str) -> str:
    """The host on which `name` runs."""
    for host in sorted(stage.desired.hosts):
        found = await domain(stage, host, name)
        if found is not None and found.state == "running":
            return host
    raise AssertionError(f"{name} runs nowhere")


async def port(stage: Stage, node: str, name: str) -> PortFacts | None:
    """One port of the bridge of `node`."""
    facts = await known(stage, node)
    assert isinstance(facts.bridges, Known), f"the bridges of {node} are {facts.bridges}"
    found = [b.ports[name] for b in facts.bridges.value.values() if name in b.ports]
    return found[0] if found else None


async def until(what: str, holds: Callable[[], Awaitable[bool]], within_s: float = WITHIN_S,
                ) -> None:
    """Wait until `holds`; fail with `what` when it does not come true in time."""
    try:
        async with asyncio.timeout(within_s):
            while not await holds():
                await asyncio.sleep(PAUSE_S)
    except TimeoutError as error:
        raise AssertionError(f"it did not come about: {what}") from error


async def observed(stage: Stage) -> Observed:
    """Every node, once."""
    nodes: dict[str, Fact[NodeFacts]] = {}
    for name in sorted([*stage.desired.hosts, *stage.desired.switches]):
        nodes[name] = await stage.provider.observe(name)
    return Observed(nodes)


async def plan(stage: Stage) -> Plan:
    """What would change now."""
    return compute(stage.desired, await observed(stage), Context(), stage.clock())


async def heal(stage: Stage, rounds: int = 40) -> None:
    """Do what the plan says until nothing is left, one step after the other."""
    for _ in range(rounds):
        steps = (await plan(stage)).runnable
        ready = [step for step in steps if not step.after]
        if not ready:
            break
        await stage.provider.apply(ready[0].action)
    left = (await plan(stage)).steps
    assert not left, f"left to do: {[step.action.id for step in left]}"


def common(vm: str, node: str) -> dict[str, str]:
    """The fields that every action on a VM has."""
    return {"target": f"VirtualMachine/{vm}", "node": node, "reason": "a test asks for it"}


async def refusal(stage: Stage, action: Action) -> str:
    """The class of the error that `action` ends with; `done` where there is none."""


    try:
        await stage.provider.apply(action)
    except ActionError as error:
        return type(error).__name__
    return "done"
