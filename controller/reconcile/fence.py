"""One host looked at, itself and its BMC, and fenced by a person's order, from where he sits.

It does not go through a running loop: an order to cut the power must not wait for anything. The
loop sees by itself what has become of the power. Intent and outcome are in the same journal.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from controller.failover.power import distrust, fenceable
from controller.model.condition import Status
from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts, runs
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Cause
from controller.plan.actions.fencing import FenceHost
from controller.plan.survey.silence import last_of
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import Planner
from controller.reconcile.observe.observers import Observers, observe, observe_power
from controller.reconcile.observe.view import View
from controller.store.store import Store


class BeforeFence(NamedTuple):
    """What was seen of a host just before it may be fenced."""

    answers: bool
    guests: tuple[str, ...]
    """What runs on it, or did when it was last seen."""
    bmc: str
    """What its BMC says, as a sentence."""
    objection: str
    """Why it must not, or cannot, be fenced by its BMC; empty if nothing stands against it."""


class FenceByHand:
    """One fence over a provider; `desired` is declared to it."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 desired: Desired) -> None:
        self._provider = provider
        self._clock = clock
        self._desired = desired
        view, attempts = View(clock), Attempts()    # nothing is declared: no plan is made of it
        planner = Planner(view, Observers(provider, view, clock, Random(0)),
                          ContextBuilder(store, clock), attempts, clock)
        self._applier = Applier(provider, store, view, planner, attempts, clock,
                                lambda _: None)     # the command prints the outcome itself

    async def look(self, host: str) -> BeforeFence:
        """Ask the host and its BMC, at once."""
        await self._provider.declare(self._desired)
        node, power = await asyncio.gather(observe(self._provider, host, self._clock),
                                           observe_power(self._provider, host, self._clock))
        facts = last_of(node)
        domains = None if facts is None else last_of(facts.domains)
        guests = tuple(sorted(name for name, one in (domains or {}).items() if runs(one)))
        return BeforeFence(isinstance(node, Known), guests, *self._judged(host, power, node))

    def _judged(self, host: str, power: Fact[PowerFacts],
                node: Fact[NodeFacts]) -> tuple[str, str]:
        """Return what the BMC says, and what stands against fencing by it."""
        status, _, sentence = fenceable(host, power, node, self._clock())
        doubt = distrust(host, power, node)
        if isinstance(power, Known) and power.value.state and not doubt and (
                isinstance(node, Known) and power.value.state == "Off"):
            doubt = (f"{host} answers, and its BMC reads Off: it is another machine's; correct"
                     f" `bmc.url` or `bmc.system` of Host/{host}")
        return sentence, doubt or (sentence if status is Status.FALSE else "")

    async def run(self, host: str, by: str, why: str) -> Attempt:
        """Cut the host's power.

        Errors: JournalUnavailable: nothing was begun.
        """
        reason = f"{by} ordered it by hand" + (f": {why}" if why else "")
        return await self._applier.carry_out(FenceHost(
            target=f"Host/{host}", node=host, cause=Cause.HUMAN, reason=reason,
            consequence="its power is cut; what it runs ends"), self._desired.revision)
