"""Work: which targets may be worked on, and one target's way through its steps.

Rule 1: a step is begun only if the plan for what is known right now still holds and allows it, and
        only if it is consented to: the loop does what is granted, a run what a person was shown.
Rule 2: what was refused is left alone until something about it changes.
Rule 3: what failed rests by itself; the other steps of its target go on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from controller.errors import Unavailable
from controller.plan.actions.action import Action
from controller.plan.actions.machine import DefineDomain, StartDomain
from controller.plan.actions.replica import ReplicateDomain, VerifyReplica, is_replica
from controller.plan.actions.storage import CreateDisk, ReturnDisk
from controller.plan.steps.plan import Plan, Step
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.act.back_off import COPY_MOST_S, BackOff
from controller.reconcile.act.queue import BACK_OFF_MOST_S, KeyedQueue, Standing, urgency_of
from controller.reconcile.decide.planner import Decider, ready_steps
from controller.reconcile.decide.refusals import Refusals
from controller.reconcile.observe.view import View
from controller.store.journal import Outcome

COPIES_AT_ONCE: Final = 48
"""Of all that is done at a time: a dead VM never waits for one of many copies to end."""
FRESH_S: Final = 1.0
"""A look this recent, with nothing heard since, is fresh enough to act on."""
BURST_S: Final = 0.5
"""A death makes several events. To start what has died, the look that the first of them caused will
do: libvirt itself refuses to start what runs. Whatever else is begun waits until all is calm."""
LOOKS: Final = 5
MADE: Final = (CreateDisk, ReturnDisk, DefineDomain)
"""What is right only where no host has the VM: each is looked at again after all were. What moves
from one to another is seen by one of two looks at each, and by neither of one."""


def _to_all(_: Action) -> bool:
    return True


def _nobody(_: Action, __: Attempt) -> None:
    pass


class Work:
    """The queue of targets, and what happens to a target that was taken from it."""

    def __init__(self, applier: Applier, view: View, look: Callable[..., Awaitable[None]],
                 decider: Decider, current_plan: Callable[[], Awaitable[Plan | None]],
                 may_act: Callable[[], bool], seed: int) -> None:
        self._applier = applier
        self._view = view
        self._look = look
        self._decider = decider
        self._current_plan = current_plan
        self._may_act = may_act
        self._queue = KeyedQueue(seed)
        self._plan: Plan | None = None
        self._looked_s = 0.0
        self.refusals = Refusals()
        self.failures = BackOff(seed)
        self.offered = asyncio.Event()
        self.consents: Callable[[Action], bool] = _to_all
        """Tells whether an action may be begun at all, whatever the gates say."""
        self.told: Callable[[Action, Attempt], None] = _nobody
        """Is given what came of each action."""

    def enqueue(self, plan: Plan) -> None:
        """Put in line what may begin, and set aside what has to wait."""
        self._plan = plan
        now_s = self._now_s()
        self._looked_s = now_s
        self.refusals.keep_only(step.action.id for step in plan.steps)
        self.failures.keep_only((step.action.id for step in plan.steps), now_s)
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
        self.failures.clear()
        self._queue.free_all(self._now_s())
        self.offered.set()

    def take(self) -> str | None:
        """Return the next target and hold it in hand."""
        due_s = self.failures.next_due(self._looked_s)
        if due_s is not None and due_s <= self._now_s() and self._plan is not None:
            self.enqueue(self._plan)    # what rested may be tried again
        copying = sum(map(is_replica, self._queue.names(Standing.IN_HAND)))
        return self._queue.take(self._now_s(), lambda name: copying < COPIES_AT_ONCE
                                or not is_replica(name))

    def pause_s(self) -> float | None:
        """Return how long it is until a back-off ends; None when none runs."""
        due = [one for one in (self._queue.next_due(), self.failures.next_due(self._looked_s))
               if one is not None]
        return max(0.001, min(due) - self._now_s()) if due else None

    def retry(self, target: str, why: str) -> None:
        """Put a target down over which the look itself failed, and take it up after a while."""
        self._queue.retry(target, self._now_s(), why,
                          COPY_MOST_S if is_replica(target) else BACK_OFF_MOST_S)

    def park(self, target: str, why: str) -> None:
        """Put a target down until something changes."""
        self._queue.park(target, self._now_s(), why)

    def waits(self) -> dict[str, tuple[str, str]]:
        """Return, by target, how and why it waits."""
        found = {name: (standing.value, self._queue.why(name))
                 for standing in (Standing.BACKING_OFF, Standing.PARKED, Standing.STALLED)
                 for name in self._queue.names(standing)}
        resting = self.failures.resting(self._now_s())
        return found | {name: (Standing.BACKING_OFF.value, why) for name, why in resting.items()
                        if found.get(name, (Standing.PARKED.value,))[0] == Standing.PARKED.value}

    async def advance(self, target: str) -> None:
        """Do the steps of a target in hand until none is left that may be done, or work has to end.

        Errors: JournalUnavailable, Unavailable; the target is then still in hand.
        """
        while (step := await self._next_step(target)) is not None:
            begun_s = self._now_s()
            attempt = await self._applier.carry_out(step.action, self._decider.revision,
                                                    self._decider.print_of(step.action.target))
            await self._take_in(step, attempt, self._now_s() - begun_s)
        self._queue.done(target, self._now_s())
        if self._plan is not None and self._decider.is_current:
            self.enqueue(self._plan)

    async def _next_step(self, target: str) -> Step | None:
        """Return the target's next step, re-checked against fresh facts; None when none is left.

        Errors: Unavailable when its nodes do not hold still.
        """
        looked_again: set[str] = set()
        for _ in range(LOOKS):
            plan = await self._current_plan()
            steps = [step for step in ready_steps(plan) if step.action.target == target
                     and not self._useless(step)] if plan else []
            if not steps or not self._may_act():
                return None
            nodes = self._decider.nodes_of(steps[0].action)
            burst_s = BURST_S if isinstance(steps[0].action, StartDomain) else 0.0
            old = [node for node in nodes if not self._view.fresh(node, FRESH_S, burst_s)]
            if isinstance(steps[0].action, MADE) and steps[0].action.id not in looked_again:
                looked_again.add(steps[0].action.id)
                old = list(nodes)
            if isinstance(steps[0].action, StartDomain) and steps[0].action.id not in looked_again:
                # once: a host that hangs must not hold up every start of the estate
                looked_again.add(steps[0].action.id)
                old += self._decider.elsewhere(steps[0].action)
            if not old:
                return steps[0]
            await self._look(*old)
        raise Unavailable(f"{', '.join(nodes)} changed faster than it could be looked at; it is"
                          " tried again")

    async def _take_in(self, step: Step, attempt: Attempt, took_s: float) -> None:
        """Take in what came of a step; the target's other steps follow, whatever it was."""
        action = step.action
        self.told(action, attempt)
        if attempt.outcome is Outcome.REFUSED:
            self.refusals.note(action, attempt.sentence, self._decider.versions_of(action),
                               self._now_s())
            return
        if attempt.outcome is Outcome.UNDONE:
            return      # a gate holds it back from now on; the target's next step may follow
        plan = await self._current_plan()
        left = {one.action.id: one.action for one in plan.steps} if plan else {action.id: action}
        if action.id not in left or is_next(action, left[action.id]) or (
                attempt.outcome is Outcome.DONE and is_slice(action, took_s)):
            self.failures.forget(action.id)
            return
        self.failures.note(action, attempt.sentence if attempt.outcome is not Outcome.DONE else (
            f"{attempt.sentence}; a look afterwards still shows the difference"), self._now_s())

    def _set_aside(self, target: str, step: Step) -> None:
        """Let a target wait: stalled where it was refused, parked where something is missing."""
        refusal = self.refusals.of(target)
        if refusal is not None:
            self._queue.stall(target, self._now_s(), refusal.sentence)
        else:
            self._queue.park(target, self._now_s(), step.ruling.sentence
                             or self.failures.resting(self._now_s()).get(target, ""))

    def _useless(self, step: Step) -> bool:
        """Return whether a step is not to be begun: not agreed to, refused, or failed just now."""
        action, now_s = step.action, self._now_s()
        return (not self.consents(action) or self.failures.rests(action.id, now_s)
                or self.refusals.stands(action, self._decider.versions_of(action), now_s))

    def resting(self) -> frozenset[str]:
        """Return the targets at which something failed, until they are tried again."""
        return frozenset(self._queue.names(Standing.BACKING_OFF)).union(
            self.failures.resting(self._now_s()))

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
