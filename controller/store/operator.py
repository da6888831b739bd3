"""What people asked for by hand: pauses, approvals, requests, break-glass. Pauses in the specs stay
there.
"""

from collections.abc import Iterable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from controller.errors import JournalUnavailable
from controller.plan.break_glass.break_glass import BreakGlass
from controller.plan.survey.context import (
    WHOLE_ESTATE,
    Approval,
    Confirmation,
    FailoverRequest,
    ReplicaRequest,
    RequestKind,
    Suspension,
)
from controller.store.database import Table


class Approvals(Table):
    """One approval per action, revision and person; a newer one replaces it."""

    def approve(self, approval: Approval) -> None:
        """Save a yes until it expires or is used up."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO approvals (action_id, revision, by,"
                               " expires_at, content, why) VALUES (?, ?, ?, ?, ?, ?)",
                               (approval.action_id, approval.revision, approval.by,
                                approval.expires_at, approval.content, approval.why))

    def approvals(self, now_s: float) -> tuple[Approval, ...]:
        """Return the approvals that have not expired, by action, revision and person."""
        rows = self._database.read("SELECT action_id, revision, by, expires_at, content, why"
                                   " FROM approvals WHERE expires_at > ?"
                                   " ORDER BY action_id, revision, by", (now_s,))
        return tuple(Approval(*row) for row in rows)


class Requests(Table):
    """One request per VM and kind; a newer one replaces it."""

    def request(self, request: ReplicaRequest) -> None:
        """Save a request until it is begun."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?)",
                               (request.machine, request.kind.value, request.by, request.at))

    def withdraw(self, request: ReplicaRequest) -> None:
        """Delete a request that has not been begun."""
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM requests WHERE machine = ? AND wish = ?",
                               (request.machine, request.kind.value))

    def withdraw_expired(self, requests: Iterable[ReplicaRequest]) -> None:
        """Delete requests that nothing was begun for, unless they were made anew."""
        with self._database.write(durable=True) as connection:
            connection.executemany(
                "DELETE FROM requests WHERE machine = ? AND wish = ? AND at = ?",
                [(one.machine, one.kind.value, one.at) for one in requests])

    def requests(self) -> tuple[ReplicaRequest, ...]:
        """Return the requests that have not been begun, by VM and kind."""
        rows = self._database.read("SELECT machine, wish, by, at FROM requests"
                                   " ORDER BY machine, wish")
        return tuple(ReplicaRequest(machine, RequestKind(kind), by, at)
                     for machine, kind, by, at in rows)


