"""The program that keeps a lease at a witness: what it decides, and what it makes of its file."""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

PROGRAM = Path(__file__).parent.parent.parent / "controller/remote/witness/lease.py"
WORDS = runpy.run_path(str(PROGRAM))
TTL_S, DRIFT = 15.0, 0.01


def ask(folder: Path, verb: str = "take", holder: str = "paris", **more: Any) -> dict[str, Any]:
    """Ask the program one question, in a process of its own."""
    question = {"verb": verb, "folder": str(folder), "estate": "talk", "holder": holder,
                "ttl_s": TTL_S, "drift": DRIFT, "term": 1, **more}
    done = subprocess.run([sys.executable, str(PROGRAM)], input=json.dumps(question) + "\n",
                          capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Clock:
    """A machine's clock since its boot, faster or slower than the true time."""

    def __init__(self, rate: float, offset_s: float) -> None:
        self.rate, self.offset_s = rate, offset_s

    def at(self, true_s: float) -> float:
        """Return what it shows."""
        return self.offset_s + self.rate * true_s


def note_of(boot_id: str = "first", **fields: Any) -> dict[str, Any]:
    """Return a note."""
    return {"holder": "paris", "term": 7, "ttl_s": TTL_S, "drift": DRIFT, "noted_s": 100.0,
            "boot_id": boot_id, **fields}


@pytest.mark.parametrize("seed", range(50))
def test_whatever_the_rates_of_the_clocks_the_holder_stops_before_another_gets_it(
        seed: int) -> None:
    dice = random.Random(seed)
    slow, fast = sorted((1.0, 1.0 + DRIFT))
    holder = Clock(slow, dice.uniform(0, 1e6))
    witness = Clock(fast, dice.uniform(0, 1e6))
    asked, noted = 50.0, 50.0 + dice.uniform(0, 3)
    note = note_of(noted_s=witness.at(noted))
    last = holder.at(asked) + TTL_S
    until = asked + (last - holder.at(asked)) / holder.rate     # true time of its last act
    free = noted
    while WORDS["left_of"](note, witness.at(free), "first") > 0:
        free += 0.01
    assert until <= free + 0.01


def test_a_holder_whose_clock_is_slower_than_declared_is_what_the_margin_is_for() -> None:
    note = note_of(noted_s=0.0)
    assert WORDS["left_of"](note, TTL_S * 1.0099, "first") > 0
    assert WORDS["left_of"](note, TTL_S * 1.0101, "first") == 0


@pytest.mark.parametrize(("uptime_s", "left_s"), [(0.0, 15.15), (10.0, 5.15), (15.2, 0.0)])
def test_after_a_reboot_a_note_counts_from_the_boot(uptime_s: float, left_s: float) -> None:
    assert WORDS["left_of"](note_of(), uptime_s, "second") == pytest.approx(left_s)


def test_a_note_from_the_future_lasts_no_longer_than_a_new_one() -> None:
    assert WORDS["left_of"](note_of(noted_s=1e9), 5.0, "first") == pytest.approx(15.15)


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", '"x"', "7", "[" * 100_000, '{"term": 3}',
    json.dumps(note_of(term=0)), json.dumps(note_of(term=True)), json.dumps(note_of(term="8")),
    json.dumps(note_of(term=2.5)), json.dumps(note_of(ttl_s=-1)), json.dumps(note_of(drift=7)),
    json.dumps(note_of(holder=None)), json.dumps(note_of())[:-9], "\x00" * 200,
    json.dumps(note_of(noted_s=float("nan"))), json.dumps(note_of(ttl_s=float("inf"))),
])
@pytest.mark.parametrize("verb", ["take", "read", "renew", "release"])
def test_a_broken_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str, verb: str) -> None:
    file = tmp_path / "talk.json"
    file.write_text(text)
    assert WORDS["answer"]({"verb": verb, "folder": str(tmp_path), "estate": "talk",
                            "holder": "paris", "ttl_s": TTL_S, "drift": DRIFT,
                            "term": 1})["refused"].startswith(f"the lease file {file} cannot")
    assert file.read_text() == text


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_bytes(b"\xff\xfe\x00")
    assert "it is no text" in ask(tmp_path)["refused"]


def test_what_a_crash_left_half_written_is_not_the_lease(tmp_path: Path) -> None:
    assert ask(tmp_path)["term"] == 1
    (tmp_path / "talk.json.part").write_text('{"term": 99')
    assert ask(tmp_path, "read")["term"] == 1
    assert ask(tmp_path, "renew")["granted"]


def test_a_folder_that_cannot_be_written_gives_no_lease(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be locked" in ask(tmp_path / "file" / "lease")["failed"]


def test_a_disk_that_takes_nothing_gives_no_lease_and_keeps_the_old_one(tmp_path: Path) -> None:
    assert ask(tmp_path)["granted"]
    before = (tmp_path / "talk.json").read_text()
    (tmp_path / "talk.json.part").mkdir()
    assert "cannot be written" in ask(tmp_path, "renew")["failed"]
    assert (tmp_path / "talk.json").read_text() == before


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    ask(tmp_path / "lease")
    assert (tmp_path / "lease").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment_it_leaves_a_whole_note_and_the_term_never_falls(
        tmp_path: Path, seed: int) -> None:
    dice, most = random.Random(seed), 0
    for life in range(8):
        process = subprocess.Popen([sys.executable, str(PROGRAM)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        question = {"verb": "take", "folder": str(tmp_path), "estate": "talk",
                    "holder": f"paris/{life}", "ttl_s": 0.0, "drift": 0.0, "above": 0}
        process.stdin.write((json.dumps(question) + "\n") * 40)
        process.stdin.close()
        for _ in range(dice.randrange(0, 40)):
            answer = json.loads(process.stdout.readline())
            assert answer["term"] >= most
            most = answer["term"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        after = ask(tmp_path, "read")
        assert after["term"] >= most
        most = after["term"]


def test_a_lock_that_another_keeps_ends_the_wait(tmp_path: Path) -> None:
    lock = tmp_path / "talk.json.lock"
    holder = subprocess.Popen(["flock", str(lock), "cat"], stdin=subprocess.PIPE)
    wait_until(lambda: lock.exists() and subprocess.run(
        ["flock", "-n", str(lock), "true"]).returncode == 1)
    assert "cannot be locked" in ask(tmp_path)["failed"]
    holder.communicate()
