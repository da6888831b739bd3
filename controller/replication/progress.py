"""How far a copy has come, for whoever looks on."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a copy under way; `rate_bps` is bytes a second on the wire."""

    target: str
    """The action's target: `Replica/NAME`."""
    done_bytes: int
    total_bytes: int
    rate_bps: float
    eta_s: float | None
    """None while it cannot be told."""


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Take no notice."""


def expected_s(done_bytes: int, total_bytes: int, since_s: float) -> float | None:
    """Return how long the rest takes at the pace so far."""
    if done_bytes <= 0 or since_s <= 0:
        return None
    return max(0.0, (total_bytes - done_bytes) * since_s / done_bytes)
