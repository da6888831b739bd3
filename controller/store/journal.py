"""The journal: intents, outcomes and notes.

Rule 1: rows are only ever appended, so that a reader who knows the last id misses nothing.
Rule 2: an intent is on the disk before `intend` returns; an open intent is never pruned.
"""

import sqlite3
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from controller.errors import JournalUnavailable
from controller.plan.actions.action import Cause
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain, VerifyReplica
from controller.plan.prediction.measured import Started
from controller.plan.survey.context import FailedMove, RequestKind, Undone
from controller.store.database import Table

KEEP_S: Final = 90 * 86400.0
KEEP_ROUTINE_ROWS: Final = 100_000
"""Rows of routine copies that went well: some days of them. Restore points have records, too."""
KEEP_ROWS: Final = 500_000
"""Rows of all kinds: only a flood reaches that within the 90 days."""
PRUNE_EVERY: Final = 1000
PRUNE_AT_ONCE: Final = 20_000
"""A journal that was not pruned for long shrinks in steps, since the loop waits meanwhile."""

ROUTINE: Final = "cause = 'routine' AND outcome IN ('', 'done')"
"""The condition of the index `routine`: rows that tell of no problem."""
INTENT: Final = "intent"
OUTCOME: Final = "outcome"
SERVES: Final[Mapping[str, tuple[RequestKind, ...]]] = {
    ReplicateDomain.verb: (RequestKind.COPY, RequestKind.SEED, RequestKind.REPAIR),
    VerifyReplica.verb: (RequestKind.VERIFY, RequestKind.REPAIR),
}
"""By verb: the requests of people that it fulfils."""
_INTENT_COLUMNS = "id, action_id, verb, target, node, revision, cause, sentence, at"
_EVENT_COLUMNS = ("id, at, kind, target, node, verb, action_id, revision, cause, outcome, intent,"
                  " sentence, term")


class Outcome(StrEnum):
    """How an intent ended."""

    DONE = "done"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    UNDONE = "undone"
    """The node undid it by itself, since the controller did not come back."""
    ABANDONED = "abandoned"
    """Found open after a crash, and closed after a look."""


class Intent(NamedTuple):
    """An action that began at `at`, or was about to."""

    id: int
    action_id: str
    verb: str
    target: str
    node: str
    revision: str
    cause: Cause
    reason: str
    at: float


class EventRow(NamedTuple):
    """One row of the journal; fields that its kind does not have are empty."""

    id: int
    at: float
    kind: str
    """intent, outcome, or the word that `note` was given."""
    target: str
    node: str
    verb: str
    action_id: str
    revision: str
    cause: str
    outcome: str
    intent: int | None
    """The intent's id, for an outcome."""
    sentence: str
    term: int = 0
    """The term in which it was begun; 0 where no lease was declared."""


