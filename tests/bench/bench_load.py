"""How long it takes to load and check an estate, cold and after one edit, and what memory it takes.

Each sample is a process of its own, so that neither caches nor memory of the one before count.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.bench.estates import write_estate
from tests.bench.figure import Figure

SIZES = {10_000: (500, 1, 5), 100_000: (5_000, 12, 1)}
"""Machines: hosts, how many times the limits of the first, samples."""
LIMITS = {"cold": 2.0, "after one edit": 0.3, "resident": 300.0}
PROBE = """
import json, sys, time
from pathlib import Path
from controller.source.load import SpecCache
folder = Path(sys.argv[1])
cache, times = SpecCache(), []
for text in ("", "# edited\\n"):
    with (folder / "host-0003.yaml").open("a") as file:
        file.write(text)
    began = time.perf_counter()
    desired = cache.load(folder)
    times.append(time.perf_counter() - began)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"cold": times[0], "after one edit": times[1],
                  "resident": int(status["VmHWM"].split()[0]) / 1024}))
"""


def figures() -> list[Figure]:
    """Return load times and the highest resident memory for both sizes; the peer only parses."""
    found = []
    for machines, (hosts, factor, count) in SIZES.items():
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_estate(folder, hosts, machines)
            samples = [probe(folder) for _ in range(count)]
            peer = (parse_with_pyyaml(folder),) if factor == 1 else ()
        for what, limit in LIMITS.items():
            found.append(Figure(
                f"specs of {machines:,} machines: {what}", "MiB" if what == "resident" else "s",
                tuple(sample[what] for sample in samples), limit=limit * factor,
                peer="PyYAML, C, parses only" if what == "cold" and peer else "",
                peer_samples=peer if what == "cold" else ()))
    return found


def probe(folder: Path) -> dict[str, float]:
    """Load twice in a new process, with an edit in between, and return what it took."""
    ended = subprocess.run([sys.executable, "-c", PROBE, str(folder)], check=True,
                           capture_output=True, text=True)
    taken: dict[str, float] = json.loads(ended.stdout)
    return taken


def parse_with_pyyaml(folder: Path) -> float:
    """Return how long PyYAML's C loader takes to parse the same files."""
    began = time.perf_counter()
    for path in sorted(folder.glob("*.yaml")):
        list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))
    return time.perf_counter() - began
