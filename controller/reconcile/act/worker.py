"""
The workers: one target each, through its steps, until none is left that may be done now.

`apply` and `run` use the same workers. They differ in the mandate: the loop may do whatever the
gates allow; a run may do what a person was shown and agreed to, and gives up after a few tries.

One target's way (`advance`):

        ┌────────────────────────────────────────────────────────────┐
        ▼                                                            │
    current plan ─► first ready step ─► facts fresh? ── yes ─► carry out ─► outcome
        ▲            │ none                │ no
        │            ▼                     ▼
        │         give it back          look at its nodes
        └──────────────────────────────────┘    (5 times at most, then back-off)

A step is never begun on the plan in which it was found. The plan is asked for again after every
look, and the step must still be in it, ready and with the facts of all its nodes less than 1s old,
with no event since. That, not a lock, keeps a worker from acting on what was true a moment ago.
Before a VM or its disks are made, all hosts are looked at twice: what moves between two hosts can
be missed by one look at each, and not by two. Before a start, all hosts that answer are, once.

A failover must not stand still because hosts are slow to say how they are: those that take the VMs
of a lost site are slow just then, and tell of one start after the other. So for its records and
promotions one look that began after it was asked for is enough, however long it took, and whatever
was heard meanwhile: of many hosts, what one said does not grow old while another is waited for. The
mover judges a promotion anew, on its host, and a host refuses a record by its term. And where all
looks failed the next try comes within seconds, not minutes.

What ends in an error rests by itself: the other steps of the target go on. A step that was done
and is still in the plan counts as failed, so that a change that does not stick is not made in a
tight circle.

At most 64 workers run, and 48 of them copy, so that a dead VM never waits for a copy to end.
Workers share the queue and the attempts without locks, since nothing else runs between two awaits.
A worker that is cancelled leaves its action's intent open, and nothing else (see applier.py).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from controller.errors import ActionError, Unavailable
from controller.plan.actions.action import Action
from controller.plan.actions.failover import WriteRecord
from controller.plan.actions.machine import DefineDomain, StartDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain, VerifyReplica, is_replica
from controller.plan.actions.storage import CreateDisk, ReturnDisk
from controller.plan.steps.plan import Plan, Step
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.act.queue import KeyedQueue, State, priority_of
from controller.reconcile.decide.attempts import Attempts, most_s_of
from controller.reconcile.decide.planner import Planner, ready_steps
from controller.reconcile.observe.observers import Observers
from controller.reconcile.observe.view import View
from controller.reconcile.tasks import cancel, now_s
from controller.store.journal import Outcome

WORKERS: Final = 64
COPIES_AT_ONCE: Final = 48
FRESH_S: Final = 1.0
"""Facts this recent, with no event since, are fresh enough to act on."""
BURST_S: Final = 0.5
"""A death makes several events. To start what has died, the look that the first of them caused is
enough: libvirt itself refuses to start what runs. Everything else waits until no event comes."""
LOOKS: Final = 5
HASTE_MOST_S: Final = 5.0
"""The longest wait for the next look where a failover waits for it: nothing was asked yet."""
MADE: Final = (CreateDisk, ReturnDisk, DefineDomain)
"""Right only where no host has the VM: all hosts are looked at twice before."""
URGENT: Final = (WriteRecord, PromoteReplica)
"""What a failover waits for."""


class Mandate:
    """What workers may begin besides what the gates allow. This one: everything."""

    def may_act(self) -> bool:
        """Return whether anything may be begun."""
        return True

    def consents(self, action: Action) -> bool:
        """Return whether `action` may be begun, or begun once more."""
        return True

    def ended(self, action: Action, attempt: Attempt) -> None:
        """Take note of an outcome."""

    def tries_again(self, target: str) -> bool:
        """Return whether a target whose nodes could not be looked at is tried again by itself."""
        return True


class Workers:
    """The queue of targets, and the tasks that work on those taken from it."""

    def __init__(self, applier: Applier, view: View, observers: Observers, planner: Planner,
                 attempts: Attempts, mandate: Mandate, seed: int = 0) -> None:
        self._applier = applier
        self._view = view
        self._observers = observers
        self._planner = planner
        self._attempts = attempts
        self._mandate = mandate
        self._queue = KeyedQueue(seed)
        self._plan: Plan | None = None
        self._enqueued_s = 0.0
        self._error: BaseException | None = None
        self.running: set[asyncio.Task[None]] = set()
        self.offered = asyncio.Event()
        """Set when there may be something to begin."""

    def enqueue(self, plan: Plan) -> None:
        """Queue the targets with a ready step, and park or stall those that have to wait."""
        self._plan = plan
        self._enqueued_s = now_s()
        self._attempts.keep_only(tuple(step.action.id for step in plan.steps), now_s())
        ready = [step for step in ready_steps(plan) if not self._useless(step)]
        for step in ready:
            target = step.action.target
            if self._queue.state(target) is State.STALLED:
                self._queue.free(target, priority_of(step.action), now_s())
            self._queue.offer(target, priority_of(step.action), now_s())
        wanted = {step.action.target for step in ready}
        held = {step.action.target: step for step in reversed(plan.steps)
                if step.action.target not in wanted}
        for target, step in held.items():
            if self._queue.state(target) not in {State.TAKEN, State.BACKING_OFF}:
                refusal = self._attempts.refusals.targets().get(target)
                if refusal is not None:
                    self._queue.stall(target, now_s(), refusal.sentence)
                else:
                    self._queue.park(target, now_s(), step.ruling.sentence
                                     or self._attempts.back_off.resting(now_s()).get(target, ""))
        for state in (State.READY, State.PARKED, State.STALLED):
            for target in self._queue.keys(state):
                if target not in wanted and target not in held:
                    self._queue.drop(target)
        self.offered.set()

    def _useless(self, step: Step) -> bool:
        """Return whether a step must not be begun: not agreed to, refused, or failed just now."""
        return (not self._mandate.consents(step.action) or self._attempts.is_useless(
            step.action, self._planner.versions_of(step.action), now_s()))

    def free_all(self) -> None:
        """End every wait, since a person or a commit has changed something."""
        self._attempts.clear()
        self._queue.free_all(now_s())
        self.offered.set()

    def begin(self, work: Callable[[str], Coroutine[Any, Any, None]] | None = None) -> None:
        """Give each target that is ready to a worker of its own, as far as there is room.

        Shapes: `work` is `advance`, or a wrapper of it.
        Errors: what a worker raised; nothing more is begun.
        """
        self.offered.clear()
        if self._error is not None:
            raise self._error
        while self._mandate.may_act() and len(self.running) < WORKERS:
            target = self.take()
            if target is None:
                return
            task = asyncio.create_task((work or self.advance)(target))
            self.running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a worker that has ended, and keep its error for `begin`."""
        self.running.discard(task)
        if not task.cancelled():
            self._error = task.exception() or self._error
        self.offered.set()

    async def cancel(self) -> None:
        """Cancel every worker; what they do keeps its open intents."""
        await cancel(*self.running)

    def take(self) -> str | None:
        """Take the next target."""
        due_s = self._attempts.back_off.next_due(self._enqueued_s)
        if due_s is not None and due_s <= now_s() and self._plan is not None:
            self.enqueue(self._plan)    # its back-off is over
        copying = sum(map(is_replica, self._queue.keys(State.TAKEN)))
        target = self._queue.take(now_s(), lambda key: copying < COPIES_AT_ONCE
                                  or not is_replica(key))
        if target is not None:
            self._attempts.take_up(target)
        return target

    def pause_s(self) -> float | None:
        """Return how long it is until a back-off ends; None when none runs."""
        due = [one for one in (self._queue.next_due(),
                               self._attempts.back_off.next_due(self._enqueued_s))
               if one is not None]
        return max(0.001, min(due) - now_s()) if due else None

    def retry(self, target: str, why: str) -> None:
        """Give a target back whose nodes could not be looked at; it is tried after a back-off."""
        urgent = self._plan is not None and any(
            step.action.target == target and isinstance(step.action, URGENT)
            for step in self._plan.steps)
        delay_s = self._queue.retry(target, now_s(), why,
                                    HASTE_MOST_S if urgent else most_s_of(target))
        self._attempts.rest(target, now_s() + delay_s)
        self._planner.wake()    # others may have its place meanwhile

    def park(self, target: str, why: str) -> None:
        """Give a target back until something changes."""
        self._queue.park(target, now_s(), why)

    def waits(self) -> dict[str, tuple[str, str]]:
        """Return, by target, how and why it waits."""
        found = {key: (state.value, self._queue.why(key))
                 for state in (State.BACKING_OFF, State.PARKED, State.STALLED)
                 for key in self._queue.keys(state)}
        resting = self._attempts.back_off.resting(now_s())
        return found | {key: (State.BACKING_OFF.value, why) for key, why in resting.items()
                        if found.get(key, (State.PARKED.value,))[0] == State.PARKED.value}

    async def advance(self, target: str) -> None:
        """Do the steps of a target until none is left that may be done now, and give it back.

        Errors: JournalUnavailable; the target is then still taken.
        """
        try:
            while (step := await self._next_step(target)) is not None:
                begun_s = now_s()
                attempt = await self._applier.carry_out(step.action, self._planner.revision,
                                                        self._planner.print_of(target))
                await self._take_in(step, attempt, now_s() - begun_s)
        except ActionError as error:
            if self._mandate.tries_again(target):
                self.retry(target, str(error))
            else:
                self.park(target, str(error))
            return
        self._queue.done(target, now_s())
        if self._plan is not None and self._planner.is_current:
            self.enqueue(self._plan)
        if target in self._attempts.resting(now_s()):
            self._planner.wake()    # others may have its place meanwhile

    async def _next_step(self, target: str) -> Step | None:
        """Return the target's next step by a plan of fresh facts; None when none is left.

        Errors: Unavailable when its nodes do not hold still.
        """
        looked, seen = set[str](), set[tuple[str, str]]()
        for _ in range(LOOKS):
            plan = await self._planner.current()
            steps = [step for step in ready_steps(plan) if step.action.target == target
                     and not self._useless(step)] if plan else []
            if not steps or not self._mandate.may_act():
                return None
            action = steps[0].action
            nodes = self._planner.nodes_of(action)
            old = [node for node in nodes if not self._fresh(action, node, seen)]
            if isinstance(action, MADE) and action.id not in looked:
                old = list(nodes)
            elif isinstance(action, StartDomain) and action.id not in looked:
                # once: a host that hangs must not hold up every start of the estate
                old += self._planner.elsewhere(action)
            looked.add(action.id)
            if not old:
                return steps[0]
            await self._observers.look(*old)
            seen.update((action.id, node) for node in old)
        raise Unavailable(f"{', '.join(nodes)} changed faster than it could be looked at; it is"
                          " tried again")

    def _fresh(self, action: Action, node: str, seen: set[tuple[str, str]]) -> bool:
        """Return whether what is known of a node is fresh enough for an action on it; `seen` names
        the actions that nodes were looked at for."""
        if isinstance(action, URGENT) and (action.id, node) in seen:
            return not self._view.acted_since(node)
        return self._view.fresh(node, FRESH_S,
                                BURST_S if isinstance(action, StartDomain) else 0.0)

    async def _take_in(self, step: Step, attempt: Attempt, took_s: float) -> None:
        """Note the outcome of a step, and whether it waits; the target's other steps go on."""
        action = step.action
        self._mandate.ended(action, attempt)
        if not self._mandate.consents(action):
            self._attempts.given_up.add(action.target)
        if attempt.outcome is Outcome.REFUSED:
            self._attempts.refusals.note(action, attempt.sentence,
                                         self._planner.versions_of(action), now_s())
            return
        if attempt.outcome is Outcome.UNDONE:
            return      # a gate holds it back from now on
        plan = await self._planner.current()
        left = {one.action.id: one.action for one in plan.steps} if plan else {action.id: action}
        if action.id not in left or is_next(action, left[action.id]) or (
                attempt.outcome is Outcome.DONE and is_slice(action, took_s)):
            self._attempts.back_off.forget(action.id)
            return
        self._attempts.back_off.note(
            action, attempt.sentence if attempt.outcome is not Outcome.DONE else (
                f"{attempt.sentence}; a look afterwards still shows the difference"), now_s())


def is_slice(done: Action, took_s: float) -> bool:
    """Return whether an action used up its time, so that the rest of it is still to do."""
    return isinstance(done, VerifyReplica) and took_s >= done.budget_s


def is_next(done: Action, left: Action) -> bool:
    """Return whether the action that is left makes another restore point than the one just made."""
    return (isinstance(done, ReplicateDomain) and isinstance(left, ReplicateDomain)
            and left.sequence > done.sequence)