class Journal(Table):
    """Intents, outcomes and notes, oldest first."""

    def intend(self, action_id: str, verb: str, target: str, node: str, revision: str,
               reason: str, at: float, cause: Cause = Cause.DRIFT, term: int = 0) -> int:
        """Write that an action is about to begin, and return the intent's id.

        Shapes: an approval of it, or a request that it fulfils, is used up by that.
        Errors: JournalUnavailable; the action must then not be begun.
        """
        with self._database.write(durable=True) as connection:
            intent = _append(connection, at, INTENT, target, reason, node=node, verb=verb,
                             action_id=action_id, revision=revision, cause=cause.value, term=term)
            connection.execute("INSERT INTO open_intents VALUES (?)", (intent,))
            connection.execute("DELETE FROM approvals WHERE action_id = ? AND revision = ?",
                               (action_id, revision))
            if cause is Cause.HUMAN:
                connection.executemany(
                    "DELETE FROM requests WHERE 'Replica/' || machine = ? AND wish = ?",
                    [(target, kind) for kind in SERVES.get(verb, ())])
        return intent

    def conclude(self, intent: int, outcome: Outcome, sentence: str, at: float,
                 undone: tuple[Undone, str] | None = None) -> None:
        """Write the outcome of an intent; a second outcome becomes a row of its own.

        Shapes: `undone` must not be done again by itself, until the spec of its target, given by
        its fingerprint, changes.
        Errors: JournalUnavailable; the intent stays open and is looked at after a restart.
        """
        with self._database.write(durable=True) as connection:
            rows = connection.execute(
                f"SELECT {_INTENT_COLUMNS}, term FROM events WHERE id = ? AND kind = ?",
                (intent, INTENT)).fetchall()
            if not rows:
                raise JournalUnavailable(
                    f"the journal {self._database.path} knows no intent {intent}: another file took"
                    " its place; restart `hotsite run`, which looks at everything anew")
            begun = _intent(rows[0][:-1])
            _append(connection, at, OUTCOME, begun.target, sentence, node=begun.node,
                    verb=begun.verb, action_id=begun.action_id, revision=begun.revision,
                    cause=begun.cause.value, outcome=outcome.value, intent=intent,
                    term=rows[0][-1])
            connection.execute("DELETE FROM open_intents WHERE id = ?", (intent,))
            if undone is not None:
                one, spec = undone
                connection.execute("INSERT OR REPLACE INTO undone VALUES (?, ?, ?, ?, ?, ?)", (
                    one.action_id, one.target, one.goal, one.sentence, one.at, spec))
            elif outcome is Outcome.DONE:
                connection.execute("DELETE FROM undone WHERE action_id = ?", (begun.action_id,))
            if begun.verb == MoveDomain.verb:
                # a controller that died during a move says nothing about it
                if outcome is Outcome.DONE:
                    connection.execute("DELETE FROM failed_moves WHERE target = ?", (begun.target,))
                elif outcome is not Outcome.ABANDONED:
                    connection.execute(
                        "INSERT INTO failed_moves VALUES (?, 1, ?, ?) ON CONFLICT (target)"
                        " DO UPDATE SET tries = tries + 1, sentence = excluded.sentence,"
                        " at = excluded.at",
                        (begun.target, sentence, at))

    def failed_moves(self, since_at: float) -> Mapping[str, FailedMove]:
        """Return, by VM, how often its move failed since it was last ordered."""
        rows = self._database.read("SELECT target, tries, sentence, at FROM failed_moves"
                                   " WHERE at >= ?", (since_at,))
        return {target.partition("/")[2]: FailedMove(tries, sentence, at)
                for target, tries, sentence, at in rows}

    def open_intents(self) -> tuple[Intent, ...]:
        """Return every intent without an outcome, oldest first."""
        rows = self._database.read(f"SELECT {_INTENT_COLUMNS} FROM events"
                                   " WHERE id IN (SELECT id FROM open_intents) ORDER BY id")
        return tuple(_intent(row) for row in rows)

    def note(self, kind: str, target: str, sentence: str, at: float) -> int:
        """Write an event that is no action, and return its id."""
        assert kind not in {INTENT, OUTCOME}, f"{kind} has a method of its own"
        with self._database.write(durable=False) as connection:
            return _append(connection, at, kind, target, sentence)

    def events(self, limit: int, target: str | None = None,
               after: int = 0) -> tuple[EventRow, ...]:
        """Return the newest `limit` rows, oldest first.

        Shapes: with `after`, the oldest `limit` rows with a higher id: what to show next.
        """
        values: tuple[int | str, ...] = (after,)
        where = "id > ?"
        if target is not None:
            where, values = f"{where} AND target = ?", (*values, target)
        order = "ASC" if after else "DESC"
        rows = self._database.read(
            f"SELECT {_EVENT_COLUMNS} FROM events WHERE {where} ORDER BY id {order} LIMIT ?",
            (*values, limit))
        return tuple(sorted(EventRow(*row) for row in rows))

    def completions(self, target: str, verb: str,
                    since_at: float) -> tuple[tuple[float, float], ...]:
        """Return when each action of a verb that was done since an instant began and ended."""
        return tuple((begun, ended) for begun, ended in self._database.read(
            "SELECT coalesce(begun.at, ended.at), ended.at FROM events AS ended"
            " LEFT JOIN events AS begun ON begun.id = ended.intent WHERE ended.target = ?"
            " AND ended.kind = 'outcome' AND ended.verb = ? AND ended.outcome = 'done'"
            " AND ended.at >= ? ORDER BY ended.id", (target, verb, since_at)))

    def event_targets(self) -> tuple[str, ...]:
        """Return every object that a row is about, sorted."""
        return tuple(target for target, in self._database.read(
            "SELECT DISTINCT target FROM events ORDER BY target"))

    def promotions(self, since_at: float) -> tuple[Started, ...]:
        """Return the promotions that were done since `since_at`, in the order of their ends."""
        rows = self._database.read(
            "SELECT ended.target, ended.node, coalesce(begun.at, ended.at), ended.at FROM events AS"
            " ended LEFT JOIN events AS begun ON begun.id = ended.intent WHERE ended.kind ="
            " 'outcome' AND ended.verb = ? AND ended.at >= ? AND ended.outcome = 'done'"
            " ORDER BY ended.at, ended.id", (PromoteReplica.verb, since_at))
        return tuple(Started(target.partition("/")[2], *rest) for target, *rest in rows)

    def repairs(self, since_at: float) -> Mapping[str, tuple[float, ...]]:
        """Return, by target, when drift was repaired since `since_at`, oldest first.

        Shapes: done, undone and unknown outcomes count; a refused or unreachable action changed
        nothing.
        """
        rows = self._database.read(
            "SELECT target, at FROM events WHERE kind = 'outcome' AND cause = 'drift'"
            " AND at >= ? AND outcome IN ('done', 'unknown', 'undone') ORDER BY at, id",
            (since_at,))
        found: dict[str, list[float]] = {}
        for target, at in rows:
            found.setdefault(target, []).append(at)
        return {target: tuple(instants) for target, instants in sorted(found.items())}


