"""Run programs, wait for conditions, and end with one clear sentence when either fails."""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """Something the lab needs did not happen; the message says what and where to look."""


def run(*argv: str, text: str = "", ok: tuple[int, ...] = (0,), timeout_s: float = 60) -> str:
    """Run one program to its end and return its output."""
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=timeout_s, errors="replace"
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed; run examples/lab/install") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{shlex.join(argv)} took longer than {timeout_s:g} s") from None
    if done.returncode not in ok:
        why = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}")
        raise LabError(f"{shlex.join(argv)} failed: {why}")
    return done.stdout


def answers(*argv: str) -> bool:
    """Say whether a program ends with status 0."""
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def wait_for(what: str, condition: Callable[[], bool], limit_s: float = 90) -> None:
    """Return as soon as the condition holds; LabError names what was missing at the limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not come about within {limit_s:g} s")
        time.sleep(0.02)


def at_once(work: Callable[[T], object], things: Iterable[T]) -> None:
    """Do the work on all things in parallel; the first failure is raised after all have ended."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        futures = [pool.submit(work, thing) for thing in things]
    for future in futures:
        future.result()
