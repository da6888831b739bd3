"""
The notifier: tells people what is wrong, beside the loop and as little in its way as can be.

    loop's conditions, failovers, plan ─┐
    the controller's own troubles ──────┴─► alerts ─► for each receiver: decide ─► outbox ─► hands
                                                            ▲                          │
                                             what it knows ─┴── saved, and read after ──┘
                                                                a restart

Once a second it asks whether anything is due, and looks at conditions only when there is a new plan
or an instant has come. Each receiver has a task of its own, so that one that is slow, or gone,
keeps no other waiting; of each, one letter is on its way at a time.

What is due is saved before it is sent: after a crash a letter may arrive twice, with the same id,
and never not at all. Where the journal cannot be written all of it goes on in memory, for then
somebody must be told most of all; it is saved once that works again.

Of several controllers the one that conducts tells. If it is not known that another one does, both
tell: better twice than not at all. A controller that takes over tells anew what is wrong still.

What ends it: cancelling. A letter on its way is then in doubt, and is sent again at the next start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from controller.alerting.alert import CONTROLLER, AlertSet
from controller.alerting.collect import Trouble, alerts_of
from controller.alerting.decide import decide
from controller.alerting.message import Message, message_of
from controller.alerting.outbox import (
    Letter,
    Outbox,
    as_sent,
    not_answered,
    put,
    refused,
    taken,
    without_old,
)
from controller.alerting.saved import Ledger, from_json, to_json
from controller.errors import ActionError, JournalUnavailable, OutcomeUnknown, Refused
from controller.model.condition import Condition, ConditionType, Status
from controller.model.notify.spec import HeartbeatSpec, NotifySpec, ReceiverSpec
from controller.plan.steps.plan import Plan
from controller.reconcile.notify.troubles import about_receiver, another_tells, troubles_of
from controller.reconcile.report.status import Running
from controller.reconcile.tasks import cancel, now_s
from controller.store.store import Store
from controller.telemetry import OFF, Telemetry

PACE_S: Final = 1.0
SAVE_S: Final = 10.0
"""What is due is saved at once; that something began to be wrong, or is well again, by then."""
REST: Final = 20.0
"""After a decision that took so long, none is taken for so many times as long."""
FRESH_S: Final = 150.0
"""No sign of life goes out when the last decision is older: the loop decides once a minute."""

OUTCOMES: Final = {Refused: "refused", OutcomeUnknown: "unknown"}
Send = Callable[[ReceiverSpec, Message], Awaitable[str]]
Beat = Callable[[HeartbeatSpec], Awaitable[None]]


class Told(Running, Protocol):
    """A loop, as far as people are told of it."""

    conditions: tuple[Condition, ...]
    """Those of the last decision."""
    own_conditions: Callable[[], tuple[Condition, ...]]


class Notifier:
    """Tells the declared receivers; `send` and `beat` are the hands."""

    def __init__(self, loop: Told, store: Store, clock: Callable[[], float], send: Send,
                 beat: Beat, telemetry: Telemetry = OFF) -> None:
        self._loop = loop
        self._store = store
        self._clock = clock
        self._send = send
        self._beat = beat
        self._telemetry = telemetry
        self._ledgers: dict[str, Ledger] = {}
        self._unsaved: set[str] = set()
        self._saved_s = 0.0
        self._rest_until_s = 0.0
        self._senders: dict[str, tuple[asyncio.Task[None], Letter]] = {}
        self._plan: Plan | None = None
        self._decided_s = 0.0
        self._seen: tuple[object, ...] = ()
        self._due_at: float | None = None
        self._beaten_s: float | None = None
        self._beat_fault = ""
        loop.own_conditions = self.conditions

    async def run(self) -> None:
        """Tell for ever."""
        self._load()
        self._decided_s = now_s()
        chores = asyncio.create_task(self._keep_beating())
        try:
            while True:
                self.look()
                if chores.done():
                    chores.result()
                await asyncio.sleep(PACE_S)
        finally:
            senders, self._senders = self._senders, {}
            await cancel(chores, *(sender for sender, _ in senders.values()))
            self._save()

    def conditions(self) -> tuple[Condition, ...]:
        """Return the condition Notified; nothing where nobody is to be told."""
        desired = self._loop.desired
        if desired is None or not desired.estate.spec.notify.receivers:
            return ()
        target = f"Estate/{desired.estate.name}"
        bad = self._bad(desired.estate.spec.notify)
        if self._beat_fault:
            bad["the heartbeat"] = self._beat_fault
        if not bad:
            return (Condition(target, ConditionType.NOTIFIED, Status.TRUE, "Reached",
                              "whoever is to be told what is wrong can be told",
                              desired.revision),)
        return (Condition(target, ConditionType.NOTIFIED, Status.FALSE, "NotReached", "; ".join(
            f"{name}: {sentence}" for name, sentence in bad.items()), desired.revision),)

    def look(self) -> None:
        """Decide whom to tell what, if anything may be due, and have it sent."""
        desired, now = self._loop.desired, self._clock()
        if desired is None:
            return
        if self._loop.plan is not None and self._loop.plan is not self._plan:
            self._plan, self._decided_s = self._loop.plan, now_s()
        spec = desired.estate.spec.notify
        names = {one.name for one in spec.receivers}
        for name in sorted(self._ledgers.keys() - names):
            del self._ledgers[name]
            self._unsaved.add(name)
        for name in sorted(self._senders.keys() - names):
            self._senders.pop(name)[0].cancel()
        if not another_tells(self._loop) and spec.receivers:
            troubles = troubles_of(self._loop, now_s() - self._decided_s, self._beat_fault,
                                   self._bad(spec))
            seen = (id(self._plan), spec, tuple((one.about, one.page) for one in troubles))
            if now_s() >= self._rest_until_s and (
                    seen != self._seen or (self._due_at is not None and now >= self._due_at)):
                self._seen, begun_s = seen, now_s()
                self._decide(spec, troubles, now)
                self._rest_until_s = now_s() + REST * (now_s() - begun_s)
        if now_s() - self._saved_s >= SAVE_S:
            self._save()
        self._telemetry.waiting({one.name: len(self._ledgers[one.name].outbox.letters)
                                 for one in spec.receivers if one.name in self._ledgers})
        self._hand_out(spec)

    def _decide(self, spec: NotifySpec, troubles: Iterable[Trouble], now: float) -> None:
        """Put into each outbox what its receiver is to be told now."""
        desired = self._loop.desired
        assert desired is not None, "the specs hold the receivers"
        wrong = alerts_of(desired, self._loop.conditions, self._plan, troubles)
        due = []
        for receiver in spec.receivers:
            ledger = self._ledgers.get(receiver.name, Ledger())
            decision = decide(receiver, spec, without_own(wrong, receiver.name), ledger.history,
                              now, ledger.last_at)
            due.append(decision.due_at)
            box = ledger.outbox
            if decision.notification is not None:
                box = put(box, message_of(decision.notification, desired.estate.name))
            self._set(receiver.name, Ledger(decision.history, box, decision.last_at))
            if decision.notification is not None:
                self._save()
        self._due_at = min((at for at in due if at is not None), default=None)

    def _bad(self, spec: NotifySpec) -> dict[str, str]:
        """Return why receivers do not get everything, by receiver."""
        boxes = {one.name: self._ledgers[one.name].outbox for one in spec.receivers
                 if one.name in self._ledgers}
        return {name: sentence for name, box in boxes.items() if (sentence := box.sentence())}

    def _set(self, name: str, ledger: Ledger) -> None:
        """Remember what a receiver knows; saved before long."""
        if self._ledgers.get(name) != ledger:
            self._ledgers[name] = ledger
            self._unsaved.add(name)

    def _set_outbox(self, name: str, outbox: Outbox) -> None:
        self._set(name, replace(self._ledgers.get(name, Ledger()), outbox=outbox))
        self._save()

    def _hand_out(self, spec: NotifySpec) -> None:
        """Begin to send what is due."""
        for receiver in spec.receivers:
            ledger = self._ledgers.get(receiver.name)
            if ledger is None or not self._is_free(receiver.name):
                continue
            kept = without_old(ledger.outbox, self._clock())
            self._set(receiver.name, replace(ledger, outbox=kept))
            if (letter := kept.due(self._clock())) is not None:
                self._senders[receiver.name] = asyncio.create_task(
                    self._deliver(receiver, letter)), letter

    def _is_free(self, name: str) -> bool:
        """Return whether nothing is on its way to a receiver; a bug in the hands is reported."""
        sender, letter = self._senders.get(name, (None, None))
        if sender is None or letter is None:
            return True
        if sender.done():
            del self._senders[name]
            if (error := sender.exception()) is not None:
                self._set_outbox(name, refused(self._ledgers[name].outbox, letter,
                                               f"a fault of ours, {type(error).__name__}",
                                               self._clock()))
                raise error
        return sender.done()

    async def _deliver(self, receiver: ReceiverSpec, letter: Letter) -> None:
        """Send one letter, and note what became of it."""
        name = receiver.name
        try:
            remark = await self._send(receiver, as_sent(
                letter, self._ledgers[name].outbox, self._clock()))
        except ActionError as error:
            box, now = self._ledgers[name].outbox, self._clock()
            self._telemetry.notified(name, OUTCOMES.get(type(error), "unavailable"))
            self._set_outbox(name, refused(box, letter, str(error), now)
                             if isinstance(error, Refused) else
                             not_answered(box, letter, str(error), now,
                                          perhaps=isinstance(error, OutcomeUnknown)))
        else:
            self._telemetry.notified(name, "done")
            self._set_outbox(name, taken(self._ledgers[name].outbox, letter, remark,
                                         self._clock()))

    def _load(self) -> None:
        try:
            saved: Mapping[str, Any] = self._store.receivers()
        except JournalUnavailable:
            return
        now = self._clock()
        self._ledgers = {name: from_json(content, now) for name, content in saved.items()
                          } | self._ledgers

    def _save(self) -> None:
        """Save what has changed; where that fails, it is tried again later."""
        self._saved_s = now_s()
        for name in sorted(self._unsaved):
            ledger = self._ledgers.get(name)
            try:
                if ledger is None:
                    self._store.forget_receiver(name)
                else:
                    self._store.save_receiver(name, to_json(ledger),
                                              durable=bool(ledger.outbox.letters))
            except JournalUnavailable:
                return
            self._unsaved.discard(name)

    async def _keep_beating(self) -> None:
        """Give a sign of life as often as is declared, as long as the loop decides and may act."""
        while True:
            await asyncio.sleep(PACE_S)
            spec = self._loop.desired.estate.spec.notify.heartbeat if self._loop.desired else None
            if spec is None:
                self._beat_fault = ""
            elif (self._plan is not None and now_s() - self._decided_s <= FRESH_S
                  and self._loop.journal_fault is None and not another_tells(self._loop)
                  and (self._beaten_s is None or now_s() - self._beaten_s >= spec.every_s)):
                self._beaten_s = now_s()
                try:
                    await self._beat(spec)
                    self._beat_fault = ""
                except ActionError as error:
                    self._beat_fault = str(error)


def without_own(wrong: AlertSet, receiver: str) -> AlertSet:
    """Return what is wrong but that this receiver cannot be told: by then it can."""
    kept = tuple(one for one in wrong.alerts
                 if one.type != CONTROLLER or one.about != about_receiver(receiver))
    return wrong if len(kept) == len(wrong.alerts) else replace(wrong, alerts=kept)
