"""Writes into a filled store as a loop over 5,000 VMs does: `… writer STATE`.

A second: 30 hosts whose load changed, 40 VMs with a new restore point, and one heartbeat. It writes
four times a second, as the loop gathers what it writes. It first fills the store, prints `filled`,
and ends with its standard input.
"""

import itertools
import select
import sys
import time
from dataclasses import replace
from pathlib import Path

from controller.model.facts import Known, NodeFacts
from controller.model.replica import ReplicaFacts
from controller.reconcile.observe.last_seen import save_fact
from controller.store.store import Store
from tests.bench.desk.filled import fill, later

TICK_S = 0.25
HOSTS_A_TICK, POINTS_A_TICK = 8, 10


def main(path: Path) -> None:
    """Fill, then write until standard input ends."""
    with Store.open(path) as store:
        hosts = fill(store)
        print("filled", flush=True)
        turns = itertools.cycle(sorted(hosts))
        began, beat = time.monotonic(), store.status() or {}
        for number in itertools.count(1):
            while (left_s := began + number * TICK_S - time.monotonic()) > 0:
                if select.select([sys.stdin], [], [], left_s)[0] and not sys.stdin.readline():
                    return
            some = list(itertools.islice(turns, HOSTS_A_TICK))
            for node in some:
                points = 1 + (node in some[:POINTS_A_TICK - HOSTS_A_TICK])
                hosts[node] = changed(hosts[node], number, points)
                save_fact(store, node, Known(hosts[node], time.time()))
            if number % 4 == 0:
                store.save_status(beat | {"at": time.time()})


def changed(facts: NodeFacts, number: int, points: int) -> NodeFacts:
    """Return a host's facts with another load, and so many replicas with a point of now."""
    assert isinstance(facts.hardware, Known)
    assert isinstance(facts.replicas, Known)
    hardware = replace(facts.hardware.value, load_1m=1.0 + number % 90 / 10)
    oldest = sorted(facts.replicas.value.values(), key=lambda one: one.points[-1].started_at)
    renewed = {one.uuid: renew(one) for one in oldest[:points]}
    return replace(facts, hardware=replace(facts.hardware, value=hardware),
                   replicas=replace(facts.replicas, value=facts.replicas.value | renewed))


def renew(one: ReplicaFacts) -> ReplicaFacts:
    """Return a replica whose newest point is of now."""
    newest = one.points[-1]
    return replace(one, points=(*one.points[1:], later(
        replace(newest, sequence=newest.sequence + 1), time.time() - newest.started_at)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
