"""Work: which targets may be worked on, and one target's way through its steps.

Rule 1: a step is begun only if the plan for what is known right now still holds and allows it.
Rule 2: what was refused is left alone until something about it changes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from controller.errors import Unavailable
from controller.plan.actions import Action, StartDomain
from controller.plan.plan import Plan, Step
from controller.plan.replica_actions import ReplicateDomain, VerifyReplica, is_replica
from controller.reconcile.apply import Applier, Attempt
from controller.reconcile.decider import Decider, ready_steps
from controller.reconcile.observers import Observers
from controller.reconcile.queue import BACK_OFF_MOST_S, KeyedQueue, Standing
from controller.reconcile.refusals import Refusals
from controller.reconcile.urgency import urgency_of
from controller.reconcile.view import View
from controller.store.journal import Outcome

FRESH_S: Final = 1.0
"""A look this recent, with nothing heard since, is fresh enough to act on."""
BURST_S: Final = 0.5
"""A death makes several events. To start what has died, the look that the first of them caused will
do: libvirt itself refuses to start what runs. Whatever else is begun waits until all is calm."""
LOOKS: Final = 4
COPY_BACK_OFF_MOST_S: Final = 30.0
"""A copy that waits grows old, and no host can see that the way between two others is mended."""


class Work:
    """The queue of targets, and what happens to a target that was taken from it."""

    def __init__(self, applier: Applier, view: View, observers: Observers, decider: Decider,
                 current_plan: Callable[[], Awaitable[Plan | None]],
                 may_act: Callable[[], bool], seed: int) -> None:
        self._applier = applier
        self._view = view
        self._observers = observers
        self._decider = decider
        self._current_plan = current_plan
        self._may_act = may_act
        self._queue = KeyedQueue(seed)
        self._plan: Plan | None = None
        self.refusals = Refusals()
        self.offered = asyncio.Event()

    def enqueue(self, plan: Plan) -> None:
        """Put in line what may begin, and set aside what has to wait."""
        self._plan = plan
        now_s = self._now_s()
        self.refusals.keep_only(step.action.id for step in plan.steps)
        ready = [step for step in ready_steps(plan) if not self._useless(step)]
        for step in ready:
            target = step.action.target
            if self._queue.standing(target) is Standing.STALLED:
                self._queue.free(target, urgency_of(step.action), now_s)
            self._queue.offer(target, urgency_of(step.action), now_s)
        wanted = {step.action.target for step in ready}
        held = {step.action.target: step for step in reversed(plan.steps)
                if step.action.target not in wanted}
        for target, step in held.items():
            if self._queue.standing(target) not in {Standing.IN_HAND, Standing.BACKING_OFF}:
                self._set_aside(target, step)
        for standing in (Standing.READY, Standing.PARKED, Standing.STALLED):
            for target in self._queue.names(standing):
                if target not in wanted and target not in held:
                    self._queue.drop(target)
        self.offered.set()

    def free_all(self) -> None:
        """End every wait: a person or a commit has changed what matters."""
        self.refusals.clear()
        self._queue.free_all(self._now_s())
        self.offered.set()

    def take(self) -> str | None:
        """Return the next target and hold it in hand."""
        return self._queue.take(self._now_s())

    def pause_s(self) -> float | None:
        """Return how long it is until a back-off ends; None when none runs."""
        due_s = self._queue.next_due()
        return None if due_s is None else max(0.001, due_s - self._now_s())

    def retry(self, target: str, why: str) -> None:
        """Put a target down and take it up again after a while."""
        most_s = COPY_BACK_OFF_MOST_S if is_replica(target) else BACK_OFF_MOST_S
        self._queue.retry(target, self._now_s(), why, most_s)

    def park(self, target: str, why: str) -> None:
        """Put a target down until something changes."""
        self._queue.park(target, self._now_s(), why)

    def waits(self) -> dict[str, tuple[str, str]]:
        """Return, by target, how and why it waits."""
        return {name: (standing.value, self._queue.why(name))
                for standing in (Standing.BACKING_OFF, Standing.PARKED, Standing.STALLED)
                for name in self._queue.names(standing)}

    async def advance(self, target: str) -> None:
        """Do the steps of a target in hand until none is left, one fails, or work has to end.

        Errors: JournalUnavailable, Unavailable; the target is then still in hand.
        """
        while (step := await self._next_step(target)) is not None:
            begun_s = self._now_s()
            attempt = await self._applier.carry_out(step.action, self._decider.revision)
            if not await self._went_on(step, attempt, self._now_s() - begun_s):
                return
        self._queue.done(target, self._now_s())
        if self._plan is not None and self._decider.is_current:
            self.enqueue(self._plan)

    async def _next_step(self, target: str) -> Step | None:
        """Return the target's next step, re-checked against fresh facts; None when none is left.

        Errors: Unavailable when its nodes do not hold still.
        """
        for _ in range(LOOKS):
            plan = await self._current_plan()
            steps = [step for step in ready_steps(plan) if step.action.target == target
                     and not self._useless(step)] if plan else []
            if not steps or not self._may_act():
                return None
            nodes = self._decider.nodes_of(steps[0].action)
            burst_s = BURST_S if isinstance(steps[0].action, StartDomain) else 0.0
            old = [node for node in nodes if not self._view.fresh(node, FRESH_S, burst_s)]
            if not old:
                return steps[0]
            await self._observers.look(*old)
        raise Unavailable(f"{', '.join(nodes)} changed faster than it could be looked at; it is"
                          " tried again")

    async def _went_on(self, step: Step, attempt: Attempt, took_s: float) -> bool:
        """Take in what came of a step, and return whether the target's next one may follow."""
        action = step.action
        if attempt.outcome is Outcome.REFUSED:
            self.refusals.note(action, attempt.sentence, self._decider.versions_of(action),
                               self._now_s())
            return True
        plan = await self._current_plan()
        left = {one.action.id: one.action for one in plan.steps} if plan else {action.id: action}
        if action.id not in left or is_next(action, left[action.id]) or (
                attempt.outcome is Outcome.DONE and is_slice(action, took_s)):
            return True
        why = attempt.sentence if attempt.outcome is not Outcome.DONE else (
            f"{attempt.sentence}; a look afterwards still shows the difference")
        self.retry(action.target, why)
        return False

    def _set_aside(self, target: str, step: Step) -> None:
        """Let a target wait: stalled where it was refused, parked where something is missing."""
        refusal = self.refusals.of(target)
        if refusal is not None:
            self._queue.stall(target, self._now_s(), refusal.sentence)
        else:
            self._queue.park(target, self._now_s(), step.ruling.sentence)

    def _useless(self, step: Step) -> bool:
        """Return whether the step was refused, and nothing has changed that could help."""
        return self.refusals.stands(step.action, self._decider.versions_of(step.action),
                                    self._now_s())

    def resting(self) -> frozenset[str]:
        """Return the targets at which something failed, until they are tried again."""
        return frozenset(self._queue.names(Standing.BACKING_OFF))

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def is_slice(done: Action, took_s: float) -> bool:
    """Return whether an action used up the time that it had, so that what is left is the rest."""
    return isinstance(done, VerifyReplica) and took_s >= done.budget_s


def is_next(done: Action, left: Action) -> bool:
    """Return whether what is left is another restore point than the one that was just made."""
    return (isinstance(done, ReplicateDomain) and isinstance(left, ReplicateDomain)
            and left.sequence > done.sequence)
