"""Runs the benchmarks of failover: `python -m tests.bench.failover [NAME…]`.

The table is printed, and everything that was measured is written to bench-failover.json.
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

BENCHES = ("guard", "lease", "move", "return", "simulator", "site")
OUT = Path("bench-failover.json")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return 1 when a figure misses its limit."""
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        print(f"No such benchmark: {', '.join(unknown)}. There are: {', '.join(BENCHES)}.")
        return 4
    figures: list[Figure] = []
    loads: dict[str, tuple[float, float]] = {}
    for name in names or BENCHES:
        began, before = time.perf_counter(), os.getloadavg()[1]
        print(f"{name} …", flush=True)
        figures += importlib.import_module(f"tests.bench.failover.bench_{name}").figures()
        loads[name] = before, os.getloadavg()[1]
        print(f"{name} took {time.perf_counter() - began:.0f} s", flush=True)
    OUT.write_text(json.dumps({"machine": platform.platform(), "cores": os.cpu_count(),
                               "python": platform.python_version(), "load_before_and_after": loads,
                               "figures": [f.as_json() for f in figures]}, indent=2) + "\n")
    Console(width=170).print(table(figures))
    print(f"Written to {OUT}.")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
