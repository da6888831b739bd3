"""Telemetry: the spans and metrics that the program may report; off until it is configured.

Rule 1: only what is listed here leaves the process. It has no field that could hold a secret.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, NamedTuple, TypedDict, Unpack

SpanName = Literal["cycle", "observe", "decide", "plan", "apply"]


class SpanAttributes(TypedDict, total=False):
    """All attributes that a span can have."""

    revision: str
    target: str
    node: str
    verb: str
    outcome: str
    steps: int
    nodes: int


class Forecast(NamedTuple):
    """What the loss of a site would come to now."""

    returns: int
    """How many protected VMs would come back."""
    hindered: int
    """How many would not by themselves."""
    last_start_s: float | None = None
    """From the loss until the last of them has started; None: none of them starts."""
    loss_s: float | None = None
    """How much the one with the oldest restore point would lose; None: none has one."""


class LoopFigures(NamedTuple):
    """Whether the loop may act, and what it has before it."""

    steps: Mapping[str, int]
    """By ruling: steps of the last plan."""
    failovers: Mapping[str, str]
    """By scope: the phase of its failover."""
    journal_writable: bool = True
    conducts: bool = True
    """Whether this controller acts, and no other."""


class Telemetry:
    """Telemetry that is off: every method does nothing."""

    @property
    def enabled(self) -> bool:
        """Return whether telemetry is on; asked before a costly count."""
        return False

    def span(self, name: SpanName,
             **attributes: Unpack[SpanAttributes]) -> AbstractContextManager[None]:
        """Open a span; spans opened inside it are its children, also across awaits."""
        return _NOTHING

    def nodes(self, ages_s: Mapping[str, float | None]) -> None:
        """Report the age of each declared node's facts; None for a node that is unknown."""

    def action(self, verb: str, outcome: str, duration_s: float) -> None:
        """Count one action that ended."""

    def refusal(self, rule: str) -> None:
        """Count one action that a gate refused."""

    def planned(self, duration_s: float) -> None:
        """Report how long one plan took to compute."""

    def polled(self, duration_s: float, *, answered: bool) -> None:
        """Report how long one poll of one node took."""

    def conditions(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Report the number of conditions by type and status; pairs that are missing have none."""

    def sites(self, forecasts: Mapping[str, Forecast]) -> None:
        """Report, by site, what its loss would come to now."""

    def loop(self, figures: LoopFigures) -> None:
        """Report whether the loop may act, and what it has before it."""

    def notified(self, receiver: str, outcome: str) -> None:
        """Count one try to tell a receiver something."""

    def waiting(self, counts: Mapping[str, int]) -> None:
        """Report how many messages wait for each receiver."""

    def loop_lag(self, lag_s: float) -> None:
        """Report how much later than asked the event loop woke us."""

    def cycle_ended(self) -> None:
        """Report that a decision was taken; the age of the last one shows whether it hangs."""

    def close(self) -> None:
        """Send what is buffered, for a few seconds at most, and stop."""


_NOTHING: Final = nullcontext()
OFF: Final = Telemetry()