class Failovers(Table):
    """One order per target and kind, and one word per host; a newer one replaces it."""

    def order_failover(self, request: FailoverRequest) -> None:
        """Save an order until a record of it is written.

        Shapes: what a move has failed at so far is forgotten by an order for another one.
        """
        with self._database.write(durable=True) as connection:
            if request.planned:
                connection.execute("DELETE FROM failed_moves")
            connection.execute(
                "INSERT OR REPLACE INTO failovers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _row(request))

    def withdraw_failovers(self, requests: Iterable[FailoverRequest],
                           left: Iterable[FailoverRequest] = ()) -> None:
        """Delete orders: a record of them was written, or the person withdrew them.

        Shapes: `left` is saved instead, unless there is an order for the same by now.
        """
        with self._database.write(durable=True) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO failovers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(one) for one in left])
            connection.executemany("DELETE FROM failovers WHERE target = ? AND planned = ?"
                                   " AND at = ?", [(one.target, int(one.planned), one.at)
                                                   for one in requests])

    def failovers(self, now_s: float = 0.0) -> tuple[FailoverRequest, ...]:
        """Return the orders that had not expired then, by target; without an instant, all."""
        rows = self._database.read("SELECT target, by, why, at, planned, back, accepts_loss, point"
                                   " FROM failovers ORDER BY target, planned")
        found = (FailoverRequest(target, by, why, at, planned=bool(planned), back=bool(back),
                                 accepts_loss=bool(accepts), point=point)
                 for target, by, why, at, planned, back, accepts, point in rows)
        return tuple(one for one in found if one.expires_at > now_s)

    def confirm_fenced(self, confirmation: Confirmation) -> None:
        """Save a person's word that a host is off."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO confirmations VALUES (?, ?, ?, ?, ?)", (
                confirmation.host, confirmation.by, confirmation.why, confirmation.boot_id,
                confirmation.at))

    def confirmations(self, now_s: float) -> tuple[Confirmation, ...]:
        """Return the words that have not expired, by host."""
        rows = self._database.read("SELECT host, by, why, boot_id, at FROM confirmations"
                                   " ORDER BY host")
        return tuple(one for one in (Confirmation(*row) for row in rows)
                     if one.expires_at > now_s)


def _row(request: FailoverRequest) -> tuple[str | int | float, ...]:
    return (request.target, int(request.planned), request.by, request.why, request.at,
            int(request.accepts_loss), request.point, int(request.back))


ESTATE: Final = "Estate/"


class Suspensions(Table):
    """One pause per target; a newer one replaces it."""

    def suspend(self, suspension: Suspension) -> None:
        """Pause a target until an instant."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO suspensions VALUES (?, ?, ?, ?)",
                               (suspension.target, suspension.by, suspension.why,
                                suspension.until_at))

    def resume(self, target: str) -> bool:
        """End a pause, and return whether there was one.

        Shapes: the estate's own name also ends a pause that was set before that name was known.
        """
        also = WHOLE_ESTATE if target.startswith(ESTATE) else target
        with self._database.write(durable=True) as connection:
            cursor = connection.execute("DELETE FROM suspensions WHERE target IN (?, ?)",
                                        (target, also))
            return cursor.rowcount > 0

    def suspensions(self, now_s: float) -> tuple[Suspension, ...]:
        """Return the pauses that have not ended, by target."""
        rows = self._database.read("SELECT target, by, why, until_at FROM suspensions"
                                   " WHERE until_at > ? ORDER BY target", (now_s,))
        return tuple(Suspension(*row) for row in rows)


GLASS: Final = TypeAdapter(BreakGlass)


class BreakGlassTable(Table):
    """At most one is in force; the last one stays, with what ended it."""

    def save_break_glass(self, glass: BreakGlass) -> None:
        """Put one in force, in place of any other."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO break_glass VALUES (1, ?, ?, NULL, '')",
                               (glass.id, GLASS.dump_json(glass).decode()))

    def renew_break_glass(self, glass: BreakGlass) -> None:
        """Save what has become of one, unless it has ended or been replaced by now."""
        with self._database.write(durable=True) as connection:
            connection.execute("UPDATE break_glass SET content = ? WHERE id = ? AND ended_at IS"
                               " NULL", (GLASS.dump_json(glass).decode(), glass.id))

    def end_break_glass(self, glass_id: str, at: float, sentence: str) -> bool:
        """End one, and return whether it was in force until now."""
        with self._database.write(durable=True) as connection:
            return connection.execute(
                "UPDATE break_glass SET ended_at = ?, sentence = ? WHERE id = ? AND ended_at IS"
                " NULL", (at, sentence, glass_id)).rowcount > 0

    def break_glass(self) -> BreakGlass | None:
        """Return the one in force; None where there is none."""
        return next((glass for glass, _, _ in self._rows_of_glass("ended_at IS NULL")), None)

    def ended_break_glass(self) -> tuple[BreakGlass, float, str] | None:
        """Return the last one that has ended, when, and what ended it."""
        return next(iter(self._rows_of_glass("ended_at IS NOT NULL")), None)

    def _rows_of_glass(self, which: str) -> list[tuple[BreakGlass, float, str]]:
        rows = self._database.read("SELECT content, ended_at, sentence FROM break_glass"
                                   f" WHERE {which}")
        try:
            return [(GLASS.validate_json(content), ended_at, said)
                    for content, ended_at, said in rows]
        except ValidationError as error:
            raise JournalUnavailable(f"the break-glass in {self._database.path} is not understood:"
                                     f" {error.errors()[0]['msg']}") from error
