"""Windows by cron: open or closed at an instant, by the clock of a place that sets it twice a year.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from controller.model.estate import WindowSpec
from controller.reconcile.decide.context import window_state
from controller.source.check.check import wrong_cron

PARIS = "Europe/Paris"


def window(cron: str, duration: str, zone: str = PARIS) -> WindowSpec:
    """Return a window that denies."""
    return WindowSpec.model_validate({"name": "w", "effect": "deny", "cron": cron,
                                      "duration": duration, "timezone": zone})


def at(text: str) -> float:
    """Return an instant with its offset as epoch seconds."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(("cron", "duration", "opens", "closes"), [
    ("0 22 * * SUN#1", "4h", "2026-12-06T22:00+01:00", "2026-12-07T02:00+01:00"),
    ("0 2 1 * *", "3d", "2026-12-01T02:00+01:00", "2026-12-04T02:00+01:00"),
    ("0 0 29 2 *", "1h", "2028-02-29T00:00+01:00", "2028-02-29T01:00+01:00"),
    # in spring 02:30 is skipped, and the window opens where the clock goes on
    ("30 2 * * *", "1h", "2027-03-28T03:00+02:00", "2027-03-28T04:00+02:00"),
    # in autumn 02:30 comes twice, and counts once
    ("30 2 * * *", "1h", "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"),
    # a window over the hour that comes twice lasts as long as it says
    ("0 1 * * SUN", "3h", "2026-10-25T01:00+02:00", "2026-10-25T03:00+01:00"),
    ("0 1 * * SUN", "3h", "2027-03-28T01:00+01:00", "2027-03-28T05:00+02:00"),
])
def test_a_window_is_open_from_its_instant_for_its_duration(
        cron: str, duration: str, opens: str, closes: str) -> None:
    spec, opens_at, closes_at = window(cron, duration), at(opens), at(closes)
    before = window_state(spec, opens_at - 1)
    assert (before.open, before.changes_at) == (False, opens_at)
    for now_s in (opens_at, (opens_at + closes_at) / 2, closes_at - 1):
        state = window_state(spec, now_s)
        assert (state.open, state.changes_at) == (True, closes_at)
    after = window_state(spec, closes_at)
    assert not after.open
    assert after.changes_at is not None
    assert after.changes_at > closes_at


@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "15,45 1-3 * * *", "0 */6 * * SUN"])
@pytest.mark.parametrize("day", ["2027-03-27", "2027-10-30"])
def test_each_edge_is_where_the_one_before_said_it_would_be(cron: str, day: str) -> None:
    """Walked minute by minute over a change of the clock."""
    spec = window(cron, "20m")
    begins_at = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(PARIS)).timestamp()
    last = window_state(spec, begins_at)
    for minute in range(1, 60 * 60):
        state = window_state(spec, begins_at + 60.0 * minute)
        if state.open != last.open:
            assert last.changes_at == begins_at + 60.0 * minute
        last = state


@pytest.mark.parametrize(("cron", "duration_s", "told"), [
    ("0 22 * * SUN", 3600.0, ""), ("0 0 29 2 *", 3600.0, ""), ("0 */2 * * *", 7200.0, ""),
    ("* * * * *", 30.0, "comes again after"), ("0 * * * *", 7200.0, "comes again after"),
    ("0 0 30 2 *", 3600.0, "is no cron"), ("61 * * * *", 60.0, "is no cron"),
    ("hello", 60.0, "is no cron"), ("@daily", 60.0, "is no cron"),
    ("0 0 0 1 1 *", 60.0, "five fields")])
def test_a_cron_that_cannot_be_meant_is_refused(cron: str, duration_s: float, told: str) -> None:
    assert told in wrong_cron(cron, duration_s)
    assert bool(wrong_cron(cron, duration_s)) is bool(told)


@pytest.mark.parametrize("fields", [
    {}, {"days": ["mon"]}, {"start": "10:00"},
    {"days": ["mon"], "start": "10:00", "cron": "0 1 * * *"},
    {"days": ["mon"], "cron": "0 1 * * *"}])
def test_a_window_opens_in_one_way(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="by `days` and `start`, or by `cron`"):
        WindowSpec.model_validate({"name": "w", "effect": "deny", "duration": "1h"} | fields)
