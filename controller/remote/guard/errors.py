"""
What can go wrong, by what the caller should do next; the exit status says which.

* GuardError
  + Refused     1   it did not happen and never will as asked
  + TryAgain    2   it did not happen; asking again is safe
  + Superseded  76  a controller of a higher term has been here: whoever asks conducts no more
"""

from __future__ import annotations


class GuardError(Exception):
    """Root of every error raised on purpose; the text is a sentence."""

    status = 3


class Refused(GuardError):
    """The request cannot be done as it is, and nothing was changed."""

    status = 1


class TryAgain(GuardError):
    """Nobody was there to do it, or the disk did not take it; nothing was changed."""

    status = 2


class Superseded(GuardError):
    """The request carries a lower term than one that was seen here before."""

    status = 76


STATUSES = {kind.status: kind for kind in (Refused, TryAgain, Superseded)}
