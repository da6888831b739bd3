"""Runs the benchmarks of adoption: `python -m tests.bench.adoption`.

Each sample is one start of the command, from its first instruction to its exit, over real sshds on
loopback; libvirt is played from files. The table is printed, and everything that was measured is
written to bench-adoption.json, with the machine's load before and after.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.__main__ import table
from tests.bench.adoption.played import Hosts, hosts
from tests.bench.figure import Figure

OUT = Path("bench-adoption.json")
PROGRAM = Path(sys.executable).parent / "hotsite"
SAMPLES = 3


def timed(*words: str, allowed: set[int]) -> tuple[float, str]:
    """Return how many seconds a verb took, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    took_s = time.perf_counter() - began
    assert done.returncode in allowed, done.stdout[-4000:] + done.stderr[-4000:]
    return took_s, done.stdout


def import_into(out: Path, found: Hosts) -> float:
    """Return how long one import took; the plan on what it wrote is empty, or it fails."""
    shutil.rmtree(out, ignore_errors=True)
    return timed("import", *found.words, "--out", str(out), "--key", str(found.key),
                 "--known-hosts", str(found.known_hosts), "--yes", allowed={0})[0]


def imports(folder: Path, count: int, guests: int, limit_s: float) -> Figure:
    """Return how long the import of so many hosts takes."""
    folder.mkdir()
    with hosts(folder, count, guests) as found:
        took = tuple(import_into(folder / "estate", found) for _ in range(SAMPLES))
        written = len(list((folder / "estate" / "templates").glob("*.xml")))
    assert written == count * guests, f"{written} VMs of {count * guests}"
    return Figure(f"import: {count} host{'s' * (count > 1)}, {count * guests} VMs, plan included",
                  "s", took, limit=limit_s)


def doctor(folder: Path, count: int) -> Figure:
    """Return how long a look at so many hosts and all their pairs takes."""
    folder.mkdir()
    with hosts(folder, count, 5) as found:
        import_into(folder / "estate", found)
        took, said = zip(*(timed("doctor", "--specs", str(folder / "estate"), "--format", "json",
                                 allowed={0, 2, 3, 5}) for _ in range(SAMPLES)), strict=True)
    late = sum("not looked at within" in one for one in said)
    return Figure(f"doctor: {count} hosts, {count * (count - 1)} pairs", "s", took, limit=10.0,
                  note=f"{late} of {SAMPLES} looks left a host out")


def main() -> int:
    """Run every benchmark; return 1 when a figure misses its limit."""
    before = os.getloadavg()
    with TemporaryDirectory() as name:
        folder = Path(name)
        figures = [imports(folder / "one", 1, 20, 5.0), imports(folder / "ten", 10, 30, 20.0),
                   doctor(folder / "twelve", 12)]
    OUT.write_text(json.dumps({
        "machine": platform.platform(), "cores": os.cpu_count(),
        "python": platform.python_version(), "load_before": before, "load_after": os.getloadavg(),
        "figures": [figure.as_json() for figure in figures]}, indent=2) + "\n")
    Console(width=150).print(table(figures))
    print(f"Load {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after. Written to {OUT}.")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
