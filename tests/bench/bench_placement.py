"""Placement of 5,000 VMs on 250 hosts and repair after one is lost, beside hbal."""

import random
import shutil
import time

from controller.plan.packing.problem import PlaceHost, PlaceMachine
from tests.bench.figure import Figure
from tests.bench.hbal import render_cluster, run_hbal, time_one_step
from tests.plan.arranging import place

HOSTS = 250
MACHINES = 5000
GIB = 1 << 30
SAME_BALANCE = 1.005
"""Scores within half a per cent count as the same balance."""


def instance(lost: frozenset[str]) -> tuple[list[PlaceHost], list[PlaceMachine], dict[str, str]]:
    """Return hosts, machines and where the machines are; seeded, so always the same."""
    dice = random.Random(2007)
    hosts = [PlaceHost(f"node-{n:03d}", "paris", 62 * GIB, 32, accepts=f"node-{n:03d}" not in lost,
                       drains=f"node-{n:03d}" in lost) for n in range(HOSTS)]
    machines = [PlaceMachine(f"vm-{n:05d}", dice.choice((1, 1, 2, 2, 4)) * GIB // 2,
                             dice.choice((1, 2))) for n in range(MACHINES)]
    return hosts, machines, {m.name: f"node-{n % HOSTS:03d}" for n, m in enumerate(machines)}


def timed(lost: frozenset[str], *, empty: bool, times: int) -> tuple[float, ...]:
    """Return seconds of `times` placements, from nothing or as a repair."""
    samples = []
    for _ in range(times):
        hosts, machines, where = instance(lost)
        began = time.perf_counter()
        place(hosts, machines, {} if empty else where)
        samples.append(time.perf_counter() - began)
    return tuple(samples)


def figures() -> list[Figure]:
    """Return our times and moves beside hbal's."""
    lost = frozenset({"node-000"})
    hosts, machines, where = instance(lost)
    repair = place(hosts, machines, where)
    if shutil.which("hbal") is None:
        return [Figure("repair after a lost host", "s", timed(lost, empty=False, times=7),
                       note="hbal is not installed: apt-get install ganeti-htools")]
    theirs = run_hbal(render_cluster(hosts, machines, where, lost), "-E")
    ours_after = run_hbal(render_cluster(hosts, machines, dict(repair.assignments), lost), "-l0")
    step_s = time_one_step(render_cluster(hosts, machines, where, frozenset()))
    balance = f"hbal's own score after: ours {ours_after.before:.5g}, hbal {theirs.after:.5g}"
    return [
        Figure("placement of 5,000 VMs from nothing, against one hbal step", "s",
               timed(frozenset(), empty=True, times=7), peer="hbal -l1, cut off at 150 s",
               peer_samples=(step_s,), ratio_at_least=100),
        Figure("repair after a lost host, all its VMs, against hbal -E", "s",
               timed(lost, empty=False, times=7), peer="hbal -E",
               peer_samples=(theirs.wall_s,), ratio_at_least=100),
        Figure("moves of that repair", "moves", (float(len(repair.moves)),),
               limit=float(theirs.moves), peer="hbal -E", peer_samples=(float(theirs.moves),)),
        Figure("score of that repair, less is better", "", (ours_after.before,),
               limit=theirs.after * SAME_BALANCE, note=balance),
    ]
