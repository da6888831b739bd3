"""Runs the benchmarks of the operator's page: `python -m tests.bench.desk [page|server|loop…]`.

Chromium, `hotsite web`, and what writes into the store are processes of their own. The table is
printed, and everything that was measured is written to bench-desk.json, with the machine's load
before and after.
"""

import json
import os
import platform
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.__main__ import table
from tests.bench.desk import bench_loop, bench_page, bench_server
from tests.bench.desk.served import served, written
from tests.bench.figure import Figure
from tests.web.browser import ABSENT, CHROMIUM, chromium

OUT = Path("bench-desk.json")
PARTS = ("page", "server", "loop")


def figures(folder: Path, parts: set[str]) -> list[Figure]:
    """Return what was measured."""
    found: list[Figure] = []
    with chromium() as browser:
        if parts & {"page", "server"}:
            with written(folder / "large"), served(folder / "large") as page:
                if "page" in parts:
                    found += bench_page.figures(browser, page)
                if "server" in parts:
                    found += bench_server.figures(page)
        if "loop" in parts:
            found += bench_loop.figures(browser, folder)
    return found


def main(names: list[str]) -> int:
    """Run the named parts, or all; return 1 when a figure misses its limit."""
    if CHROMIUM is None:
        print(ABSENT)
        return 1
    if unknown := sorted(set(names) - set(PARTS)):
        print(f"No such part: {', '.join(unknown)}. There are: {', '.join(PARTS)}.")
        return 4
    before = os.getloadavg()
    with TemporaryDirectory() as folder:
        found = figures(Path(folder), set(names or PARTS))
    OUT.write_text(json.dumps({
        "machine": platform.platform(), "cores": os.cpu_count(),
        "python": platform.python_version(), "load_before": before, "load_after": os.getloadavg(),
        "figures": [figure.as_json() for figure in found]}, indent=2) + "\n")
    Console(width=150).print(table(found))
    print(f"Load {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after. Written to {OUT}.")
    return 1 if any(figure.met is False for figure in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
