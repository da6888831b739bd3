"""News: differences between two plans, or two looks at a node, as events worth a line."""

from collections.abc import Callable, Mapping
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.facts import Fact, Known, NodeFacts, Unknown
from controller.model.failover.power import PowerFacts
from controller.plan.conditions.network import DEGRADED
from controller.plan.conditions.replica import LATE
from controller.plan.steps.plan import Plan, Step, Verdict
from controller.plan.survey.expired import Expired, sentences
from controller.reconcile.decide.attempts import Refusal
from controller.reconcile.report.event import Event, EventKind

LINES: Final = 40
"""So many new differences become an event each; more are counted."""
WELL: Final = {ConditionType.STALLED: Status.FALSE, ConditionType.SUSPENDED: Status.FALSE,
               ConditionType.CONTROLLER_INSIDE: Status.FALSE,
               ConditionType.BREAK_GLASS: Status.FALSE,
               ConditionType.SPLIT_BRAIN: Status.FALSE,
               ConditionType.NOT_PORTABLE: Status.FALSE}
"""The status of a condition when all is well; TRUE for those that are not listed."""
HELD: Final = frozenset({Verdict.REFUSED, Verdict.NEEDS_APPROVAL})


class News:
    """Remembers what was reported.

    Shapes: `margin_s` returns how late a VM's copies may be before that is reported.
    """

    def __init__(self, clock: Callable[[], float],
                 margin_s: Callable[[str], float] = lambda _: 0.0) -> None:
        self._clock = clock
        self._margin_s = margin_s
        self._late: dict[str, tuple[Condition, float]] = {}
        self._answers: dict[str, bool] = {}
        self._powers: dict[str, str] = {}
        self._unwell: set[tuple[str, ConditionType]] = set()
        self._steps: frozenset[str] = frozenset()
        self._held: frozenset[tuple[str, str]] = frozenset()
        self._failovers: dict[str, tuple[str, tuple[str, ...]]] = {}

    def of_node(self, node: str, fact: Fact[NodeFacts]) -> tuple[Event, ...]:
        """Return an event when a node began or ceased to answer."""
        answers = isinstance(fact, Known)
        if self._answers.get(node) is answers:
            return ()
        self._answers[node] = answers
        sentence = fact.reason if isinstance(fact, Unknown) else f"{node} answers"
        return (Event(EventKind.OBSERVED, f"Node/{node}", node, sentence, self._clock(),
                      "" if answers else "?"),)

    def of_power(self, host: str, fact: Fact[PowerFacts]) -> tuple[Event, ...]:
        """Return an event when a BMC reads another state of its host's power than before."""
        if not isinstance(fact, Known) or fact.value.refusal:
            return ()
        before, state = self._powers.get(host), fact.value.state
        self._powers[host] = state
        return () if before in {None, state} else (Event(
            EventKind.OBSERVED, f"Host/{host}", host,
            f"the BMC of {host} reads {state or 'no power state'}", self._clock()),)

    def of_time(self, step: str | None, gone: Expired) -> tuple[Event, ...]:
        """Return an event when the clock was set, and one for each order that has expired."""
        at = self._clock()
        told = () if step is None else (("Controller/clock", step),)
        return tuple(Event(kind, target, "", sentence, at, "!")
                     for kind, found in ((EventKind.OBSERVED, told),
                                         (EventKind.REFUSED, sentences(gone)))
                     for target, sentence in found)

    def of_plan(self, plan: Plan) -> tuple[Event, ...]:
        """Return the differences and the refusals that were not in the plan before."""
        new = [step for step in plan.steps if step.action.id not in self._steps]
        held = [step for step in plan.steps if step.ruling.verdict in HELD]
        newly = [step for step in held if _key(step) not in self._held]
        self._steps = frozenset(step.action.id for step in plan.steps)
        self._held = frozenset(_key(step) for step in held)
        at = self._clock()
        found = [Event(EventKind.PLAN, step.action.target, step.action.node, step.action.reason,
                       at, step.action.symbol, "", step.action.id) for step in new[:LINES]]
        if len(new) > LINES:
            found.append(Event(EventKind.PLAN, f"Estate/{plan.revision}", "",
                               f"and {len(new) - LINES} more differences", at))
        found += [Event(EventKind.REFUSED, step.action.target, step.action.node,
                        "; ".join(filter(None, (step.ruling.sentence, step.ruling.clears))),
                        at, step.action.symbol, step.ruling.verdict, step.action.id,
                        step.ruling.rule)
                  for step in newly[:LINES]]
        if len(newly) > LINES:
            found.append(Event(EventKind.REFUSED, f"Estate/{plan.revision}", "",
                               f"and {len(newly) - LINES} more are held back", at))
        return (*self._of_failovers(plan), *found)

    def _of_failovers(self, plan: Plan) -> list[Event]:
        """Return an event for each failover in another phase, or that waits for somebody else."""
        now = {one.scope: (one.phase, one.waits_for) for one in plan.failovers}
        found = [Event(EventKind.FAILOVER, one.scope, "", f"{one.phase}: {one.sentence}",
                       self._clock(), "!", one.phase) for one in plan.failovers
                 if self._failovers.get(one.scope) != now[one.scope]]
        begun = sorted(scope for scope in now.keys() - self._failovers.keys()
                       if scope.startswith("Site/"))
        for scope in sorted(self._failovers.keys() - now.keys()):
            joins = bool(begun) and scope.startswith("Host/")
            sentence = (f"it is looked at as a part of {begun[0]} from now on" if joins else
                        "calm: nothing of it is under way any more")
            found.append(Event(EventKind.FAILOVER, scope, "", sentence, self._clock(), "",
                               now[begun[0]][0] if joins else "calm"))
        self._failovers = now
        return found

    def of_condition(self, condition: Condition) -> Event | None:
        """Return an event about a condition with another status; None where it was well before.

        Copies that are late by less than the margin are not reported.
        """
        key = (condition.target, condition.type)
        if condition.type is ConditionType.FRESH:
            self._late.pop(condition.target, None)
            margin_s = self._margin_s(condition.target)
            if condition.reason == LATE and key not in self._unwell and margin_s > 0:
                self._late[condition.target] = (condition, self._clock() + margin_s)
                return None
        if is_well(condition) and key not in self._unwell:
            return None
        (self._unwell.discard if is_well(condition) else self._unwell.add)(key)
        return self._event(condition)

    def still_late(self) -> tuple[Event, ...]:
        """Return an event for each VM whose copies are now late by more than their margin."""
        ripe = [one for one, due_at in self._late.values() if due_at <= self._clock()]
        for condition in ripe:
            del self._late[condition.target]
            self._unwell.add((condition.target, condition.type))
        return tuple(self._event(condition) for condition in ripe)

    def next_due(self) -> float | None:
        """Return when the next margin ends; None when none runs."""
        return min((due_at for _, due_at in self._late.values()), default=None)

    def _event(self, condition: Condition) -> Event:
        return Event(EventKind.CONDITION, condition.target, "",
                     f"{condition.type} is {condition.status}: {condition.message}",
                     self._clock(), "", condition.status)

    @staticmethod
    def with_stalls(conditions: tuple[Condition, ...], refusals: Mapping[str, Refusal],
                    revision: str) -> tuple[Condition, ...]:
        """Return `conditions`, with Stalled true for every target with a refused action."""
        kept = tuple(one for one in conditions if one.target not in refusals
                     or one.type is not ConditionType.STALLED)
        return (*kept, *(Condition(target, ConditionType.STALLED, Status.TRUE, "ActionRefused",
                                   refusal.sentence, revision)
                         for target, refusal in sorted(refusals.items())))


def is_well(condition: Condition) -> bool:
    """Return whether a condition is as it should be."""
    return (condition.status is WELL.get(condition.type, Status.TRUE)
            and condition.reason != DEGRADED)


def _key(step: Step) -> tuple[str, str]:
    """Return the key of a gate's ruling on a step: another sentence of the same rule is no news."""
    return step.action.id, step.ruling.rule or step.ruling.verdict
