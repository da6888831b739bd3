"""
The planner owns the plan: it makes a new one when something it rests on has changed, and hands
out the last one otherwise.

A plan rests on five things. Each has one way in, and each makes the last plan out of date:

    specs        `declare`
    facts        the view's `version` has grown
    context      `wake`: a pause, an approval or a request was read, an action began or ended, a
                 back-off began
    time         `next_edge_s`: a window or pause ends, a copy is due, and once a minute anyway
    a pause's end    every node is looked at anew, since a person worked there meanwhile

Making a plan is one call of a pure function, so nothing is ever patched into an old plan: a plan
is current, or there is none. Workers ask for the `current` plan before and after every step. What
the loss of each host would come to is the exception: in a large estate it is kept for a while.

There are two ways of asking for it:

    Planner        decides on the spot; for one run (`plan`, `apply`). Nobody polls there, so nodes
                   whose facts have grown old are looked at first.
    PacedPlanner   for the loop (`run`): one task decides, everybody else waits for it. Decisions
                   are at least 20ms apart, and as far apart as the last one took, so that a large
                   estate under a storm of events spends half its time deciding at most. The first
                   decision waits until every node was asked once, for 10s at most.

It writes nothing and begins nothing. Where the computation itself fails there is no plan: those
who wait are given None, and the loop tells of the fault and tries again. A crash leaves nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from controller.model.desired import Desired
from controller.model.facts import Known
from controller.plan.actions.action import Action
from controller.plan.actions.machine import DefineDomain, RemoveDomain, UndefineDomain
from controller.plan.actions.network import NarrowTrunk
from controller.plan.actions.storage import CreateDisk, PurgeFiles, ReturnDisk
from controller.plan.compute import compute
from controller.plan.gates.gates import is_storm
from controller.plan.replication.timing import margin_s
from controller.plan.steps.plan import Plan, Step
from controller.plan.steps.prediction import Prediction
from controller.plan.survey.renamed import nodes_of, renames
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder, is_lasting
from controller.reconcile.garbage import gc_paused
from controller.reconcile.observe.observers import Observers
from controller.reconcile.observe.view import View
from controller.reconcile.tasks import is_set_within, now_s, soonest_s
from controller.telemetry import OFF, Telemetry

PACE_S: Final = 0.02
"""The least time between two decisions; a decision that takes longer sets the pace itself."""
FIRST_ROUND_S: Final = 10.0
"""The first decision waits until every node was asked once, or this long."""
RESYNC_S: Final = 60.0
"""A decision is taken this often although nothing seems to have changed."""
SMALL: Final = 1000
HOSTS_EVERY_S: Final = 30.0
"""With more VMs than `SMALL`, the loss of each host is predicted this often."""
EVERYWHERE = (CreateDisk, ReturnDisk, DefineDomain, UndefineDomain, RemoveDomain, PurgeFiles,
              NarrowTrunk)
"""Right only if no other host has the VM or uses the VLAN: all hosts are looked at before."""


class Planner:
    """Computes the plan when it is out of date, and hands out the last one otherwise."""

    def __init__(self, view: View, observers: Observers, context: ContextBuilder,
                 attempts: Attempts, clock: Callable[[], float],
                 assumed_down: frozenset[str] = frozenset()) -> None:
        self._view = view
        self._observers = observers
        self._context = context
        self._attempts = attempts
        self._clock = clock
        self._assumed_down = assumed_down
        self._desired: Desired | None = None
        self._plan: Plan | None = None
        self._version = -1
        self._hosts_s: float | None = None
        self._of_hosts: tuple[Prediction, ...] = ()

    @property
    def is_current(self) -> bool:
        """Return whether the last plan is the plan for what is known now."""
        return self._plan is not None and self._version == self._view.version

    @property
    def revision(self) -> str:
        """Return the revision of the specs in force."""
        return self._desired.revision if self._desired else ""

    @property
    def desired(self) -> Desired | None:
        """Return the specs in force."""
        return self._desired

    def declare(self, desired: Desired) -> None:
        """Put specs in force."""
        stormy = () if self._desired is None else self._stormy(self._desired)
        self._desired = desired
        self._view.rename(nodes_of(renames(desired)))
        self._view.declare(desired.nodes, stormy)
        self._view.declare_powers(name for name, host in desired.hosts.items()
                                  if host.spec.bmc is not None)
        self._context.declare(desired)
        self._plan, self._hosts_s, self._of_hosts = None, None, ()

    def _stormy(self, desired: Desired) -> tuple[str, ...]:
        """Return the silent hosts of sites where too many hosts are silent."""
        found: list[str] = []
        for site in desired.sites:
            hosts = [name for name, host in desired.hosts.items()
                     if host.spec.site == site and name in self._view.nodes]
            silent = [name for name in hosts if not isinstance(self._view.fact(name), Known)]
            if is_storm(len(silent), len(hosts), desired.estate.spec.limits.storm_share):
                found += silent
        return tuple(found)

    def wake(self) -> None:
        """Say that something besides the facts has changed."""
        self._plan = None

    async def acted(self, action: Action, *, done: bool) -> None:
        """Look at the nodes of an action that has ended, or at the BMCs; a new plan follows."""
        if done:
            self._context.pools.accept(action)
        for node in action.nodes:
            self._view.mark_stale(node)
        await self._observers.look(*action.nodes)
        await self._observers.look_at_powers(*action.powers)
        self._context.repaired()
        self.wake()

    async def current(self) -> Plan | None:
        """Return the plan for what is known now, after a look at nodes whose facts are old.

        Shapes: None when it could not be computed.
        """
        assert self._desired is not None, "nothing is declared yet"
        old = self._view.stale(self._desired.estate.spec.limits.fact_age_s / 2)
        if old:
            await self._observers.look(*old)
            self.wake()
        return self.decide()

    def decide(self) -> Plan:
        """Return the plan for what is known now.

        Shapes: the very same value as before when nothing has changed.
        """
        assert self._desired is not None, "nothing is declared yet"
        if self._context.pause_has_ended():     # a person worked there: nothing seen before counts
            for node in self._view.nodes:
                self._view.mark_stale(node)
            self._plan = None
        if self._plan is None or not self.is_current:
            version = self._view.version
            # in large estates not every decision predicts the loss of each host: the last ones stay
            by_host = (len(self._desired.virtual_machines) <= SMALL or self._hosts_s is None
                       or now_s() - self._hosts_s >= HOSTS_EVERY_S)
            context = self._context.build(self._attempts.in_flight, self._assumed_down,
                                          self._attempts.resting(now_s()), by_host=by_host)
            with gc_paused():
                plan = compute(self._desired, self._view.observed, context, self._clock())
            if by_host:
                self._hosts_s, self._of_hosts = now_s(), plan.host_predictions
            self._plan = plan if by_host else replace(plan, host_predictions=self._of_hosts)
            self._version = version
        return self._plan

    def margin_s(self, target: str) -> float:
        """Return how late the copies of a VM may be before that is reported."""
        desired, (_, _, name) = self._desired, target.partition("/")
        vm = None if desired is None else desired.virtual_machines.get(name)
        if desired is None or vm is None or vm.spec.protection is None:
            return 0.0
        return margin_s(desired.protection_policies[vm.spec.protection].spec.rpo_s)

    def print_of(self, target: str) -> str:
        """Return the fingerprint of a declared object's spec."""
        return self._context.print_of(target)

    def nodes_of(self, action: Action) -> tuple[str, ...]:
        """Return every node that has to be looked at just before `action`."""
        if self._desired is not None and isinstance(action, EVERYWHERE):
            return tuple(sorted({*action.nodes, *self._desired.hosts}))
        return tuple(node for node in action.nodes if node in self._view.nodes)

    def elsewhere(self, action: Action) -> tuple[str, ...]:
        """Return all other hosts that answer: somebody may have started the VM there meanwhile."""
        if self._desired is None:
            return ()
        return tuple(host for host in sorted(self._desired.hosts.keys() - set(action.nodes))
                     if self._view.answers(host))

    def versions_of(self, action: Action) -> tuple[int, ...]:
        """Return numbers that grow when the nodes of `action`, or what its BMCs say, change."""
        return (*(self._view.version_of(node) for node in action.nodes),
                *(self._view.power_version_of(host) for host in action.powers))


