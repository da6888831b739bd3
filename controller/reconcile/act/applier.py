"""
The applier carries out one action, from intent to outcome:

    1  intent      on the disk before anything is begun; where that fails, nothing is
    2  act         the provider does it, and says how it went
    3  look        at every node of the action, since only a look tells what is true now; at the
                   BMC of a host that was fenced, which itself says nothing
    4  outcome     on the disk, which closes the intent

Why this order: whatever line a crash falls between, the intent is open, and the next process finds
it, looks at the nodes and closes it (see recovery.py). Nothing is ever repeated because the journal
says that it was begun. The outcome comes last so that an action counts as in flight until its
effect was looked at: until then it keeps its place in the limits, and facts from before are stale.
It bears the time at which the act ended: a look at a busy host takes seconds, which are not the
act's, and what a failover took for each VM is measured by that (plan/prediction/measured.py).

The provider raises one of four errors, or none. The kind of error, never its text, decides what
follows:

    none             done               it is done; the look says whether the difference is gone
    Refused          nothing happened   not asked again until the node or the action has changed
    Unavailable      nothing happened   tried again after a back-off
    OutcomeUnknown   perhaps happened   looked at; if the plan still wants it, after a back-off
    Undone           done, and undone   held back by a gate until a commit or a person says so

An answer that cannot be understood is OutcomeUnknown, since the node did answer. A change that a
node undoes unless the controller comes back counts as undone when its outcome is unknown. Nothing
is retried here: the next plan decides whether the action is still needed.

An action that is cancelled, when the loop ends, keeps its intent open. An outcome that cannot be
written is kept in memory until the journal works again; if the process ends before that, the
intent is still open, too.
"""

import asyncio
import logging
from collections.abc import Callable
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
from controller.model.facts import Known
from controller.plan.actions.action import Action
from controller.plan.actions.fencing import FenceHost
from controller.plan.survey.context import InFlight, LeaseView
from controller.plan.survey.context import Undone as UndoneChange
from controller.providers.base import Provider
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.planner import Planner
from controller.reconcile.observe.observers import NOT_UNDERSTOOD
from controller.reconcile.observe.view import View
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.tasks import now_s
from controller.store.journal import Intent, Outcome
from controller.store.store import Store
from controller.telemetry import OFF, Telemetry

logger = logging.getLogger("hotsite")

UndoneRow = tuple[UndoneChange, str]
"""A change that a node undid, and the fingerprint of its target's spec at that time."""

FENCE_LOOK_S = 0.2
"""How often it is seen whether a host answers again that is being fenced."""

class Attempt(NamedTuple):
    """The outcome of one action."""

    outcome: Outcome
    sentence: str


