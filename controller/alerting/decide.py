"""
What to send now: from what is wrong, what was sent, and the time. Nothing here sends.

Each receiver has a history of its own: one row for each alert that it was told, or may be told.

    state      is                        becomes, and when
    pending    wrong, not told           told: wrong for `group`, or told with another that is
                                         forgotten: well for `hold`
    told       wrong, told               told anew: at a stage that was not told; after `repeat`
                                         easing: not wrong any more
    easing     told, not wrong           told: wrong again; nothing is sent, however often
                                         ended: well for `hold`; sent once, if `resolved`

So what flaps wakes once: it is never well for long enough to have ended. What lasted less than
`group` wakes nobody, unless it comes again and again. All that is wrong when something is sent goes
with it, so that one disaster is one message: the next comes `interval` later, unless it holds a new
page. Ends wait for others that are near, for `interval` at most.

An unknown is no end (Rule 1 of collect.py): the row stays as it is. What is suspended is not sent,
and counts as new when the pause ends; ends are sent all the same, for they wake nobody, and where
an incident was opened it must be closed.

The history is what was handed to the queue of a receiver, in the same transaction as the message:
after a crash nothing is decided twice. A message keeps its id through all tries.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final

from controller.alerting.alert import Alert, AlertSet
from controller.alerting.collect import by_key
from controller.model.notify.spec import NotifySpec, ReceiverSpec, Severity

OFTEN: Final = 20
"""What comes and goes so often is told, however short it is each time."""


class Status(StrEnum):
    """What a message is about."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Told:
    """What one receiver knows of one alert."""

    alert: Alert
    """As it was last."""
    first_at: float
    stages: tuple[str, ...] = ()
    """Those that were told."""
    told_at: float | None = None
    well_since: float | None = None
    flaps: int = 0
    """How often it was well for less than `hold`."""
    again_at: float | None = None
    """When it was wrong again last."""

    def is_ripe(self, spec: NotifySpec, now_s: float) -> bool:
        """Return whether it has been wrong for long enough, or often enough, to be told."""
        since = self.first_at if self.again_at is None else self.again_at
        return now_s - since >= spec.group_s or self.flaps >= OFTEN


@dataclass(frozen=True, slots=True)
class Notification:
    """What one receiver is to be told, before it is put into words."""

    id: str
    receiver: str
    at: float
    new: tuple[Told, ...]
    still: tuple[Told, ...] = ()
    """Told before, and wrong still."""
    ended: tuple[Told, ...] = ()
    follows: Mapping[str, int] | None = None
    is_reminder: bool = False
    """Whether something was told long ago, and is wrong still."""

    @property
    def status(self) -> Status:
        """Return whether anything of it is wrong now."""
        return Status.FIRING if self.new or self.still else Status.RESOLVED

    @property
    def severity(self) -> Severity:
        """Return the worst severity of what it is sent for: that something ended wakes nobody."""
        some = self.new or (self.still if self.is_reminder else ())
        return Severity.PAGE if any(one.alert.severity is Severity.PAGE for one in some) \
            else Severity.TICKET


@dataclass(frozen=True, slots=True)
class Decision:
    """What one receiver is sent now, if anything, and its history after that."""

    history: Mapping[str, Told]
    notification: Notification | None
    due_at: float | None
    """When time alone may decide otherwise."""
    last_at: float | None = None
    """When anything was sent last."""


