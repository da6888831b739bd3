"""Salvage: all that can still be read of a damaged journal is copied into a new one, by table.

Rule 1: a table is read without its indexes, from both ends, up to the first broken page.
Rule 2: where a table that holds the loop back could not be read whole, the whole estate is
        suspended until a person has looked: a lost pause must not look like no pause.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from controller.plan.survey.context import WHOLE_ESTATE
from controller.store.database import Database
from controller.store.schema import JSON

ROWS_MAX: Final = 1_000_000
"""Of one table, since a broken page may lead in a circle."""
MAY_BE_LOST: Final = frozenset({"changes", "declared", "events", "progress", "receivers", "samples",
                                "status"})
"""Tables whose loss changes no decision: the history, what is written for readers, who was told."""
SUSPENDED_S: Final = 10 * 365 * 86400.0
BY: Final = "hotsite"


class Salvaged(NamedTuple):
    """The tables that were read whole, and those that were not."""

    whole: tuple[str, ...]
    torn: tuple[str, ...]

    @property
    def holds_back(self) -> bool:
        """Return whether a row that holds the loop back may be lost."""
        return not MAY_BE_LOST.issuperset(self.torn)


def salvage(damaged: Path, database: Database, at: float) -> Salvaged:
    """Copy what can be read of `damaged` into `database`; suspend the estate where that is needed.

    Errors: JournalUnavailable when the new file cannot be written; it then stays empty.
    """
    whole: list[str] = []
    torn: list[str] = []
    with _opened(damaged) as old, database.write(durable=True) as new:
        for table in tables(new):
            rows, complete = _rows(old, new, table)
            complete &= _insert(new, table, rows)
            (whole if complete else torn).append(table)
        lost = new.execute("DELETE FROM open_intents WHERE id NOT IN (SELECT id FROM events)")
        if lost.rowcount:
            torn.append("what was in flight")
        found = Salvaged(tuple(whole), tuple(torn))
        if found.holds_back:
            unread = ", ".join(sorted(set(torn) - MAY_BE_LOST))
            new.execute("INSERT OR REPLACE INTO suspensions VALUES (?, ?, ?, ?)", (
                WHOLE_ESTATE, BY, f"the journal was damaged and not all of it could be read"
                f" ({unread}): look at the estate, set the pauses that still matter again, then"
                " resume it", at + SUSPENDED_S))
    return found


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the damaged file read-only, with its log where that can be read."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.OperationalError:
            with closing(sqlite3.connect(uri + "&immutable=1", uri=True)) as alone:
                yield alone
            return
        except sqlite3.DatabaseError:
            pass  # each table then shows that for itself
        yield connection


def tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return our tables, those last that refer to others."""
    return tuple(name for name, in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " ORDER BY name = 'open_intents', name").fetchall())


def columns(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """Return the columns of a table; none where there is no such table.

    Errors: sqlite3.DatabaseError where not even that can be read.
    """
    return tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall())


def _rows(old: sqlite3.Connection, new: sqlite3.Connection,
          table: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of a table that can be read, and whether those are all rows.

    Shapes: a table that an older version did not have counts as read whole, and empty.
    """
    try:
        known = columns(old, table)
        old.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.DatabaseError:
        return [], False
    names = [name for name in columns(new, table) if name in known]
    if not names:
        return [], bool(columns_of_any(old))
    found: dict[int, dict[str, Any]] = {}
    for order in ("ASC", "DESC"):
        try:
            for rowid, *values in old.execute(
                    f"SELECT rowid, {', '.join(names)} FROM {table} NOT INDEXED"
                    f" ORDER BY rowid {order} LIMIT {ROWS_MAX}"):
                found[rowid] = dict(zip(names, values, strict=True))
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
        return [found[rowid] for rowid in sorted(found)], True
    return [found[rowid] for rowid in sorted(found)], False


def columns_of_any(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the columns of the oldest table; none where the file is no journal."""
    return columns(connection, "events")


def is_json(text: object) -> bool:
    """Return whether a text is JSON."""
    try:
        json.loads(str(text))
    except ValueError:
        return False
    return True


def _insert(new: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> bool:
    """Insert the rows, and return whether the table accepted all of them."""
    complete = True
    for row in rows:
        if not is_json(row.get(JSON.get(table, ""), "0")):
            complete = False
            continue
        try:
            new.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(row)})"
                        f" VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
        except sqlite3.IntegrityError:
            complete = False  # a flipped bit made it another type
    return complete
