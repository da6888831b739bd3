"""The simulator of failover: how many hours of the talk's estate a minute of one processor plays.

Twice: an estate that loses a site, or a part of it, once an hour, and is mended two minutes later;
and the storms of the tests, in which something goes wrong almost all the time. A third figure plays
the hourly estate with every ask and every decision, which is what the tests compare the first with.
"""

import time
from collections.abc import Callable

from tests.bench.figure import Figure
from tests.simulation.failover.estate import TALK
from tests.simulation.failover.storm import blow, endure
from tests.simulation.failover.world import World

HOUR_S = 3600.0
LEAST_PER_MINUTE = 500.0


def figures() -> list[Figure]:
    """Return how fast it is."""
    hourly = measured(lambda seed: endure(seed, 6, HOUR_S), 9)
    dense = measured(lambda seed: blow(seed, shape=TALK), 30)
    played = measured(lambda seed: endure(seed, 1, HOUR_S, exact=True), 3)
    what = "simulated, 12 servers and 35 VMs, per minute of a processor"
    return [
        Figure(f"hours {what}: a disaster every hour", "h", hourly, at_least=LEAST_PER_MINUTE),
        Figure(f"hours {what}: a disaster all the time", "h", dense,
               note="storms of the tests, each of a seed of its own"),
        Figure(f"hours {what}: a disaster every hour, every ask played", "h", played)]


def measured(play: Callable[[int], World], seeds: int) -> tuple[float, ...]:
    """Return the hours per minute of each seed, by the time of this processor."""
    found = []
    for seed in range(seeds):
        began = time.process_time()
        world = play(seed)
        took_s = time.process_time() - began
        assert not world.broken, f"seed {seed}: {world.broken[0]}"
        found.append(world.now / HOUR_S / (took_s / 60))
    return tuple(found)
