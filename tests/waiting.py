"""Wait for a condition, not for time."""

import time
from collections.abc import Callable

OUT_OF_HAND_S = 60.0
"""Processor time that only something takes that grows much faster than what it is given."""


def wait_until(condition: Callable[[], bool], limit_s: float = 300.0) -> None:
    """Return when it holds; it is a failure when it never does."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
