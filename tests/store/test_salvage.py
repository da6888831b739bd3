"""A damaged journal is salvaged as far as possible, and holds all actions if that is not all."""

import sqlite3
from pathlib import Path

import pytest

from controller.plan.survey.context import WHOLE_ESTATE, Suspension
from controller.store.store import Store

PAGE = 4096
FOREVER = 9e12
PAUSES = tuple(Suspension(f"Host/h{n:03}", "ann", f"fire in room {n}: hands off", FOREVER)
               for n in range(200))
"""More than one page of them, so that a part of the table can be lost."""


def written(path: Path) -> bytes:
    """A journal with every table in use, as its one file."""
    with Store.open(path, exclusive=True) as store:
        for pause in PAUSES:
            store.suspend(pause)
        for number in range(60):
            store.save_seen(f"paris-{number}", '{"facts": "%s"}' % ("x" * 300), 1.0)
        store.save_applied("abc", {f"VirtualMachine/v{n}": "f" * 16 for n in range(300)}, 1.0)
        for number in range(40):
            store.note("x", "T/x", "y" * 200, float(number))
        store.intend("start", "start", "VirtualMachine/sql", "paris-1", "abc", "it is off", 1.0)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_no_pause_is_lost_without_another_in_its_place(tmp_path: Path, fill: bytes) -> None:
    whole = written(tmp_path / "state.db")
    kept = held = 0
    for page in range(len(whole) // PAGE):
        path = tmp_path / f"{page}" / "state.db"
        path.parent.mkdir()
        path.write_bytes(whole[:page * PAGE] + fill * PAGE + whole[(page + 1) * PAGE:])
        with Store.open(path, exclusive=True) as store:
            pauses = {one.target: one for one in store.suspensions(1.0)}
            applied, seen = store.applied(), store.seen()
            everything = (all(pauses.get(one.target) == one for one in PAUSES)
                          and applied is not None and len(applied.fingerprints) == 300
                          and len(seen) == 60 and len(store.open_intents()) == 1)
            assert everything or WHOLE_ESTATE in pauses, f"page {page}"
            assert (store.damaged is not None) or everything
            held += WHOLE_ESTATE in pauses
            kept += everything
    assert kept, "no page could be lost without harm: nothing was salvaged"
    assert held, "no page mattered: nothing was looked at"


def test_a_torn_table_keeps_the_rows_around_the_hole(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    whole = written(path)
    text = PAUSES[100].why.encode()
    page = whole.index(text) // PAGE
    path.write_bytes(whole[:page * PAGE] + b"\xff" * PAGE + whole[(page + 1) * PAGE:])
    with Store.open(path, exclusive=True) as store:
        pauses = {one.target for one in store.suspensions(1.0)}
        assert store.damaged is not None
        assert "the estate is suspended" in store.damaged
    assert {PAUSES[0].target, PAUSES[-1].target, WHOLE_ESTATE} <= pauses
    assert PAUSES[100].target not in pauses


def test_the_pause_of_a_damaged_journal_lasts_until_the_estate_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all" * 999)
    with Store.open(path, exclusive=True) as store:
        pause, = store.suspensions(1.0)
        assert (pause.target, pause.by) == (WHOLE_ESTATE, "hotsite")
        assert "set the pauses that still matter again" in pause.why
    with Store.open(path, exclusive=True) as store:
        assert store.suspensions(1.0) == (pause,)
        assert not store.resume("Host/paris-1")
        assert store.resume("Estate/lab")
        assert store.suspensions(1.0) == ()


def test_a_journal_of_an_older_version_is_salvaged_too(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    written(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE requests")
        connection.execute("PRAGMA user_version=3")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole = path.read_bytes()
    page = whole.index(b"y" * 200) // PAGE
    path.write_bytes(whole[:page * PAGE] + b"\xff" * PAGE + whole[(page + 1) * PAGE:])
    with Store.open(path, exclusive=True) as store:
        assert store.suspensions(1.0) == PAUSES
        assert store.damaged is not None
        assert "some older events are lost" in store.damaged
