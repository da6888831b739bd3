"""One action from intent to outcome: write it down, do it, look, write down what came of it.

Rule 1: without a written intent nothing is begun.
Rule 2: an action that is cut off keeps its intent open; whoever comes next looks first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from controller.errors import (
    ActionError,
    JournalUnavailable,
    OutcomeUnknown,
    Refused,
    Unavailable,
    Undone,
)
from controller.model.document import Rung
from controller.plan.actions.action import Action
from controller.plan.survey.context import InFlight
from controller.plan.survey.context import Undone as UndoneChange
from controller.providers.base import Provider
from controller.reconcile.observe.observers import NOT_UNDERSTOOD
from controller.reconcile.report.event import Event, EventKind
from controller.store.journal import Intent, Outcome
from controller.store.store import Store
from controller.telemetry import OFF, Telemetry

logger = logging.getLogger("hotsite")

Look = Callable[[Iterable[str]], Awaitable[None]]
Distrust = Callable[[str], None]
Tell = Callable[[Event], None]
UndoneRow = tuple[UndoneChange, str]


def _to_nobody(_: Action) -> None:
    """Tell nobody."""


class Attempt(NamedTuple):
    """What came of one action."""

    outcome: Outcome
    sentence: str


class Applier:
    """Carries actions out, and knows which have begun and not ended."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 look: Look, distrust: Distrust, tell: Tell,
                 telemetry: Telemetry = OFF) -> None:
        self._provider = provider
        self._store = store
        self._clock = clock
        self._look = look
        self._distrust = distrust
        self._tell = tell
        self._telemetry = telemetry
        self._in_flight: dict[str, InFlight] = {}
        self._unwritten: list[tuple[int, Outcome, str, float, UndoneRow | None]] = []
        self.done: Callable[[Action], None] = _to_nobody
        """Is told of each action that was done, before its nodes are looked at."""

    @property
    def in_flight(self) -> tuple[InFlight, ...]:
        """Return what has begun and not ended, by action id."""
        return tuple(self._in_flight[name] for name in sorted(self._in_flight))

    async def carry_out(self, action: Action, revision: str, spec: str = "") -> Attempt:
        """Do `action` and look at its nodes afterwards; `spec` is its target's fingerprint.

        Errors: JournalUnavailable when it was not begun.
        """
        intent = self._store.intend(action.id, action.verb, action.target, action.node, revision,
                                    action.reason, self._clock(), action.cause)
        self._in_flight[action.id] = InFlight(action.id, action.target, action.nodes, action.rung)
        self._tell(Event(EventKind.INTENT, action.target, action.node, action.reason,
                         self._clock(), action.symbol, "", action.id))
        attempt = Attempt(Outcome.UNKNOWN, "it broke off in a way nobody foresaw")
        cut_off = False
        try:
            begun_s = asyncio.get_running_loop().time()
            with self._telemetry.span("cycle", revision=revision), self._telemetry.span(
                    "apply", target=action.target, node=action.node, verb=action.verb):
                attempt = await self._try(action)
            self._telemetry.action(action.verb, attempt.outcome,
                                   asyncio.get_running_loop().time() - begun_s)
            self._distrust_all(action)
            await self._look(action.nodes)
        except asyncio.CancelledError:
            cut_off = True
            raise
        finally:
            if attempt.outcome is Outcome.UNKNOWN:
                self._distrust_all(action)
            del self._in_flight[action.id]
            if not cut_off:
                self._conclude(intent, attempt, self._undone(action, attempt, spec))
                self._tell(Event(EventKind.OUTCOME, action.target, action.node, attempt.sentence,
                                 self._clock(), action.symbol, attempt.outcome, action.id))
        return attempt

    def hold(self, intent: Intent, nodes: tuple[str, ...]) -> None:
        """Count an intent that was found open as in flight until it has been looked at."""
        self._in_flight[intent.action_id] = InFlight(
            intent.action_id, intent.target, nodes, rung_of(intent.verb))

    def abandon(self, intent: Intent, sentence: str) -> None:
        """Close an intent that was found open, after looking."""
        self._in_flight.pop(intent.action_id, None)
        self._conclude(intent.id, Attempt(Outcome.ABANDONED, sentence))
        self._tell(Event(EventKind.OUTCOME, intent.target, intent.node, sentence, self._clock(),
                         "?", Outcome.ABANDONED, intent.action_id))

    def write_late(self) -> None:
        """Write the outcomes that could not be written before.

        Errors: JournalUnavailable; they are kept.
        """
        while self._unwritten:
            self._store.conclude(*self._unwritten[0])
            del self._unwritten[0]

    async def _try(self, action: Action) -> Attempt:
        """Do `action` and return what is then known."""
        try:
            sentence = await self._provider.apply(action)
            self.done(action)
            return Attempt(Outcome.DONE, sentence)
        except Refused as error:
            return Attempt(Outcome.REFUSED, str(error))
        except Unavailable as error:
            return Attempt(Outcome.UNAVAILABLE, str(error))
        except Undone as error:
            return Attempt(Outcome.UNDONE, str(error))
        except OutcomeUnknown as error:
            return Attempt(Outcome.UNKNOWN, str(error))
        except NOT_UNDERSTOOD as error:
            logger.exception("%s on %s broke off", action.id, action.node)
            return Attempt(Outcome.UNKNOWN, (
                f"{action.verb} on {action.node} may have happened: its answer was not understood"
                f" ({type(error).__name__}: {error}); {action.node} is looked at again"))

    def _distrust_all(self, action: Action) -> None:
        """Let what was seen of the action's nodes until now decide nothing any more."""
        for node in action.nodes:
            self._distrust(node)

    def _undone(self, action: Action, attempt: Attempt, spec: str) -> UndoneRow | None:
        """Return what is not to be done again by itself: a node that undoes it was cut off by it.

        Of what a node undoes unless it can be reached, an unknown outcome is that it was undone.
        """
        if attempt.outcome is not Outcome.UNDONE and not (
                action.reverts and attempt.outcome is Outcome.UNKNOWN):
            return None
        return UndoneChange(action.id, action.target, action.goal, attempt.sentence,
                            self._clock()), spec

    def _conclude(self, intent: int, attempt: Attempt,
                  undone: UndoneRow | None = None) -> None:
        """Write the outcome down, or keep it until that is possible."""
        at = self._clock()
        try:
            self._store.conclude(intent, attempt.outcome, attempt.sentence, at, undone)
        except JournalUnavailable:
            self._unwritten.append((intent, attempt.outcome, attempt.sentence, at, undone))


def rung_of(verb: str) -> Rung:
    """Return the rung of a verb; one that nobody knows any more counts as the highest."""
    kinds = {kind.verb: kind.rung for kind in Action.__subclasses__()}
    return kinds.get(verb, Rung.DELETE)


assert {Refused, Unavailable, Undone, OutcomeUnknown} == set(ActionError.__subclasses__()), \
    "carry_out tells every way apart in which an action may fail"
