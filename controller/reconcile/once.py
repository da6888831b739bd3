"""Once: see everything, decide, and, if asked, do the plan to its end; then say what is left.

Rule 1: it goes on while it gets on: what a step makes possible is done in the same run.
Rule 2: every step is decided again on fresh facts just before it begins.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from controller.errors import JournalUnavailable, SpecError
from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.facts import Observed
from controller.plan.actions import Action, Cause
from controller.plan.plan import Plan, Step, Verdict
from controller.plan.policy import Approval
from controller.plan.recheck import content, same
from controller.plan.saved import SavedPlan, stale
from controller.providers.base import Provider
from controller.reconcile.apply import Applier, Attempt
from controller.reconcile.circumstances import Circumstances
from controller.reconcile.decider import Decider, is_converged, ready_steps
from controller.reconcile.event import Event
from controller.reconcile.observers import AT_ONCE, observe
from controller.reconcile.recovery import Recovery
from controller.reconcile.remembered import forget, load_seen, save_fact
from controller.reconcile.view import View
from controller.store.journal import Outcome
from controller.store.store import Store

FRESH_S: Final = 1.0
TRIES: Final = 3
"""So often is one step tried before the run goes on without it."""
PAUSE_S: Final = 1.0
GRANT_S: Final = 86400.0


@dataclass(slots=True)
class Result:
    """What a run did, and what it left."""

    plan: Plan
    done: list[tuple[Action, str]] = field(default_factory=list)
    failed: dict[str, tuple[Action, str]] = field(default_factory=dict)
    """By action id: what failed last and was not done afterwards."""


class Once:
    """One run over one set of specs."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 assumed_down: frozenset[str] = frozenset()) -> None:
        self._provider = provider
        self._store = store
        self._clock = clock
        self._view = View(clock)
        self._circumstances = Circumstances(store, clock)
        self._applier = Applier(provider, store, clock, self._look, self._view.mark_stale,
                                self.tell)
        self._recovery = Recovery(self._applier, self._view)
        self._decider = Decider(self._view, self._circumstances, clock,
                                lambda: self._applier.in_flight, assumed_down)
        self._decider.resting = self._given_up
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tries: dict[str, int] = {}
        self._granted_by: str | None = None
        self._only: dict[str, Action] | None = None
        self._about: str | None = None
        self._shown: frozenset[str] = frozenset()
        self.listeners: list[Callable[[Event], None]] = []

    @property
    def observed(self) -> Observed:
        """Return what is known of every node."""
        return self._view.observed

    async def plan(self, desired: Desired) -> Plan:
        """Look at everything and return what would change; nothing is written or done.

        Errors: SpecError when what is assumed is not declared.
        """
        await self._provider.declare(desired)
        self._view.remember(load_seen(self._store), self._store.silent())
        self._circumstances.read()
        self._decider.declare(desired)
        await self._look(self._view.nodes)
        plan = self._decide()
        self._shown = frozenset(step.action.id for step in plan.steps)
        return plan

    def stale(self, saved: SavedPlan) -> str | None:
        """Return why a saved plan may not be done now; None when it may."""
        return stale(saved, self._decider.revision, self.observed)

    async def run(self, *, granted_by: str | None = None,
                  only: SavedPlan | None = None, about: str | None = None) -> Result:
        """Do the plan until nothing that may be done is left; `plan` comes first.

        Shapes: `granted_by` is whose word lets it go beyond the autonomy, up to failover; `only`
        are the steps that a saved plan showed, and no others; `about` is the one target to work on.
        Errors: JournalUnavailable; nothing more is begun.
        """
        self._granted_by, self._about = granted_by, about
        self._only = {step.action.id: step.action for step in only.plan.steps} if only else None
        self._recovery.take_over(self._store.open_intents())
        self._decider.stir()
        result = Result(self._decide())
        hands: dict[asyncio.Task[None], str] = {}
        try:
            while await self._hand_out(result, hands):
                ended, _ = await asyncio.wait(hands, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    del hands[task]
                    task.result()
        finally:
            for task in hands:
                task.cancel()
            await asyncio.gather(*hands, return_exceptions=True)
        result.plan = self._decide()
        left = {step.action.id for step in result.plan.steps}
        result.failed = {name: one for name, one in result.failed.items()
                         if name in left or one[0].cause is Cause.HUMAN}    # still wished for
        self._remember(result.plan)
        return result

    async def _hand_out(self, result: Result, hands: dict[asyncio.Task[None], str]) -> bool:
        """Begin all that may begin, and return whether anything runs."""
        await self._refresh()
        plan = self._decide()
        busy = set(hands.values())
        for step in ready_steps(plan):
            action = step.action
            if action.target not in busy and self._wanted(action):
                busy.add(action.target)
                hands[asyncio.create_task(self._do(action, result))] = action.target
        return bool(hands)

    def _given_up(self) -> frozenset[str]:
        """Return the targets at which something was tried often enough; others take its place."""
        return frozenset(name.partition(":")[2].partition("@")[0]
                         for name, tries in self._tries.items() if tries >= TRIES)

    def _wanted(self, action: Action) -> bool:
        """Return whether the run is about this action, and has not tried it often enough."""
        if self._tries.get(action.id, 0) >= TRIES or self._about not in {None, action.target}:
            return False
        return self._only is None or (
            action.id in self._only and same(action, self._only[action.id]))

    async def _do(self, action: Action, result: Result) -> None:
        """Look again, decide again, and do the action if it still stands."""
        nodes = self._decider.nodes_of(action)
        await self._look(node for node in nodes if not self._view.fresh(node, FRESH_S))
        await self._refresh()
        step = next((one for one in ready_steps(self._decide()) if one.action.id == action.id
                     and self._wanted(one.action)), None)
        if step is None:
            return
        attempt = await self._applier.carry_out(step.action, self._decider.revision)
        self._circumstances.repaired()
        self._decider.stir()
        await self._take_in(step, attempt, result)

    async def _refresh(self) -> None:
        """Look again at what answered before a long step: nobody polls here."""
        desired = self._decider.desired
        assert desired is not None, "`plan` comes first"
        faded = self._view.faded(desired.estate.spec.limits.fact_age_s / 2)
        if faded:
            await self._look(faded)
            self._decider.stir()

    async def _take_in(self, step: Step, attempt: Attempt, result: Result) -> None:
        """Remember what came of a step; one that may succeed later is tried again."""
        action = step.action
        tries = self._tries.get(action.id, 0) + 1
        self._tries[action.id] = TRIES if attempt.outcome is Outcome.REFUSED else tries
        if attempt.outcome is Outcome.DONE:
            result.failed.pop(action.id, None)
            result.done.append((action, attempt.sentence))
            return
        result.failed[action.id] = (action, attempt.sentence)
        if attempt.outcome is Outcome.UNAVAILABLE and tries < TRIES:
            await asyncio.sleep(PAUSE_S * 2.0 ** (tries - 1))

    def _decide(self) -> Plan:
        """Return the plan for what is known now, with what a person granted."""
        plan = self._decider.decide()
        for intent, sentence in self._recovery.looked_into(plan):
            self._applier.abandon(intent, sentence)
            self._decider.stir()
        if self._granted_by is not None and self._grant(plan, self._granted_by):
            self._decider.stir()
        return self._decider.decide()

    def _grant(self, plan: Plan, by: str) -> bool:
        """Approve what only lacks a person's word, deletions aside; return whether any was.

        What is asked about was shown in the first plan: nobody has said yes to anything else.
        """
        lacking = [step.action for step in plan.steps
                   if step.ruling.verdict is Verdict.NEEDS_APPROVAL
                   and step.action.rung.height < Rung.DELETE.height
                   and (step.action.ask is None or step.action.id in self._shown)
                   and (self._only is None or step.action.id in self._only)
                   and self._about in {None, step.action.target}]
        for action in lacking:
            self._circumstances.grant(Approval(action.id, plan.revision, by,
                                               self._clock() + GRANT_S, content(action)))
        return bool(lacking)

    async def _look(self, nodes: Iterable[str]) -> None:
        """Look at `nodes`, many at once."""
        await asyncio.gather(*(self._look_at(node) for node in nodes))

    async def _look_at(self, node: str) -> None:
        """Look at one node and take in what it says."""
        async with self._slots:
            begun_at = self._clock()
            fact = await observe(self._provider, node, self._clock)
        self._view.put(node, fact, begun_at)

    def _remember(self, plan: Plan) -> None:
        """Write down what the next run should know; a journal that fails now fails nothing."""
        with suppress(JournalUnavailable):
            for node in self._view.nodes:
                save_fact(self._store, node, self._view.fact(node))
            forget(self._store, self._view.gone)
            self._store.save_conditions(plan.conditions, self._clock())
            self._circumstances.settle(plan, self.observed, converged=is_converged(plan))

    def tell(self, event: Event) -> None:
        """Pass an event on to all who listen."""
        for listener in self.listeners:
            listener(event)


def assumptions(words: Iterable[str], desired: Desired) -> frozenset[str]:
    """Return `site=paris:down` and `host=paris-1:down` as `Site/paris` and `Host/paris-1`.

    Errors: SpecError for words that are not understood or name nothing that is declared.
    """
    found = set()
    for word in words:
        kind, _, rest = word.partition("=")
        name, _, state = rest.partition(":")
        declared = {"site": desired.sites, "host": desired.hosts}.get(kind)
        if declared is None or state != "down":
            raise SpecError((f"--assume {word} is not understood: write site=NAME:down or"
                             " host=NAME:down",))
        if name not in declared:
            raise SpecError((f"--assume {word}: no {kind} {name} is declared: there are"
                             f" {', '.join(sorted(declared))}",))
        found.add(f"{kind.capitalize()}/{name}")
    return frozenset(found)