def _append(connection: sqlite3.Connection, at: float, kind: str, target: str, sentence: str,
            **more: str | int) -> int:
    """Append one row and, now and then, prune old ones."""
    columns = {"at": at, "kind": kind, "target": target, "sentence": sentence, **more}
    cursor = connection.execute(
        f"INSERT INTO events ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()))
    assert cursor.lastrowid is not None
    if cursor.lastrowid % PRUNE_EVERY == 0:
        prune(connection, cursor.lastrowid, at)
    return cursor.lastrowid


def prune(connection: sqlite3.Connection, newest: int, now_s: float) -> int:
    """Delete rows beyond the bounds, oldest first, and return how many.

    Shapes: routine rows go first, so that they never displace what people look for later: actions,
    refusals and failures stay for `KEEP_S`.
    """
    last = connection.execute(
        f"SELECT id FROM events WHERE {ROUTINE} ORDER BY id DESC LIMIT 1 OFFSET ?",
        (KEEP_ROUTINE_ROWS,)).fetchone()
    gone = 0
    for where, values in (
            (f"{ROUTINE} AND id <= ?", (last[0] if last else 0,)),
            ("(at < ? OR id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?))",
             (now_s - KEEP_S, KEEP_ROWS))):
        gone += connection.execute(
            f"DELETE FROM events WHERE id IN (SELECT id FROM events WHERE {where} AND id < ?"
            " AND id NOT IN (SELECT id FROM open_intents) ORDER BY id LIMIT ?)",
            (*values, newest, PRUNE_AT_ONCE - gone)).rowcount
    return gone


def _intent(row: tuple[Any, ...]) -> Intent:
    """Return a row of `_INTENT_COLUMNS` as an Intent."""
    intent = Intent(*row)
    return intent._replace(cause=Cause(intent.cause))
