"""
Ask the receiver which blocks of a changed cluster it has, while that is worth its time.

    worker ──ASK n, extents──► writer ──► pipe ──► receiver: reads them in its newest restore point
       ▲                                                │ {"blocks": [n, hashes, seconds]}
       └────────────── Answers ◄──── Output ◄───────────┘ on its stdout

A batch waits for its answer with the worker that holds it; so many more are under way that the
line is not idle for a round trip. No answer is no error: the clusters are then sent whole.

Asking costs the receiver a read of each cluster and both ends their hashes; less, on most hosts,
than packing and encrypting what need not be sent. Clusters go whole from the moment when one of
these is seen; `why` says which:

    most blocks differ    more than MOST_SHARE of all after PROBE_BYTES: files, not rows
    no answer             the receiver has no point that can be read, or has said nothing in time
    its disk is slow      a cluster takes the receiver more than CHEAP_S, and a line of known rate
                          less; until the rate is known, whole clusters are sent to learn it. It is
                          judged again with each batch, since only a full line tells its rate.

Why ask, and not keep hashes on the source: the receiver must read the cluster anyway to put blocks
into it, and nothing that is kept here can be wrong after a failover, a repair or a restored image.
"""

from __future__ import annotations

import binascii
import itertools
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from mover.image.hashing import BLOCK_BYTES, BLOCK_HASH_BYTES, CLUSTER_BYTES
from mover.transfer.frames import Extents

PROBE_BYTES = 16 << 20          # of changed clusters
MOST_SHARE = 0.75
ANSWER_S = 60.0                 # a full pipe of a thin line is before the question
CHEAP_S = 0.002                 # of the receiver for a cluster; a disk that seeks takes ten

DIFFER = "most blocks of its changed clusters differ"
SLOW = "the target reads its blocks slower than the line carries them"
SILENT = "the target could not compare its blocks"
NO_WAY_BACK = "a target behind the controller cannot be asked for its blocks"


class Answer(NamedTuple):
    """The hashes of the blocks that were asked for, and how long the receiver took."""

    hashes: bytes
    took_s: float


class Answers:
    """What receivers answered, by the number of the question."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: Dict[int, Optional[Answer]] = {}
        self._closed = False

    def expect(self, number: int) -> None:
        """Keep the answer to a question, and drop those to others."""
        with self._changed:
            self._waiting[number] = None

    def take(self, found: Any) -> None:
        """Take what a receiver wrote; what is no answer to a question is dropped."""
        try:
            number, text, took_s = found
            answer = Answer(binascii.a2b_base64(text) if text else b"", float(took_s))
        except (TypeError, ValueError):
            return
        with self._changed:
            if isinstance(number, int) and number in self._waiting:
                self._waiting[number] = answer
                self._changed.notify_all()

    def close(self) -> None:
        """Note that no answer comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, number: int, failed: Callable[[], bool]) -> Optional[Answer]:
        """Return the answer; None if there is none within ANSWER_S, or if all is over."""
        until = time.monotonic() + ANSWER_S
        with self._changed:
            while (self._waiting.get(number) is None and not self._closed and not failed()
                   and time.monotonic() < until):
                self._changed.wait(0.5)
            return self._waiting.pop(number, None)


class Asking:
    """Asks, for one transfer, and judges whether that pays."""

    def __init__(self, answers: Answers, rate_bps: Callable[[], float]) -> None:
        self._answers, self._rate_bps = answers, rate_bps       # of the line; 0: not known
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._took_s = 0.0
        self._over = ""         # why nothing is asked any more
        self.why = ""           # why clusters went whole, the newest reason
        self.asked_bytes = self.sent_bytes = 0

    def pays(self) -> bool:
        """Return whether to ask about the next clusters, by what is known now."""
        if self._over:
            return False
        clusters = self.asked_bytes / CLUSTER_BYTES
        if clusters < PROBE_BYTES / CLUSTER_BYTES or self._took_s <= CHEAP_S * clusters:
            return True
        rate_bps = self._rate_bps()
        saved_bits = (self.asked_bytes - self.sent_bytes) * 8
        if rate_bps and saved_bits / rate_bps > self._took_s:
            return True
        self.why = SLOW
        return False

    def ask(self, extents: Extents, put: Callable[[int, Extents], None],
            failed: Callable[[], bool]) -> bytes:
        """Return the hashes of the receiver's blocks; nothing if the clusters are to go whole."""
        number = next(self._numbers)
        self._answers.expect(number)
        put(number, extents)
        answer = self._answers.wait(number, failed)
        wanted = sum(-(-length // BLOCK_BYTES) for _, length in extents) * BLOCK_HASH_BYTES
        if answer is None or len(answer.hashes) != wanted:
            self._over = self.why = SILENT
            return b""
        with self._lock:
            self._took_s += answer.took_s
        return answer.hashes

    def judge(self, cluster_bytes: int, differing_bytes: int) -> None:
        """Count what was compared, and what of it must be sent."""
        with self._lock:
            self.asked_bytes += cluster_bytes
            self.sent_bytes += differing_bytes
            if self.asked_bytes >= PROBE_BYTES and (
                    self.sent_bytes > MOST_SHARE * self.asked_bytes):
                self._over = self.why = DIFFER
