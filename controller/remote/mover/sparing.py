"""
When clusters go as they are, since the codec and not the wire is what a transfer waits for.

On a fast path the hosts' processors are worth more than its bytes, and a copy that ends sooner
bothers its guest for less long; on a slow or throttled one the wire never waits. What is large may
then go as it is altogether, the rest only while half of it is saved all the same.
"""

from __future__ import annotations

SMALL_BYTES = 256 << 20
SHARE = 7 / 16          # of what was read may be on the wire where some of it is spared


class Sparing:
    """Counts what one transfer read and sent."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed
        self._read_bytes = self._packed_bytes = self._open_bytes = 0

    def take(self, read_bytes: int) -> bool:
        """Count what was read; return whether it may go as it is, should the wire wait for it."""
        self._read_bytes += read_bytes
        self._open_bytes += read_bytes      # what it comes to is not known yet: at most all of it
        most = self._packed_bytes + self._open_bytes
        return self._allowed and (self._read_bytes > SMALL_BYTES
                                  or most <= SHARE * self._read_bytes)

    def passed(self, read_bytes: int, packed_bytes: int) -> None:
        """Count what became of it."""
        self._open_bytes -= read_bytes
        self._packed_bytes += packed_bytes
