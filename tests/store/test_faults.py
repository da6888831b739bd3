"""A journal that cannot be written is reported, and nothing in it is lost or torn."""

import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.errors import JournalUnavailable
from controller.plan.survey.context import Suspension
from controller.store import database
from controller.store.journal import Outcome
from controller.store.store import Store, set_aside

ROOT = Path(__file__).parent.parent.parent
PROBE = shutil.which("mount") is not None and subprocess.run(
    ["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
WRITER = """
import sys
from controller.store import database
from controller.store.journal import Outcome
from controller.store.store import Store
database.BUSY_S = 60.0      # on a busy machine one of several writers may wait for long
store = Store.open(sys.argv[1])
for number in range(int(sys.argv[2])):
    intent = store.intend(f"a-{sys.argv[3]}-{number}", "start-domain", "VirtualMachine/sql",
                          "paris-1", "abc", "it is off " * 50, float(number))
    sys.stdout.write(f"begun {intent}\\n")
    sys.stdout.flush()
    if number % 2:
        store.conclude(intent, Outcome.DONE, "it runs", float(number))
        sys.stdout.write(f"ended {intent}\\n")
        sys.stdout.flush()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    if not PROBE:
        pytest.skip("needs root to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def writer(path: Path, count: int, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", WRITER, path, str(count), name], cwd=ROOT,
                            stdout=subprocess.PIPE, text=True)


def begin(store: Store, reason: str = "it is off") -> int:
    return store.intend("start", "start-domain", "VirtualMachine/sql", "paris-1", "abc", reason,
                        1.0)


def fill(store: Store, written: list[int]) -> None:
    """Write intents until that fails."""
    written.extend(begin(store, "it is off " * 400) for _ in range(1000))


def fill_by_many_runs(path: Path) -> None:
    """Start, write one intent and stop, until that fails."""
    for _ in range(1000):
        with Store.open(path, exclusive=True) as store:
            begin(store, "it is off " * 400)


def test_a_full_disk_refuses_the_intent_and_is_usable_again_when_there_is_room(
        small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with Store.open(small_disk / "state.db") as store:
        written = [begin(store)]
        ballast.write_bytes(b"x" * (700 << 10))
        with pytest.raises(JournalUnavailable, match=r"the disk is full.*free some space"):
            fill(store, written)
        before = store.open_intents()
        assert [intent.id for intent in before] == written, "what was refused left no trace"
        ballast.unlink()
        begin(store)
        assert len(store.open_intents()) == len(before) + 1


def test_a_full_disk_never_moves_the_journal_aside(small_disk: Path) -> None:
    with Store.open(small_disk / "state.db") as store:
        begin(store)
    (small_disk / "ballast").write_bytes(b"x" * (820 << 10))
    with pytest.raises(JournalUnavailable):
        fill_by_many_runs(small_disk / "state.db")
    (small_disk / "ballast").unlink()
    assert not list(small_disk.glob("*damaged*"))
    with Store.open(small_disk / "state.db", exclusive=True) as store:
        assert store.damaged is None
        assert store.open_intents()


def test_a_file_size_limit_reads_as_a_sentence_too(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Store.open(tmp_path / "state.db") as store:
        begin(store)
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 << 10, before[1]))
        try:
            with pytest.raises(JournalUnavailable, match=r"state\.db cannot be used: the disk"):
                fill(store, [])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        begin(store)


def test_a_read_only_file_system_refuses_to_open_and_is_left_alone(small_disk: Path) -> None:
    with Store.open(small_disk / "state.db") as store:
        begin(store)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(JournalUnavailable, match=r"it is read-only.*make the file and its folder"):
        Store.open(small_disk / "state.db")
    with pytest.raises(JournalUnavailable, match="Read-only file system"):
        Store.open(small_disk / "state.db", exclusive=True)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    with Store.open(small_disk / "state.db", exclusive=True) as store:
        assert (store.damaged, len(store.open_intents())) == (None, 1)


def test_a_vanished_folder_refuses_until_it_is_back(tmp_path: Path) -> None:
    folder, away = tmp_path / "state", tmp_path / "away"
    with Store.open(folder / "state.db") as store:
        begin(store)
        folder.rename(away)
        with pytest.raises(JournalUnavailable, match=r"state\.db cannot be used: No such file"):
            begin(store)
        with pytest.raises(JournalUnavailable):
            store.suspensions(0.0)
        assert not folder.exists(), "a journal without its history is not begun by itself"
        away.rename(folder)
        begin(store)
        assert len(store.open_intents()) == 2


def test_a_file_that_took_the_place_of_ours_is_the_one_that_is_used(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state.db") as store:
        begin(store)
        with Store.open(tmp_path / "other.db") as other:
            other.suspend(Suspension("Host/paris-1", "ann", "new RAM", 9.0))
        set_aside(tmp_path / "state.db")
        (tmp_path / "other.db").rename(tmp_path / "state.db")
        assert [s.by for s in store.suspensions(0.0)] == ["ann"]
        assert store.changed()


def test_a_process_that_holds_the_file_too_long_is_named_as_the_cause(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    with Store.open(tmp_path / "state.db") as store:
        hog = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        hog.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match="another process holds it"):
            begin(store)
        assert store.events(9) == (), "reading goes on meanwhile"
        hog.execute("ROLLBACK")
        hog.close()
        begin(store)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 99,
                                     b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_journal_is_moved_aside_and_a_new_one_begun_loudly(
        tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with Store.open(path) as store:
        assert store.damaged is not None
        assert "state.db.damaged-1; a new one was begun" in store.damaged
        assert [row.sentence for row in store.events(9)] == [store.damaged]
        begin(store)
    assert (tmp_path / "state.db.damaged-1").read_bytes() == content


def test_damage_in_the_middle_is_found_by_the_next_loop(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Store.open(path) as store:
        for _ in range(200):
            begin(store, "it is off " * 100)
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xa5" * (len(content) - 12288)
    path.write_bytes(content)
    with Store.open(path, exclusive=True) as store:
        assert store.damaged is not None
        assert store.open_intents() == ()
    assert (tmp_path / "state.db.damaged-1").exists()


def test_damage_under_a_running_loop_is_reported_and_left_for_its_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Store.open(path, exclusive=True):
        for part in tmp_path.glob("state.db-*"):
            part.unlink()
        path.write_bytes(b"scribble" * 4096)
        with pytest.raises(JournalUnavailable, match="restart `hotsite run`"):
            Store.open(path)
        assert not list(tmp_path.glob("*damaged*"))


def test_another_programs_database_is_not_taken_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as foreign:
        foreign.execute("CREATE TABLE customers (name TEXT)")
    foreign.close()
    with pytest.raises(JournalUnavailable, match="another program's database"):
        Store.open(tmp_path / "state.db", exclusive=True)
    assert not list(tmp_path.glob("*damaged*"))


def test_a_journal_of_a_newer_version_is_not_written_to(tmp_path: Path) -> None:
    Store.open(tmp_path / "state.db").close()
    with sqlite3.connect(tmp_path / "state.db") as newer:
        newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(JournalUnavailable, match="newer hotsite"):
        Store.open(tmp_path / "state.db")


def told(process: "subprocess.Popen[str]") -> tuple[set[int], set[int]]:
    """Every intent that a writer said it had begun, and had concluded."""
    assert process.stdout is not None
    lines = [line.split() for line in process.stdout.read().splitlines()]
    process.stdout.close()
    return ({int(number) for word, number in lines if word == "begun"},
            {int(number) for word, number in lines if word == "ended"})


@pytest.mark.parametrize("lines", [1, 7, 40, 133])
def test_a_killed_writer_leaves_no_torn_and_no_lost_intents(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "state.db"
    process = writer(path, 100_000, "x")
    assert process.stdout is not None
    early = {int(process.stdout.readline().split()[1]) for _ in range(lines)}
    process.kill()
    begun, ended = told(process)
    process.wait()
    with Store.open(path, exclusive=True) as store:
        assert store.damaged is None
        rows = store.events(1_000_000)
        intents = {row.id for row in rows if row.kind == "intent"}
        concluded = {row.intent for row in rows if row.kind == "outcome"}
        assert begun | early <= intents
        assert ended <= concluded
        assert {intent.id for intent in store.open_intents()} == intents - concluded


def test_writers_in_several_processes_and_threads_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    processes = [writer(path, 60, name) for name in "abcd"]
    with ThreadPoolExecutor() as pool:
        spoken = list(pool.map(told, processes))
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    with Store.open(path) as store:
        rows = store.events(10_000)
        assert sum(row.kind == "intent" for row in rows) == 240
        assert {row.id for row in rows if row.kind == "intent"} == set().union(
            *(begun for begun, _ in spoken))
        assert sum(row.outcome == Outcome.DONE for row in rows) == 120
        assert len(store.open_intents()) == 120


def test_opening_at_the_same_time_is_harmless(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 60.0)

    def open_and_write(number: int) -> None:
        with Store.open(tmp_path / "state.db") as store:
            store.note("observed", "Host/paris-1", str(number), float(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_write, range(40)))
    with Store.open(tmp_path / "state.db") as store:
        assert len(store.events(99)) == 40
