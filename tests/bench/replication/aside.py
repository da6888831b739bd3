"""A lab for benchmarks alone, in namespaces that end with it and leave nothing behind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

STATE = Path("/var/lib/hotsite-lab-bench")
INSIDE = "HOTSITE_BENCH_ASIDE"
"""In the environment of a bench that is in its namespaces already."""
PROGRAMS = "HOTSITE_BENCH_PROGRAMS"
"""In the environment of a bench for which the programs of this machine are written to that file."""
SCRIPT = 'mount -t tmpfs tmpfs /run && ip link set lo up && "$@"; exit $?'


def is_inside() -> bool:
    """Say whether this process is where it may bring a lab up."""
    return INSIDE in os.environ


def run_inside(argv: list[str]) -> int:
    """Run this program again in namespaces of its own and return its exit status."""
    environment = {**os.environ, "HOTSITE_LAB": str(STATE), INSIDE: "1",
                   "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    try:
        with programs_told(environment, wanted="profile" in argv):
            return run_unshared(argv, environment)
    finally:
        shutil.rmtree(STATE, ignore_errors=True)


def run_unshared(argv: list[str], environment: dict[str, str]) -> int:
    """Run this program in new namespaces and return its exit status."""
    return subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
         "sh", "-c", SCRIPT, "sh", sys.executable, "-m", "tests.bench.replication", *argv],
        env=environment, check=False).returncode


@contextmanager
def programs_told(environment: dict[str, str], *, wanted: bool) -> Iterator[None]:
    """Have this machine's programs written to a file while the block lasts, if wanted."""
    if not wanted:
        yield
        return
    with NamedTemporaryFile(suffix=".jsonl") as told:
        teller = subprocess.Popen([sys.executable, "-m",
                                   "tests.bench.replication.profile.processes", told.name])
        environment[PROGRAMS] = told.name
        try:
            yield
        finally:
            teller.terminate()
            teller.wait()


@contextmanager
def lab_up(*words: str) -> Iterator[None]:
    """Keep the lab up while the block lasts, unless it was up before."""
    from tests.lab.lab import Lab  # only now: its folder is told by the environment

    lab = Lab()
    assert str(lab.state) != "/var/lib/hotsite-lab", "that lab belongs to somebody else"
    was_up = (lab.state / "standing").exists()
    lab.up(*words)
    try:
        yield
    finally:
        if not was_up:
            lab.down()
