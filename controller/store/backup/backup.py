"""A copy of the journal as one file, made while a loop goes on, and put back as the journal.

What a person allowed, ordered or vouched for may have been used up, or have become untrue, since
the copy was made: a yes would count twice, a host that is said to be off may run. So it is not put
back: approvals, requests, orders of failovers, confirmations, a break-glass. Pauses are: they only
hold back. What was in flight is looked at, as after a crash. The heartbeat is the dead loop's, and
goes, too.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from controller.errors import JournalUnavailable
from controller.store.database import Database
from controller.store.lock import FolderLock
from controller.store.schema import migrate

SPENT: Final = ("approvals", "requests", "failovers", "confirmations", "break_glass", "status")
PARTS: Final = ("", "-wal", "-shm")


def back_up(journal: Path, target: Path) -> None:
    """Write a copy of the journal to a new file that only its owner may read.

    Errors: JournalUnavailable: there is no journal, or the file exists or cannot be written.
    """
    if not journal.exists():
        raise JournalUnavailable(f"there is no journal {journal}: name the state folder with"
                                 " --state")
    part = target.with_name(target.name + ".part")
    try:
        if target.exists():
            raise JournalUnavailable(f"{target} exists already: name another file")
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _copy(journal, part)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise JournalUnavailable(f"no copy of {journal} was made at {target}: {error}; the journal"
                                 " itself is as it was") from error
    finally:
        part.unlink(missing_ok=True)


def _copy(journal: Path, part: Path) -> None:
    source = sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(part)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()
        source.close()


def put_back(copy: Path, journal: Path) -> Path | None:
    """Make a copy the journal; return where the one that was there lies now, if there was one.

    Errors: JournalUnavailable: a loop uses the folder, or the copy is none, is damaged, or is a
    newer hotsite's. Nothing was changed then.
    """
    if not copy.is_file():
        raise JournalUnavailable(f"there is no file {copy}: name one that `hotsite save-state` has"
                                 " written")
    try:
        journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalUnavailable(f"the state folder {journal.parent} cannot be created:"
                                 f" {error.strerror}") from error
    lock = FolderLock(journal.with_name(journal.name + ".lock"))
    lock.take()
    part = journal.with_name(journal.name + ".part")
    try:
        for suffix in PARTS:
            Path(f"{part}{suffix}").unlink(missing_ok=True)
        _prepare(copy, part)
        aside = _set_aside(journal)
        part.rename(journal)
        _sync(journal.parent)
        return aside
    except (OSError, sqlite3.Error) as error:
        raise JournalUnavailable(f"{copy} was not put back: {error}; it is no journal of hotsite,"
                                 " or its disk is full") from error
    finally:
        for suffix in PARTS:
            Path(f"{part}{suffix}").unlink(missing_ok=True)
        lock.release()


def _prepare(copy: Path, part: Path) -> None:
    """Write the copy beside the journal, check it, bring it up to date, and take out what is spent.
    """
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    _copy(copy, part)
    database = Database(part)
    try:
        database.open()
        (verdict,), = database.read("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise JournalUnavailable(f"{copy} is damaged ({verdict}) and was not put back")
        if not database.read("SELECT 1 FROM sqlite_schema LIMIT 1"):
            raise JournalUnavailable(f"{copy} is empty and was not put back")
        migrate(database)
        with database.write(durable=True) as connection:
            for table in SPENT:
                connection.execute(f"DELETE FROM {table}")
        database.read("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()
    _sync(part)


def _set_aside(journal: Path) -> Path | None:
    """Rename the journal that is there, with its logs; nothing of it is lost."""
    if not journal.exists():
        return None
    taken = {other.name for other in journal.parent.iterdir()}
    number = next(n for n in range(1, 10_000) if f"{journal.name}.replaced-{n}" not in taken)
    aside = journal.with_name(f"{journal.name}.replaced-{number}")
    for suffix in PARTS[1:] + PARTS[:1]:    # a log is never found beside a file not its own
        part = Path(f"{journal}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    return aside


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
