"""How long `hotsite --help` takes, from the shell's view."""

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figure import Figure

HOTSITE = str(Path(sys.executable).parent / "hotsite")


def figures() -> list[Figure]:
    """Return wall times of `hotsite --help`, the first (cold) run left out."""
    subprocess.run([HOTSITE, "--help"], check=True, capture_output=True)
    samples = []
    for _ in range(15):
        began = time.perf_counter()
        subprocess.run([HOTSITE, "--help"], check=True, capture_output=True)
        samples.append(time.perf_counter() - began)
    return [Figure("hotsite --help", "s", tuple(samples), limit=0.3)]
