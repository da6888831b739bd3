"""Once: see everything, decide, and, if asked, do the plan to its end; then say what is left.

Rule 1: what a person was shown and agreed to is done, and nothing else; what came up meanwhile is
        left, and told.
Rule 2: steps are done as the loop does them: decided again on fresh facts just before they begin.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from controller.errors import ActionError, JournalUnavailable, SpecError
from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.facts import Observed
from controller.plan.actions.action import Action, Cause
from controller.plan.gates.approval import content, same
from controller.plan.output.saved import SavedPlan, stale
from controller.plan.steps.plan import Plan, Verdict
from controller.plan.survey.context import Approval
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.act.recovery import Recovery
from controller.reconcile.act.worker import Work
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import Decider, is_converged
from controller.reconcile.observe.last_seen import load_seen, part, save_fact
from controller.reconcile.observe.observers import AT_ONCE, observe
from controller.reconcile.observe.view import View
from controller.reconcile.report.event import Event
from controller.store.journal import Outcome
from controller.store.store import Store

TRIES: Final = 3
"""So often is one step tried before the run goes on without it."""
GRANT_S: Final = 86400.0


def steady() -> float:
    """Return the time of the loop, which nobody can set."""
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Result:
    """What a run did, and what it left."""

    plan: Plan
    done: list[tuple[Action, str]] = field(default_factory=list)
    failed: dict[str, tuple[Action, str]] = field(default_factory=dict)
    """By action id: what failed last and was not done afterwards."""

    def take_in(self, later: "Result") -> None:
        """Add what came of a later run."""
        self.plan = later.plan
        self.done += later.done
        for action, _ in later.done:
            self.failed.pop(action.id, None)
        self.failed |= later.failed


class Once:
    """One run over one set of specs."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 assumed_down: frozenset[str] = frozenset()) -> None:
        self._provider = provider
        self._store = store
        self._clock = clock
        self._view = View(clock, steady)
        self._circumstances = ContextBuilder(store, clock)
        self._applier = Applier(provider, store, clock, self._look_after, self._view.mark_stale,
                                self.tell)
        self._applier.done, self._view.screen = (
            self._circumstances.pools.accept, self._circumstances.pools.screen)
        self._recovery = Recovery(self._applier, self._view)
        self._decider = Decider(self._view, self._circumstances, clock,
                                lambda: self._applier.in_flight, assumed_down)
        self._work = Work(self._applier, self._view, self._look_at_all, self._decider,
                          self._current_plan, lambda: True, 0)
        self._work.consents = self._consents
        self._work.told = self._take_in
        self._decider.resting = self._given_up
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tries: dict[str, tuple[Action, int]] = {}
        self._lost: dict[str, int] = {}
        """By target: how often the look at its nodes failed."""
        self._result: Result | None = None
        self._granted_by: str | None = None
        self._shown: Mapping[str, Action] | None = None
        self._about: str | None = None
        self._answered = False
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
        await self._look_at_all(*self._view.nodes)
        return self._decide()

    def stale(self, saved: SavedPlan) -> str | None:
        """Return why a saved plan may not be done now; None when it may."""
        return stale(saved, self._decider.revision, self.observed)

    async def run(self, *, granted_by: str | None = None, shown: Plan | None = None,
                  answered: bool = False, about: str | None = None) -> Result:
        """Do the plan until nothing that may be done is left; `plan` comes first.

        Shapes: `granted_by` is whose word lets it go beyond the autonomy, up to failover; `shown`
        is the plan that they agreed to: no other step is begun; `answered` is whether their yes
        came after they saw it, and so answers what steps ask; `about` is the one target to work on.
        Errors: JournalUnavailable; nothing more is begun.
        """
        self._granted_by, self._about, self._answered = granted_by, about, answered
        self._shown = agreed_to(shown) if shown is not None else None
        self._recovery.take_over(self._store.open_intents())
        self._decider.stir()
        result = self._result = Result(self._decide())
        hands: set[asyncio.Task[None]] = set()
        try:
            while await self._hand_out(hands):
                ended, hands = await asyncio.wait(hands, timeout=self._work.pause_s(),
                                                  return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
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

    async def _hand_out(self, hands: set[asyncio.Task[None]]) -> bool:
        """Begin all that may begin, and return whether anything runs; what rests is waited for."""
        while True:
            self._work.enqueue(await self._current_plan())
            while (target := self._work.take()) is not None:
                hands.add(asyncio.create_task(self._advance(target)))
            pause_s = self._work.pause_s()
            if hands or pause_s is None:
                return bool(hands)
            await asyncio.sleep(pause_s)

    async def _advance(self, target: str) -> None:
        """Do what a target needs; one whose nodes cannot be looked at is tried a few times."""
        try:
            await self._work.advance(target)
        except ActionError as error:
            self._lost[target] = self._lost.get(target, 0) + 1
            if self._lost[target] < TRIES:
                self._work.retry(target, str(error))
            else:
                self._work.park(target, str(error))

    def _given_up(self) -> frozenset[str]:
        """Return the targets at which something was tried often enough; others take its place."""
        return frozenset(action.target for action, tries in self._tries.values() if tries >= TRIES)

    def _consents(self, action: Action) -> bool:
        """Return whether a step is one of those that this run is for, and worth another try."""
        if self._tries.get(action.id, (action, 0))[1] >= TRIES:
            return False
        if self._about not in {None, action.target}:
            return False
        return self._shown is None or (action.id in self._shown
                                       and same(self._shown[action.id], action))

    def _take_in(self, action: Action, attempt: Attempt) -> None:
        """Remember what came of a step."""
        assert self._result is not None, "only a run does anything"
        tries = self._tries.get(action.id, (action, 0))[1] + 1
        final = attempt.outcome in {Outcome.REFUSED, Outcome.UNDONE} or (
            action.reverts and attempt.outcome is Outcome.UNKNOWN)
        self._tries[action.id] = (action, TRIES if final else tries)
        if attempt.outcome is Outcome.DONE:
            self._result.failed.pop(action.id, None)
            self._result.done.append((action, attempt.sentence))
        else:
            self._result.failed[action.id] = (action, attempt.sentence)

    async def _current_plan(self) -> Plan:
        """Return the plan for what is known now; what answered long ago is looked at again."""
        desired = self._decider.desired
        assert desired is not None, "`plan` comes first"
        stale = self._view.stale(desired.estate.spec.limits.fact_age_s / 2)
        if stale:       # nobody polls here
            await self._look_at_all(*stale)
            self._decider.stir()
        return self._decide()

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
                   and (step.action.ask is None or self._answered)
                   and self._consents(step.action)]
        for action in lacking:
            self._circumstances.grant(Approval(action.id, plan.revision, by,
                                               self._clock() + GRANT_S, content(action)))
        return bool(lacking)

    async def _look_after(self, nodes: Iterable[str]) -> None:
        """Look at `nodes` after something was done there."""
        await self._look_at_all(*nodes)
        self._circumstances.repaired()
        self._decider.stir()

    async def _look_at_all(self, *nodes: str) -> None:
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
            part(self._store, self._view)
            self._store.save_conditions(plan.conditions, self._clock())
            self._circumstances.settle(plan, self.observed, converged=is_converged(plan))

    def tell(self, event: Event) -> None:
        """Pass an event on to all who listen."""
        for listener in self.listeners:
            listener(event)


def came_up(result: Result, shown: Plan) -> bool:
    """Return whether a run left anything to do that was not in the plan that was agreed to."""
    agreed = agreed_to(shown)
    return any(step.action.id not in agreed or not same(agreed[step.action.id], step.action)
               for step in result.plan.steps if step.ruling.verdict is not Verdict.REFUSED)


def agreed_to(shown: Plan) -> Mapping[str, Action]:
    """Return what a yes to a plan is a yes to: all that it did not show as refused."""
    return {step.action.id: step.action for step in shown.steps
            if step.ruling.verdict is not Verdict.REFUSED}


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
