"""One measured figure: its samples, its limit, and its peer measured in the same run."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured. `limit` speaks about the median unless `limit_at` names a percentile.

    Shapes: samples in the order taken, never empty; peer_samples empty where there is no peer.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    limit: float | None = None
    limit_at: float = 0.5
    """The quantile that the limit speaks about: 0.5 the median, 0.99 the slow tail."""
    peer: str = ""
    peer_samples: tuple[float, ...] = ()
    ratio_at_least: float | None = None
    """How many times the peer's median must be ours."""
    at_least: float | None = None
    """What the median must reach, where more is better."""
    note: str = ""

    @property
    def median(self) -> float:
        """Return the median of our samples."""
        return statistics.median(self.samples)

    def quantile(self, share: float) -> float:
        """Return the smallest sample that `share` of all samples do not exceed."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.499999) - 1))]

    @property
    def ratio(self) -> float | None:
        """Return how many times ours the peer's median is; None without a peer."""
        return statistics.median(self.peer_samples) / self.median if self.peer_samples else None

    @property
    def met(self) -> bool | None:
        """Return whether every limit holds; None where there is none."""
        verdicts = []
        if self.limit is not None:
            at = self.median if self.limit_at == 0.5 else self.quantile(self.limit_at)
            verdicts.append(at <= self.limit)
        if self.at_least is not None:
            verdicts.append(self.median >= self.at_least)
        if self.ratio_at_least is not None and self.ratio is not None:
            verdicts.append(self.ratio >= self.ratio_at_least)
        return all(verdicts) if verdicts else None

    def as_json(self) -> dict[str, object]:
        """Return everything that was measured, ready for JSON."""
        return {
            "name": self.name, "unit": self.unit, "samples": list(self.samples),
            "median": self.median, "lowest": min(self.samples), "highest": max(self.samples),
            "limit": self.limit, "limit_at": self.limit_at, "peer": self.peer,
            "peer_samples": list(self.peer_samples), "ratio": self.ratio,
            "ratio_at_least": self.ratio_at_least, "at_least": self.at_least, "met": self.met,
            "note": self.note,
        }
