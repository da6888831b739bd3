"""Instants as people write them, turned into epoch seconds and back, without a clock."""

import re

_INSTANT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2}))?(?:Z|([+-])(\d{2}):?(\d{2}))")
DAY_S = 86400


def parse_instant_at(text: str) -> float:
    """Return `2026-11-23T06:00:00Z` in epoch seconds.

    Errors: ValueError naming what to write instead.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no instant: write it like 2026-11-23T06:00:00Z")
    year, month, day, hour, minute = (int(match[group]) for group in range(1, 6))
    offset_s = 0 if match[7] is None else int(match[8]) * 3600 + int(match[9]) * 60
    at = days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + int(match[6] or 0)
    return float(at + offset_s if match[7] == "-" else at - offset_s)


def render_instant(at: float) -> str:
    """Return epoch seconds as people read them: `2026-11-23 06:00:00 UTC`."""
    days, rest = divmod(int(at), DAY_S)
    year, month, day = civil_from_days(days)
    return (f"{year:04d}-{month:02d}-{day:02d}"
            f" {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d} UTC")


def days_from_civil(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date of the Gregorian calendar."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 \
        + day_of_year - 719468


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return the date that is so many days after 1970-01-01."""
    era, day_of_era = divmod(days + 719468, 146097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + (3 if shifted < 10 else -9)
    return era * 400 + year + (month <= 2), month, day
