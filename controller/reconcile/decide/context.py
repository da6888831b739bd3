"""The context of a decision: everything besides specs and facts that it depends on.

Rule 1: whatever changes with time alone has an instant at which the loop wakes: `next_edge`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim

from controller.model.condition import ConditionType
from controller.model.desired import Desired
from controller.model.estate import WindowSpec
from controller.model.facts import Observed
from controller.model.units import parse_instant_at
from controller.plan.actions.action import Cause
from controller.plan.actions.network import NarrowTrunk
from controller.plan.break_glass.break_glass import BreakGlass
from controller.plan.gates.network import USED
from controller.plan.output.fingerprint import changed, fingerprints
from controller.plan.steps.plan import Plan, Step
from controller.plan.survey.context import (
    FAILED_MOVE_LASTS_S,
    WHOLE_ESTATE,
    Approval,
    Confirmation,
    Context,
    FailedMove,
    FailoverRequest,
    InFlight,
    LeaseView,
    ReplicaRequest,
    Suspension,
    Undone,
    WindowState,
)
from controller.plan.survey.expired import Expired, expired
from controller.plan.survey.grants import every_scope
from controller.plan.survey.renamed import nodes_of, renames
from controller.reconcile.decide.boot_memory import BootMemory
from controller.reconcile.decide.declared import documents_of
from controller.reconcile.decide.history import History
from controller.reconcile.decide.pool_memory import PoolMemory
from controller.store.store import Store


class ContextBuilder:
    """Reads pauses, approvals, repairs and what is applied from the store, and calendars."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._suspensions: tuple[Suspension, ...] = ()
        self._approvals: tuple[Approval, ...] = ()
        self._requests: tuple[ReplicaRequest, ...] = ()
        self._failovers: tuple[FailoverRequest, ...] = ()
        self._promoted: Mapping[str, float] = {}
        self._failed_moves: Mapping[str, FailedMove] = {}
        self._told_expired = Expired()
        self._confirmations: tuple[Confirmation, ...] = ()
        self._undone: tuple[tuple[Undone, str], ...] = ()
        self._repairs: Mapping[str, tuple[float, ...]] = {}
        self._supposed: tuple[FailoverRequest, ...] = ()
        self._glass: BreakGlass | None = None
        self.supposed_glass: BreakGlass | None = None
        self._granted: dict[tuple[str, str], Approval] = {}
        self._applied: Mapping[str, str] = {}
        self._applied_revision: str | None = None
        self._desired: Desired | None = None
        self._prints: Mapping[str, str] = {}
        self._changed: frozenset[str] = frozenset()
        self._edges: tuple[float, ...] = ()
        self._declared_pauses: Mapping[str, float] = {}
        self._paused: frozenset[str] = frozenset()
        self._read_repairs = True
        self._read_approvals = False
        self._history = History(store)
        self.place: str | None = None
        """Where this controller stands."""
        self.pools = PoolMemory(store)
        self.boots = BootMemory(store)
        self.lease: Callable[[], LeaseView | None] = lambda: None
        """What is known of the lease now."""
        self.machine_uuid = ""

    def declare(self, desired: Desired) -> None:
        """Take over new specs."""
        self._desired = desired
        self._prints = fingerprints(desired)
        self._changed = changed(self._applied, self._prints)
        self._declared_pauses = {
            name: parse_instant_at(scope.suspend.until) for name, scope in every_scope(desired)
            if scope.suspend is not None}
        self._edges = tuple(sorted(self._declared_pauses.values()))

    def follow(self, desired: Desired) -> None:
        """Give the store's rows about objects that `desired` renames their new names, and save the
        documents for readers.

        Errors: JournalUnavailable; the specs can be declared all the same.
        """
        now = renames(desired)
        if self._store.rename(now, nodes_of(now)):
            self.read()
        self._store.save_declared(documents_of(desired))

    def read(self) -> None:
        """Read again whatever other processes may have written.

        Errors: JournalUnavailable; the last values stay.
        """
        now_s = self._clock()
        if any(self._told_expired):
            self._store.withdraw_failovers(self._told_expired.failovers)
            self._store.withdraw_expired(self._told_expired.requests)
            self._told_expired = Expired()
        self._suspensions = self._store.suspensions(now_s)
        self._approvals = self._store.approvals(now_s)
        self._requests = self._store.requests()
        self._read_failovers()
        self._glass = self.supposed_glass or self._store.break_glass()
        self._confirmations = self._store.confirmations(now_s)
        self._undone = self._store.undone()
        applied = self._store.applied()
        self._applied = applied.fingerprints if applied else {}
        self._applied_revision = (applied.revision or None) if applied else None
        self._changed = changed(self._applied, self._prints)
        self._history.read(self._applied)
        self.pools.read()
        self.boots.read()
        self._read_repairs = True

    def expired(self) -> Expired:
        """Return the orders that have expired since they were read; `read` then deletes them."""
        gone = self._told_expired = expired(self._failovers, self._requests, self._clock())
        return gone

    def _read_failovers(self) -> None:
        now_s = self._clock()
        self._failovers = self._store.failovers()
        self._failed_moves = self._store.failed_moves(now_s - FAILED_MOVE_LASTS_S)

    def take_over(self) -> None:
        """Read what an earlier loop left; the time since its last status counts in no wait.

        Errors: JournalUnavailable; the last values stay.
        """
        self.read()
        looked_at = (self._store.status() or {}).get("at")
        if isinstance(looked_at, float):
            self._history.note_look(self._clock(), looked_at)

    def repaired(self) -> None:
        """Say that an action has ended: repairs are counted again, and its approval is used up."""
        self._read_repairs = self._read_approvals = True

    def print_of(self, target: str) -> str:
        """Return the fingerprint of an object's spec; empty when it is not declared."""
        return self._prints.get(target, "")

    def grant(self, approval: Approval) -> None:
        """Add an approval that holds for this process alone."""
        self._granted[(approval.action_id, approval.revision)] = approval

    def suppose(self, order: FailoverRequest) -> None:
        """Add an order that holds for this process alone."""
        self._supposed = (*self._supposed, order)

    def build(self, in_flight: tuple[InFlight, ...],
              assumed_down: frozenset[str] = frozenset(),
              backing_off: frozenset[str] = frozenset(), *, by_host: bool = False) -> Context:
        """Return the context of a decision taken now."""
        assert self._desired is not None, "nothing is declared yet"
        now_s = self._clock()
        if self._read_approvals:
            self._approvals = self._store.approvals(now_s)
            self._requests = self._store.requests()
            self._undone = self._store.undone()
            self._read_approvals = False
        if self._read_repairs:      # as far back as the quarantine reaches
            limits = self._desired.estate.spec.limits
            self._repairs = self._store.repairs(
                now_s - limits.quarantine_within_s - limits.quarantine_for_s)
            starts = self._store.promotions(now_s - PROMOTED_S)
            self._promoted = {one.machine: one.ended_at for one in starts}
            self.boots.learn(starts)
            self._failed_moves = self._store.failed_moves(now_s - FAILED_MOVE_LASTS_S)
            self._read_repairs = False
        self._history.note_look(now_s)
        windows = self._desired.estate.spec.windows
        return Context(
            suspensions=tuple(
                one if one.target != WHOLE_ESTATE      # set before the estate's name was known
                else replace(one, target=f"Estate/{self._desired.estate.name}")
                for one in self._suspensions if one.until_at > now_s),
            approvals=tuple(one for one in (*self._approvals, *self._granted.values())
                            if one.expires_at > now_s),
            windows=tuple(window_state(window, now_s) for window in windows),
            in_flight=in_flight, repairs=self._repairs,
            applied_revision=self._applied_revision, changed=self._changed,
            requests=tuple(one for one in self._requests if one.expires_at > now_s),
            failovers=tuple(one for one in (*self._failovers, *self._supposed)
                            if one.expires_at > now_s),
            confirmations=tuple(one for one in self._confirmations if one.expires_at > now_s),
            undone=tuple(one for one, spec in self._undone if spec == self.print_of(one.target)),
            adopted=self._history.adopted,
            backing_off=backing_off, assumed_down=assumed_down, last_host=self._history.last_host,
            kept=self._history.kept, waiting=self._history.waiting, lease=self.lease(),
            place=self.place, promoted=self._promoted, machine_uuid=self.machine_uuid,
            failed_moves=self._failed_moves, boots=self.boots.boots, by_host=by_host,
            break_glass=self._glass)

    def pause_has_ended(self) -> bool:
        """Return whether a pause has ended, by time, a person or a commit, since the last call."""
        now_s = self._clock()
        untils = [(one.target, one.until_at) for one in self._suspensions]
        paused = frozenset(target for target, until_at in (*untils, *self._declared_pauses.items())
                           if until_at > now_s)
        ended = not self._paused <= paused
        self._paused = paused
        return ended

    def next_edge(self, plan: Plan | None) -> float | None:
        """Return the next instant at which time alone may change `plan`; None when never."""
        assert self._desired is not None, "nothing is declared yet"
        now_s, limits = self._clock(), self._desired.estate.spec.limits
        edges = [one.until_at for one in self._suspensions]
        edges += [one.expires_at for one in (*self._approvals, *self._granted.values())]
        edges += [self._glass.notice_at, self._glass.until_at] if self._glass else []
        edges += [window_state(window, now_s).changes_at or 0.0
                  for window in self._desired.estate.spec.windows]
        for instants in self._repairs.values():
            edges += [at + limits.quarantine_within_s for at in instants]
            edges += [at + limits.quarantine_for_s for at in instants]
        ahead = [edge for edge in (*edges, *self._edges) if edge > now_s]
        if plan is not None and plan.due_at is not None:
            ahead.append(max(plan.due_at, now_s))  # it may have passed since the decision
        return min(ahead, default=None)

    def record(self, plan: Plan, observed: Observed, *, converged: bool) -> bool:
        """Save which objects are now as this revision says, and what the decision saw.

        Shapes: True where waits have begun or ended, so that the next decision differs.
        Errors: JournalUnavailable.
        """
        assert self._desired is not None, "nothing is declared yet"
        self.pools.write()
        self.boots.record(plan, self._clock())
        moved = self._history.record(plan, self._desired, observed, self._clock())
        # undone changes that are not planned any more are forgotten, if their target was seen
        wanted = {step.action.id for step in plan.steps}
        unseen = {remark.target for remark in plan.remarks if remark.unknown}
        gone = [one.action_id for one, _ in self._undone
                if one.action_id not in wanted and one.target not in unseen]
        if gone:
            self._store.forget_undone(gone)
            self._undone = tuple(row for row in self._undone if row[0].action_id not in gone)
        self._use_up_orders(plan)
        now = applied_fingerprints(plan, self._applied, self._prints)
        revision = plan.revision if converged else (self._applied_revision or "")
        if now != self._applied or revision != (self._applied_revision or ""):
            self._store.save_applied(revision, now, self._clock())
            self._applied, self._applied_revision = now, revision or None
            self._changed = changed(self._applied, self._prints)
        return moved

    def _use_up_orders(self, plan: Plan) -> None:
        """Withdraw the orders that a record holds by now, and those that were refused.

        What of them is left gets an order of its own, by the same person, from the same instant.
        """
        used = {(one.target, one.planned, one.at): one.left for one in plan.used_orders}
        gone = [one for one in self._failovers if (one.target, one.planned, one.at) in used]
        if not gone:
            return
        left = [replace(order, target=f"VirtualMachine/{name}") for order in gone
                for name in used[order.target, order.planned, order.at]]
        self._store.withdraw_failovers(gone, left)
        self._read_failovers()


