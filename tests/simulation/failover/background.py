"""Many storms at once, in processes of their own that give way to everybody else."""

from tests.simulation.background import Background
from tests.simulation.failover.storm import blow
from tests.simulation.seeds import how_many

STORMS = how_many("HOTSITE_FAILOVER_STORMS", test=1000, soak=10_000)
CHUNK = 50
Passed = tuple[list[tuple[int, str]], int]


def blow_many(start: int, count: int) -> Passed:
    """Return the storms that broke a law, with the first of these, and how many promoted."""
    worlds = [(seed, blow(seed)) for seed in range(start, start + count)]
    return ([(seed, world.broken[0]) for seed, world in worlds if world.broken],
            sum(world.promotions > 0 for _, world in worlds))


def storms_of_failover() -> Background[Passed]:
    """Begin the storms that every law of failover must be kept in."""
    return Background(blow_many, STORMS, CHUNK)
