"""What the guard must survive, on real processes: silence, freezes, kills, stale pid files."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.guard.rig import HOST, PYTHON, STUBBORN, Failed, Rig, boottime, running, uuid_of
from tests.waiting import wait_until

LATE_S = 1.0
"""How long after the deadline the last guest may be gone: what the figures promise."""


def guarded(rig: Rig, *guests: str, **changed: object) -> None:
    """Start two grantors, guests and the guard, and wait until it is content."""
    rig.grantor("witness", "milan-1")
    rig.guest(*(guests or ("sql", "web")))
    rig.guard(**changed)
    rig.granted()


def test_guests_run_while_anybody_grants_and_end_once_nobody_has_for_the_deadline(
        rig: Rig) -> None:
    guarded(rig)
    rig.silence("witness")
    begun = rig.page("granted_at")
    wait_until(lambda: rig.page("granted_at") > begun + 3, 20)     # longer than the deadline
    assert rig.alive() == ["sql", "web"]

    rig.silence("milan-1")
    last = rig.page("granted_at")
    assert rig.gone() <= rig.page("granted_at") + 2.0 + LATE_S
    assert boottime() >= last + 2.0

    tombs = rig.tombstones()
    assert set(tombs) == {"sql", "web"}
    assert tombs["sql"]["uuid"] == uuid_of("sql")
    assert tombs["sql"]["why"] == "nobody has granted paris-1 for 2 s"


def test_only_guests_that_it_was_told_of_are_ended(rig: Rig) -> None:
    rig.guest("files")
    guarded(rig, "sql", victims=["sql"])
    rig.silence()
    wait_until(lambda: rig.alive() == ["files"], 20)
    cut_at = rig.page("cut_at")
    wait_until(lambda: boottime() > cut_at + 1, 20)
    assert rig.alive() == ["files"]


def test_a_host_that_was_never_granted_ends_nothing(rig: Rig) -> None:
    rig.guest("sql")
    rig.ports["witness"] = 9            # discard: nobody is there
    rig.guard(deadline_s=0.5)
    began = boottime()
    wait_until(lambda: boottime() > began + 2.5, 20)
    assert rig.alive() == ["sql"]
    assert rig.page("granted_at") == 0


def test_a_killed_process_is_started_again_by_the_other_and_keeps_the_old_deadline(
        rig: Rig) -> None:
    guarded(rig)
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    rig.silence()
    last = rig.page("granted_at")
    for place in (0, 1):
        killed = rig.guard_pids()
        rig.kill(killed[place])
        wait_until(lambda: len(rig.guard_pids()) == 2, 20)
        assert killed[1 - place] in rig.guard_pids()
    assert rig.gone() <= last + 2.0 + LATE_S
    assert rig.page("restarts") == 2


def test_a_stopped_process_does_not_stop_the_other(rig: Rig) -> None:
    guarded(rig)
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    os.kill(rig.guard_pids()[0], signal.SIGSTOP)
    rig.silence()
    assert rig.gone() <= rig.page("granted_at") + 2.0 + LATE_S


def test_one_that_was_away_for_longer_than_the_deadline_asks_before_it_judges(rig: Rig) -> None:
    guarded(rig)
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    kill_both(rig)
    last = rig.page("granted_at")
    wait_until(lambda: boottime() > last + 3, 20)
    assert rig.alive() == ["sql", "web"]        # nobody guards them: a watchdog would

    rig.guard()
    wait_until(lambda: rig.page("granted_at") > last, 20)
    assert rig.alive() == ["sql", "web"]
    assert rig.tombstones() == {}


def kill_both(rig: Rig) -> None:
    """Kill both processes of the guard; stopped first, neither can start the other."""
    pids = rig.guard_pids()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    wait_until(lambda: not any(map(running, pids)), 20)


def test_one_that_was_away_and_is_granted_by_nobody_ends_the_guests(rig: Rig) -> None:
    guarded(rig)
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    kill_both(rig)
    rig.silence()
    rig.guard(deadline_s=1.0)
    assert rig.gone() <= boottime() + 3


def test_frozen_with_its_guests_and_thawed_it_ends_them_at_once(rig: Rig) -> None:
    guarded(rig)
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    frozen = [*rig.guard_pids(), *(guest.pid for guest in rig.guests.values())]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    rig.silence()
    stood = boottime()
    wait_until(lambda: boottime() > stood + 3.5, 20)
    thawed = boottime()
    for pid in reversed(frozen):
        os.kill(pid, signal.SIGCONT)
    assert rig.gone() - thawed <= LATE_S
    assert all(3.5 < one["still_s"] < 60 for one in rig.tombstones().values())


def test_a_guest_that_is_paused_is_killed(rig: Rig) -> None:
    guarded(rig)
    os.kill(rig.guests["sql"].pid, signal.SIGSTOP)
    rig.silence()
    assert rig.gone() <= rig.page("granted_at") + 2.0 + 1.0 + LATE_S


def test_a_guest_that_does_not_heed_sigterm_is_killed_after_half_the_time(rig: Rig) -> None:
    rig.guest("old", setup=STUBBORN)
    guarded(rig, "sql")
    rig.silence()
    rig.gone()
    assert rig.guests["sql"].returncode == -signal.SIGTERM
    assert rig.guests["old"].returncode == -signal.SIGKILL


def test_a_guest_that_is_started_while_it_is_cut_off_is_ended_too(rig: Rig) -> None:
    guarded(rig, "sql", victims=["sql", "late"])
    rig.silence()
    rig.gone()
    rig.guest("late")
    rig.gone()
    assert set(rig.tombstones()) == {"sql", "late"}


def test_content_again_it_lets_guests_run_and_takes_their_tombstones_away(rig: Rig) -> None:
    guarded(rig)
    rig.silence()
    rig.gone()
    rig.grantor("witness")
    wait_until(lambda: rig.page("cut_at") == 0, 20)
    assert set(rig.tombstones()) == {"sql", "web"}      # they are off: whoever starts them reads

    rig.guest("sql")
    wait_until(lambda: set(rig.tombstones()) == {"web"}, 20)
    assert rig.alive() == ["sql"]


def test_a_stale_pid_file_kills_no_stranger(rig: Rig) -> None:
    guarded(rig)
    stranger = subprocess.Popen([*PYTHON, "-c", "import signal; signal.pause()"])
    try:
        rig.guests["web"].kill()
        rig.guests["web"].wait()
        (rig.pids / "web.pid").write_text(f"{stranger.pid}\n")
        rig.silence()
        rig.gone()
        cut_at = rig.page("cut_at")
        wait_until(lambda: boottime() > cut_at + 1.5, 20)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_new_orders_are_taken_while_it_runs(rig: Rig) -> None:
    guarded(rig, "sql", "web", victims=["sql"])
    before = rig.guard_pids()
    rig.guard(digest="d2", victims=["sql", "web"], deadline_s=1.0)
    assert rig.page("digest") == "d2"
    assert rig.guard_pids() == before
    rig.silence()
    assert rig.gone() <= rig.page("granted_at") + 1.0 + LATE_S


def test_a_newer_program_takes_over_without_a_moment_unguarded(rig: Rig) -> None:
    guarded(rig)
    old = rig.guard_pids()
    older, rig.program = rig.program, rig.folder / "guard-newer.pyz"
    rig.program.write_bytes(older.read_bytes())
    rig.guard()
    assert rig.page("program") == "newer"
    assert not older.exists()
    wait_until(lambda: not any(map(running, old)), 20)
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    assert rig.alive() == ["sql", "web"]
    rig.silence()
    assert rig.gone() <= rig.page("granted_at") + 2.0 + LATE_S


def test_a_newer_program_that_nobody_grants_changes_nothing(rig: Rig) -> None:
    guarded(rig, deadline_s=30.0)
    old = rig.guard_pids()
    rig.silence()
    copy = rig.folder / "guard-newer.pyz"
    copy.write_bytes(rig.program.read_bytes())
    first, rig.program = rig.program, copy
    with pytest.raises(Failed, match="the one before it goes on"):
        rig.guard(deadline_s=30.0)
    rig.program = first
    assert rig.page("program") == "0123456789abcdef"
    assert rig.guard_pids() == old


def test_it_leaves_only_when_every_grantor_knows(rig: Rig) -> None:
    guarded(rig)
    with pytest.raises(Failed, match="witness and milan-1 still counts on"):
        rig.verb("leave", HOST)
    rig.order("disarm", "witness")
    rig.order("disarm", "milan-1")
    pids = rig.guard_pids()

    def left() -> bool:
        with contextlib.suppress(Failed):
            rig.verb("leave", HOST)
            return True
        return False

    wait_until(left, 20)
    wait_until(lambda: not any(map(running, pids)), 20)
    rig.silence()
    last = rig.page("granted_at")
    wait_until(lambda: boottime() > last + 3, 20)
    assert rig.alive() == ["sql", "web"]


def test_what_it_is_told_is_readable_by_root_alone(rig: Rig) -> None:
    guarded(rig)
    for name in ("guard.json", "guard.page", "guard.sock"):
        assert (rig.run(HOST) / name).stat().st_mode & 0o077 == 0
    assert not any(rig.told()["key"] in " ".join(words) for words in every_argv())


def every_argv() -> list[list[str]]:
    """Return the arguments of all processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text(errors="replace").split("\0"))
    return found


