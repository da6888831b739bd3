"""A guard and a grantor outlive their starter, stay in memory, and come before guests."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.guard.rig import HOST, PYTHON, Rig
from tests.waiting import wait_until

SPARED = """
try:
    open("/proc/self/oom_score_adj", "w").write("-1000")
except OSError:
    pass
import sys
sys.stdout.write(open("/proc/self/oom_score_adj").read())
"""
FIRST = """
import os
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
except OSError:
    pass
import sys
sys.stdout.write(str(os.sched_getscheduler(0)))
"""


def allowed(script: str) -> str:
    """Return how far a process gets on this machine that asks for it."""
    return subprocess.run([*PYTHON, "-c", script], capture_output=True, text=True).stdout


def status_of(pid: int, name: str) -> str:
    """Return one field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def guarded(rig: Rig) -> list[int]:
    """Start a grantor and a guard; return its two processes."""
    rig.grantor("witness")
    rig.guest("sql")
    rig.guard()
    rig.granted()
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    return rig.guard_pids()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may lock memory and go first")
def test_both_processes_are_locked_into_memory_go_first_and_are_spared_by_the_oom_killer(
        rig: Rig) -> None:
    for _ in range(2):
        pids = guarded(rig) if not rig.guests else rig.guard_pids()
        for pid in pids:
            assert int(status_of(pid, "VmLck").split()[0]) > 1000
            assert Path(f"/proc/{pid}/oom_score_adj").read_text() == allowed(SPARED)
            assert str(os.sched_getscheduler(pid)) == allowed(FIRST)
        rig.kill(pids[0])       # one that was forked later asks for it, too
        wait_until(lambda pids=pids: len(set(rig.guard_pids()) - {pids[0]}) == 2, 20)


def test_they_have_a_session_of_their_own_and_hold_nothing_of_their_starter(rig: Rig) -> None:
    for pid in [*guarded(rig), rig.grantor_pid("witness")]:
        assert os.getsid(pid) not in {os.getsid(0), 0}
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
        for fd in (0, 1, 2):
            assert Path(f"/proc/{pid}/fd/{fd}").readlink() == Path("/dev/null")
        ignored = int(status_of(pid, "SigIgn"), 16)
        assert all(ignored >> number - 1 & 1 for number in (1, 2, 15))


def test_nothing_is_imported_opened_or_resolved_once_it_runs(rig: Rig) -> None:
    """All files that it has open are in memory: its page, its sockets, pidfds and /dev/null."""
    for pid in guarded(rig):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            held = str(link.readlink())
            assert held in {"/dev/null", str(rig.run(HOST) / "guard.page")} or held.startswith(
                ("socket:", "anon_inode:")), held


def test_with_systemd_each_is_a_unit_of_its_own_that_outlives_the_session() -> None:
    from guard.launch import unit_argv

    argv = unit_argv("guard", "hotsite-guard-1", ["run-guard", "/run/hotsite/guard"])
    assert argv[:4] == ["systemd-run", "--quiet", "--collect", "--unit=hotsite-guard-1"]
    assert {"--property=Type=forking", "--property=GuessMainPID=no",
            "--property=OOMScoreAdjust=-1000"} <= set(argv)
    assert argv[-2:] == ["run-guard", "/run/hotsite/guard"]


def test_one_that_cannot_start_says_why(rig: Rig) -> None:
    done = subprocess.run([*PYTHON, rig.program, "run-grantor", rig.run(HOST), rig.durable(HOST)],
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "the grantor did not start" in done.stderr
    assert "cannot be read" in done.stderr
