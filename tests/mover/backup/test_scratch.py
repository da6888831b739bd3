"""Scratch space for a guest's writes during a copy: reserved, shared, watched."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover.backup import scratch, watchdog
from mover.backup.backup_job import Job, disconnect_clients
from mover.errors import TryAgain

from tests.ending import kill_all

UUID, OTHER = "ac919846-041c-5282-aa02-f968f5a26f2d", "bc919846-041c-5282-aa02-f968f5a26f2d"
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ledger lies."""
    monkeypatch.setattr(scratch, "FOLDER", str(tmp_path / "run"))
    return tmp_path


@pytest.fixture
def free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes are free on the scratch's disk, to be changed."""
    found = [100 * GIB]
    monkeypatch.setattr(scratch, "free_for", lambda paths: scratch.FreeSpace(found[0], 7))
    monkeypatch.setattr(watchdog, "free_for", lambda paths: scratch.FreeSpace(found[0], 7))
    return found


def room(folder: Path, uuid: str = UUID, written: int | None = None,
         wanted: int | None = None) -> scratch.Room:
    """Claim room for a disk of 400 GiB."""
    return scratch.claim_room(uuid, [str(folder / f"{uuid}.qcow2")], [400 * GIB], wanted, written)


def test_copies_beside_each_other_do_not_count_on_the_same_room(folder: Path,
                                                               free: list[int]) -> None:
    budgets = [room(folder, uuid).budget_bytes for uuid in ("a", "b", "c", "d")]
    assert sum(budgets) < free[0]
    assert budgets == sorted(budgets, reverse=True)


def test_what_a_job_has_gathered_is_no_longer_claimed(folder: Path, free: list[int]) -> None:
    first = room(folder, OTHER, wanted=60 * GIB).budget_bytes
    (folder / f"{OTHER}.qcow2").touch()
    with (folder / f"{OTHER}.qcow2").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 8 * MIB)
    spare = free[0] - first - scratch.LEAST_FREE * 2
    assert room(folder).budget_bytes == (spare + 8 * MIB) // 2


def test_a_claim_ends_with_who_held_it(folder: Path, free: list[int]) -> None:
    held = room(folder, OTHER)
    less = room(folder)
    os.close(less.claim)
    os.close(held.claim)
    assert room(folder).budget_bytes == held.budget_bytes > less.budget_bytes


def test_no_job_begins_where_the_guest_could_fill_the_rest_before_it_is_ended(
        folder: Path, free: list[int]) -> None:
    free[0] = 34 * MIB
    with pytest.raises(TryAgain, match="has 34 MiB left, of which 128 MiB stay free"):
        room(folder)


@pytest.mark.parametrize("fast", [10 * MIB, 200 * MIB, 2 * GIB])
def test_what_stays_free_follows_how_fast_the_guest_writes(
        folder: Path, free: list[int], monkeypatch: pytest.MonkeyPatch, fast: int) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    os.close(room(folder, written=5).claim)
    now[0] += 300
    found = room(folder, written=5 + 300 * fast)
    assert found.reserve_bytes >= fast * scratch.END_S
    os.close(found.claim)
    scratch.note(UUID, 8.0 * fast, None)
    now[0] += 300
    assert room(folder, written=6 + 300 * fast).reserve_bytes >= 8 * fast * scratch.END_S


