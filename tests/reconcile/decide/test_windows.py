"""Windows: open or closed at an instant, in the window's own zone, summer time included."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from controller.model.document import Rung
from controller.model.estate import WindowSpec
from controller.reconcile.decide.context import window_state


def window(days: str, start: str, duration: str, zone: str = "UTC",
           effect: str = "deny") -> WindowSpec:
    """Return a window."""
    return WindowSpec.model_validate({"name": "w", "effect": effect, "days": days.split(),
                                      "start": start, "duration": duration, "timezone": zone})


def at(text: str, zone: str = "UTC") -> float:
    """Return local time in `zone` as epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


# 2026-11-23 is a Monday.
@pytest.mark.parametrize(("spec", "now", "is_open", "changes"), [
    (window("mon", "08:00", "2h"), "2026-11-23T07:59:59", False, "2026-11-23T08:00:00"),
    (window("mon", "08:00", "2h"), "2026-11-23T08:00:00", True, "2026-11-23T10:00:00"),
    (window("mon", "08:00", "2h"), "2026-11-23T10:00:00", False, "2026-11-30T08:00:00"),
    (window("sun", "22:00", "4h"), "2026-11-23T01:30:00", True, "2026-11-23T02:00:00"),
    (window("mon tue", "00:00", "24h"), "2026-11-23T12:00:00", True, "2026-11-25T00:00:00"),
    (window("fri", "18:00", "2d"), "2026-11-22T19:00:00", False, "2026-11-27T18:00:00"),
    (window("fri", "18:00", "2d"), "2026-11-28T12:00:00", True, "2026-11-29T18:00:00"),
])
def test_a_window_is_open_from_its_start_for_its_duration(
        spec: WindowSpec, now: str, is_open: bool, changes: str) -> None:
    state = window_state(spec, at(now))
    assert (state.open, state.changes_at) == (is_open, at(changes))


def test_a_window_that_never_closes_says_that_it_never_changes() -> None:
    state = window_state(window("mon tue wed thu fri sat sun", "00:00", "24h"),
                         at("2026-11-23T12:00:00"))
    assert state.open
    assert state.changes_at is None


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 3.0), ("2026-10-25", 3.0)])
def test_a_window_over_a_change_of_summer_time_lasts_as_long_as_it_says(
        day: str, hours: float) -> None:
    zone = "Europe/Paris"
    spec = window("sat sun mon", "01:00", "3h", zone)
    begins_at = at(f"{day}T01:00:00", zone)
    assert window_state(spec, begins_at).changes_at == begins_at + hours * 3600
    assert not window_state(spec, begins_at - 1).open
    assert not window_state(spec, begins_at + hours * 3600).open


def test_the_zone_decides_which_day_it_is() -> None:
    spec = window("mon", "00:00", "1h", "Asia/Tokyo")
    assert window_state(spec, at("2026-11-22T15:30:00")).open


@pytest.mark.parametrize(("effect", "is_open"), [("deny", True), ("allow", False)])
def test_a_zone_that_nobody_knows_denies_and_never_allows(effect: str, is_open: bool) -> None:
    state = window_state(window("mon", "00:00", "1h", "Mars/Olympus", effect), 0.0)
    assert (state.open, state.above) == (is_open, Rung.MIGRATE)
