"""
How many streams a transfer is worth.

OpenSSH lets 2 MiB of a session be under way at a time, so one stream of it carries at most that
much a round trip; a login costs some round trips and a good part of a second of processor time.
Source: openssh-portable channels.h, CHAN_SES_WINDOW_DEFAULT
"""

from __future__ import annotations

import math
import re
import socket
import subprocess
import time
from typing import Any, Dict

WINDOW_BYTES = 2 << 20
WANTED_BYTES_PER_S = 160 << 20      # of a path whose own rate is not known
WORTH_BYTES = 64 << 20              # for one more stream
MOST = 6
PATIENCE_S = 3.0        # for the login to be connected
ANSWER_S = 3.0
ROUND_TRIP = re.compile(r"\bminrtt:([0-9.]+)")


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
    round_trip_s = waited_for_s(*to["address"][:2]) if pays else 0.0
    return count_for(round_trip_s, total_bytes, rate_bps)


def waited_for_s(host: str, port: int) -> float:
    """
    Return the round trip to an address once something is connected; 0 where nothing soon is.

    The first receiver's login is on its way when this is asked. Nothing is connected for the sake
    of it: an sshd that penalises who does not log in (OpenSSH 9.8 and later) would shut us out.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        found = measured_s(host, port)
        if found or time.monotonic() > until:
            return found
        time.sleep(0.05)


def measured_s(host: str, port: int) -> float:
    """
    Return the round trip of the connections to an address that are open, as the kernel measures it.

    0 where nothing is connected, or nobody can say: one stream will do then.
    Source: ss(8), minrtt in milliseconds.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
        told = subprocess.run(
            ["ss", "-Htin", "dst", "[%s]" % address if ":" in str(address) else str(address),
             "dport", "=", ":%d" % port], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=ANSWER_S, check=False).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return 0.0
    return min((float(found) / 1000 for found in ROUND_TRIP.findall(told)), default=0.0)
