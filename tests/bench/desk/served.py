"""`hotsite web` as a process of its own over a filled store that is written to all the time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
START_S = 60.0


@dataclass(frozen=True)
class Served:
    """Where the page is, and which process serves it."""

    url: str
    pid: int


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def written(state: Path) -> Iterator[None]:
    """Fill a store and go on writing into it as a loop does, until the block ends."""
    state.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "tests.bench.desk.writer", str(state / "state.db")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "filled\n"
            yield
        finally:
            writer.stdin.close()


@contextmanager
def served(state: Path) -> Iterator[Served]:
    """Serve the page of a state folder until the block ends."""
    listen = f"127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "controller", "web", "--state", str(state), "--listen", listen]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as page:
        try:
            url = f"http://{listen}/"
            wait_for(url)
            yield Served(url, page.pid)
        finally:
            page.terminate()


def wait_for(url: str) -> None:
    """Wait until a page is served that has rows."""
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        try:
            if httpx.get(f"{url}api/v1/sites", timeout=START_S).json()["total"]:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


def cpu_s(pid: int) -> float:
    """Return how many seconds of a processor a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def private_mib(pid: int) -> float:
    """Return the memory that only a process has, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines
               if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024
