"""A journal of each earlier version, opened and put back; and a copy made beside a running loop."""

import sqlite3
import stat
from pathlib import Path

import pytest

from controller.errors import JournalUnavailable
from controller.plan.actions.action import Cause
from controller.plan.survey.context import Suspension
from controller.store.backup.backup import back_up, put_back
from controller.store.schema import STEPS
from controller.store.store import Store

EARLIER = Path(__file__).parent / "earlier"
"""Dumps of journals as the commits that brought each version wrote them."""
VERSIONS = range(1, len(STEPS) + 1)


def journal_of(version: int, path: Path) -> Path:
    """Make the journal of an earlier hotsite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript((EARLIER / f"{version}.sql").read_text())
    connection.close()
    return path


def version_of(path: Path) -> int:
    """Return the version of a file."""
    connection = sqlite3.connect(path)
    (found,), = connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    return int(found)


def test_there_is_a_journal_of_each_version() -> None:
    assert sorted(int(path.stem) for path in EARLIER.glob("*.sql")) == [*VERSIONS]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_journal_of_an_earlier_version_goes_on(version: int, tmp_path: Path) -> None:
    path = journal_of(version, tmp_path / "state.db")
    with Store.open(path, exclusive=True) as store:
        assert store.damaged is None
        assert [(one.target, one.by) for one in store.suspensions(0.0)] == [("Host/paris-1", "ann")]
        assert [one.action_id for one in store.approvals(0.0)] == [
            "start:VirtualMachine/sql@paris-1"]
        assert [one.node for one in store.open_intents()] == ["paris-1"]
        assert list(store.seen()) == ["paris-1"]
        assert len(store.events(10)) == 1
        assert store.failovers(0.0) == () or version >= 8
        store.intend("a", "start", "VirtualMachine/sql", "paris-1", "r", "w", 1.0, Cause.DRIFT, 7)
    assert version_of(path) == len(STEPS)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_copy_of_an_earlier_version_is_put_back_without_what_is_spent(
        version: int, tmp_path: Path) -> None:
    copy = journal_of(version, tmp_path / "copy.db")
    before = copy.read_bytes()
    assert put_back(copy, tmp_path / "state" / "state.db") is None
    assert copy.read_bytes() == before
    with Store.open(tmp_path / "state" / "state.db", exclusive=True) as store:
        assert [one.target for one in store.suspensions(0.0)] == ["Host/paris-1"]
        assert len(store.open_intents()) == 1
        assert (store.approvals(0.0), store.requests(), store.failovers(0.0),
                store.confirmations(0.0), store.status()) == ((), (), (), (), None)


def test_a_copy_is_made_while_a_loop_holds_the_journal(tmp_path: Path) -> None:
    journal, copy = tmp_path / "state" / "state.db", tmp_path / "copy.db"
    with Store.open(journal, exclusive=True) as store:
        store.suspend(Suspension("Host/paris-1", "ann", "new disks", 9e9))
        back_up(journal, copy)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with pytest.raises(JournalUnavailable, match="exists already"):
            back_up(journal, copy)
        with pytest.raises(JournalUnavailable, match="another hotsite"):
            put_back(copy, journal)
        store.resume("Host/paris-1")
    aside = put_back(copy, journal)
    assert aside is not None
    with Store.open(journal) as store, Store.open(aside) as before:
        assert [one.target for one in store.suspensions(0.0)] == ["Host/paris-1"]
        assert before.suspensions(0.0) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "state"]


def damaged(path: Path) -> None:
    """Write a file that is no journal any more."""
    journal_of(9, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"x" * 8192 + whole[12288:])


def newer(path: Path) -> None:
    """Write the journal of a newer hotsite."""
    journal_of(9, path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={len(STEPS) + 1}")
    connection.close()


@pytest.mark.parametrize(("spoil", "sentence"), [
    (lambda path: path.write_bytes(b""), "is empty"),
    (lambda path: path.write_text("hello " * 1000), "no journal of hotsite"),
    (lambda path: sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close(),
     "another program's database"),
    (damaged, "damaged|malformed"), (newer, "was written by a newer hotsite"),
], ids=["empty", "text", "foreign", "damaged", "newer"])
def test_what_is_no_journal_of_ours_changes_nothing(tmp_path: Path, spoil: object, sentence: str
                                                    ) -> None:
    copy, journal = tmp_path / "copy.db", tmp_path / "state" / "state.db"
    assert callable(spoil)
    spoil(copy)
    with Store.open(journal) as store:
        store.suspend(Suspension("Host/paris-1", "ann", "new disks", 9e9))
    with pytest.raises(JournalUnavailable, match=sentence):
        put_back(copy, journal)
    with Store.open(journal) as store:
        assert len(store.suspensions(0.0)) == 1
    assert not [path for path in journal.parent.iterdir() if ".part" in path.name]
