"""What stands above the rows of a screen: the loop, the verdict on each site, what waits for a
person, what runs now, what is paused."""

from typing import Any, Final

from controller.model.units import render_instant
from controller.plan.steps.takeover import Outcome
from controller.reconcile.inspect.desk import Desk
from controller.reconcile.inspect.level import Level
from controller.reconcile.inspect.loop_status import ALIVE_S
from controller.reconcile.inspect.predictions import sentences_of
from controller.store.journal import EventRow
from controller.store.store import Store

Row = dict[str, Any]
NAMED: Final = 3
LAST: Final = 20
"""So many lines of the journal are shown of one object."""


def head_of(desk: Desk, store: Store, now_s: float) -> Row:
    """Return the head of the screen as JSON.

    Errors: JournalUnavailable.
    """
    beat = desk.beat
    plan = beat.get("plan") or {}
    return {
        "estate": desk.estate, "version": desk.version,
        "loop": {"at": beat.get("at"), "stopped": beat.get("stopped", beat == {}),
                 "alive_s": ALIVE_S, "journal": beat.get("journal"),
                 "lease": (beat.get("lease") or {}).get("sentence")},
        "source": beat.get("source") or {}, "revision": beat.get("revision"),
        "summary": plan.get("summary"),
        "sites": [one | verdict_of(one) | sentences_of(one, now_s)
                  for one in plan.get("predictions") or []],
        "hosts": [one | sentences_of(one, now_s) for one in plan.get("host_predictions") or []],
        "failovers": plan.get("failovers") or [],
        "waits": [waiting(step) for step in plan.get("steps") or []
                  if step["ruling"]["verdict"] == "needs approval"],
        "runs": running(store), "suspended": suspended(store, now_s),
        "break_glass": glass_of(store)}


def glass_of(store: Store) -> Row | None:
    """Return what is in force over git; None where nothing is.

    Errors: JournalUnavailable.
    """
    glass = store.break_glass()
    return None if glass is None else {
        "by": glass.by, "why": glass.why, "until_at": glass.until_at, "base": glass.base,
        "targets": list(glass.targets), "undoes": glass.undoes,
        "sentence": f"{glass.sentence} until {render_instant(glass.until_at)}: {glass.why}"}


def verdict_of(prediction: Row) -> Row:
    """Return what the loss of a site would come to, as one sentence and its level."""
    site, twin, number = prediction["site"], prediction["twin"], prediction["protected"]
    told = {outcome: [one["machine"] for one in prediction["hindered"]
                      if one["outcome"] == outcome] for outcome in Outcome}
    if not number:
        return {"level": Level.UNKNOWN.value, "verdict": f"No VM of {site} is protected"}
    if twin is None:
        return {"level": Level.CRITICAL.value, "verdict": f"Nothing comes back: {site} has no twin"}
    returns = prediction["returns"]
    words = [f"All {number} protected VMs restart at {twin}" if returns == number > 1 else
             f"Its one protected VM restarts at {twin}" if returns == number else
             f"{returns} of {number} protected VMs restart{'s' * (returns == 1)} at {twin}"]
    words += [f"{said} {listed(told[outcome])}" for outcome, said in (
        (Outcome.WAITS, "not"), (Outcome.UNKNOWN, "unknown is"), (Outcome.SHED, "off stay"))
        if told[outcome]]
    level = (Level.CRITICAL if told[Outcome.WAITS] else
             Level.UNKNOWN if told[Outcome.UNKNOWN] else Level.FINE)
    return {"level": level.value, "verdict": "; ".join(words)}


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def waiting(step: Row) -> Row:
    """Return a step that waits for a person's yes."""
    return {"id": step["id"], "target": step["target"], "symbol": step["symbol"],
            "verb": step["verb"], "sentence": step["reason"], "content": step.get("content", ""),
            "consequence": step["consequence"], "why": step["ruling"]["sentence"],
            "clears": step["ruling"]["clears"]}


def running(store: Store) -> list[Row]:
    """Return what is being done now, with the last report of how far it is."""
    reports = store.progress()
    found = []
    for intent in store.open_intents():
        report = reports.get(intent.target)
        found.append({"target": intent.target, "verb": intent.verb, "node": intent.node,
                      "sentence": intent.reason, "at": intent.at,
                      "progress": report.sentence if report and report.at >= intent.at else ""})
    return found


def suspended(store: Store, now_s: float) -> list[Row]:
    """Return what a person paused, with the reason and the end."""
    return [{"target": one.target, "by": one.by, "why": one.why, "until_at": one.until_at}
            for one in store.suspensions(now_s)]


def chain_of(desk: Desk, store: Store, target: str, now_s: float) -> Row:
    """Return why an object is as it is: declared, differing, held, said and done.

    Errors: JournalUnavailable.
    """
    document = desk.document(target)
    plan = desk.beat.get("plan") or {}
    steps = [one for one in plan.get("steps") or [] if one["target"] == target]
    remarks = [one["sentence"] for one in plan.get("remarks") or [] if one["target"] == target]
    waits = (desk.beat.get("waiting") or {}).get(target)
    return {
        "target": target, "row": desk.rows.get(target, (0, None))[1],
        "declared": None if document is None else {
            "place": document.place, "revision": desk.beat.get("revision"),
            "content": document.content},
        "conditions": [{"type": one.type.value, "status": one.status.value, "reason": one.reason,
                        "message": one.message, "since_at": one.since_at}
                       for one in desk.conditions(target)],
        "differs": [{"id": one["id"], "symbol": one["symbol"], "verb": one["verb"],
                     "node": one["nodes"][0],
                     "sentence": one["reason"], "verdict": one["ruling"]["verdict"],
                     "why": one["ruling"]["sentence"], "clears": one["ruling"]["clears"]}
                    for one in steps],
        "remarks": remarks,
        "waits": f"{waits['standing']}: {waits['why']}" if waits else "",
        "suspended": [one for one in suspended(store, now_s) if one["target"] == target],
        "last": [event_of(row) for row in store.events(LAST, target=target)]}


def event_of(row: EventRow) -> Row:
    """Return one line of the journal as JSON."""
    return {"id": row.id, "at": row.at, "kind": row.kind, "target": row.target, "node": row.node,
            "verb": row.verb, "outcome": row.outcome, "sentence": row.sentence}
