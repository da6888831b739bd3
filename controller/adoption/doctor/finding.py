"""A finding: what is wrong, what follows from it, and the command that mends it."""

from enum import StrEnum
from typing import Final, NamedTuple

HERE: Final = "here"
"""The machine on which hotsite runs."""


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
    on: str | None = None
    """Where that command is typed, as root: a host, or `here`; empty: it is none. None: on the
    host that it is about."""

    @property
    def typed_on(self) -> str:
        """Return where the command is typed; empty where there is none."""
        if self.on is not None:
            return self.on
        kind, _, name = self.about.partition("/")
        return name.partition(" to ")[0] if kind == "Host" and self.mend else ""


def not_known(about: str, check: str, why: str, mend: str = "",
              on: str | None = None) -> Finding:
    """Return the finding that a check could not be done: what it would show is not known."""
    return Finding(Level.UNKNOWN, about, check, f"this could not be checked: {why}",
                   "it may be well or not", mend, on)
