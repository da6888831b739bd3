"""Runs the benchmarks of replication in a lab of their own: `python -m tests.bench.replication`.

Words are names of benchmarks; --small tries them all at sizes that prove nothing. The table is
printed, and everything that was measured is written to bench-replication.json.
"""

import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.bench.__main__ import table
from tests.bench.figure import Figure
from tests.bench.replication import aside
from tests.bench.replication.scale import LARGE, SMALL, Scale

BENCHES = ("increment", "mend", "latency", "retention", "delay", "thin", "copy")
ASKED_FOR = ("estate", "profile")
"""Run only when named: the first takes half an hour, the second draws diagrams."""
OUT = Path("bench-replication.json")


def main(words: list[str]) -> int:
    """Run the named benchmarks, or all; return 1 when a figure misses its limit."""
    names = [word for word in words if word != "--small"]
    unknown = sorted(set(names) - {*BENCHES, *ASKED_FOR})
    if unknown:
        print(f"No such benchmark: {', '.join(unknown)}. "
              f"There are: {', '.join(BENCHES + ASKED_FOR)}.")
        return 4
    if os.geteuid() != 0:
        print("The benchmarks of replication make hosts of their own: run them as root.")
        return 4
    if not aside.is_inside():
        return aside.run_inside(words)
    scale = SMALL if "--small" in words else LARGE
    figures: list[Figure] = []
    loads: dict[str, tuple[float, float]] = {}
    for name in names or BENCHES:
        before = os.getloadavg()[1]
        figures += run(name, scale)
        loads[name] = before, os.getloadavg()[1]
        write(figures, scale, loads)    # after each, since all of them take an hour
    Console(width=170).print(table(figures))
    print(f"Written to {OUT}.")
    return 1 if any(figure.met is False for figure in figures) else 0


def write(figures: list[Figure], scale: Scale, loads: dict[str, tuple[float, float]]) -> None:
    """Write everything that was measured so far; `loads` tell what else the machine did."""
    OUT.write_text(json.dumps({"machine": platform.platform(), "cores": os.cpu_count(),
                               "python": platform.python_version(), "sizes": scale.sizes,
                               "load_before_and_after": loads,
                               "figures": [f.as_json() for f in figures]}, indent=2) + "\n")


def run(name: str, scale: Scale) -> list[Figure]:
    """Run one benchmark in a lab that is up for it alone."""
    began = time.perf_counter()
    print(f"{name} …", flush=True)
    with aside.lab_up(*(("--hosts", "6") if name == "estate" else ())):
        found: list[Figure] = importlib.import_module(
            f"tests.bench.replication.bench_{name}").figures(scale)
    print(f"{name} took {time.perf_counter() - began:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
