"""The wall clock, and whether somebody set it: compared with one that nobody can set.

Rule 1: time between two readings is what the steady clock says; the rest is a step.
"""

from collections.abc import Callable
from typing import Final

from controller.model.units import render_duration

STEP_S: Final = 1.0
"""A clock that is off by less is drawn right little by little, and that is no step."""


class Wall:
    """Reads the wall clock. Without a steady clock only steps back can be told."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._last: tuple[float, float] | None = None
        self._step_s = 0.0

    def read(self) -> tuple[float, float]:
        """Return the instant, and by how much the clock was set since it was last read."""
        now_s, steady_s = self._clock(), self._steady()
        step_s = 0.0
        if self._last is not None:
            step_s = now_s - self._last[0] - (steady_s - self._last[1])
        self._last = (now_s, steady_s)
        if steady_s == 0.0 and step_s > 0.0:
            return now_s, 0.0
        step_s = step_s if abs(step_s) >= STEP_S else 0.0
        self._step_s += step_s
        return now_s, step_s

    def told(self) -> str | None:
        """Return a sentence about the steps since this was last asked; None where there was none.
        """
        step_s, self._step_s = self._step_s, 0.0
        if abs(step_s) < STEP_S:
            return None
        way = "back" if step_s < 0 else "forward"
        return (f"the controller's clock was set {way} by {render_duration(abs(step_s))}: what was"
                " seen keeps its age, windows and pauses go by the new time; see that the clock is"
                " right" if step_s < 0 else
                f"the controller's clock was set {way} by {render_duration(abs(step_s))}, or this"
                " machine slept: every node is looked at again before anything is done; windows"
                " and pauses go by the new time; see that the clock is right")
