"""Names of files that were set aside: what a removed VM left, until nobody can want it back.

Rule 1: the name says itself what the file was and when it was set aside; nobody remembers it.
"""

import re
from typing import Final, NamedTuple

from controller.model.instants import parse_instant_at, render_instant

MARK: Final = ".hotsite-removed-"
_ASIDE = re.compile(rf"(.+){re.escape(MARK)}(\d{{4}})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")


class Aside(NamedTuple):
    """A file that was set aside."""

    name: str
    """What it was called."""
    at: float


def aside_suffix(at: float) -> str:
    """Return what is put behind the name of a file that is set aside."""
    date, time, _ = render_instant(at).split()
    return f"{MARK}{date.replace('-', '')}T{time.replace(':', '')}Z"


def parse_aside(name: str) -> Aside | None:
    """Return what a file was before it was set aside; None for any other file."""
    match = _ASIDE.fullmatch(name)
    if match is None:
        return None
    old, year, month, day, hour, minute, second = match.groups()
    try:
        return Aside(old, parse_instant_at(f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
    except ValueError:
        return None
