"""Events as lines: for `run`, for the progress of `apply`, and for `events`."""

import json

from controller.cli.view.terminal import fit, fit_json
from controller.reconcile.ask.ask import instant
from controller.reconcile.report.event import Event, EventKind
from controller.store.journal import EventRow

SIGNS = {"done": "✓", "refused": "✗", "unavailable": "…", "unknown": "?", "abandoned": "?"}


def describe_event(event: Event) -> str:
    """Return an event as one line: when, sign, what it is about, the sentence."""
    where = f" on {event.node}" if event.node and not event.target.endswith(
        f"/{event.node}") else ""
    word = event.outcome or event.kind.value
    return fit(f"{instant(event.at)} {event.symbol or ' '} {word:<14} {event.target}{where}:"
               f" {event.sentence}")


def event_json(event: Event) -> str:
    """Return an event as one line of JSON."""
    return fit_json(json.dumps(event._asdict(), ensure_ascii=False))


def describe_progress(event: object) -> str | None:
    """Return a line for a step that begins, goes on or ends; None for everything else."""
    assert isinstance(event, Event), "listeners are given events"
    if event.kind is EventKind.INTENT:
        return fit(f"  {event.symbol} {event.action_id}")
    if event.kind is EventKind.PROGRESS:
        return fit(f"    {event.target}: {event.sentence}")
    if event.kind is EventKind.OUTCOME:
        return fit(f"  {SIGNS.get(event.outcome, ' ')} {event.sentence}")
    return None


def describe_row(row: EventRow) -> str:
    """Return one line of the journal."""
    word = row.outcome or row.kind
    where = f" on {row.node}" if row.node and not row.target.endswith(f"/{row.node}") else ""
    verb = f" {row.verb}" if row.verb else ""
    return fit(f"{instant(row.at)} {word:<14}{verb} {row.target}{where}: {row.sentence}")
