"""What a receiver knows and what waits for it, as JSON, so that a restart tells nothing twice.

Rule 1: what cannot be read is forgotten: then something is told once more, and never not at all.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from controller.alerting.alert import Alert
from controller.alerting.decide import Told
from controller.alerting.message import Message
from controller.alerting.outbox import Letter, Outbox
from controller.model.notify.spec import Severity

EMPTY: Final = Outbox()


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that is remembered of one receiver."""

    history: Mapping[str, Told] = field(default_factory=dict)
    outbox: Outbox = EMPTY
    last_at: float | None = None
    """When a message was written last."""


def to_json(ledger: Ledger) -> dict[str, Any]:
    """Return it as plain values."""
    return {"history": [asdict(row) for row in ledger.history.values()],
            "outbox": asdict(ledger.outbox), "last_at": ledger.last_at}


def from_json(content: Any, now_s: float) -> Ledger:
    """Return what was saved; nothing where that cannot be read.

    Shapes: instants that have not come yet, since the clock was set back, are taken as now.
    """
    try:
        rows = [_told(row, now_s) for row in content["history"]]
        box = content["outbox"]
        letters = tuple(Letter(**{**one, "message": _message(one["message"]), "not_before": min(
            one["not_before"], now_s)}) for one in box["letters"])
        last_at = _past(content["last_at"], now_s)
        outbox = Outbox(**{**box, "letters": letters, "not_before": 0.0})
    except (KeyError, TypeError, ValueError):
        return Ledger()
    return Ledger({row.alert.key: row for row in rows}, outbox, last_at)


def _told(row: dict[str, Any], now_s: float) -> Told:
    alert = row["alert"]
    return Told(Alert(**{**alert, "severity": Severity(alert["severity"])}),
                min(float(row["first_at"]), now_s), tuple(row["stages"]),
                _past(row["told_at"], now_s), _past(row["well_since"], now_s), int(row["flaps"]),
                _past(row["again_at"], now_s))


def _message(content: dict[str, Any]) -> Message:
    return Message(**{**content, "alerts": tuple(content["alerts"])})


def _past(at: float | None, now_s: float) -> float | None:
    return None if at is None else min(float(at), now_s)