def decide(receiver: ReceiverSpec, spec: NotifySpec, wrong_now: AlertSet,
           history: Mapping[str, Told], now_s: float,
           last_at: float | None = None) -> Decision:
    """Return what a receiver is to be told now; `last_at` is when it was told anything last."""
    wrong = by_key(one for one in wrong_now.alerts if concerns(receiver, one))
    rows = {key: _seen(history.get(key), alert, now_s) for key, alert in wrong.items()}
    ended: list[Told] = []
    for key, row in history.items():
        if key in wrong:
            continue
        if wrong_now.may_last(row.alert):
            if row.told_at is not None:
                rows[key] = row
            continue
        since = row.well_since if row.well_since is not None else now_s
        if now_s - since < spec.hold_s:
            rows[key] = replace(row, well_since=since)
        elif row.told_at is not None and receiver.resolved:
            ended.append(replace(row, well_since=since))
    new = {key: row for key, row in rows.items() if key in wrong and _is_new(row)}
    ripe = [row for row in new.values() if row.is_ripe(spec, now_s)]
    rested = last_at is None or now_s - last_at >= spec.interval_s
    again = [row for key, row in rows.items() if key in wrong and not row.alert.silenced
             and row.told_at is not None and now_s - row.told_at >= receiver.repeat_s]
    urgent = any(row.alert.severity is Severity.PAGE for row in ripe)
    calm = not ended or _is_calm(rows, ended, wrong, spec, now_s)
    if not (urgent or (rested and (ripe or (ended and calm))) or again):
        for row in ended:   # they wait for their turn
            rows[row.alert.key] = row
        return Decision(rows, None, _due(rows, wrong, spec, receiver, last_at, now_s), last_at)
    told = {key: replace(row, told_at=now_s, stages=tuple(dict.fromkeys(
        (*row.stages, row.alert.stage)))) for key, row in new.items()}
    still = {key: replace(row, told_at=now_s) for key, row in rows.items()
             if key in wrong and key not in told and row.told_at is not None
             and not row.alert.silenced}
    rows |= told | still
    return Decision(rows, Notification(
        _id(receiver.name, now_s, (*told, *(row.alert.key for row in ended))), receiver.name,
        now_s, _sorted(told.values()), _sorted(still.values()), _sorted(ended), wrong_now.follows,
        bool(again)),
        _due(rows, wrong, spec, receiver, now_s, now_s), now_s)


def concerns(receiver: ReceiverSpec, alert: Alert) -> bool:
    """Return whether a receiver wants to be told of an alert."""
    return ((receiver.severity is Severity.TICKET or alert.severity is Severity.PAGE)
            and (not receiver.sites or not alert.site or alert.site in receiver.sites)
            and (not receiver.conditions or alert.type in receiver.conditions)
            and (not receiver.objects or any(fnmatchcase(alert.target, pattern)
                                             for pattern in receiver.objects)))


def _seen(row: Told | None, alert: Alert, now_s: float) -> Told:
    """Return the row of an alert that is wrong now."""
    if row is None:
        return Told(alert, now_s)
    if row.well_since is None:
        return row if row.alert == alert else replace(row, alert=alert)
    return replace(row, alert=alert, well_since=None, flaps=row.flaps + 1, again_at=now_s)


def _is_new(row: Told) -> bool:
    return not row.alert.silenced and (row.told_at is None or row.alert.stage not in row.stages)


def _is_calm(rows: Mapping[str, Told], ended: Iterable[Told], wrong: Mapping[str, Alert],
             spec: NotifySpec, now_s: float) -> bool:
    """Return whether no other end is near, or the first has waited for others long enough."""
    waited_s = now_s - spec.hold_s - min(row.well_since or now_s for row in ended)
    return waited_s >= spec.interval_s or not any(
        row.told_at is not None and row.well_since is not None and key not in wrong
        for key, row in rows.items())


def _sorted(rows: Iterable[Told]) -> tuple[Told, ...]:
    """Return rows by severity, the oldest first."""
    return tuple(sorted(rows, key=lambda row: (row.alert.severity is not Severity.PAGE,
                                               row.first_at, row.alert.key)))


def _due(rows: Mapping[str, Told], wrong: Mapping[str, Alert], spec: NotifySpec,
         receiver: ReceiverSpec, last_at: float | None, now_s: float) -> float | None:
    """Return when time alone may next make something due."""
    found = []
    for key, row in rows.items():
        if key not in wrong:
            if row.well_since is not None:
                found += [row.well_since + spec.hold_s,
                          row.well_since + spec.hold_s + spec.interval_s]
        elif not row.alert.silenced:
            if _is_new(row):
                found.append((row.again_at or row.first_at) + spec.group_s)
            elif row.told_at is not None:
                found.append(row.told_at + receiver.repeat_s)
    if last_at is not None:
        found.append(last_at + spec.interval_s)
    return min((at for at in found if at > now_s), default=None)


def _id(receiver: str, now_s: float, keys: tuple[str, ...]) -> str:
    return blake2b(repr((receiver, now_s, sorted(keys))).encode(), digest_size=12).hexdigest()
