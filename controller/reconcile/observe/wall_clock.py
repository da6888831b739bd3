"""The wall clock, compared with a steady clock, to notice when somebody sets it.

Rule 1: between two readings as much time has passed as the steady clock says; the rest is a step.
Rule 2: a process that reads it twice a second and did not for longer was stopped, or slept. Nobody
        was listened to meanwhile, so that time is nobody's silence.
"""

from collections.abc import Callable
from typing import Final

from controller.model.units import render_duration

STEP_S: Final = 1.0
"""Smaller differences are a clock that is slewed, not set."""
ASLEEP_S: Final = 5.0
"""After so long without a reading nobody has listened."""


class Wall:
    """Reads the wall clock. Without a steady clock only steps back are noticed."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._last: tuple[float, float] | None = None
        self._step_s = 0.0
        self.listening_since_at = 0.0
        """Since when this process listens without a gap; 0 before the first reading."""

    def read(self) -> tuple[float, float]:
        """Return the time, and by how much the clock was set since the last reading."""
        now_s, steady_s = self._clock(), self._steady()
        step_s = gap_s = 0.0
        if self._last is not None:
            gap_s = steady_s - self._last[1]
            step_s = now_s - self._last[0] - gap_s
        if self._last is None or max(gap_s, step_s) > ASLEEP_S:
            self.listening_since_at = now_s
        elif step_s < 0.0:
            self.listening_since_at += step_s
        self._last = (now_s, steady_s)
        if steady_s == 0.0 and step_s > 0.0:
            return now_s, 0.0
        step_s = step_s if abs(step_s) >= STEP_S else 0.0
        self._step_s += step_s
        return now_s, step_s

    def step_sentence(self) -> str | None:
        """Return a sentence about the steps since the last call; None when there was none."""
        step_s, self._step_s = self._step_s, 0.0
        if abs(step_s) < STEP_S:
            return None
        by = render_duration(abs(step_s))
        if step_s < 0:
            return (f"the controller's clock was set back by {by}. Facts keep their age, windows"
                    " and pauses follow the new time: see that the clock is right")
        return (f"the controller's clock was set forward by {by}, or this machine slept. Every node"
                " is looked at again before anything is done, windows and pauses follow the new"
                " time: see that the clock is right")
