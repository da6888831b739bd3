"""
The store: everything that must survive a restart, as tables in one SQLite file.

    table          written                         lost without it
    events         intents, outcomes, notes        the history, how often something was repaired
    open_intents   with each intent                what was in flight at a crash
    suspensions    `suspend`, `resume`             somebody's "hands off"
    approvals      `approve`; used up by an intent a yes, which is asked for again
    requests       `replica copy` and its kind     a person's request
    failovers      `failover`, `failback`          a person's order, until a record of it is written
    confirmations  `confirm-fenced`                a person's word that a host is off
    failed_moves   with the outcome of a move      a move is tried some times more
    undone         with an outcome                 "not again": the same node is cut off once more
    memories       after each plan                 that a VM ever ran; since when removals wait
    seen           when a node's facts change      where VMs ran: all must answer before a creation
    applied        when the estate is as declared  the difference between drift and a new commit
    conditions     what changed since the last     since when something is as it is
    status         every 10s, after each plan      since when no controller looked
    progress       while a copy runs               how far it was
    samples        each minute                     how busy hosts were, in charts
    receivers      when somebody is told           who knows what: it is told once more
    break_glass    `apply --break-glass`, its end  git is in force again, by the ordinary gates
    declared       with each revision              nothing: it is written for readers
    changes        by triggers, with all of these  nothing: it numbers what readers read next

Specs and live facts are not in it: specs are read from their source, facts from the nodes, both
anew at each start. A wiped store leaves the estate understood, since our marks are on the domains
themselves; what is lost then is in the right column, above all the pauses.

Who writes: one loop or `apply` per folder, under a lock that dies with its process; the verbs
(`suspend`, `approve`, `replica copy`, …) at any time beside it, each in one transaction. The loop
asks twice a second whether another process wrote. Reading never waits for writing (write-ahead
log), and writing waits 2s for another writer at most.

Durable: whatever an action or a person relies on is on the disk before the call returns: intents,
outcomes, pauses, approvals, changed facts. Notes, conditions and the heartbeat may lose their last
seconds to a power cut. No write is ever half there.

A file that is full, locked or read-only is left as it is: nothing is begun until it can be written.
A damaged file is moved aside, loudly, and a new one begins with all that can still be read. Where
a table that holds somebody back could not be read whole, the estate is suspended (see salvage.py).
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.errors import JournalUnavailable
from controller.store.applied import AppliedRevision
from controller.store.conditions import Conditions
from controller.store.database import MEMORY, Damaged, Database, Table
from controller.store.for_readers.changes import Changes
from controller.store.for_readers.declared import DeclaredDocuments
from controller.store.for_readers.samples import Samples
from controller.store.for_readers.status import Heartbeat, ProgressReports
from controller.store.journal import Journal
from controller.store.lock import FolderLock
from controller.store.memory import Memories
from controller.store.operator import (
    Approvals,
    BreakGlassTable,
    Failovers,
    Requests,
    Suspensions,
)
from controller.store.receivers import Receivers
from controller.store.renames import Renames
from controller.store.salvage import Salvaged, salvage
from controller.store.schema import JSON, migrate
from controller.store.seen import LastSeen
from controller.store.undone import UndoneChanges

PARTS = ("-wal", "-shm", "")
"""The database itself last: a log must never be found beside a file that is not its own."""


class Store(Journal, Suspensions, Approvals, Requests, Failovers, BreakGlassTable, UndoneChanges,
            Conditions, AppliedRevision, LastSeen, Memories, Renames, Heartbeat, ProgressReports,
            DeclaredDocuments, Samples, Receivers, Changes, Table):
    """All tables. Every method raises JournalUnavailable when the file cannot be used."""

    def __init__(self, database: Database, lock: FolderLock | None, damaged: str | None) -> None:
        super().__init__(database)
        self._lock = lock
        self.damaged = damaged
        """A sentence, when the file was found damaged and a new one was begun."""

    @classmethod
    def open(cls, path: Path | str, *, exclusive: bool = False) -> Self:
        """Open the store in the file `path`; `:memory:` ends with the process.

        Shapes: exclusive is for a process that acts on the estate: one at a time, and the file is
        checked from end to end first. Others read and write beside it.
        Errors: JournalUnavailable; nothing was changed.
        """
        if str(path) == MEMORY:
            return cls(_opened(Database(MEMORY), thorough=False), None, None)
        path = Path(path)
        lock = FolderLock(path.with_name(path.name + ".lock"))
        if exclusive:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise JournalUnavailable(
                    f"the state folder {path.parent} cannot be created: {error.strerror}; "
                    "name another one with --state") from error
            lock.take()
        try:
            return cls._open_file(path, lock if exclusive else None)
        except JournalUnavailable:
            lock.release()
            raise

    @classmethod
    def _open_file(cls, path: Path, lock: FolderLock | None) -> Self:
        """Open the file; where its content is broken, open a new one in its place."""
        try:
            return cls(_opened(Database(path), thorough=lock is not None), lock, None)
        except Damaged:
            own = lock or FolderLock(path.with_name(path.name + ".lock"))
            if lock is None and not own.try_take():
                raise
        try:
            aside, at = set_aside(path)
            database = _opened(Database(path), thorough=False)
            sentence = _sentence(path, aside, salvage(aside, database, at))
            store = cls(database, lock, sentence)
            store.note("journal", "Store/journal", sentence, at)
            return store
        finally:
            if lock is None:
                own.release()

    def rename(self, now: Mapping[str, str], nodes: Mapping[str, str]) -> bool:
        """Rename objects in every table; caches of those tables are read anew."""
        found = super().rename(now, nodes)
        if found:
            self._last = None
            self._digests.clear()
        return found

    def changed(self) -> bool:
        """Return whether another process has written since the last call; costs nothing."""
        return self._database.changed()

    def close(self) -> None:
        """Close the file and release the lock; harmless when done twice."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def set_aside(path: Path) -> tuple[Path, float]:
    """Rename a damaged file and its logs; return its new name and when it was last changed."""
    at = path.stat().st_mtime
    taken = {other.name for other in path.parent.iterdir()}
    number = next(n for n in range(1, 10_000) if f"{path.name}.damaged-{n}" not in taken)
    aside = path.with_name(f"{path.name}.damaged-{number}")
    for suffix in PARTS:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside, at