PROMOTED_S: Final = 86400.0
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AHEAD_DAYS: Final = 8
HOUR_S: Final = 3600.0
Span = tuple[float, float]


def window_state(window: WindowSpec, now_s: float) -> WindowState:
    """Return whether `window` is open at `now_s`, and when that next changes."""
    try:
        zone = ZoneInfo(window.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return WindowState(window.name, window.effect, window.effect == "deny", window.above, None,
                           window.emergency)
    if window.cron is not None:
        return cron_state(window, window.cron, now_s)
    spans = merged(spans_around(window, zone, now_s))
    inside = next((span for span in spans if span[0] <= now_s < span[1]), None)
    after = next((span[0] for span in spans if span[0] > now_s), None)
    changes_at = inside[1] if inside else after
    horizon = now_s + (AHEAD_DAYS - 1) * 86400.0
    if changes_at is not None and changes_at > horizon:
        changes_at = None
    return WindowState(window.name, window.effect, inside is not None, window.above, changes_at,
                       window.emergency)


def cron_state(window: WindowSpec, cron: str, now_s: float) -> WindowState:
    """Return whether a window that opens by cron is open, and when that next changes."""
    spans = merged([span for span in cron_spans(cron, window.timezone, window.duration_s,
                                                int(now_s // HOUR_S)) if span[1] > now_s])
    inside = bool(spans) and spans[0][0] <= now_s
    changes_at = (spans[0][1] if inside else spans[0][0]) if spans else None
    return WindowState(window.name, window.effect, inside, window.above, changes_at,
                       window.emergency)


@lru_cache(maxsize=64)
def cron_spans(cron: str, timezone: str, duration_s: float, hour: int) -> tuple[Span, ...]:
    """Return when a window opens and closes that is open or opens next in an hour, in order.

    Shapes: what the clock skips in spring opens at the first minute after it. Of what it repeats in
    autumn an hour that is named counts once, and each of `*` twice.
    """
    begins_at = hour * HOUR_S
    zone, starts = ZoneInfo(timezone), list[float]()
    for start in CronSim(cron, datetime.fromtimestamp(begins_at - duration_s - HOUR_S, zone)):
        starts.append(start.timestamp())
        if starts[-1] > begins_at + HOUR_S:
            break
    return tuple((at, at + duration_s) for at in starts)


def spans_around(window: WindowSpec, zone: ZoneInfo, now_s: float) -> tuple[Span, ...]:
    """Return when the window opens and closes, from before `now_s` to a week after, in order."""
    today = datetime.fromtimestamp(now_s, zone).date()
    back = math.ceil(window.duration_s / 86400.0) + 1
    days = [today + timedelta(days=offset) for offset in range(-back, AHEAD_DAYS + 1)]
    assert window.start is not None, "a window of days has a start"
    starts = (datetime.combine(day, time.fromisoformat(window.start), zone).timestamp()
              for day in days if DAYS[day.weekday()] in window.days)
    return tuple((start, start + window.duration_s) for start in sorted(starts))


def merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return sorted `spans`, those that touch or overlap joined."""
    whole: list[Span] = []
    for start, end in spans:
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        else:
            whole.append((start, end))
    return tuple(whole)


PLACED_KINDS: Final = ("VirtualMachine/", "Host/", "Switch/")
"""The kinds that have steps; those of other kinds are about one of these."""


def is_lasting(step: Step) -> bool:
    """Return whether a step is blocked for as long as somebody uses the VLANs that it would take.

    Such a step reports a state of the estate, and keeps nothing from being converged.
    """
    return isinstance(step.action, NarrowTrunk) and step.ruling.rule in USED


def applied_fingerprints(plan: Plan, before: Mapping[str, str],
                         now: Mapping[str, str]) -> Mapping[str, str]:
    """Return the fingerprints of the specs that are applied.

    Shapes: all of `now` when no step is a commit's and nothing is unknown. Otherwise an object with
    a step or an unknown keeps its old one, and so does every kind that has no steps of its own.
    """
    busy = {step.action.target for step in plan.steps
            if step.action.cause is Cause.COMMIT and not is_lasting(step)}
    unseen = {remark.target for remark in plan.remarks if remark.unknown}
    unseen |= {one.target for one in plan.conditions
               if one.type is ConditionType.PLACED and one.reason == "Nowhere"}
    if not busy and not unseen:
        return now
    found = {}
    for name in sorted(before.keys() | now.keys()):
        done = name.startswith(PLACED_KINDS) and name not in busy | unseen
        value = now.get(name) if done else before.get(name)
        if value is not None:
            found[name] = value
    return found
