"""No guest stays frozen, whatever happens to its agent, libvirt or the mover; libvirt is played."""

import fcntl
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover.backup import offline, quiesce

from tests.waiting import wait_until

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"
VIRSH = """#!/bin/sh
cd {folder}
echo "$4" >>calls
complain() {{ echo "error: $1" >&2; exit 1; }}
case $4 in
  domfsfreeze)
    [ -e refuses ] && complain "internal error: unable to execute QEMU agent command '$4': disabled"
    [ -e slow ] && {{ (sleep 1.5; touch frozen; echo froze >>calls) >/dev/null 2>&1 & wait; exit; }}
    touch frozen ;;
  domfsthaw)
    [ -e gone ] && complain "failed to get domain '$5'"
    [ -e deaf ] || [ -e refuses ] && complain "Guest agent is not responding"
    rm -f frozen ;;
esac
"""


class Guest:
    """What the played libvirt knows, file by file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set(self, *words: str) -> None:
        """Let these be true of it from now on."""
        for word in words:
            (self._folder / word).touch()

    def unset(self, word: str) -> None:
        """Let this be true of it no more."""
        (self._folder / word).unlink()

    def is_frozen(self) -> bool:
        """Say whether its file systems are frozen."""
        return (self._folder / "frozen").exists()

    def calls(self, word: str) -> int:
        """Say how often virsh was asked for this."""
        calls = self._folder / "calls"
        told = calls.read_text() if calls.exists() else ""
        return len(re.findall(f"^{word}$", told, re.MULTILINE))


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    """A guest whose agent answers."""
    (tmp_path / "virsh").write_text(VIRSH.format(folder=tmp_path))
    (tmp_path / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(offline, "FOLDER", str(tmp_path))
    monkeypatch.setattr(quiesce, "PAUSE_S", 0.1)
    yield Guest(tmp_path)
    (tmp_path / "gone").touch()     # whoever still stands by leaves, before the played virsh goes
    wait_until(lambda: is_free(tmp_path / f"freeze-{UUID}.lock"))


def is_free(lock: Path) -> bool:
    """Return whether no process holds a lock."""
    if not lock.exists():
        return True
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_guest_is_frozen_for_the_block_and_nobody_stays(guest: Guest) -> None:
    for _ in range(2):
        with quiesce.frozen(UUID) as still:
            assert guest.is_frozen()
        assert (still.quiesced, still.why) == (True, "")
        assert not guest.is_frozen()
    assert guest.calls("domfsthaw") == 2


def test_a_guest_is_thawed_as_soon_as_its_agent_answers_again(guest: Guest) -> None:
    guest.set("deaf")
    with quiesce.frozen(UUID) as still:
        pass
    assert not still.quiesced
    time.sleep(1)
    assert guest.is_frozen()
    guest.unset("deaf")
    wait_until(lambda: not guest.is_frozen())


def test_a_block_that_lasts_too_long_was_not_quiesced(
        guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiesce, "FROZEN_S", 0.5)
    with quiesce.frozen(UUID) as still:
        wait_until(lambda: not guest.is_frozen())
        time.sleep(1)                               # until nobody stands by any more
    assert not still.quiesced
    assert "0.5 s" in still.why


def test_a_freeze_that_comes_after_its_thaw_is_undone(
        guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiesce, "FROZEN_S", 0.5)
    guest.set("slow")
    with quiesce.frozen(UUID) as still:
        pass
    assert not still.quiesced
    wait_until(lambda: guest.calls("froze") > 0)    # it may not stay so for long
    wait_until(lambda: not guest.is_frozen())


def test_a_freeze_that_comes_after_the_end_of_who_asked_for_it_is_undone(
        guest: Guest, tmp_path: Path) -> None:
    guest.set("slow")
    script = ("import sys; sys.path.insert(0, sys.argv[1]);"
              " from mover.backup.quiesce import frozen;"
              f" frozen({UUID!r}).__enter__()")
    with subprocess.Popen([sys.executable, "-c", script, Path(quiesce.__file__).parents[2]],
                          env={**os.environ, "HOTSITE_RUN": str(tmp_path)}) as process:
        wait_until(lambda: guest.calls("domfsfreeze") > 0)
        process.kill()
    wait_until(lambda: guest.calls("froze") > 0)    # it may not stay so for long
    assert guest.calls("domfsthaw") > 0
    wait_until(lambda: not guest.is_frozen())


def test_no_guest_is_frozen_before_it_has_been_thawed(guest: Guest) -> None:
    guest.set("deaf")
    with quiesce.frozen(UUID):
        pass
    with quiesce.frozen(UUID) as still:
        pass
    assert guest.calls("domfsfreeze") == 1
    assert not still.quiesced
    assert "has not been thawed" in still.why
    guest.unset("deaf")
    wait_until(lambda: not guest.is_frozen())


def test_whoever_stands_by_holds_nothing_of_others(guest: Guest) -> None:
    reading, writing = os.pipe()
    guest.set("deaf")
    with quiesce.frozen(UUID):
        os.close(writing)
        assert select.select([reading], [], [], 60)[0], "somebody else holds the other end"
    os.close(reading)


@pytest.mark.parametrize("word", ["gone", "refuses"])
def test_nobody_stands_by_for_a_guest_that_is_gone_or_was_never_frozen(
        guest: Guest, word: str) -> None:
    guest.set(word)
    with quiesce.frozen(UUID):
        pass
    time.sleep(1)
    assert guest.calls("domfsthaw") <= 2
