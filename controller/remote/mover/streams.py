"""
How many streams a transfer is worth.

OpenSSH lets 2 MiB of a session be under way at a time, so one stream of it carries at most that
much a round trip; a login costs some round trips and a good part of a second of processor time.
Source: openssh-portable channels.h, CHAN_SES_WINDOW_DEFAULT
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from typing import Any, Dict, Optional, Tuple

WINDOW_BYTES = 2 << 20
WANTED_BYTES_PER_S = 160 << 20      # of a path whose own rate is not known
WORTH_BYTES = 64 << 20              # for one more stream
MOST = 6
PATIENCE_S = 5.0
TRIES, SHORT_S = 3, 0.002


def count_for(round_trip_s: float, total_bytes: int, rate_bps: float = 0) -> int:
    """Return how many streams carry so much over such a path, at most at a rate."""
    wanted = min(WANTED_BYTES_PER_S, rate_bps / 8) if rate_bps else WANTED_BYTES_PER_S
    needed = math.ceil(wanted * round_trip_s / WINDOW_BYTES)
    return max(1, min(MOST, needed, total_bytes // WORTH_BYTES))


def chosen(to: Dict[str, Any], total_bytes: int, rate_bps: float) -> int:
    """Return how many streams to send over; what whoever asked has said about it counts."""
    if "count" in to:
        return int(to["count"])
    pays = total_bytes >= 2 * WORTH_BYTES and "address" in to
    round_trip_s = measured_s(*to["address"]) if pays else 0.0
    return count_for(round_trip_s, total_bytes, rate_bps)


def measured_s(host: str, port: int, bind: str = "") -> float:
    """Return how long a connection takes at best to be made; 0 where none is: ssh will say why."""
    best_s = PATIENCE_S
    for _ in range(TRIES):      # a busy processor makes a short path look long, never the reverse
        took_s = _connecting_s(host, port, (bind, 0) if bind else None)
        best_s = min(best_s, took_s)
        if took_s < SHORT_S:
            break
    return best_s


def _connecting_s(host: str, port: int, source: Optional[Tuple[str, int]]) -> float:
    begun_at = time.monotonic()
    with contextlib.suppress(OSError), socket.create_connection((host, port), PATIENCE_S, source):
        return time.monotonic() - begun_at
    return 0.0
