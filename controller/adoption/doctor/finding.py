"""A finding: what is wrong, what follows from it, and the command that mends it."""

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How much a finding matters, the worst first."""

    STOPS = "stops you"
    HURTS = "will hurt"
    UNKNOWN = "not known"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Return its place, the worst first."""
        return list(type(self)).index(self)


class Finding(NamedTuple):
    """One thing that was found."""

    level: Level
    about: str
    """`Host/…`, `Host/… to Host/…` or `Site/…`."""
    check: str
    """In one word what was looked at: login, clock, mtu, …"""
    what: str
    consequence: str
    mend: str
    """The command, or the line to change; empty where there is nothing to do."""


def not_known(about: str, check: str, why: str, mend: str = "") -> Finding:
    """Return the finding that a check could not be done: what it would show is not known."""
    return Finding(Level.UNKNOWN, about, check, f"this could not be checked: {why}",
                   "it may be well or not", mend)
