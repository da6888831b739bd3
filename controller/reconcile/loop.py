"""The loop: observe, decide, act, write it down; for ever, and whatever happens.

Rule 1: this is the only file that catches everything; one bad object never ends the loop.
Rule 2: a plan is acted on only while it is the plan for what is known right now.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import Any, Final

from controller.errors import ActionError, JournalUnavailable
from controller.model.desired import Desired
from controller.model.facts import Observed
from controller.plan.steps.plan import Plan
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier
from controller.reconcile.act.recovery import Recovery
from controller.reconcile.act.worker import Work
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import Decider, is_converged, waits_for_facts
from controller.reconcile.garbage import rest
from controller.reconcile.observe.last_seen import load_seen, part, save_fact
from controller.reconcile.observe.observers import Observers
from controller.reconcile.observe.view import View
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.report.journal_writer import JournalWriter
from controller.reconcile.report.metrics import measure
from controller.reconcile.report.news import News
from controller.reconcile.report.status import status_of
from controller.reconcile.tasks import cancel, is_set_within, soonest_s
from controller.store.store import Store
from controller.telemetry import OFF, Telemetry

PACE_S: Final = 0.02
"""The least time between two decisions; a decision that takes longer sets the pace itself."""
FIRST_ROUND_S: Final = 10.0
"""Nothing is decided before every node was asked once, or this long has passed."""
RESYNC_S: Final = 60.0
"""A decision is taken this often although nothing seems to have changed."""
HEARTBEAT_S: Final = 10.0
GLANCE_S: Final = 0.5
"""How often the store is asked whether another process wrote to it."""
JOURNAL_RETRY_S: Final = 3.0
DRAIN_S: Final = 20.0
FAULT_EVERY_S: Final = 60.0
HANDS: Final = 64

logger = logging.getLogger("hotsite")


class Loop:
    """Keeps an estate as its specs say. Uses asyncio's time and the clock it is given only."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 seed: int = 0, telemetry: Telemetry = OFF) -> None:
        self._provider = provider
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._listeners: list[Callable[[Event], None]] = []
        self._keeper = JournalWriter(store, clock, self._tell)
        self._view = View(clock, self._now_s)
        self._circumstances = ContextBuilder(store, clock)
        self._observers = Observers(provider, self._view, clock, Random(seed), self._heard,
                                    telemetry)
        self._applier = Applier(provider, store, clock, self._look_after,
                                self._view.mark_stale, self._tell, telemetry)
        self._decider = Decider(self._view, self._circumstances, clock,
                                lambda: self._applier.in_flight)
        self._applier.done, self._view.screen = (
            self._circumstances.pools.accept, self._circumstances.pools.screen)
        self._news = News(clock, self._decider.margin_s)
        self._recovery = Recovery(self._applier, self._view)
        self._work = Work(self._applier, self._view, self._observers.look, self._decider,
                          self._current_plan, self._may_act, seed)
        self._decider.resting = self._work.resting
        self._eyes: dict[str, asyncio.Task[None]] = {}
        self._hands: set[asyncio.Task[None]] = set()
        self._stirred = asyncio.Event()
        self._faults: dict[str, float] = {}
        self._decided: list[asyncio.Future[None]] = []
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._declared_s = self._decided_s = self._took_s = 0.0
        self._running = False
        self.plan: Plan | None = None
        self.started_at = 0.0
        self.source: dict[str, Any] = {}
        self.progress: Mapping[str, str] = {}

    @property
    def observed(self) -> Observed:
        """Return what is known of every node."""
        return self._view.observed

    @property
    def journal_fault(self) -> str | None:
        """Return why the journal cannot be written; None while it can."""
        return self._keeper.fault

    @property
    def desired(self) -> Desired | None:
        """Return the specs in force."""
        return self._decider.desired

    def add_listener(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def stop(self) -> None:
        """End the loop: let what runs finish for a while; asked twice, leave at once."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def set_desired(self, desired: Desired) -> None:
        """Put specs in force; every wait ends, and nothing that runs is disturbed."""
        await self._provider.declare(desired)
        rest(desired)
        self._keeper.attempt(partial(self._circumstances.follow, desired))
        self._decider.declare(desired)
        self._keeper.attempt(partial(part, self._store, self._view))
        self._observers.keep_pace(desired.estate.spec)
        self._declared_s = self._now_s()
        self._free_all()
        if self._running:
            self._open_eyes()

    def say_source(self, sentence: str, *, good: bool, **more: Any) -> None:
        """Say where the specs stand; shown in `status` until the next word."""
        self.source = {"good": good, "sentence": sentence, "at": self._clock(), **more}
        self._tell(Event(EventKind.SOURCE, "Source/specs", "", sentence, self._clock(),
                         "" if good else "!"))
        self._keeper.attempt(partial(self._store.note, EventKind.SOURCE, "Source/specs", sentence,
                                   self._clock()))
        self._write_status()

    async def run(self) -> None:
        """Run until `stop`."""
        self.started_at, self._running = self._clock(), True
        self._keeper.attempt(self._take_over)
        chores = [asyncio.create_task(self.forever(name, body)) for name, body in (
            ("watching events", self._observers.listen), ("planning", self._decide_again),
            ("handing out work", self._hand_out), ("writing status", self._beat),
            ("reading the journal", self._glance),
            ("measuring", partial(measure, self._telemetry, self._view, self._clock,
                                  lambda: self.plan.conditions if self.plan else ())))]
        try:
            self._open_eyes()
            await self._stop.wait()
            await self._drain()
        finally:
            self._running = False
            await cancel(*chores, *self._eyes.values(), *self._hands)
            self._eyes.clear()
            self._write_status()

    def _take_over(self) -> None:
        """Take over what an earlier process left: what it saw, decided and did not finish."""
        self._view.remember(load_seen(self._store), self._store.silent())
        part(self._store, self._view)
        self._circumstances.take_over()
        self._recovery.take_over(self._store.open_intents())

    def _open_eyes(self) -> None:
        """Have one pair of eyes for each declared node, and none for others."""
        for node in sorted(self._eyes.keys() - set(self._view.nodes)):
            self._eyes.pop(node).cancel()
        for node in self._view.nodes:
            if node not in self._eyes:
                self._eyes[node] = asyncio.create_task(
                    self.forever(f"observing {node}", partial(self._observers.attend, node)))

    def _heard(self, node: str, news: bool) -> None:
        """Take note of one look at `node`."""
        if node not in self._view.nodes:
            return
        fact = self._view.fact(node)
        if news:
            for event in self._news.of_node(node, fact):
                self._tell(event)
            self._keeper.attempt(partial(save_fact, self._store, node, fact))
        if news or self.plan is None or waits_for_facts(self.plan):
            self._stir()

    async def _look_after(self, nodes: Iterable[str]) -> None:
        """Look at `nodes` after something was done there."""
        await self._observers.look(*nodes)
        self._circumstances.repaired()
        self._decider.stir()

    async def _decide_again(self) -> None:
        """Wait until a decision may have changed, and decide."""
        while True:
            if not await is_set_within(self._stirred, self._next_edge_s()):
                self._decider.stir()  # time alone may change a decision
            pause_s = self._decided_s + max(PACE_S, self._took_s) - self._now_s()
            if pause_s > 0 and self.plan is not None:
                await asyncio.sleep(pause_s)
            self._stirred.clear()
            self._decide()

    def _next_edge_s(self) -> float | None:
        """Return how long it is until time alone may change a decision."""
        if self.desired is None:
            return None
        return soonest_s(RESYNC_S if self._may_decide() else FIRST_ROUND_S / 10,
                         (self._circumstances.next_edge(self.plan), self._clock()),
                         (self._news.next_due(), self._clock()),
                         (self._work.refusals.next_due(self._now_s()), self._now_s()))

    def _may_decide(self) -> bool:
        """Return whether every node was asked, or has had its time to answer."""
        return (self._now_s() - self._declared_s >= FIRST_ROUND_S
                or all(self._view.looked_at(node) for node in self._view.nodes))

    def _decide(self) -> None:
        """Decide, and let everybody know who waits for it."""
        if self.desired is None or not self._may_decide():
            return
        begun_s = self._now_s()
        try:
            with self._telemetry.span("cycle"), self._telemetry.span("decide"):
                plan = self._decider.decide()
        except Exception as error:
            self._fault("planning", error)
            self.plan = None
        else:
            if plan is not self.plan:
                self.plan = plan
                self._keeper.attempt(partial(self._digest, plan))
                self._work.enqueue(plan)
        self._decided_s = self._now_s()
        self._took_s = self._decided_s - begun_s
        self._telemetry.planned(self._took_s)
        self._telemetry.cycle_ended()
        for future in self._decided:
            if not future.done():
                future.set_result(None)
        self._decided.clear()

    async def _current_plan(self) -> Plan | None:
        """Return the plan for what is known now; None when there cannot be one."""
        while self.plan is None or not self._decider.is_current:
            future = asyncio.get_running_loop().create_future()
            self._decided.append(future)
            self._stirred.set()
            await future
            if self.plan is None:
                return None
        return self.plan

    def _digest(self, plan: Plan) -> None:
        """Write down and tell what is new in a plan."""
        for intent, sentence in self._recovery.looked_into(plan):
            self._applier.abandon(intent, sentence)
            self._stir()
        for event in self._news.of_plan(plan):
            self._tell(event)
            if event.kind is EventKind.REFUSED:
                self._telemetry.refusal(event.rule)
                self._store.note(event.kind, event.target, event.sentence, event.at)
        conditions = self._news.with_stalls(plan.conditions, self._work.refusals.targets(),
                                            plan.revision)
        for condition in self._store.save_conditions(conditions, self._clock()):
            if (told := self._news.of_condition(condition)) is not None:
                self._tell(told)
        for event in self._news.still_late():
            self._tell(event)
        if self._circumstances.settle(plan, self.observed, converged=is_converged(plan)):
            self._stir()
        self._write_status()

    def _may_act(self) -> bool:
        """Return whether anything may be begun."""
        return self._keeper.fault is None and not self._stop.is_set()

    async def _hand_out(self) -> None:
        """Give every target that is ready to a worker of its own."""
        while True:
            self._work.offered.clear()
            while self._may_act() and len(self._hands) < HANDS:
                target = self._work.take()
                if target is None:
                    break
                task = asyncio.create_task(self._advance(target))
                self._hands.add(task)
                task.add_done_callback(self._put_down)
            await is_set_within(self._work.offered, self._work.pause_s())

    def _put_down(self, task: asyncio.Task[None]) -> None:
        """Forget a worker that has ended."""
        self._hands.discard(task)
        self._work.offered.set()

    async def _advance(self, target: str) -> None:
        """Do what `target` needs; its faults stay its own."""
        try:
            await self._work.advance(target)
        except JournalUnavailable as error:
            self._work.park(target, str(error))
            self._keeper.failed(error)
        except ActionError as error:
            self._work.retry(target, str(error))
        except Exception as error:
            self._fault(target, error)
            self._work.retry(target, f"{type(error).__name__}: {error}")
        if target in self._work.resting():
            self._stir()  # others may have its place meanwhile

    async def _drain(self) -> None:
        """Let running actions end, for a while; those that do not keep their open intents."""
        leave = asyncio.create_task(self._stop_now.wait())
        limit_s = self._now_s() + DRAIN_S
        while self._hands and not leave.done() and self._now_s() < limit_s:
            await asyncio.wait({leave, *self._hands}, timeout=limit_s - self._now_s(),
                               return_when=asyncio.FIRST_COMPLETED)
        await cancel(leave)

    async def _glance(self) -> None:
        """Notice what other processes write, and when a journal that failed works again."""
        while True:
            if self._keeper.fault is None:
                await asyncio.sleep(GLANCE_S)
                for event in self._news.of_clock(self._view.clock_step()):
                    self._tell(event)
                    self.heed()     # windows and pauses go by it, and one that had ended has not
                if self._keeper.changed():
                    self.heed()
            else:
                await asyncio.sleep(JOURNAL_RETRY_S)
                if self._keeper.try_again(self._catch_up):
                    self._free_all()

    def heed(self) -> None:
        """Take in what people have written into the journal: pauses, approvals, wishes."""
        self._keeper.attempt(self._circumstances.read)
        self._free_all()

    def _catch_up(self) -> None:
        """Write and read what could not be while the journal failed."""
        self._applier.write_late()
        self._take_over()

    async def _beat(self) -> None:
        """Say that the loop is alive."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._write_status()

    def _write_status(self) -> None:
        """Say how the loop is, once it has read until when an earlier one was."""
        if self._keeper.fault is None and self.desired is not None and self.started_at:
            self._keeper.attempt(lambda: self._store.save_status(status_of(
                self, self._view, self._applier.in_flight, self._work.waits(), self._clock())))

    def _free_all(self) -> None:
        """End every wait: a person or a commit has changed what matters."""
        self._work.free_all()
        self._stir()

    def _stir(self) -> None:
        """Say that a decision may have changed."""
        self._decider.stir()
        self._stirred.set()

    async def forever(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Run `body` again and again; whatever it raises is told, and ends nothing."""
        while True:
            try:
                await body()
            except Exception as error:
                self._fault(name, error)
            await asyncio.sleep(1.0)

    def _fault(self, name: str, error: Exception) -> None:
        """Tell of something that should never happen; the same again is told once a minute."""
        text = f"{name} failed: {type(error).__name__}: {error}; everything else goes on"
        if self._now_s() - self._faults.get(text, -FAULT_EVERY_S) < FAULT_EVERY_S:
            return
        self._faults[text] = self._now_s()
        logger.error("%s failed: %s", name, error, exc_info=error)
        self._tell(Event(EventKind.FAULT, name, "", text, self._clock(), "!"))

    def _tell(self, event: Event) -> None:
        """Give an event to those who listen; one that cannot take it disturbs nobody."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed")

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

