"""What a person may ask of the running loop: a yes, a pause, its end, a copy.

Nothing here acts. Each is written to the store with the name of who asks, and a line in the journal
beside it; the loop reads it within a second, and decides.

A yes is to what the person has read. Where a step is no longer what was shown, or is planned no
longer, nothing is written, and the sentence says what is planned now.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from controller.errors import Refused, SourceUnavailable
from controller.plan.survey.context import (
    Approval,
    FailoverRequest,
    ReplicaRequest,
    RequestKind,
    Suspension,
)
from controller.store.store import Store

LONGEST_S: Final = 366 * 86400.0
Beat = Mapping[str, Any] | None


def instant(at: float) -> str:
    """Return epoch seconds in local time, to the second."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def until(span_s: float, now_s: float) -> float:
    """Return when a span that begins now ends.

    Errors: Refused: it is none, or longer than a year.
    """
    if not 0 < span_s <= LONGEST_S:
        raise Refused("the time is not from one second to a year: write it like 2h")
    return now_s + span_s


def approve(store: Store, beat: Beat, action_id: str, by: str, span_s: float, now_s: float, *,
            shown: str | None = None, why: str = "") -> Approval:
    """Save a yes to one planned step, once, and return it.

    Shapes: `shown` is the content of the step that the person has read; None takes it as it is now.
    Errors: SourceUnavailable: no loop has run; Refused: it is not planned so; JournalUnavailable.
    """
    step = planned(beat, action_id)
    content = str(step.get("content", ""))
    if shown is not None and shown != content:
        raise Refused(f"{action_id} is planned otherwise than was shown; it is now:"
                      f" {step['reason']}. Read it again")
    assert beat is not None, "it has a plan"
    expires_at = until(span_s, now_s)
    approval = Approval(action_id, str(beat["revision"]), by, expires_at, content, why)
    store.approve(approval)
    store.note("approved", str(step["target"]), f"{action_id} approved by {by} until"
               f" {instant(expires_at)}{f': {why}' if why else ''}", now_s)
    return approval


def planned(beat: Beat, action_id: str) -> Mapping[str, Any]:
    """Return a step of the loop's plan.

    Errors: SourceUnavailable: no loop has run; Refused: it does not plan this.
    """
    if beat is None or beat.get("revision") is None:
        raise SourceUnavailable("no loop has run with this state folder: `hotsite apply` asks by"
                                " itself")
    steps: list[Mapping[str, Any]] = (beat.get("plan") or {}).get("steps") or []
    for step in steps:
        if step["id"] == action_id:
            return step
    waiting = [step["id"] for step in steps if step["ruling"]["verdict"] == "needs approval"]
    known = f"these need approval: {', '.join(waiting)}" if waiting else "nothing needs it"
    raise Refused(f"the loop does not plan {action_id}; {known}")


def suspend(store: Store, target: str, by: str, why: str, span_s: float, now_s: float) -> float:
    """Pause healing of an object and all in it, and return until when.

    Errors: Refused: a span that is none; JournalUnavailable.
    """
    until_at = until(span_s, now_s)
    store.suspend(Suspension(target, by, why, until_at))
    store.note("suspended", target, f"suspended by {by} until {instant(until_at)}: {why}", now_s)
    return until_at


def resume(store: Store, target: str, by: str, now_s: float) -> tuple[bool, bool]:
    """End a pause; return whether there was one, and whether something undone is tried again.

    Errors: JournalUnavailable.
    """
    was, again = store.resume(target), store.let_again(target)
    if was or again:
        store.note("resumed", target, f"resumed by {by}", now_s)
    return was, again


def foreseen(beat: Beat, target: str) -> tuple[Mapping[str, Any], str]:
    """Return what the loss of a site or host would come to, and a digest of who comes back.

    Shapes: ages are not in the digest, since they grow while a person reads.
    Errors: SourceUnavailable: no loop has run; Refused: it predicts nothing of this.
    """
    if beat is None or beat.get("revision") is None:
        raise SourceUnavailable("no loop has run with this state folder: nothing is predicted")
    kind, _, name = target.partition("/")
    plan = beat.get("plan") or {}
    rows: list[Mapping[str, Any]] = plan.get(
        {"Site": "predictions", "Host": "host_predictions"}.get(kind, "")) or []
    for row in rows:
        if name == (row["site"] if kind == "Site" else row.get("host")):
            told = [row["twin"], row["protected"], row["returns"], sorted(
                [one["machine"], one["outcome"]] for one in row["hindered"])]
            return row, blake2b(json.dumps(told).encode(), digest_size=12).hexdigest()
    raise Refused(f"the loop predicts nothing of the loss of {target}: `hotsite failover {name}"
                  " --dry-run` looks at every node and says what would come back")


def fail_over(store: Store, beat: Beat, target: str, by: str, why: str, now_s: float, *,
              shown: str, accepts_loss: bool) -> None:
    """Order the loop to start elsewhere what ran on a lost site or host.

    Shapes: `shown` is the digest of what the person has read. What answers is refused by the loop.
    Errors: SourceUnavailable; Refused: it would come to something else by now; JournalUnavailable.
    """
    row, content = foreseen(beat, target)
    if shown != content:
        raise Refused(f"the loss of {target} would come to something else than was shown:"
                      f" {row['returns']} of {row['protected']} come back now. Read it again")
    store.order_failover(FailoverRequest(target, by, why, now_s, accepts_loss=accepts_loss))
    store.note("ordered", target, f"failover ordered by {by}: {why}", now_s)


def request(store: Store, machine: str, kind: RequestKind, by: str, now_s: float) -> None:
    """Ask for something to be done about the replica of a VM.

    Errors: JournalUnavailable.
    """
    store.request(ReplicaRequest(machine, kind, by, now_s))
    store.note("requested", f"Replica/{machine}", f"{kind} requested by {by}", now_s)