def test_a_run_that_is_full_saves_no_guest(rig: Rig) -> None:
    guarded(rig)
    (rig.run(HOST) / "tombstones").write_text("a file where the folder should be")
    rig.silence()
    assert rig.gone() <= rig.page("granted_at") + 2.0 + LATE_S
    (rig.run(HOST) / "tombstones").unlink()


def test_orders_that_make_no_sense_are_refused_and_change_nothing(rig: Rig) -> None:
    guarded(rig)
    for odd in ({"deadline_s": "soon"}, {"key": "00"}, {"victims": ["../etc"]},
                {"grantors": [{"name": "w", "address": "witness.example", "port": 7716}]}):
        with pytest.raises(Failed, match="makes no sense"):
            rig.guard(**odd)
    assert json.loads((rig.run(HOST) / "guard.json").read_text())["deadline_s"] == 2.0


def test_a_pid_file_with_an_absurd_number_disturbs_nobody(rig: Rig) -> None:
    guarded(rig, "sql", victims=["odd", "sql"])
    (rig.pids / "odd.pid").write_text(f"{2**40}\n")
    rig.silence()
    assert rig.gone() <= rig.page("granted_at") + 2.0 + LATE_S


def test_whatever_is_odd_in_a_round_the_guard_judges_again(tmp_path: Path) -> None:
    from guard import config, guarding, pair

    from tests.guard.rig import key_of

    class Odd(guarding.HostGuard):
        judged = 0

        def judge(self, now: float) -> None:
            self.judged += 1

        def _ask(self, now: float) -> None:
            raise ValueError("planted")

    told = config.parse_guard({
        "digest": "d", "host": HOST, "key": key_of(HOST), "grantors": [], "victims": [],
        "pids": str(tmp_path), "deadline_s": 5.0, "every_s": 1.0, "kill_s": 1.0, "feed_s": 0.1,
        "watchdog_s": 1.0})
    odd = Odd(str(tmp_path), "boot-1", told, 1)
    two = pair.Pair(odd)
    assert two._round() == two._round() == []
    assert odd.judged == 2


def test_the_two_take_turns_to_ask_also_after_one_was_killed(rig: Rig) -> None:
    every_s = 1.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        rig.ports["witness"] = ear.getsockname()[1]
        rig.guard(every_s=every_s)
        wait_until(lambda: len(rig.guard_pids()) == 2, 20)
        for _ in range(2):
            heard = []
            while len(heard) < 7:
                ear.recv(1024)
                heard.append(boottime())
            gaps = sorted(later - earlier for earlier, later in pairwise(heard[2:]))
            assert gaps[0] > every_s / 2, gaps      # both at once would be a gap of nothing
            rig.kill(rig.guard_pids()[0])
            wait_until(lambda: len(rig.guard_pids()) == 2, 20)
