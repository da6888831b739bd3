"""A process that outlives its maker: what it reports, what ends it, and what does not."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from mover.detached import detach, read_line


def test_it_does_its_work_once_told_and_reports_what_came_of_it() -> None:
    ends = detach(lambda commands: {"told": os.read(commands, 100).decode()}, "it")
    os.write(ends.commands, b"begin")
    assert read_line(ends.report) == {"told": "begin"}
    assert read_line(ends.report) is None, "it has ended"
    os.close(ends.commands)
    os.close(ends.report)


def pid_of(commands: int) -> dict[str, Any]:
    """Write down whose process this is, for the maker to send it signals; end when told."""
    os.write(int(os.read(commands, 100)), str(os.getpid()).encode())
    return {"told": len(os.read(commands, 100))}


@pytest.mark.parametrize(("number", "reported"), [
    (signal.SIGTERM, {"told": 0}), (signal.SIGHUP, {"told": 0}), (signal.SIGKILL, None)])
def test_only_a_kill_ends_it_and_then_the_end_of_its_pipe_says_so(
        number: int, reported: dict[str, Any] | None) -> None:
    heard, said = os.pipe()
    ends = detach(pid_of, "it")
    os.write(ends.commands, str(said).encode())
    pid = int(os.read(heard, 100))
    assert (os.getsid(pid), os.getpgid(pid)) != (os.getsid(0), os.getpgid(0))
    os.kill(pid, number)
    os.close(ends.commands)     # as the end of its maker: the work is done all the same
    assert read_line(ends.report) == reported
    for one in (heard, said, ends.report):
        os.close(one)


def descriptors() -> set[str]:
    """Return this process's open files."""
    return {one.name for one in Path("/proc/self/fd").iterdir()}


def test_what_can_not_be_started_is_said_and_never_goes_on_in_the_makers_stead(
        monkeypatch: pytest.MonkeyPatch) -> None:
    real, maker = os.fork, os.getpid()

    def fork() -> int:
        if os.getpid() != maker:
            raise BlockingIOError("no more processes")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    before = descriptors()
    with pytest.raises(OSError, match="it did not start"):
        detach(lambda _: {}, "it")
    assert descriptors() == before
