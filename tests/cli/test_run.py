"""`run` and the verbs that read beside it: a live loop over a simulated estate, in real time."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copytree

import pytest

from controller.cli.run import keep
from controller.model.desired import Desired
from controller.providers.simulated.estate import SimulatedEstate
from tests.cli.shell import SPECS, Clock, Shell

START_SQL = "start:VirtualMachine/sql@paris-1"


def converged(desired: Desired, clock: Clock) -> SimulatedEstate:
    """Return a world that is as declared."""
    return SimulatedEstate(desired, converged=True, clock=clock)


async def until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(shell: Shell, specs: Path | str) -> AsyncIterator[None]:
    """Keep `hotsite run` going until the block ends, and end it by a signal."""
    task = asyncio.create_task(keep(shell.manager(None), str(specs), None, as_json=True))
    try:
        await until(lambda: task.done() or shell("status").exit_code == 0)
        yield
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 30.0)


def play(shell: Shell, specs: Path, scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene beside a running loop."""
    async def act() -> None:
        async with running(shell, specs):
            await scene()

    asyncio.run(act())


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """Return a copy of the lab's specs that may be edited."""
    return copytree(SPECS, tmp_path / "specs")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell over a converged world."""
    return Shell(tmp_path / "state", converged)


def test_specs_that_break_leave_the_last_good_ones_in_force_and_status_says_so(
        shell: Shell, specs: Path) -> None:
    async def scene() -> None:
        before = json.loads(shell("status", "--json").output)["loop"]["revision"]
        file = specs / "virtual_machine" / "sql.yaml"
        good = file.read_text()
        file.write_text("kind: [broken\n")
        await until(lambda: "stays in force" in shell("status").output)
        assert "sql.yaml:" in shell("status").output
        file.write_text(good.replace("kind: VirtualMachine", "# edited\nkind: VirtualMachine"))
        await until(lambda: json.loads(
            shell("status", "--json").output)["loop"]["revision"] != before)
        assert "stays in force" not in shell("status").output

    play(shell, specs, scene)


def test_an_approval_reaches_the_running_loop(shell: Shell, specs: Path) -> None:
    estate_file = next((specs / "estate").iterdir())
    estate_file.write_text(estate_file.read_text().replace("autonomy: restart",
                                                           "autonomy: report"))

    async def scene() -> None:
        assert shell.estate is not None
        shell.estate.command("kill paris-1 sql")
        await until(lambda: shell("status").exit_code == 2)
        result = await asyncio.to_thread(shell, "explain", "VirtualMachine/sql")
        explained = result.output
        assert "virtual_machine/sql.yaml:" in explained
        assert "needs approval" in explained
        assert shell("approve", "start:VirtualMachine/sql@milan-1").exit_code == 1
        assert shell("approve", START_SQL, "--by", "ann").exit_code == 0
        await until(lambda: shell("status").exit_code == 0)
        assert "approved by ann" in shell("events").output

    play(shell, specs, scene)


def test_a_pause_of_a_name_that_is_not_declared_is_refused_with_a_guess(
        shell: Shell, specs: Path) -> None:
    async def scene() -> None:
        result = await asyncio.to_thread(
            shell, "suspend", "VirtualMachine/sqk", "--for", "1h", "--why", "x")
        assert result.exit_code == 1
        assert "did you mean VirtualMachine/sql" in result.output

    play(shell, specs, scene)


def test_a_second_loop_on_the_same_state_folder_is_refused(shell: Shell, specs: Path) -> None:
    async def scene() -> None:
        result = await asyncio.to_thread(shell, "apply", str(specs), "--yes")
        assert result.exit_code == 1
        assert "another hotsite (pid" in result.output

    play(shell, specs, scene)


def hotsite(*words: str) -> list[str]:
    """Return the argv of a real `hotsite`."""
    return [sys.executable, "-m", "controller", *words]


def test_run_ends_with_4_when_the_specs_are_wrong_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kind: Nonsense\n")
    done = subprocess.run(hotsite("run", str(tmp_path), "--state", str(tmp_path / "state")),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "bad.yaml:1:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_run_without_any_host_says_so_and_ends_cleanly_on_a_signal(
        tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(hotsite("run", str(SPECS), "--state", str(tmp_path / "state")),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "is in force" in line
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""


def test_wrong_usage_ends_with_1_since_2_means_changes() -> None:
    for words in (("plan",), ("plam",), ("plan", "--nonsense", "x"), ("apply", "x", "y")):
        done = subprocess.run(hotsite(*words), capture_output=True, text=True, timeout=60,
                              check=False)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert "Traceback" not in done.stderr
