"""How long a plan takes on a large estate, without a change and with many; what memory it takes.

Each sample is a process of its own: the memory is that of a controller that holds specs, facts
and a plan, and nothing else.
"""

import json
import subprocess
import sys

from tests.bench.figure import Figure

SIZES = {10_000: (500, 1, 5), 100_000: (5_000, 12, 1)}
"""Machines: hosts, how many times the limits of the first, samples."""
LIMITS = {"no change": 0.5, "1,000 changes": 1.0, "resident": 300.0, "fresh replicas": None}
PROBE = """
import json, sys, time
from tests.bench.converged import converged, with_changes, with_replicas
from controller.plan.compute import compute
from controller.plan.policy import Policy
from controller.reconcile.memory import rest, undisturbed
desired, observed, now_s = converged(int(sys.argv[1]), int(sys.argv[2]))
policy = Policy(applied_revision=desired.revision)
rest(desired)

def planned(observed):
    began = time.perf_counter()
    with undisturbed():
        plan = compute(desired, observed, policy, now_s)
    return plan, time.perf_counter() - began

compute(desired, observed, policy, now_s)
quiet, quiet_s = planned(observed)
assert not quiet.steps, quiet.steps[:3]
changed = with_changes(observed, 1000)
busy, busy_s = planned(changed)
assert len(busy.steps) >= 1000, len(busy.steps)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
resident_mib = int(status["VmHWM"].split()[0]) / 1024
kept = with_replicas(desired, observed)
compute(desired, kept, policy, now_s)
fresh, fresh_s = planned(kept)
assert not fresh.steps, fresh.steps[:3]
print(json.dumps({"no change": quiet_s, "1,000 changes": busy_s, "fresh replicas": fresh_s,
                  "resident": resident_mib}))
"""


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
    return found


def probe(machines: int, hosts: int) -> dict[str, float]:
    """Plan twice in a new process and return what it took."""
    ended = subprocess.run([sys.executable, "-c", PROBE, str(machines), str(hosts)], check=True,
                           capture_output=True, text=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found