def test_after_a_scratch_that_filled_up_the_guest_has_peace(
        folder: Path, free: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    os.close(room(folder).claim)
    now, waits = [1000.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(8):
        scratch.note(UUID, 0, 30 * GIB)     # of the 50 that it may have
        begun_at = now[0]
        with pytest.raises(TryAgain, match="found no more room at 30720 MiB: for the guest's sake"):
            room(folder)
        while True:
            now[0] += 60
            try:
                os.close(room(folder).claim)
            except TryAgain:
                continue
            break
        waits.append(now[0] - begun_at)
    assert waits[:3] == [900, 1800, 3600]
    assert waits[-1] == scratch.BACK_OFF_MOST_S
    scratch.note(UUID, 0, 30 * GIB)
    free[0] = 500 * GIB         # somebody made room
    os.close(room(folder).claim)
    free[0] = 100 * GIB
    scratch.note(UUID, 0, None)     # and one went well
    os.close(room(folder).claim)


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_torn_note_is_none(folder: Path, free: list[int], text: str) -> None:
    os.close(room(folder).claim)
    (folder / f"run/scratch-{UUID}.json").write_text(text)
    assert room(folder).rate_bytes_per_s == scratch.FIRST_BYTES_PER_S


def test_what_a_guest_has_written_is_summed_over_its_disks() -> None:
    assert scratch.written_bytes("Domain: 'a'\n  block.0.name=vda\n  block.0.wr.bytes=7\n"
                                 "  block.1.wr.bytes=5\n  block.1.wr.reqs=9\n") == 12
    assert scratch.written_bytes("") is None


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A real file system of 200 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_job_is_ended_while_there_is_still_room_to_end_it(small_disk: Path) -> None:
    """A guest that overwrites 200 MB/s would fill all of it before a watch that looks each second.
    """
    path = small_disk / "s.qcow2"
    path.touch()
    reading, writing = os.pipe()
    os.write(writing, b"begun\n")
    ended = threading.Event()

    def overwrite() -> None:
        with path.open("ab", buffering=0) as file:
            while not ended.is_set():
                file.write(b"o" * 2_000_000)
                time.sleep(0.01)

    found = scratch.claim_room(UUID, [str(path)], [40 * GIB], None)
    one = watchdog.ScratchWatch(Job(UUID, "/s", [str(path)]), watchdog.JobLimits(
        600, found.budget_bytes, found.reserve_bytes, found.rate_bytes_per_s))
    guest = threading.Thread(target=overwrite)
    guest.start()
    try:
        verdict = watchdog._watch(one, reading)
        left = scratch.free_for([str(path)]).free_bytes
    finally:
        ended.set()
        guest.join()
        os.close(reading)
        os.close(writing)
        os.close(found.claim)
    assert verdict.short_bytes is not None
    assert left > found.reserve_bytes / 2, "the rest is for the guest while its job is ended"


def watching(path: Path, **limits: float) -> watchdog.ScratchWatch:
    """A watch of a scratch file."""
    return watchdog.ScratchWatch(Job(UUID, "/nowhere", [str(path)]),
                      watchdog.JobLimits(**{"until_s": 60, "scratch_bytes": GIB, **limits}))


def test_the_watchdog_ends_what_nobody_conducts_and_what_fills_up(folder: Path) -> None:
    path = folder / "scratch"
    path.write_bytes(b"x" * MIB)
    reading, writing = os.pipe()
    full = watchdog._watch(watching(path, scratch_bytes=MIB), reading)
    assert ("the scratch holds 1 MiB" in full.reason, full.short_bytes) == (True, MIB)
    assert watchdog._watch(watching(path, until_s=0), reading) == ("its time is up", True, None)
    os.write(writing, b"begun\n")
    assert "MiB left" in watchdog._watch(watching(path, reserve_bytes=1 << 62), reading).reason
    os.close(writing)
    assert watchdog._watch(watching(path), reading) == ("nobody conducts it any more", True, None)
    os.close(reading)


def test_a_watchdog_that_cannot_measure_ends_the_job(folder: Path) -> None:
    (folder / "gone").mkdir()
    one = watching(folder / "gone" / "scratch")
    (folder / "gone").rmdir()
    reading, writing = os.pipe()
    assert "cannot be watched" in watchdog._wait_for_end(one, reading).reason
    os.close(reading)
    os.close(writing)


def test_the_watchdog_holds_the_claim_until_the_job_is_ended(
        folder: Path, free: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "end_stubbornly",
                        lambda job, limit_s, patience_s: {"was": "ended", "incident": ""})
    found = room(folder, OTHER)
    limits = watchdog.JobLimits(60, found.budget_bytes)
    one = watchdog.Watchdog(Job(OTHER, "/s", [str(folder / "s")]), limits)
    os.close(found.claim)
    less = room(folder)
    os.close(less.claim)
    assert less.budget_bytes < found.budget_bytes
    one.tell("end")
    assert one.ended() is not None
    assert json.loads((folder / f"run/scratch-{OTHER}.json").read_text())["peak"] == 0


def test_a_stranger_who_reads_the_job_does_not_keep_it_open(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mover.backup import backup_job

    monkeypatch.setattr(backup_job, "STRANGER_S", 0.2)
    script = ("import socket, sys, time\nheld = socket.socket(socket.AF_UNIX)\n"
              "held.bind(sys.argv[1]); held.listen()\nother = socket.socket(socket.AF_UNIX)\n"
              "other.connect(sys.argv[1]); taken = held.accept()\n"
              "sys.stdout.write('there\\n'); sys.stdout.flush()\n"
              "time.sleep(600)\n")
    path = str(folder / "hotsite.sock")
    with subprocess.Popen(["python3", "-c", script, path], stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"there\n"
        assert disconnect_clients(path, "0" * 8, 0.1) is True
        kill_all([stranger.pid])
