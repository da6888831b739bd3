"""Leave an estate: look, take away what is ours, look again, until nothing more can be done.

Each step is carried out as any other action, with intent and outcome in the journal. The steps of
one node follow each other; nodes go side by side. Guards and grantors come in rounds of their own,
since a grantor may only end once no guard is seen any more: `plan/leaving/` says why.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts, Observed
from controller.plan.actions.action import Action
from controller.plan.actions.leaving import EndGrantor, EndGuard
from controller.plan.leaving.leaving import WHY, Leaving, plan_leaving
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import Planner
from controller.reconcile.lease import Candidate
from controller.reconcile.observe.observers import Observers, observe
from controller.reconcile.observe.view import View
from controller.store.journal import Outcome
from controller.store.store import Store

ROUNDS: Final[tuple[tuple[type[Action], ...], ...]] = ((EndGuard,), (EndGrantor,))
"""What has to be done, and seen to be done, before the rest."""


@dataclass(slots=True)
class Left:
    """What was done, what failed, and what stays."""

    done: list[tuple[Action, str]] = field(default_factory=list)
    failed: list[tuple[Action, str]] = field(default_factory=list)
    stays: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """The nodes that did not answer."""


class Leave:
    """Takes what is ours off the nodes of an estate."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 candidate: Candidate, desired: Desired) -> None:
        self._provider = provider
        self._clock = clock
        self._candidate = candidate
        self._desired = desired
        view, attempts = View(clock), Attempts()    # nothing is declared: no plan is made of it
        planner = Planner(view, Observers(provider, view, clock, Random(0)),
                          ContextBuilder(store, clock), attempts, clock)
        self._applier = Applier(provider, store, view, planner, attempts, clock, lambda _: None)
        self._applier.term = candidate.term

    async def look(self, *, replicas: bool) -> Leaving:
        """Ask every node, and return what there is to take away."""
        await self._provider.declare(self._desired)
        self._candidate.declare(self._desired)
        return await self._look(replicas=replicas)

    async def _look(self, *, replicas: bool) -> Leaving:
        nodes = sorted(self._desired.nodes)
        facts: list[Fact[NodeFacts]] = await asyncio.gather(
            *(observe(self._provider, node, self._clock) for node in nodes))
        return plan_leaving(self._desired, Observed(dict(zip(nodes, facts, strict=True))),
                            replicas=replicas)

    async def run(self, by: str, *, replicas: bool, tell: Callable[[Action, Attempt], None]
                  ) -> Left:
        """Take everything away that can be.

        Errors: Refused when another controller conducts; JournalUnavailable: no more was begun.
        """
        left = Left()
        async with self._candidate.conducting():
            for kinds in ROUNDS:
                leaving = await self._look(replicas=replicas)
                if leaving.blocked:
                    left.stays = (leaving.blocked,)
                    return left
                await self._take_away([one for one in leaving.steps if isinstance(one, kinds)],
                                      by, left, tell)
            leaving = await self._look(replicas=replicas)
            first = tuple(kind for kinds in ROUNDS for kind in kinds)
            await self._take_away([one for one in leaving.steps if not isinstance(one, first)],
                                  by, left, tell)
        left.stays, left.silent = leaving.stays, leaving.silent
        return left

    async def _take_away(self, steps: Iterable[Action], by: str, left: Left,
                         tell: Callable[[Action, Attempt], None]) -> None:
        by_node: dict[str, list[Action]] = {}
        for step in steps:
            by_node.setdefault(step.node, []).append(step)

        async def one_node(actions: list[Action]) -> None:
            """Carry out the steps of one node, one after another."""
            for action in actions:
                attempt = await self._applier.carry_out(
                    replace(action, reason=WHY.replace("somebody", by)), self._desired.revision)
                kind = left.done if attempt.outcome is Outcome.DONE else left.failed
                kind.append((action, attempt.sentence))
                tell(action, attempt)
        await asyncio.gather(*map(one_node, by_node.values()))
