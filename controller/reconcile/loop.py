"""
The loop: observe, decide, act, write it down; for ever, and whatever happens.

    events, polls ─► view ──┐
    commits ─► specs ───────┤ wake             new plan
    pauses, approvals ──────┼─────► planner ─────┬────► digest: journal, conditions, events
    time ───────────────────┘          ▲         └────► queue ─► workers ─► applier ─► provider
                                       │                                        │
                                       └─ acted: look at the nodes, then decide ┘

What wakes it: news from a node, a commit, whatever another process writes into the store (looked
for twice a second), an action that ended, and instants at which time alone changes a decision.
Nothing of it carries content into a decision: each one is computed from all that is known now.
Where nothing wakes it a decision is taken once a minute, and nothing is written.

Ten kinds of tasks, each restarted when it fails, so that a bug in one stops no other: the planning,
the handing out of work, one poller per node and one per BMC, the watching of events and of
failovers, the store's poll, the lease, the heartbeat, the metrics. Each target that is worked on is
a task too, for as long as that takes. This is the only file that catches every exception. They run
in one thread, and nothing here is shared with another: between two awaits nothing changes.

What it never does: act on a plan that is not current (workers ask for it before each step); begin
anything while the journal cannot be written or another controller conducts (lease.py), though
looking goes on; retry a change by itself; let one object's fault, or a listener's, reach another;
decide before every node was asked once, or had 10s for it.

Stopping: no new step is begun, running ones have 20s, or until `stop` is asked a second time. A
crash, or an action cut off, leaves open intents, the last facts of each node and the conditions in
the store. `_take_over` reads them: those intents count as in flight, and hold up whatever they
touch, until their nodes were looked at. All else (queue, back-offs, refusals) is made again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Any, Final

from controller.errors import JournalUnavailable
from controller.model.condition import Condition
from controller.model.desired import Desired
from controller.model.facts import Observed
from controller.plan.steps.plan import Plan
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier
from controller.reconcile.act.recovery import Recovery
from controller.reconcile.act.worker import Mandate, Workers
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import PacedPlanner, is_converged, waits_for_facts
from controller.reconcile.garbage import freeze_gc
from controller.reconcile.lease import Candidate, alone
from controller.reconcile.observe.failover_watch import watch_failovers
from controller.reconcile.observe.last_seen import load_seen, save_fact, save_removed
from controller.reconcile.observe.observers import Observers
from controller.reconcile.observe.view import View
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.report.journal_writer import JournalWriter
from controller.reconcile.report.metrics import measure
from controller.reconcile.report.news import News
from controller.reconcile.report.status import status_of, write_down
from controller.reconcile.tasks import cancel, is_set_within, now_s
from controller.store.store import Store
from controller.telemetry import OFF, Telemetry

HEARTBEAT_S: Final = 10.0
POLL_STORE_S: Final = 0.5
"""How often the store is asked whether another process wrote to it."""
JOURNAL_RETRY_S: Final = 3.0
DRAIN_S: Final = 20.0
FAULT_EVERY_S: Final = 60.0

Pollers = dict[str, asyncio.Task[None]]
logger = logging.getLogger("hotsite")


class LoopMandate(Mandate):
    """The loop's mandate: all that the gates allow, while the journal can be written and no other
    controller conducts."""

    def __init__(self, journal: JournalWriter, stop: asyncio.Event, candidate: Candidate) -> None:
        self._journal = journal
        self._stop = stop
        self._candidate = candidate

    def may_act(self) -> bool:
        """Return whether anything may be begun."""
        return (self._journal.fault is None and not self._stop.is_set()
                and self._candidate.may_act())


class Loop:
    """Keeps an estate as its specs say. Uses asyncio's time and the clock it is given only."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 seed: int = 0, telemetry: Telemetry = OFF,
                 progress: Mapping[str, str] | None = None,
                 candidate: Candidate | None = None) -> None:
        self._provider = provider
        self._store, self._clock = store, clock
        self._telemetry = telemetry
        self._listeners: list[Callable[[Event], None]] = []
        self._stop, self._stop_now = asyncio.Event(), asyncio.Event()
        self._journal = JournalWriter(store, clock, self._tell)
        self._context = ContextBuilder(store, clock)
        self._candidate = candidate or alone()
        self._candidate.on_change = self._lease_changed
        self._context.lease = self._candidate.view
        self._context.machine_uuid, self.place = self._candidate.machine_uuid, self._context.place
        self._view = View(clock, now_s, self._context.pools.screen)
        self._observers = Observers(provider, self._view, clock, Random(seed), self._heard,
                                    telemetry, self._heard_power)
        self._attempts = Attempts(seed)
        self._planner = PacedPlanner(self._view, self._observers, self._context, self._attempts,
                                     clock, telemetry)
        self._applier = Applier(provider, store, self._view, self._planner, self._attempts, clock,
                                self._tell, telemetry)
        self._applier.term, self._applier.lease = self._candidate.term, self._candidate.view
        self._workers = Workers(self._applier, self._view, self._observers, self._planner,
                                self._attempts, LoopMandate(
                                    self._journal, self._stop, self._candidate), seed)
        self._recovery = Recovery(self._applier, self._view)
        self._news = News(clock, self._planner.margin_s)
        self._pollers, self._power_pollers = Pollers(), Pollers()
        self._faults: dict[str, float] = {}
        self._running, self.started_at, self._lease_said = False, 0.0, ""
        self.decided: Callable[[], None] = lambda: None
        self.conditions: tuple[Condition, ...] = ()
        self.own_conditions: Callable[[], tuple[Condition, ...]] = tuple
        self.source: dict[str, Any] = {}
        self.progress: Mapping[str, str] = progress if progress is not None else {}

    @property
    def plan(self) -> Plan | None:
        """Return the last plan; None before the first."""
        return self._planner.plan

    @property
    def stopped(self) -> bool:
        """Return whether it does not run, or no more."""
        return not self._running

    @property
    def observed(self) -> Observed:
        """Return what is known of every node."""
        return self._view.observed

    @property
    def journal_fault(self) -> str | None:
        """Return why the journal cannot be written; None while it can."""
        return self._journal.fault

    @property
    def desired(self) -> Desired | None:
        """Return the specs in force."""
        return self._planner.desired

    @property
    def lease(self) -> Mapping[str, Any] | None:
        """Return which controller conducts; None where no lease is declared."""
        return self._candidate.as_json()

    def stand_at(self, place: str | None) -> None:
        """Set where this controller stands; its view of a failover is that place's."""
        self._context.place = self.place = place

    def add_listener(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def stop(self) -> None:
        """End the loop: let running actions finish for a while; asked twice, leave at once."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def set_desired(self, desired: Desired) -> None:
        """Put specs in force; every wait ends, and running actions go on."""
        await self._provider.declare(desired)
        self._candidate.declare(desired)
        freeze_gc(desired)
        self._journal.attempt(partial(self._context.follow, desired))
        self._planner.declare(desired)
        self._journal.attempt(partial(save_removed, self._store, self._view))
        self._observers.keep_pace(desired.estate.spec, desired.witnesses)
        self._free_all()
        if self._running:
            self._start_pollers()

    def say_source(self, sentence: str, *, good: bool, **more: Any) -> None:
        """Report whether the specs could be loaded; `status` shows it until the next report."""
        self.source = {"good": good, "sentence": sentence, "at": self._clock(), **more}
        self.note(EventKind.SOURCE, "Source/specs", sentence, good)
        self._write_status()

    def note(self, kind: EventKind, target: str, sentence: str, good: bool) -> None:
        """Tell something of the controller itself, and write it into the journal."""
        self._tell(Event(kind, target, "", sentence, self._clock(), "" if good else "!"))
        self._journal.attempt(partial(self._store.note, kind, target, sentence, self._clock()))

    async def run(self) -> None:
        """Run until `stop`."""
        self.started_at, self._running = self._clock(), True
        self._journal.attempt(self._take_over)
        chores = [asyncio.create_task(self.forever(name, body)) for name, body in (
            ("watching events", self._observers.listen), ("planning", self._keep_planning),
            ("handing out work", self._hand_out), ("writing status", self._heartbeat),
            ("reading the journal", self._poll_store),
            ("watching failovers", partial(
                watch_failovers, lambda: self.plan,
                lambda: self.desired.witnesses if self.desired else (), self._observers,
                self._view)),
            ("keeping the lease", self._candidate.keep),
            ("measuring", partial(measure, self._telemetry, self._view, self._clock, self)))]
        try:
            self._start_pollers()
            await self._stop.wait()
            await self._drain()
        finally:
            self._running = False
            await cancel(*chores, *self._pollers.values(), *self._power_pollers.values(),
                         *self._workers.running)
            self._pollers, self._power_pollers = Pollers(), Pollers()
            await self._candidate.release()
            self._write_status()

    def _take_over(self) -> None:
        """Read what an earlier process left: facts, context, and its open intents."""
        self._view.remember(load_seen(self._store), self._store.silent())
        save_removed(self._store, self._view)
        self._context.take_over()
        self._recovery.take_over(self._store.open_intents())

    def _start_pollers(self) -> None:
        """Have one poller for each declared node and each BMC, and none for others."""
        for pollers, wanted, poll, what in (
                (self._pollers, self._view.nodes, self._observers.poll, "observing"),
                (self._power_pollers, self._view.powers, self._observers.poll_power,
                 "observing the BMC of")):
            for name in sorted(pollers.keys() - set(wanted)):
                pollers.pop(name).cancel()
            for name in wanted:
                if name not in pollers:
                    pollers[name] = asyncio.create_task(
                        self.forever(f"{what} {name}", partial(poll, name)))

    def _heard(self, node: str, news: bool) -> None:
        """Take note of one look at `node`."""
        if node not in self._view.nodes:
            return
        fact = self._view.fact(node)
        if news:
            for event in self._news.of_node(node, fact):
                self._tell(event)
            self._journal.attempt(partial(save_fact, self._store, node, fact))
        if news or self.plan is None or waits_for_facts(self.plan):
            self._planner.wake()

    def _heard_power(self, host: str, news: bool) -> None:
        """Take note of one look at the BMC of `host`."""
        if news and host in self._view.powers:
            for event in self._news.of_power(host, self._view.power(host)):
                self._tell(event)
            self._planner.wake()

    async def _keep_planning(self) -> None:
        """Take a decision whenever one may have changed, and act on each new plan."""
        while True:
            plan = await self._planner.next_plan(self._news.next_due())
            if plan is not None:
                self._journal.attempt(partial(self._digest, plan))
                self._workers.enqueue(plan)
            self.decided()

    def _digest(self, plan: Plan) -> None:
        """Write and report what is new in a plan."""
        self.conditions = self._news.with_stalls((*plan.conditions, *self.own_conditions()),
                                                 self._attempts.refusals.targets(), plan.revision)
        if self._recovery.close(plan):
            self._planner.wake()
        for event in self._news.of_plan(plan):
            self._tell(event)
            if event.kind is EventKind.REFUSED:
                self._telemetry.refusal(event.rule)
            if event.kind in {EventKind.REFUSED, EventKind.FAILOVER}:
                self._store.note(event.kind, event.target, event.sentence, event.at)
        for condition in self._store.save_conditions(self.conditions, self._clock()):
            if (changed := self._news.of_condition(condition)) is not None:
                self._tell(changed)
        for event in self._news.still_late():
            self._tell(event)
        if self._context.record(plan, self.observed, converged=is_converged(plan)):
            self._planner.wake()
        self._write_status()

    async def _hand_out(self) -> None:
        """Give every target that is ready to a worker."""
        while True:
            self._workers.begin(self._advance)
            await is_set_within(self._workers.offered, self._workers.pause_s())

    async def _advance(self, target: str) -> None:
        """Do what `target` needs; its faults stop nothing else."""
        try:
            await self._workers.advance(target)
        except JournalUnavailable as error:
            self._workers.park(target, str(error))
            self._journal.failed(error)
        except Exception as error:
            self._fault(target, error)
            self._workers.retry(target, f"{type(error).__name__}: {error}")

    async def _drain(self) -> None:
        """Let running actions end, for a while; those that do not keep their open intents."""
        leave = asyncio.create_task(self._stop_now.wait())
        limit_s = now_s() + DRAIN_S
        while self._workers.running and not leave.done() and now_s() < limit_s:
            await asyncio.wait({leave, *self._workers.running}, timeout=limit_s - now_s(),
                               return_when=asyncio.FIRST_COMPLETED)
        await cancel(leave)

    async def _poll_store(self) -> None:
        """Notice what other processes write, and when a journal that failed works again."""
        while True:
            if self._journal.fault is None:
                await asyncio.sleep(POLL_STORE_S)
                for event in self._news.of_time(self._view.clock_step(), self._context.expired()):
                    self._tell(event)
                    self.reread()   # windows and pauses follow the clock; an ended one may be back
                if self._journal.changed():
                    self.reread()
            else:
                await asyncio.sleep(JOURNAL_RETRY_S)
                if self._journal.try_again(self._catch_up):
                    self._free_all()

    def reread(self) -> None:
        """Read what people have written into the journal: pauses, approvals, requests."""
        self._journal.attempt(self._context.read)
        self._free_all()

    def _catch_up(self) -> None:
        """Write and read what could not be while the journal failed."""
        self._applier.write_late()
        self._take_over()

    async def _heartbeat(self) -> None:
        """Write the status now and then, as a sign of life."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._write_status()

    def _write_status(self) -> None:
        """Write the status, but not over an earlier loop's before that was read."""
        if self._journal.fault is None and self.desired is not None and self.started_at:
            self._journal.attempt(lambda: write_down(self._store, status_of(
                self, self._view, self._attempts.in_flight, self._workers.waits(),
                self._clock()), self._view))

    def _lease_changed(self) -> None:
        """Report who conducts, and decide anew."""
        if (sentence := self._candidate.sentence()) != self._lease_said:
            self._lease_said = sentence
            self.note(EventKind.LEASE, "Controller/lease", sentence, self._candidate.is_sure())
        if self._running:
            self._write_status()
            self._free_all()

    def _free_all(self) -> None:
        """End every wait, since a person or a commit has changed something."""
        self._workers.free_all()
        self._planner.wake()

    async def forever(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Run `body` again and again; whatever it raises is reported, and stops nothing."""
        while True:
            try:
                await body()
            except Exception as error:
                self._fault(name, error)
            await asyncio.sleep(1.0)

    def _fault(self, name: str, error: Exception) -> None:
        """Report an error that should never happen; the same one again at most once a minute."""
        text = f"{name} failed: {type(error).__name__}: {error}; everything else goes on"
        if now_s() - self._faults.get(text, -FAULT_EVERY_S) < FAULT_EVERY_S:
            return
        self._faults[text] = now_s()
        logger.error("%s failed: %s", name, error, exc_info=error)
        self._tell(Event(EventKind.FAULT, name, "", text, self._clock(), "!"))

    def _tell(self, event: Event) -> None:
        """Give an event to every listener; one that fails disturbs nobody else."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed")
