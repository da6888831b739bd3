"""How soon the lab is up, the usual one and the large one."""

import os
import subprocess
import time

from tests.bench.figure import Figure
from tests.lab.lab import COMMAND, STATE

TIMES = 3
LARGE = ("--hosts", "6")


def figures() -> list[Figure]:
    """Return how long the labs take to come up, where they can and none is up."""
    if os.geteuid() != 0 or not COMMAND.exists() or (STATE / "standing").exists():
        return []
    return [
        Figure("lab up, two hosts a site", "s", tuple(up_s() for _ in range(TIMES)), limit=15.0),
        Figure("lab up, six hosts a site", "s", tuple(up_s(*LARGE) for _ in range(TIMES)),
               limit=60.0),
    ]


def up_s(*words: str) -> float:
    """Bring the lab up and take it down again, and return how long the first took."""
    begun_s = time.monotonic()
    subprocess.run([COMMAND, "up", *words], check=True, capture_output=True)
    took_s = time.monotonic() - begun_s
    subprocess.run([COMMAND, "down"], check=True, capture_output=True)
    return took_s
