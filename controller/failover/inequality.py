"""How old the last grant of every grantor must be before a host's guests are surely gone.

The guard asks at t, the grantor notes and then answers, and the guard is content until t + D. So
counted from what the grantor noted, which is never before t, its guests are gone after

    (D + F + W + T + K) * (1 + drift)     with a watchdog, whatever freezes
    (D + T + K) * (1 + drift)             without one, if the guard runs

D deadline, F feed, W watchdog, T tick, K kill. It is the sum and not the larger part: the guard
may be suspended just after it found itself content, wake up to W later, feed once more, and end the
guests in its next round. To that the margin is added, for datagrams in flight and rounding.
"""

from controller.model.failover.spec import GuardSpec


def least_wait_s(guard: GuardSpec, *, watchdog: bool) -> float:
    """Return the shortest wait since the last grant that is safe."""
    parts_s = guard.deadline_s + guard.tick_s + guard.kill_s
    if watchdog:
        parts_s += guard.feed_s + guard.watchdog_s
    return parts_s * (1 + guard.drift) + guard.margin_s


def wait_s(guard: GuardSpec, *, watchdog: bool) -> float:
    """Return how old every last grant must be: what is declared, and never less than is safe."""
    return max(guard.wait_s or 0.0, least_wait_s(guard, watchdog=watchdog))


def undone_until_s(guard: GuardSpec) -> float:
    """Return until what age of the last grant no guest can have been ended yet."""
    return guard.deadline_s * (1 - guard.drift) - guard.margin_s
