"""The peer for placement: Ganeti's hbal, fed the same instance as text.

Source: htools(1) and hbal(1); the text format is what `hspace -S` writes.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from controller.plan.packing.problem import PlaceHost, PlaceMachine

GROUP = "group-01|fake-uuid-01|preferred||"
POLICY = ("128,1,0,1,0,1|128,1,0,1,0,1;1048576,64,1048576,16,8,64|"
          "diskless,file,sharedfile,plain,blockdev,drbd,rbd,ext,gluster|64.0|64.0")
MIB = 1 << 20


STEP_LIMIT_S = 150.0
"""One step at this size takes a minute or so; what is cut off here took at least this long."""


class Balanced(NamedTuple):
    """What hbal found: seconds, moves, and the cluster score before and after (less is better)."""

    wall_s: float
    moves: int
    before: float
    after: float


def render_cluster(hosts: list[PlaceHost], machines: list[PlaceMachine],
                   where: Mapping[str, str], lost: frozenset[str]) -> str:
    """Return the instance in the text format of htools; `lost` hosts are offline."""
    used = dict.fromkeys((host.name for host in hosts), 0)
    for machine in machines:
        used[where[machine.name]] += machine.memory_bytes
    nodes = [
        f"{h.name}|{h.memory_bytes // MIB}|0|{(h.memory_bytes - used[h.name]) // MIB}|900000|900000"
        f"|{h.cpus}|{'Y' if h.name in lost else 'N'}|fake-uuid-01|1||N|0|2|1.0" for h in hosts]
    instances = [
        f"{m.name}|{m.memory_bytes // MIB}|0|{m.cpus}|running|Y|{where[m.name]}||sharedfile||1|1|N"
        for m in machines]
    return "\n\n".join([GROUP, "\n".join(nodes), "\n".join(instances), "",
                        f"|{POLICY}\n{GROUP.split('|', maxsplit=1)[0]}|{POLICY}"]) + "\n"


def run_hbal(cluster: str, *options: str) -> Balanced:
    """Run hbal on a rendered cluster and return what it says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cluster.txt")
        path.write_text(cluster)
        began = time.perf_counter()
        said = subprocess.run(["hbal", "-t", str(path), *options], check=True, text=True,
                              capture_output=True).stdout
        wall_s = time.perf_counter() - began
    before = re.search(r"Initial score: ([0-9.]+)", said)
    assert before, f"hbal said something else: {said[-400:]}"
    after = re.search(r"Cluster score improved from [0-9.]+ to ([0-9.]+)", said)
    length = re.search(r"Solution length=([0-9]+)", said)
    return Balanced(wall_s, int(length[1]) if length else 0, float(before[1]),
                    float(after[1] if after else before[1]))


def time_one_step(cluster: str) -> float:
    """Return the seconds of one balancing step, or the limit when it takes longer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cluster.txt")
        path.write_text(cluster)
        began = time.perf_counter()
        try:
            subprocess.run(["hbal", "-t", str(path), "-l1"], check=True, capture_output=True,
                           timeout=STEP_LIMIT_S)
        except subprocess.TimeoutExpired:
            return STEP_LIMIT_S
        return time.perf_counter() - began
