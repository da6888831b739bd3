"""How far a copy has come, for whoever looks on."""

from collections.abc import Callable
from dataclasses import dataclass

from controller.model.units import render_duration, render_size


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


def render_progress(progress: Progress) -> str:
    """Return how far it is as people read it: `12% of 3GiB, 40MiB/s, 1m05s to go`."""
    share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
    to_go = "" if progress.eta_s is None else f", {render_duration(progress.eta_s)} to go"
    return (f"{share:.0%} of {render_size(progress.total_bytes)} looked at,"
            f" {render_size(round(progress.rate_bps))}/s on the wire{to_go}")


def expected_s(done_bytes: int, total_bytes: int, since_s: float) -> float | None:
    """Return how long the rest takes at the pace so far."""
    if done_bytes <= 0 or since_s <= 0:
        return None
    return max(0.0, (total_bytes - done_bytes) * since_s / done_bytes)
