"""One sample of how long plans of an estate take, as JSON: `plan_probe MACHINES HOSTS`."""

import json
import sys
import time
from pathlib import Path

from controller.model.desired import Desired
from controller.model.facts import Observed
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Context
from controller.reconcile.garbage import freeze_gc, gc_paused
from tests.bench.converged import aged, converged, with_changes, with_replicas
from tests.bench.yardstick import yardstick_s

TIMES = 3
MOST_WORKED = 10_000
"""A larger estate is planned once of each kind."""


def planned(desired: Desired, observed: Observed, context: Context,
            now_s: float) -> tuple[Plan, float]:
    """Return a plan, and what it took on the wall's clock."""
    began = time.perf_counter()
    with gc_paused():
        plan = compute(desired, observed, context, now_s)
    return plan, time.perf_counter() - began


def worked(desired: Desired, observed: Observed, context: Context,
           now_s: float) -> tuple[float, float]:
    """Return the least processor time of a plan, and of the yardstick beside it."""
    compute(desired, observed, context, now_s)
    best = []
    with gc_paused():
        for _ in range(TIMES):
            began = time.process_time()
            compute(desired, observed, context, now_s)
            best.append(time.process_time() - began)
        return min(best), yardstick_s()


def main(machines: int, hosts: int) -> None:
    """Print one sample."""
    desired, observed, now_s = converged(machines, hosts)
    context = Context(applied_revision=desired.revision)
    freeze_gc(desired)
    compute(desired, observed, context, now_s)
    quiet, quiet_s = planned(desired, observed, context, now_s)
    assert not quiet.steps, quiet.steps[:3]
    busy, busy_s = planned(desired, with_changes(observed, 1000), context, now_s)
    assert len(busy.steps) >= 1000, len(busy.steps)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident_mib = int(status["VmHWM"].split()[0]) / 1024
    kept = with_replicas(desired, observed)
    compute(desired, kept, context, now_s)
    fresh, fresh_s = planned(desired, kept, context, now_s)
    assert not fresh.steps, fresh.steps[:3]
    work = {} if machines > MOST_WORKED else {
        "no change": worked(desired, observed, context, now_s),
        "fresh replicas": worked(desired, kept, context, now_s),
        "all due": worked(desired, aged(kept, 400.0), context, now_s + 400.0)}
    print(json.dumps({"work": work, "no change": quiet_s, "1,000 changes": busy_s,
                      "fresh replicas": fresh_s, "resident": resident_mib}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
