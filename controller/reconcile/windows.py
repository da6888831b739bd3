"""Which declared windows are open at an instant, and when that changes: the calendar's part.

Rule 1: a window whose zone is not known denies what it may deny and allows nothing.
"""

import math
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.model.estate import WindowSpec
from controller.plan.policy import WindowState

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AHEAD_DAYS: Final = 8
Span = tuple[float, float]


def window_state(window: WindowSpec, now_s: float) -> WindowState:
    """Return whether `window` is open at `now_s`, and when that next changes."""
    try:
        zone = ZoneInfo(window.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return WindowState(window.name, window.effect, window.effect == "deny", window.above, None)
    spans = merged(spans_around(window, zone, now_s))
    inside = next((span for span in spans if span[0] <= now_s < span[1]), None)
    after = next((span[0] for span in spans if span[0] > now_s), None)
    changes_at = inside[1] if inside else after
    horizon = now_s + (AHEAD_DAYS - 1) * 86400.0
    if changes_at is not None and changes_at > horizon:
        changes_at = None
    return WindowState(window.name, window.effect, inside is not None, window.above, changes_at)


def spans_around(window: WindowSpec, zone: ZoneInfo, now_s: float) -> tuple[Span, ...]:
    """Return when the window opens and closes, from before `now_s` to a week after, in order."""
    today = datetime.fromtimestamp(now_s, zone).date()
    back = math.ceil(window.duration_s / 86400.0) + 1
    starts = (_start(window, zone, today + timedelta(days=offset))
              for offset in range(-back, AHEAD_DAYS + 1)
              if DAYS[(today + timedelta(days=offset)).weekday()] in window.days)
    return tuple((start, start + window.duration_s) for start in sorted(starts))


def merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return `spans`, sorted by start, with those that touch or overlap made one."""
    whole: list[Span] = []
    for start, end in spans:
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        else:
            whole.append((start, end))
    return tuple(whole)


def _start(window: WindowSpec, zone: ZoneInfo, day: date) -> float:
    """Return the instant at which the window opens on `day`, local time."""
    return datetime.combine(day, time.fromisoformat(window.start), zone).timestamp()
