"""Hold the wire to its rate: one token bucket for all streams of a mover; and measure the line."""

from __future__ import annotations

import threading
import time
from typing import Callable

BURST_S = 0.1       # what an idle bucket may let through at once, in seconds of its rate
PORTION_BYTES = 1 << 16
LEAST_PORTION_BYTES = 1 << 10


JUDGED_BYTES = 4 << 20  # on the wire; less says nothing of a line, since it goes into buffers
FULL_SHARE = 0.5        # of the time: so long the writers wait for a line that is full


class LineRate:
    """
    The rate of the line, in bits a second; 0: not known.

    It is known only from stretches in which the line was what everybody waited for. A transfer that
    waits for answers or for the disk says nothing of it, however few bytes it sends a second.
    """

    def __init__(self, streams: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._streams, self._clock = max(1, streams), clock
        self._lock = threading.Lock()
        self._bytes, self._busy_s, self._since = 0, 0.0, clock()
        self.rate_bps = 0.0

    def wrote(self, size_bytes: int, busy_s: float) -> None:
        """Count bytes of one stream, and how long it took to get rid of them."""
        with self._lock:
            self._bytes += size_bytes
            self._busy_s += busy_s / self._streams
            if self._bytes < JUDGED_BYTES:
                return
            lasted_s = max(self._clock() - self._since, 1e-6)
            if self._busy_s >= FULL_SHARE * lasted_s:
                self.rate_bps = self._bytes * 8 / lasted_s
            self._bytes, self._busy_s, self._since = 0, 0.0, self._clock()


class Throttle:
    """Let bytes pass at `rate_bps` bits per second; 0 lets everything pass."""

    def __init__(self, rate_bps: float = 0, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._rate_bps = 0.0
        self._free_at = 0.0         # when all that was let through has been paid for
        self.set(rate_bps)

    @property
    def rate_bps(self) -> float:
        """The rate that is kept to; 0: none."""
        return self._rate_bps

    def portion(self, size_bytes: int) -> int:
        """Return how much of `size_bytes` to take at once, so that the wire carries no bursts."""
        if not self._rate_bps:
            return size_bytes
        slow = max(LEAST_PORTION_BYTES, int(self._rate_bps / 8))    # a second of it at the most
        return min(size_bytes, PORTION_BYTES, slow)

    def lump_bytes(self) -> int:
        """Return the largest burst that a limited wire may carry."""
        return max(PORTION_BYTES, int(self._rate_bps / 8 * BURST_S))

    def set(self, rate_bps: float) -> None:
        """Change the rate from now on, for what already waits too."""
        with self._lock:
            now, old = self._clock(), self._rate_bps
            owed_bits = max(0.0, self._free_at - now) * old
            self._rate_bps = float(rate_bps)
            self._free_at = now + (owed_bits / rate_bps if rate_bps else 0.0)

    def take(self, size_bytes: int) -> None:
        """Block until `size_bytes` more may be sent."""
        with self._lock:
            if not self._rate_bps:
                return
            self._free_at = max(self._free_at, self._clock() - BURST_S)
            self._free_at += size_bytes * 8 / self._rate_bps
            mine_at = self._free_at
        left = mine_at - self._clock()
        while left > 0 and self._rate_bps:
            self._sleep(min(left, 0.5))     # short: a new rate or an end must not wait long
            left = min(mine_at, self._free_at) - self._clock()