def _sentence(path: Path, aside: Path, found: Salvaged) -> str:
    """Return what was done about a damaged journal, as a sentence."""
    begun = f"the journal {path} was damaged and is now {aside.name}; a new one was begun"
    if found.holds_back:
        return (f"{begun}, and not all of the old one could be read: the estate is suspended; set"
                " the pauses that still matter again, then `hotsite resume` the estate")
    if found.torn:
        return f"{begun} with its pauses and all that was last seen; some older events are lost"
    return f"{begun} with all of its content"


def _opened(database: Database, *, thorough: bool) -> Database:
    """Open, check and migrate; where any of it fails, the connection is closed again."""
    try:
        database.open()
        if thorough:
            _check(database)
        migrate(database)
    except JournalUnavailable:
        database.close()
        raise
    return database


def _check(database: Database) -> None:
    """Read the file from end to end.

    Errors: Damaged, with SQLite's first complaint or the table whose JSON is broken.
    """
    (verdict,), = database.read("PRAGMA quick_check(1)")
    there = {name for name, in database.read("SELECT name FROM sqlite_schema")}
    for table, column in JSON.items() if verdict == "ok" else ():
        if table in there and database.read(
                f"SELECT 1 FROM {table} WHERE NOT json_valid({column}) LIMIT 1"):
            verdict = f"the table {table} holds broken JSON"
    if verdict != "ok":
        raise Damaged(f"the journal {database.path} is damaged: {verdict}; "
                      "nothing is done without it: restart `hotsite run`, which moves it aside")
