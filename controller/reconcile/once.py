"""One run: look at everything, decide and, if asked, do the plan to its end; then say what is left.

Rule 1: only what a person was shown and agreed to is done; what came up meanwhile is left, and
        reported.
Rule 2: steps are done by the workers of the loop: decided again on fresh facts just before they
        begin. What differs is the mandate, and that a run ends.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from controller.errors import JournalUnavailable, SpecError
from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.facts import Observed
from controller.plan.actions.action import Action, Cause
from controller.plan.break_glass.break_glass import BreakGlass
from controller.plan.gates.approval import content, same
from controller.plan.output.saved import SavedPlan, stale
from controller.plan.steps.plan import Plan, Verdict
from controller.plan.survey.context import Approval, FailoverRequest
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.act.recovery import Recovery
from controller.reconcile.act.worker import Mandate, Workers
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import Planner, is_converged
from controller.reconcile.lease import Candidate, alone
from controller.reconcile.observe.last_seen import load_seen, save_fact, save_removed
from controller.reconcile.observe.observers import Observers
from controller.reconcile.observe.view import View
from controller.reconcile.report.event import Event
from controller.reconcile.tasks import cancel, is_set_within, now_s
from controller.store.journal import Outcome
from controller.store.store import Store

TRIES: Final = 3
"""So often is one step tried before the run goes on without it."""
GRANT_S: Final = 86400.0


@dataclass(slots=True)
class Result:
    """What a run did, and what it left."""

    plan: Plan
    done: list[tuple[Action, str]] = field(default_factory=list)
    failed: dict[str, tuple[Action, str]] = field(default_factory=dict)
    """By action id: what failed last and was not done afterwards."""

    def take_in(self, later: "Result") -> None:
        """Add the outcome of a later run."""
        self.plan = later.plan
        self.done += later.done
        for action, _ in later.done:
            self.failed.pop(action.id, None)
        self.failed |= later.failed


@dataclass(slots=True)
class Agreed(Mandate):
    """A run's mandate: what a person was shown and agreed to, and a few tries of each step."""

    granted_by: str | None = None
    """Whose word lets the run go beyond the autonomy, up to failover."""
    shown: Mapping[str, Action] | None = None
    """The steps agreed to, by id; None: every step."""
    answered: bool = False
    """Whether the yes came after the plan was seen, and so answers what its steps ask."""
    about: str | None = None
    """The only target to work on."""
    tries: dict[str, int] = field(default_factory=dict)
    """By action id, over all runs of one command."""
    lost: dict[str, int] = field(default_factory=dict)
    """By target: how often its nodes could not be looked at."""
    done: list[tuple[Action, str]] = field(default_factory=list)
    failed: dict[str, tuple[Action, str]] = field(default_factory=dict)
    candidate: Candidate = field(default_factory=alone)

    def may_act(self) -> bool:
        """Return whether this controller conducts."""
        return self.candidate.may_act()

    def consents(self, action: Action) -> bool:
        """Return whether a step is one of those that this run is for, and worth another try."""
        if self.tries.get(action.id, 0) >= TRIES or self.about not in {None, action.target}:
            return False
        return self.shown is None or (action.id in self.shown
                                      and same(self.shown[action.id], action))

    def ended(self, action: Action, attempt: Attempt) -> None:
        """Note the outcome of a step."""
        final = attempt.outcome in {Outcome.REFUSED, Outcome.UNDONE} or (
            action.reverts and attempt.outcome is Outcome.UNKNOWN)
        self.tries[action.id] = TRIES if final else self.tries.get(action.id, 0) + 1
        if attempt.outcome is Outcome.DONE:
            self.failed.pop(action.id, None)
            self.done.append((action, attempt.sentence))
        else:
            self.failed[action.id] = (action, attempt.sentence)

    def tries_again(self, target: str) -> bool:
        """Return whether a target is tried again whose nodes could not be looked at."""
        self.lost[target] = self.lost.get(target, 0) + 1
        return self.lost[target] < TRIES

    def lacking(self, plan: Plan) -> list[Action]:
        """Return what only lacks a person's word that this run has; deletions always lack it.

        What a step asks was shown in the first plan: nobody has said yes to anything else.
        """
        if self.granted_by is None:
            return []
        return [step.action for step in plan.steps
                if step.ruling.verdict is Verdict.NEEDS_APPROVAL
                and step.action.rung.height < Rung.DELETE.height
                and (step.action.ask is None or self.answered) and self.consents(step.action)]


