"""The token bucket on a clock of its own: one stream and many keep the rate."""

import random

from mover.transfer.throttle import BURST_S, Throttle


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        self.now += duration_s


def test_the_rate_holds_whatever_the_sizes() -> None:
    clock, dice = Clock(), random.Random(3)
    throttle = Throttle(8e6, clock.read, clock.sleep)
    total = 0
    while total < 20_000_000:
        size = dice.randrange(1, 1 << 20)
        throttle.take(size)
        total += size
    assert abs(clock.now - 100.0 - total / 1e6) <= BURST_S


def test_an_idle_bucket_saves_up_no_more_than_its_burst() -> None:
    clock = Clock()
    throttle = Throttle(8e6, clock.read, clock.sleep)
    clock.sleep(3600)
    start = clock.now
    for _ in range(10):
        throttle.take(1_000_000)
    assert 10 - BURST_S <= clock.now - start <= 10


def test_a_new_rate_counts_for_what_waits_already() -> None:
    clock = Clock()
    throttle = Throttle(8e3, clock.read, clock.sleep)

    def sleep(duration_s: float) -> None:
        clock.sleep(duration_s)
        throttle.set(8e6)

    throttle._sleep = sleep
    throttle.take(1_000_000)        # a thousand seconds at the old rate
    assert clock.now - 100.0 < 2


def test_without_a_rate_nothing_waits_and_nothing_is_cut_up() -> None:
    clock = Clock()
    throttle = Throttle(0, clock.read, clock.sleep)
    throttle.take(1 << 40)
    assert clock.now == 100.0
    assert throttle.portion(1 << 40) == 1 << 40
    throttle.set(1e6)
    assert throttle.portion(1 << 40) < 1 << 20
