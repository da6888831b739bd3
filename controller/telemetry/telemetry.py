"""What the rest of the program may say about itself; said to nobody until somebody listens.

Rule 1: only what is listed here leaves the process. There is no place for a secret in it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, TypedDict, Unpack

SpanName = Literal["cycle", "observe", "decide", "plan", "apply"]


class SpanAttributes(TypedDict, total=False):
    """All that a span can carry."""

    revision: str
    target: str
    node: str
    verb: str
    outcome: str
    steps: int
    nodes: int


class Telemetry:
    """Telemetry that is off: every method returns at once and keeps nothing."""

    @property
    def enabled(self) -> bool:
        """Return whether anybody may be listening; asked before a costly count is made."""
        return False

    def span(self, name: SpanName,
             **attributes: Unpack[SpanAttributes]) -> AbstractContextManager[None]:
        """Hold a span; the spans begun inside it are its children, across awaits as well."""
        return _NOTHING

    def nodes(self, ages_s: Mapping[str, float | None]) -> None:
        """Say how old the facts of each declared node are; None for one that is unknown."""

    def action(self, verb: str, outcome: str, duration_s: float) -> None:
        """Count one action that ended."""

    def refusal(self, rule: str) -> None:
        """Count one action that a gate refused."""

    def planned(self, duration_s: float) -> None:
        """Say how long one plan took to compute."""

    def polled(self, duration_s: float, *, answered: bool) -> None:
        """Say how long one poll of one node took."""

    def conditions(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Say how many conditions there are by type and status; absent pairs are gone."""

    def loop_lag(self, lag_s: float) -> None:
        """Say how much later than asked the event loop woke us."""

    def cycle_ended(self) -> None:
        """Say that the loop came round; its age is what tells that it hangs."""

    def close(self) -> None:
        """Hand over what is still held back, for a few seconds at most, and stop listening."""


_NOTHING: Final = nullcontext()
OFF: Final = Telemetry()
