"""Units for people (`40GiB`, `5m`, `200Mbit/s`, `20%`, instants), turned into plain numbers once.

Rule 1: a number without a unit is refused where a unit is meant; nobody guesses MiB or MB.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

SIZES: Final[Mapping[str, int]] = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}
DURATIONS: Final[Mapping[str, float]] = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}
RATES: Final[Mapping[str, int]] = {
    "bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9,
}
PERCENT: Final[Mapping[str, float]] = {"%": 0.01}

_INSTANT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2}))?(?:Z|([+-])(\d{2}):?(\d{2}))")
DAY_S = 86400
HOURS: Final = "([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]|24(?=:00)):([0-5][0-9])"

KIB: Final = 1 << 10
MIB: Final = 1 << 20
SECTOR: Final = 512

SHORT_S: Final = 0.1
"""Shorter durations are shown in milliseconds."""

_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z/%]+)")


def parse_quantity(text: object, units: Mapping[str, float], example: str) -> float:
    """Return `text` as a number of the base unit.

    Errors: ValueError naming what to write instead.
    """
    if not isinstance(text, str):
        raise ValueError(f"needs a unit: write it like {example}")
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not understood: write it like {example}"
                         f" (units: {', '.join(units)})")
    return float(match[1]) * units[match[2]]


def parse_size_bytes(text: object) -> int:
    """Return a size such as `40GiB` in bytes."""
    return round(parse_quantity(text, SIZES, "40GiB"))


def parse_memory_bytes(text: object) -> int:
    """Return the size of a memory as libvirt keeps it: whole KiB, rounded up."""
    return -(-parse_size_bytes(text) // KIB) * KIB


def parse_disk_bytes(text: object) -> int:
    """Return the size of a disk as QEMU makes it: whole sectors of 512 bytes, rounded up."""
    return -(-parse_size_bytes(text) // SECTOR) * SECTOR


def is_memory_of(seen_bytes: int, declared_bytes: int) -> bool:
    """Return whether a guest has the declared memory, as nearly as QEMU can give it.

    QEMU gives whole MiB, and its balloon moves by whole pages: both round up.
    """
    return 0 <= seen_bytes - declared_bytes < MIB


def parse_duration_s(text: object) -> float:
    """Return a duration such as `5m` in seconds."""
    return parse_quantity(text, DURATIONS, "5m")


def parse_rate_bps(text: object) -> int:
    """Return a rate such as `200Mbit/s` in bits per second."""
    return round(parse_quantity(text, RATES, "200Mbit/s"))


def parse_share(text: object) -> float:
    """Return a percentage such as `20%` as a fraction of one."""
    return parse_quantity(text, PERCENT, "20%")


def render_size(size_bytes: int) -> str:
    """Return `size_bytes` in the largest binary unit that keeps it short: `2GiB`, `1.5GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes >= SIZES[unit]:
            return f"{size_bytes / SIZES[unit]:.4g}{unit}"
    return f"{size_bytes}B"


def render_sizes(one_bytes: int, other_bytes: int) -> tuple[str, str]:
    """Return two sizes that differ in words that differ, down to the byte where they must."""
    one, other = render_size(one_bytes), render_size(other_bytes)
    if one == other and one_bytes != other_bytes:
        return f"{one_bytes} bytes", f"{other_bytes} bytes"
    return one, other


def render_duration(duration_s: float) -> str:
    """Return `duration_s` as people say it: `5ms`, `40s`, `3m20s`, `2h05m`, `12d`."""
    whole = max(0, round(duration_s))
    if 0 < duration_s < SHORT_S:
        return f"{duration_s * 1000:.3g}ms"
    if duration_s < 10:
        return f"{max(0.0, duration_s):.3g}s"
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s" if whole % 60 else f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d"


def _schema(units: Mapping[str, Any]) -> WithJsonSchema:
    """Return the JSON schema of a quantity: a string with one of `units`."""
    alternatives = "|".join(re.escape(unit).replace(r"\ ", " ") for unit in units)
    return WithJsonSchema({"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)? ?({alternatives})$"})


SizeBytes = Annotated[int, BeforeValidator(parse_size_bytes), _schema(SIZES)]
MemoryBytes = Annotated[int, BeforeValidator(parse_memory_bytes), _schema(SIZES)]
DiskBytes = Annotated[int, BeforeValidator(parse_disk_bytes), _schema(SIZES)]
DurationS = Annotated[float, BeforeValidator(parse_duration_s), _schema(DURATIONS)]
RateBps = Annotated[int, BeforeValidator(parse_rate_bps), _schema(RATES)]
Share = Annotated[float, BeforeValidator(parse_share), _schema(PERCENT)]


class Hours(NamedTuple):
    """Hours of each day, in UTC; where they end before they begin, midnight is among them."""

    begin_s: float
    end_s: float


def parse_hours(value: Any) -> Hours:
    """Return `01:00-05:00` as seconds of the day.

    Errors: ValueError naming what to write instead.
    """
    match = re.fullmatch(HOURS, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("are no hours of a day: write them like 01:00-05:00, in UTC")
    begin_h, begin_m, end_h, end_m = map(int, match.groups())
    if (begin_h, begin_m) == (end_h, end_m):
        raise ValueError("begin when they end: write 00:00-24:00 for the whole day")
    return Hours(begin_h * 3600.0 + begin_m * 60, end_h * 3600.0 + end_m * 60)


DayHours = Annotated[Hours, BeforeValidator(parse_hours), WithJsonSchema({
    "type": "string", "pattern": rf"^{HOURS}$"})]


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
