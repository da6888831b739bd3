"""A notification in words: the verdict first, then what is wrong, each with what to do next.

Names and sentences come from hosts and people: each is made one line of plain characters before it
is used, so that none becomes a header, a colour or markup where it is shown.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any, Final

from controller.alerting.decide import Notification, Told
from controller.model.notify.spec import Severity
from controller.model.units import render_instant

SUBJECT: Final = 160
SENTENCE: Final = 600
LISTED: Final = 30
"""So many alerts are written out; more are counted."""
MARKUP: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})
WORDS: Final = {Severity.PAGE: "PAGE", Severity.TICKET: "ticket"}


@dataclass(frozen=True, slots=True)
class Message:
    """A notification that can be sent by any way."""

    id: str
    receiver: str
    at: float
    severity: str
    status: str
    subject: str
    text: str
    estate: str
    alerts: tuple[Mapping[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values: what webhooks and programs are given."""
        return {"id": self.id, "estate": self.estate, "receiver": self.receiver, "at": self.at,
                "severity": self.severity, "status": self.status, "subject": self.subject,
                "text": self.text, "alerts": [dict(one) for one in self.alerts]}

    def filled(self, content: Any, *, token: str = "") -> Any:
        """Return a template of a spec with this message's words."""
        if isinstance(content, dict):
            return {key: self.filled(each, token=token) for key, each in content.items()}
        if isinstance(content, list | tuple):
            return [self.filled(each, token=token) for each in content]
        if isinstance(content, str):
            return Template(content).substitute(
                subject=self.subject, text=self.text, severity=self.severity,
                status=self.status, estate=self.estate, id=self.id, token=token)
        return content


def message_of(notification: Notification, estate: str) -> Message:
    """Return a notification in words."""
    new, still, ended = notification.new, notification.still, notification.ended
    subject = f"{_head(notification)} [{estate}]"
    follows = {why: number for why, number in (notification.follows or {}).items() if number}
    brief = bool(new or ended) and not notification.is_reminder
    again = _block("Still so:" if new or ended else "", still, brief=brief)
    lines = _block("", new) + (again + _over(ended) if new else _over(ended) + again)
    lines += [f"{number} more {'condition follows' if number == 1 else 'conditions follow'} from"
              f" {plain(why)}: `hotsite status` lists them\n" for why, number in follows.items()]
    lines += [f"estate {estate}, {render_instant(notification.at)}"]
    shown = (*new, *still, *ended)[:LISTED]
    return Message(notification.id, notification.receiver, notification.at,
                   notification.severity.value, notification.status.value,
                   plain(subject, SUBJECT), "\n".join(lines).strip(), estate,
                   tuple(_as_json(row, over=row in ended) for row in shown))


def try_message(receiver: str, estate: str, message_id: str, at: float) -> Message:
    """Return the message of somebody who tries whether it arrives."""
    text = (f"This is a test of the receiver {receiver}: nothing is wrong, and nothing is to be"
            f" done.\n\nestate {estate}, {render_instant(at)}")
    return Message(message_id, receiver, at, Severity.TICKET.value, "test",
                   f"TEST: nothing is wrong [{estate}]", text, estate)


def plain(text: str, most: int = SENTENCE) -> str:
    """Return a text as one line without anything that drives a terminal, a mail or a browser."""
    kept = "".join(" " if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
                   else char for char in text)
    line = " ".join(kept.translate(MARKUP).split())
    return line if len(line) <= most else f"{line[:most - 1]}\u2026"


def _head(notification: Notification) -> str:
    """Return the verdict in one line."""
    if notification.ended and not notification.new and not notification.is_reminder:
        first, more = notification.ended[0].alert, len(notification.ended) - 1
        left = len(notification.still)
        return (f"OVER: {plain(first.verdict, 100)}" + (f", and {more} more" if more else "")
                + (f"; {left} still wrong" if left else ""))
    rows = notification.new or notification.still
    again = "" if notification.new else "STILL "
    more = len(rows) - 1
    word = WORDS[notification.severity]
    return (f"{again}{word}: {plain(rows[0].alert.verdict, 100)}"
            + (f", and {more} more" if more else ""))


def _block(title: str, rows: tuple[Told, ...], *, brief: bool = False) -> list[str]:
    """Return the lines of what is wrong."""
    if not rows:
        return []
    lines = [title] if title else []
    for row in rows[:LISTED]:
        alert = row.alert
        flaps = f", came and went {times(row.flaps)}" if row.flaps else ""
        lines.append(f"- {plain(alert.verdict)} (since {render_instant(row.first_at)}{flaps})")
        if alert.sentence and not brief:
            lines.append(f"  {plain(alert.sentence)}")
        if not brief:
            lines.append(f"  do: {plain(alert.next)}")
    return [*lines, *_more(rows), ""]


def _over(rows: tuple[Told, ...]) -> list[str]:
    """Return the lines of what is over."""
    if not rows:
        return []
    return ["Over:", *(f"- {plain(row.alert.verdict)}: from {render_instant(row.first_at)} to"
                       f" {render_instant(row.well_since or row.first_at)}"
                       for row in rows[:LISTED]), *_more(rows), ""]


def _more(rows: tuple[Told, ...]) -> list[str]:
    if len(rows) <= LISTED:
        return []
    return [f"- and {len(rows) - LISTED} more: `hotsite status` lists them"]


def times(number: int) -> str:
    """Return how often something was."""
    return "once" if number == 1 else f"{number} times"


def _as_json(row: Told, *, over: bool) -> dict[str, Any]:
    """Return an alert for programs, every word made plain."""
    return {name: plain(value) for name, value in row.alert.as_json().items()} | {
        "key": plain(row.alert.key), "since_at": row.first_at, "resolved": over}