class PacedPlanner(Planner):
    """The loop's planner: `next_plan` is called by one task, all others wait for its outcome."""

    def __init__(self, view: View, observers: Observers, context: ContextBuilder,
                 attempts: Attempts, clock: Callable[[], float],
                 telemetry: Telemetry = OFF) -> None:
        super().__init__(view, observers, context, attempts, clock)
        self._telemetry = telemetry
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._declared_s = self._decided_s = self._took_s = 0.0
        self.plan: Plan | None = None
        """The last plan, current or not; None before the first, and after one that failed."""

    def declare(self, desired: Desired) -> None:
        """Put specs in force; every node has its time to answer before they are decided on."""
        super().declare(desired)
        self._declared_s = now_s()

    def wake(self) -> None:
        """Say that something has changed, and have a decision taken."""
        super().wake()
        self._wake.set()

    async def next_plan(self, due_at: float | None = None) -> Plan | None:
        """Wait until a decision may have changed, take it, and return the plan if it is a new one.

        Shapes: `due_at` is another instant at which to decide.
        Errors: whatever a computation that fails raises; there is then no plan.
        """
        if not await is_set_within(self._wake, self._next_edge_s(due_at)):
            self._plan = None   # time alone may change a decision
        pause_s = self._decided_s + max(PACE_S, self._took_s) - now_s()
        if pause_s > 0 and self.plan is not None:
            await asyncio.sleep(pause_s)
        self._wake.clear()
        if self._desired is None or not self._may_decide():
            return None
        begun_s, before, self.plan = now_s(), self.plan, None
        try:
            with self._telemetry.span("cycle"), self._telemetry.span("decide"):
                self.plan = self.decide()
        finally:
            self._decided_s = now_s()
            self._took_s = self._decided_s - begun_s
            self._telemetry.planned(self._took_s)
            self._telemetry.cycle_ended()
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()
        return self.plan if self.plan is not before else None

    def _next_edge_s(self, due_at: float | None) -> float | None:
        """Return how long it is until time alone may change a decision."""
        if self._desired is None:
            return None
        return soonest_s(RESYNC_S if self._may_decide() else FIRST_ROUND_S / 10,
                         (self._context.next_edge(self.plan), self._clock()),
                         (due_at, self._clock()),
                         (self._attempts.refusals.next_due(now_s()), now_s()))

    def _may_decide(self) -> bool:
        """Return whether every node was asked, or has had its time to answer."""
        return (now_s() - self._declared_s >= FIRST_ROUND_S
                or all(self._view.looked_at(node) for node in self._view.nodes))

    async def current(self) -> Plan | None:
        """Wait for the plan for what is known now; None when it could not be computed."""
        while self.plan is None or not self.is_current:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            self._wake.set()
            await future
            if self.plan is None:
                return None
        return self.plan


def ready_steps(plan: Plan) -> tuple[Step, ...]:
    """Return the steps that may begin now: allowed, and nothing before them is left to do."""
    waiting = {step.action.id for step in plan.steps}
    return tuple(step for step in plan.runnable if waiting.isdisjoint(step.after))


def waits_for_facts(plan: Plan) -> bool:
    """Return whether a plan holds something back that any look may clear."""
    return any(step.ruling.rule in {"fact-age", "storm"} for step in plan.steps)


def is_converged(plan: Plan) -> bool:
    """Return whether nothing is left to do and nothing is unknown."""
    return (all(is_lasting(step) for step in plan.steps)
            and not any(remark.unknown for remark in plan.remarks))


def known_nodes(view: View, nodes: tuple[str, ...]) -> bool:
    """Return whether all of `nodes` answered when they were last asked."""
    return all(node in view.nodes and view.looked_at(node) and isinstance(view.fact(node), Known)
               for node in nodes)