class Once:
    """One run over one set of specs."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 assumed_down: frozenset[str] = frozenset(),
                 candidate: Candidate | None = None, as_of: float | None = None) -> None:
        self._provider = provider
        self._still_at = as_of
        clock = clock if as_of is None else lambda: as_of
        self._candidate = candidate or alone()
        self._store = store
        self._clock = clock
        self._context = ContextBuilder(store, clock)
        self._view = View(clock, now_s if as_of is None else lambda: 0.0,
                          self._context.pools.screen)
        self._observers = Observers(provider, self._view, clock, Random(0))
        self._attempts = Attempts()
        self._planner = Planner(
            self._view, self._observers, self._context, self._attempts,
            lambda: clock() if self._still_at is None else self._still_at, assumed_down)
        self._applier = Applier(provider, store, self._view, self._planner, self._attempts, clock,
                                self.tell)
        self._applier.term, self._applier.lease = self._candidate.term, self._candidate.view
        self._context.machine_uuid = self._candidate.machine_uuid
        self._agreed = Agreed(candidate=self._candidate)
        self._workers = Workers(self._applier, self._view, self._observers, self._planner,
                                self._attempts, self._agreed)
        self._recovery = Recovery(self._applier, self._view)
        self.listeners: list[Callable[[Event], None]] = []

    def stand_at(self, place: str | None) -> None:
        """Set where this controller stands, for what depends on it."""
        self._context.place = place

    def suppose(self, order: FailoverRequest) -> None:
        """Plan as if a person had ordered this."""
        self._context.suppose(order)

    def suppose_glass(self, glass: BreakGlass) -> None:
        """Plan as if this were in force over the specs."""
        self._context.supposed_glass = glass

    @property
    def observed(self) -> Observed:
        """Return what is known of every node."""
        return self._view.observed

    async def plan(self, desired: Desired) -> Plan:
        """Look at everything and return what would change; nothing is written or done."""
        await self._provider.declare(desired)
        self._view.remember(load_seen(self._store), self._store.silent())
        self._context.read()
        self._candidate.declare(desired)
        self._planner.declare(desired)
        await self._observers.look(*self._view.nodes)
        return self._planner.decide()

    def plan_as_last_seen(self, desired: Desired) -> Plan:
        """Return what would change if all were as the store has it; nobody is looked at."""
        seen = load_seen(self._store)
        silent = self._store.silent()
        self._view.remember(seen, silent)
        self._context.read()
        self._candidate.declare(desired)
        self._planner.declare(desired)
        for node in sorted(seen.keys() - silent):
            self._view.put(node, seen[node], seen[node].observed_at)
        return self._planner.decide()

    def replan(self, desired: Desired) -> Plan:
        """Return what would change with other specs, on the same facts; nobody is looked at.

        Shapes: all such plans are made as of one instant, so that no age in them differs.
        """
        self._still_at = self._clock() if self._still_at is None else self._still_at
        self._planner.declare(desired)
        return self._planner.decide()

    def stale(self, saved: SavedPlan) -> str | None:
        """Return why a saved plan must not be done now; None when it may."""
        return stale(saved, self._planner.revision, self.observed)

    async def run(self, *, granted_by: str | None = None, shown: Plan | None = None,
                  answered: bool = False, about: str | None = None) -> Result:
        """Do the plan until nothing that may be done is left; `plan` comes first.

        Shapes: see `Agreed`; `shown` is the plan that was agreed to.
        Errors: JournalUnavailable; nothing more is begun. Refused: another controller conducts.
        """
        nothing = shown is not None and not shown.steps
        async with nullcontext() if nothing else self._candidate.conducting():
            self._context.lease = self._candidate.view
            return await self._run(granted_by, shown, answered=answered, about=about)

    async def _run(self, granted_by: str | None, shown: Plan | None, *, answered: bool,
                   about: str | None) -> Result:
        """Do the plan, as the controller that conducts."""
        agreed = self._agreed
        agreed.granted_by, agreed.answered, agreed.about = granted_by, answered, about
        agreed.shown = agreed_to(shown) if shown is not None else None
        agreed.done, agreed.failed = [], {}
        self._recovery.take_over(self._store.open_intents())
        self._planner.wake()
        try:
            while True:
                await self._planner.current()
                self._workers.enqueue(self._digest(self._planner.decide()))
                self._workers.begin()
                pause_s = self._workers.pause_s()
                if not self._workers.running and pause_s is None:
                    break
                await is_set_within(self._workers.offered, pause_s)
        finally:
            await cancel(*self._workers.running)
        plan = self._digest(self._planner.decide())
        left = {step.action.id for step in plan.steps}
        failed = {name: one for name, one in agreed.failed.items()
                  if name in left or one[0].cause is Cause.HUMAN}    # still asked for
        # what the next run should know; a journal that fails now fails nothing
        with suppress(JournalUnavailable):
            for node in self._view.nodes:
                save_fact(self._store, node, self._view.fact(node))
            save_removed(self._store, self._view)
            self._store.save_conditions(plan.conditions, self._clock())
            self._context.record(plan, self.observed, converged=is_converged(plan))
        return Result(plan, agreed.done, failed)

    def _digest(self, plan: Plan) -> Plan:
        """Close intents of earlier runs and grant what lacks a word; return the plan after that."""
        if self._recovery.close(plan):
            self._planner.wake()
        for action in self._agreed.lacking(plan):
            assert self._agreed.granted_by is not None
            self._context.grant(Approval(action.id, plan.revision, self._agreed.granted_by,
                                         self._clock() + GRANT_S, content(action)))
            self._planner.wake()
        return self._planner.decide()

    def tell(self, event: Event) -> None:
        """Pass an event on to every listener."""
        for listener in self.listeners:
            listener(event)


def came_up(result: Result, shown: Plan) -> bool:
    """Return whether a run left anything to do that was not in the plan agreed to."""
    agreed = agreed_to(shown)
    return any(step.action.id not in agreed or not same(agreed[step.action.id], step.action)
               for step in result.plan.steps if step.ruling.verdict is not Verdict.REFUSED)


def agreed_to(shown: Plan) -> Mapping[str, Action]:
    """Return the steps that a yes to a plan covers: all that it did not show as refused."""
    return {step.action.id: step.action for step in shown.steps
            if step.ruling.verdict is not Verdict.REFUSED}


def assumptions(words: Iterable[str], desired: Desired) -> frozenset[str]:
    """Return `site=paris:lost` and `host=paris-1:down` as `Site/paris` and `Host/paris-1`.

    Errors: SpecError for words that are not understood or name nothing that is declared.
    """
    found = set()
    for word in words:
        kind, _, rest = word.partition("=")
        name, _, state = rest.partition(":")
        declared = {"site": desired.sites, "host": desired.hosts}.get(kind)
        if declared is None or state not in {"down", "lost"}:
            raise SpecError((f"--assume {word} is not understood: write site=NAME:lost or"
                             " host=NAME:lost",))
        if name not in declared:
            raise SpecError((f"--assume {word}: no {kind} {name} is declared: there are"
                             f" {', '.join(sorted(declared))}",))
        found.add(f"{kind.capitalize()}/{name}")
    return frozenset(found)
