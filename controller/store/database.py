"""One SQLite file that several processes use at once, and the sentences for all it can refuse.

Rule 1: every failure is JournalUnavailable with what happened, to which file, and what to do now.
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
    """A connection that knows its file, and opens it again when another took its place."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._version = -1
        self._closed = False

    @property
    def in_memory(self) -> bool:
        """Return whether it is forgotten with the process."""
        return self.path == MEMORY

    def open(self) -> None:
        """Open the file, making it with mode 0600 where there is none."""
        with self._told():
            if not self.in_memory:
                _create_private(Path(self.path))
            self._connect()
        self.changed()

    def close(self) -> None:
        """Let go of the file; harmless when done twice."""
        self._closed = True
        self._disconnect()

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return every row that `sql` selects."""
        with self._told():
            return self._live().execute(sql, values).fetchall()

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """Hold one transaction: all of it happens or none.

        Shapes: durable means that it is on the disk, power cut or not, when this returns;
        otherwise the last seconds may be lost, never torn.
        """
        with self._told():
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
        """Return whether another process has written since this was last asked."""
        (version,), = self.read("PRAGMA data_version")
        before, self._version = self._version, version
        return bool(before != version)

    def _live(self) -> sqlite3.Connection:
        """Return the connection to the file that is at our path now."""
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
        """Connect to the existing file and set what every connection needs."""
        file = self.path if self.in_memory else f"{Path(self.path).absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(file, uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            _keep_a_log(connection)
            connection.execute("PRAGMA journal_size_limit=16777216")
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        self._identity = None if self.in_memory else _identity(self.path)
        self._version = -1
        return connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite and the file system say into a sentence."""
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
        """Return what `error` means here, and what to do now."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN and not os.access(Path(self.path).parent, os.W_OK):
            code = sqlite3.SQLITE_READONLY
        what, now = SENTENCES.get(code, (str(error), "see the text for the cause"))
        return f"the journal {self.path} cannot be used: {what}; nothing is done without it: {now}"


class Damaged(JournalUnavailable):
    """The file's content is broken, as opposed to full, locked or forbidden."""


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether `error` says that the content itself is broken."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in CORRUPT


def _create_private(path: Path) -> None:
    """Make the folder (0700) and the file (0600) where they are missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _identity(path: str) -> tuple[int, int]:
    """Return what tells this file from another one at the same path.

    Errors: FileNotFoundError when nothing is there.
    """
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; SQLite itself waits for nobody who is switching just now.

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


class Shelf:
    """One concept's place in the store; the store itself is all of them together."""

    def __init__(self, database: Database) -> None:
        self._database = database
