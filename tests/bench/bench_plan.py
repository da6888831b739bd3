"""How long a plan of a large estate takes, unchanged and with many changes; and its memory.

Each sample is a process of its own: the memory is that of a controller that holds specs, facts
and a plan, and nothing else.
"""

import json
import subprocess
import sys
from typing import Any

from tests.bench.figure import Figure

SIZES = {10_000: (500, 1, 5), 100_000: (5_000, 12, 1)}
"""Machines: hosts, how many times the limits of the first, samples."""
BASELINE = {"no change": 3.7, "fresh replicas": 6.2, "all due": 15.6}
"""What a plan of 10,000 machines took at revision 4526ab6, in yardsticks, of processor time."""
SLOWER = 1.3
"""So many times that is the most that a plan may take."""
LIMITS = {"no change": 0.5, "1,000 changes": 1.0, "resident": 300.0, "fresh replicas": None}


def figures() -> list[Figure]:
    """Return plan times and the highest resident memory for both sizes."""
    found = []
    for machines, (hosts, factor, count) in SIZES.items():
        samples = [probe(machines, hosts) for _ in range(count)]
        for what, limit in LIMITS.items():
            found.append(Figure(
                f"plan of {machines:,} machines: {what}", "MiB" if what == "resident" else "s",
                tuple(sample[what] for sample in samples),
                limit=None if limit is None else limit * factor))
        found += kept_up([sample["work"] for sample in samples])
    return found


def kept_up(samples: list[dict[str, tuple[float, float]]]) -> list[Figure]:
    """Return what plans take beside what they took at the revision that was kept."""
    return [Figure(
        f"plan of 10,000 machines: {what}, processor time", "s",
        tuple(sample[what][0] for sample in samples), peer="4526ab6",
        peer_samples=tuple(yardsticks * sample[what][1] for sample in samples),
        ratio_at_least=1 / SLOWER) for what, yardsticks in BASELINE.items() if samples[0]]


def probe(machines: int, hosts: int) -> dict[str, Any]:
    """Plan in a new process and return what it took."""
    ended = subprocess.run([sys.executable, "-m", "tests.bench.plan_probe", str(machines),
                            str(hosts)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
