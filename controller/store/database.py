"""One SQLite file that several processes use at once, and a sentence for each of its errors.

Rule 1: every failure is JournalUnavailable, with what happened to which file, and what to do now.
Rule 2: a file that has been moved or deleted under us is never written to.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from controller.errors import JournalUnavailable

MEMORY: Final = ":memory:"
BUSY_S: Final = 2.0
SWITCH_S: Final = 0.01
BATCH: Final = 500
"""Names in one question: SQLite limits the number of its values."""
CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
SENTENCES: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space on its file system"),
    sqlite3.SQLITE_READONLY: ("it is read-only", "make the file and its folder writable"),
    sqlite3.SQLITE_BUSY: ("another process holds it", "wait for that process or stop it"),
    sqlite3.SQLITE_LOCKED: ("another connection holds it", "wait for it to end"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check its folder and who may write there"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check the disk and the kernel's log"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "restart `hotsite run`, which moves it aside"),
    sqlite3.SQLITE_NOTADB: ("it is no database", "restart `hotsite run`, which moves it aside"),
}


class Database:
    """A connection to one path; it connects again when another file is there."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._version = -1
        self._closed = False

    @property
    def in_memory(self) -> bool:
        """Return whether it lives in memory only, and ends with the process."""
        return self.path == MEMORY

    def open(self) -> None:
        """Open the file; a missing one is created with mode 0600."""
        with self._errors():
            if not self.in_memory:
                path = Path(self.path)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
                try:
                    if os.fstat(descriptor).st_mode & 0o077:
                        os.fchmod(descriptor, 0o600)
                finally:
                    os.close(descriptor)
            self._connect()
        self.changed()

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        self._closed = True
        self._disconnect()

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return every row that `sql` selects."""
        with self._errors():
            return self._live().execute(sql, values).fetchall()

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """Run one transaction: all of it is written, or none.

        Shapes: durable means that it is on the disk when this returns. Otherwise a power cut may
        lose the last seconds, but never half of a transaction.
        """
        with self._errors():
            connection = self._live()
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def changed(self) -> bool:
        """Return whether another process has written since the last call."""
        (version,), = self.read("PRAGMA data_version")
        before, self._version = self._version, version
        return bool(before != version)

    def _live(self) -> sqlite3.Connection:
        """Return a connection to the file that is at our path now."""
        assert not self._closed, "the store is used after it was closed"
        moved = not self.in_memory and _identity(self.path) != self._identity
        if self._connection is None or moved:
            self._disconnect()
            return self._connect()
        return self._connection

    def _disconnect(self) -> None:
        """Drop the connection; the next use makes another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> sqlite3.Connection:
        """Connect to the existing file, with the settings that every connection needs."""
        file = self.path if self.in_memory else f"{Path(self.path).absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(file, uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA journal_size_limit=16777216")
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        self._identity = None if self.in_memory else _identity(self.path)
        self._version = -1
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of SQLite and the file system into JournalUnavailable with a sentence."""
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except sqlite3.DatabaseError as error:
            raise Damaged(self._sentence(error)) if is_damage(error) else JournalUnavailable(
                self._sentence(error)) from error
        except OSError as error:
            raise JournalUnavailable(
                f"the journal {self.path} cannot be used: {error.strerror}; "
                f"nothing is done without it: check its folder") from error

    def _sentence(self, error: sqlite3.DatabaseError) -> str:
        """Return what `error` means, and what to do now."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN and not os.access(Path(self.path).parent, os.W_OK):
            code = sqlite3.SQLITE_READONLY
        what, now = SENTENCES.get(code, (str(error), "see the text for the cause"))
        return f"the journal {self.path} cannot be used: {what}; nothing is done without it: {now}"


class Damaged(JournalUnavailable):
    """The content of the file is broken, as opposed to a full, locked or forbidden file."""


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether `error` says that the content of the file is broken."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in CORRUPT


def _identity(path: str) -> tuple[int, int]:
    """Return the identity of the file that is at this path now.

    Errors: FileNotFoundError when there is none.
    """
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; SQLite does not wait by itself for another that is switching.

    Source: sqlite.org/pragma.html, journal_mode
    """
    until_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until_s:
                raise
        time.sleep(SWITCH_S)


class Table:
    """One table and its methods; the store inherits from all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows_of(self, select: str, column: str,
                 names: tuple[str, ...] | None) -> list[tuple[Any, ...]]:
        """Return the rows whose `column` is one of `names`, or all rows if that is None."""
        if names is None:
            return self._database.read(select)
        found: list[tuple[Any, ...]] = []
        for first in range(0, len(names), BATCH):
            batch = names[first:first + BATCH]
            found += self._database.read(
                f"{select} WHERE {column} IN ({', '.join('?' * len(batch))})", batch)
        return found