class Applier:
    """Carries out actions, one call each."""

    def __init__(self, provider: Provider, store: Store, view: View, planner: Planner,
                 attempts: Attempts, clock: Callable[[], float], tell: Callable[[Event], None],
                 telemetry: Telemetry = OFF) -> None:
        self._provider = provider
        self._store = store
        self._view = view
        self._planner = planner
        self._attempts = attempts
        self._clock = clock
        self._tell = tell
        self._telemetry = telemetry
        self.term: Callable[[], int] = lambda: 0
        """In which term this controller conducts; 0 where no lease is declared."""
        self.lease: Callable[[], LeaseView | None] = lambda: None
        """What is known of the lease now; None where none is declared."""
        self._unwritten: list[tuple[int, Outcome, str, float, UndoneRow | None]] = []

    async def carry_out(self, action: Action, revision: str, spec: str = "") -> Attempt:
        """Do `action` and look at its nodes afterwards; `spec` is its target's fingerprint.

        Errors: JournalUnavailable when it was not begun.
        """
        intent = self._store.intend(action.id, action.verb, action.target, action.node, revision,
                                    action.reason, self._clock(), action.cause, self.term())
        self._attempts.begin(InFlight(action.id, action.target, action.nodes, action.rung))
        self._tell(Event(EventKind.INTENT, action.target, action.node, action.reason,
                         self._clock(), action.symbol, "", action.id))
        attempt = Attempt(Outcome.UNKNOWN, "it ended with an unforeseen error")
        cut_off, ended_at = False, None
        try:
            begun_s = now_s()
            with self._telemetry.span("cycle", revision=revision), self._telemetry.span(
                    "apply", target=action.target, node=action.node, verb=action.verb):
                attempt = await self._try(action)
            ended_at = self._clock()
            self._telemetry.action(action.verb, attempt.outcome, now_s() - begun_s)
            await self._planner.acted(action, done=attempt.outcome is Outcome.DONE)
        except asyncio.CancelledError:
            cut_off = True
            raise
        finally:
            if attempt.outcome is Outcome.UNKNOWN:      # that look may have come too early
                for node in action.nodes:
                    self._view.mark_stale(node)
            self._attempts.end(action.id)
            if not cut_off:
                at = self._clock() if ended_at is None else ended_at
                self._conclude(intent, attempt, at, self._undone(action, attempt, spec))
                self._tell(Event(EventKind.OUTCOME, action.target, action.node, attempt.sentence,
                                 at, action.symbol, attempt.outcome, action.id))
        return attempt

    def hold(self, intent: Intent, nodes: tuple[str, ...]) -> None:
        """Count an open intent of an earlier process as in flight until its nodes were looked at.
        """
        kinds = {kind.verb: kind.rung for kind in Action.__subclasses__()}
        self._attempts.begin(InFlight(intent.action_id, intent.target, nodes,
                                      kinds.get(intent.verb, Rung.DELETE)))  # unknown: the highest

    def abandon(self, intent: Intent, sentence: str) -> None:
        """Close an open intent of an earlier process, after looking."""
        self._attempts.end(intent.action_id)
        at = self._clock()
        self._conclude(intent.id, Attempt(Outcome.ABANDONED, sentence), at)
        self._tell(Event(EventKind.OUTCOME, intent.target, intent.node, sentence, at,
                         "?", Outcome.ABANDONED, intent.action_id))

    def write_late(self) -> None:
        """Write the outcomes that could not be written before.

        Errors: JournalUnavailable; they are kept.
        """
        while self._unwritten:
            self._store.conclude(*self._unwritten[0])
            del self._unwritten[0]

    async def _try(self, action: Action) -> Attempt:
        """Do `action`, and return what is known of it then."""
        lease = self.lease()    # the last look: not everything that fences asks a host for the term
        if (lease is not None and not lease.held
                and action.rung.height >= Rung.FAILOVER.height):
            return Attempt(Outcome.REFUSED, lease.sentence)
        try:
            return Attempt(Outcome.DONE, await self._apply(action))
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

    async def _apply(self, action: Action) -> str:
        """Do `action`; break a fence off whose host answers meanwhile, if it was for its silence.

        Errors: ActionError.
        """
        if not isinstance(action, FenceHost) or action.begin_s is None:
            return await self._provider.apply(action)
        fence = asyncio.create_task(self._provider.apply(action))
        try:
            while not fence.done():
                if isinstance(self._view.fact(action.node), Known):
                    raise OutcomeUnknown(
                        f"{action.node} answers again, and its power is not cut any more; if its"
                        " BMC was told before that, it goes off all the same")
                await asyncio.wait({fence}, timeout=FENCE_LOOK_S)
            return fence.result()
        finally:
            fence.cancel()
            await asyncio.gather(fence, return_exceptions=True)

    def _undone(self, action: Action, attempt: Attempt, spec: str) -> UndoneRow | None:
        """Return what must not be done again by itself, since the node had to undo it."""
        if attempt.outcome is Outcome.UNDONE or (
                action.reverts and attempt.outcome is Outcome.UNKNOWN):
            return UndoneChange(action.id, action.target, action.goal, attempt.sentence,
                                self._clock()), spec
        return None

    def _conclude(self, intent: int, attempt: Attempt, at: float,
                  undone: UndoneRow | None = None) -> None:
        """Write the outcome, or keep it until the journal can be written."""
        try:
            self._store.conclude(intent, attempt.outcome, attempt.sentence, at, undone)
        except JournalUnavailable:
            self._unwritten.append((intent, attempt.outcome, attempt.sentence, at, undone))


assert {Refused, Unavailable, Undone, OutcomeUnknown} == set(ActionError.__subclasses__()), \
    "carry_out tells apart every way in which an action may fail"
