"""
The protocol of one pipe: frames from Writer to Reader, each with a check, valid only with an END.

    frame    4s  magic b"HSF1"   |  B type  |  I payload length  |  Q a  |  Q b  |  16s check
    HELLO    payload: JSON, see Hello
    DATA     a how many extents, b raw length of all; payload: codec (1 byte), (offset, length) of
             each extent, a hash per cluster, packed bytes
    ZERO     a offset, b length
    MARK     a offset that the sender has reached, b number of the mark, the same on all streams
    END      payload: JSON {"totals": {...}, "root": hex, "reached": offset or null}
    ERROR    payload: the sentence with which the sender gave up
    ASK      a number of the question, b how many extents; payload: the extents, see asking
    BLOCKS   a how many extents, b raw length of the blocks; payload: codec, extents, a mask and a
             hash per cluster, packed blocks, see blocks

    between ──HELLO──► within ──DATA, BLOCKS, ZERO, MARK, ASK…──► END, totals agree ──► between
                         └── ERROR, end of pipe, failed check or bound ──► nothing counts

Only the sender speaks; the receiver answers on the stdout of its process, ASK at once. A pipe may
carry several transfers, one after another. N streams of one transfer carry disjoint clusters and
the same `transfer`, which has arrived when each of the N has had its END.

The check covers header and payload, under the algorithm named in HELLO (of HELLO and ERROR
themselves: SHA-256). END repeats what was counted, and a hash over all extents and cluster hashes:
a frame that was lost, repeated or swapped fails there. `reached` is the offset at which a time
budget ended the transfer.

Bounds hold against a hostile sender: sizes of frames, each cluster once, whole clusters, silence. A
sender with nothing to send repeats its last MARK every BEAT_S; a receiver that reads nothing for
SILENCE_S takes the connection for dead. Only HELLO may be late: the receiver is started first.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import struct
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.copy_mode import SEED
from mover.errors import Damaged, Refused, TryAgain
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Buffer, Hasher
from mover.image.manifest import clusters_of
from mover.transfer.blocks.masks import MASK_BYTES, sent_bytes
from mover.transfer.frames import (
    EXTENT,
    Ask,
    Blocks,
    Data,
    Extents,
    Frame,
    Mark,
    Tally,
    Zero,
    bytes_of,
)
from mover.transfer.throttle import LineRate, Throttle

VERSION = 4
MAGIC = b"HSF1"
HELLO, DATA, ZERO, MARK, END, ERROR, ASK, BLOCKS = range(1, 9)
HEADER = struct.Struct(">4sBIQQ16s")
UNCHECKED = struct.Struct(">4sBIQQ")
MAX_NUMBER = (1 << 63) - 1
MOST_STREAMS = 64       # of one transfer
MOST_NAME = 256         # characters of a name in HELLO
MAX_RAW_BYTES = 4 << 20         # of one DATA frame: what a receiver must be ready to hold
BEAT_S = 5.0                    # a sender is never silent for longer
SILENCE_S = 120.0               # a receiver waits no longer for the next byte
GREETING_S = 3600.0             # nor for HELLO
MAX_PAYLOAD_BYTES = MAX_RAW_BYTES + (MAX_RAW_BYTES >> 6)


class Hello(NamedTuple):
    """What a transfer is about; `meta` is the caller's."""

    transfer: str
    disk: str
    size_bytes: int
    algorithm: str
    secret_id: str
    stream: int = 0
    streams: int = 1
    mode: str = SEED                    # see copy_mode
    codec: str = "none"
    cluster_bytes: int = CLUSTER_BYTES
    version: int = VERSION
    meta: Dict[str, object] = {}        # noqa: RUF012  (never written to)
    attempt: str = ""                   # the attempt for which the receiver has the disk open


class Writer:
    """The sending end of one pipe; `wire_bytes` counts all bytes written to it."""

    def __init__(self, fd: int, hasher: Hasher, throttle: Optional[Throttle] = None,
                 line: Optional[LineRate] = None) -> None:
        self.fd = fd
        self.hasher = hasher
        self._throttle, self._line = throttle or Throttle(), line or LineRate()
        self.wire_bytes = 0
        self.tally = Tally()
        self._mark = (0, 0)
        self._sent_at = time.monotonic()

    def hello(self, hello: Hello) -> None:
        """Begin a transfer."""
        self.tally, self._mark = Tally(), (0, 0)
        self._put(HELLO, 0, 0, json.dumps(hello._asdict()).encode())

    def data(self, extents: Extents, hashes: bytes, codec: int, packed: Buffer) -> None:
        """Send clusters in one frame; none of them may be all zeros."""
        length = sum(length for _offset, length in extents)
        assert length <= MAX_RAW_BYTES, "a receiver holds no more than one frame of this size"
        where = bytes_of(extents)
        self._put(DATA, len(extents), length, b"%c%s%s" % (codec, where, hashes), packed)
        self.tally.data(where, length, hashes, len(packed))

    def blocks(self, blocks: Blocks) -> None:
        """Send those blocks of clusters that the receiver lacks, in one frame."""
        where = bytes_of(blocks.extents)
        self._put(BLOCKS, len(blocks.extents), blocks.length, b"".join((
            b"%c" % blocks.codec, where, blocks.masks, blocks.hashes, blocks.packed)))
        self.tally.data(where + blocks.masks, blocks.raw_bytes, blocks.hashes, len(blocks.packed))

    def ask(self, number: int, extents: Extents) -> None:
        """Ask which blocks of some clusters the receiver has."""
        self._put(ASK, number, len(extents), bytes_of(extents))

    def zero(self, offset: int, length: int) -> None:
        """Send a range of zeros."""
        self._put(ZERO, offset, length)
        self.tally.zero(offset, length)

    def mark(self, offset: int, number: int) -> None:
        """Send how far the sender is."""
        self._mark = (offset, number)
        self._put(MARK, offset, number)

    def heartbeat(self) -> None:
        """Repeat the last mark if nothing was sent for BEAT_S."""
        if time.monotonic() - self._sent_at >= BEAT_S:
            self._put(MARK, *self._mark)

    def end(self, reached: Optional[int] = None) -> None:
        """End the transfer: only now is it valid, up to `reached` if given."""
        self._put(END, 0, 0, json.dumps({**self.tally.end(), "reached": reached}).encode())

    def error(self, sentence: str) -> None:
        """Give the transfer up for a reason."""
        self._put(ERROR, 0, 0, sentence.encode()[:4096])

    def _put(self, kind: int, a: int, b: int, *payload: Buffer) -> None:
        head = UNCHECKED.pack(MAGIC, kind, sum(map(len, payload)), a, b)
        check = _check(kind, self.hasher, head, payload)
        self._write([head, check, *(part for part in payload if len(part))])
        self._sent_at = time.monotonic()

    def _write(self, parts: Sequence[Buffer]) -> None:
        views = [memoryview(part) for part in parts]
        begun_at = time.monotonic()
        while views:
            portion = self._throttle.portion(sum(map(len, views)))
            self._throttle.take(portion)
            try:
                written = os.writev(self.fd, _first(views, portion))
            except OSError as error:
                raise TryAgain("the receiving end went away: %s" % error.strerror) from None
            self.wire_bytes += written
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]
        self._line.wrote(sum(map(len, parts)), time.monotonic() - begun_at)


class Reader:
    """The receiving end of one pipe: `hello`, then `frames` to their end, then again."""

    def __init__(self, fd: int, secret: bytes = b"") -> None:
        self.fd = fd
        self.wire_bytes = 0
        self.tally = Tally()
        self.greeting: Optional[Hello] = None   # of the transfer that is under way
        self.reached: Optional[int] = None      # all below was sent; None: the whole transfer
        self._secret, self._claimed_bytes, self._asked_bytes = secret, 0, 0
        self.hasher: Optional[Hasher] = None
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def hello(self) -> Optional[Hello]:
        """Return what the next transfer is about; None when the pipe has ended."""
        self.hasher, self.tally, self.reached = None, Tally(), None
        self._claimed_bytes = self._asked_bytes = 0
        frame = self._frame(may_end=True)
        if frame is None:
            return None
        kind, _, _, payload = frame
        if kind == ERROR:
            raise TryAgain(_sentence(payload))
        if kind != HELLO:
            raise Damaged("a transfer begins with frame type %d, not with HELLO" % kind)
        self.greeting = _hello(payload)
        self.hasher = Hasher(self.greeting.algorithm, self._secret)
        if self.hasher.secret_id != self.greeting.secret_id:
            raise Refused("the two ends hold different hash secrets: %s here, %s there"
                          % (self.hasher.secret_id, self.greeting.secret_id))
        return self.greeting

    def frames(self) -> Iterator[Frame]:
        """Yield frames until an END that agrees; any other end raises."""
        assert self.greeting is not None, "hello() comes first"
        while True:
            frame = self._frame(may_end=False)
            assert frame is not None, "may_end is false"
            kind, a, b, payload = frame
            if kind == END:
                return self._check_end(payload)
            if kind == ERROR:
                raise TryAgain(_sentence(payload))
            yield self._value(kind, a, b, payload)

    def _value(self, kind: int, a: int, b: int, payload: memoryview) -> Frame:
        if kind == MARK:
            return Mark(a, b)
        if kind == ZERO:
            self._within(a, b)
            self.tally.zero(a, b)
            return Zero(a, b)
        if kind == ASK:
            return Ask(a, self._asked(b, payload))
        if kind == BLOCKS:
            return self._blocks(a, b, payload)
        head = _head_bytes(kind, a, b, MAX_PAYLOAD_BYTES)
        if kind != DATA or b > MAX_RAW_BYTES or len(payload) < head:
            raise Damaged("a frame of type %d and %d bytes is not valid" % (kind, len(payload)))
        where, hashes = bytes(payload[1:1 + a * EXTENT.size]), payload[1 + a * EXTENT.size:head]
        extents = self._extents(where, b)
        self.tally.data(where, b, bytes(hashes), len(payload) - head)
        return Data(extents, b, payload[0], bytes(hashes), payload[head:])

    def _blocks(self, a: int, b: int, payload: memoryview) -> Blocks:
        """Return the BLOCKS frame, whose masks and extents say how long each part is."""
        masks_at = min(len(payload), 1 + a * EXTENT.size)
        where = bytes(payload[1:masks_at])
        extents = list(EXTENT.iter_unpack(where[:len(where) - len(where) % EXTENT.size]))
        raw_bytes = sum(length for _, length in extents)
        count = clusters_of(raw_bytes)
        hashes_at = masks_at + count * MASK_BYTES
        packed_at = hashes_at + count * HASH_BYTES
        if len(where) != a * EXTENT.size or raw_bytes > MAX_RAW_BYTES or packed_at > len(payload):
            raise Damaged("a frame of blocks with %d bytes is not valid" % len(payload))
        masks, hashes = bytes(payload[masks_at:hashes_at]), bytes(payload[hashes_at:packed_at])
        if sent_bytes(masks, self._extents(where, raw_bytes)) != b:
            raise Damaged("the masks of a frame do not add up to its %d bytes" % b)
        self.tally.data(where + masks, raw_bytes, hashes, len(payload) - packed_at)
        return Blocks(extents, masks, b, payload[0], hashes, payload[packed_at:])

    def _asked(self, count: int, payload: memoryview) -> Extents:
        """Return the extents of a question; all questions together ask for each cluster once."""
        if not count or len(payload) != count * EXTENT.size:
            raise Damaged("a question of %d bytes is not valid" % len(payload))
        extents = list(EXTENT.iter_unpack(payload))
        for offset, length in extents:
            self._asked_bytes = self._bounded(offset, length, self._asked_bytes)
        if sum(length for _, length in extents) > MAX_RAW_BYTES:
            raise Damaged("a question asks for more than %d bytes" % MAX_RAW_BYTES)
        return extents

    def _extents(self, where: bytes, raw_bytes: int) -> Extents:
        extents = list(EXTENT.iter_unpack(where))
        for offset, length in extents:
            self._within(offset, length)
        if not extents or sum(length for _, length in extents) != raw_bytes or any(
                length % CLUSTER_BYTES for _, length in extents[:-1]):
            raise Damaged("the extents of a frame do not add up to its %d bytes" % raw_bytes)
        return extents

    def _within(self, offset: int, length: int) -> None:
        self._claimed_bytes = self._bounded(offset, length, self._claimed_bytes)

    def _bounded(self, offset: int, length: int, claimed_bytes: int) -> int:
        """Return the bytes claimed so far, with a range that must be made of new clusters."""
        assert self.greeting is not None, "frames() has looked"
        end, size = offset + length, self.greeting.size_bytes
        whole = offset % CLUSTER_BYTES == 0 and (end % CLUSTER_BYTES == 0 or end == size)
        claimed_bytes += length             # each cluster comes once
        if not whole or not length or end > size or claimed_bytes > size:
            raise Damaged("range %d+%d is not made of new clusters of a disk of %d bytes"
                          % (offset, length, size))
        return claimed_bytes

    def _check_end(self, payload: memoryview) -> None:
        fields = _object("END", payload)
        reached = fields.pop("reached", None)
        if reached is not None and not (type(reached) is int and 0 <= reached <= MAX_NUMBER):
            raise Damaged("END has an invalid offset")
        self.reached = reached
        if fields != self.tally.end():
            raise Damaged("the stream is not what was sent: its totals differ from those in END")
        self.greeting = None

    def _frame(self, *, may_end: bool) -> Optional[Tuple[int, int, int, memoryview]]:
        header = self._read(HEADER.size, may_end=may_end,
                            limit_s=SILENCE_S if self.greeting else GREETING_S)
        if header is None:
            return None
        magic, kind, size, a, b, check = HEADER.unpack(header)
        if magic != MAGIC or size > MAX_PAYLOAD_BYTES:
            raise Damaged("the pipe does not carry a stream of this mover")
        payload = self._read(size, may_end=False, limit_s=SILENCE_S)
        assert payload is not None, "may_end is false"
        end = _head_bytes(kind, a, b, size)
        body = (payload[:end], payload[end:])
        if check != _check(kind, self.hasher, bytes(header[:UNCHECKED.size]), body):
            raise Damaged("a frame of type %d arrived changed" % kind)
        return kind, a, b, payload

    def _read(self, size: int, *, may_end: bool, limit_s: float) -> Optional[memoryview]:
        view = memoryview(bytearray(size))
        got = 0
        while got < size:
            try:
                if not self._poll.poll(limit_s * 1000):
                    raise TryAgain("nothing received for %g s: the connection is dead" % limit_s)
                step = os.readv(self.fd, [view[got:]])
            except OSError as error:
                raise TryAgain("the sending end went away: %s" % error.strerror) from None
            if step == 0:
                if may_end and got == 0:
                    return None
                raise TryAgain("the stream was cut before its end")
            got += step
        self.wire_bytes += size
        return view


def _first(views: Sequence[memoryview], size: int) -> List[memoryview]:
    found = []
    for view in views:
        if size:
            found.append(view[:size])
            size -= len(found[-1])
    return found


def _head_bytes(kind: int, extents: int, length: int, size: int) -> int:
    """Return how much of a payload of `size` bytes is not packed."""
    if kind != DATA:
        return size
    return min(size, 1 + extents * EXTENT.size + -(-length // CLUSTER_BYTES) * HASH_BYTES)


def _check(kind: int, hasher: Optional[Hasher], head: bytes, payload: Sequence[Buffer]) -> bytes:
    if hasher is None or kind in (HELLO, ERROR):
        return hashlib.sha256(b"".join((head, *payload))).digest()[:HASH_BYTES]
    return hasher.one(head + b"".join(hasher.one(part) for part in payload if len(part)))


def _hello(payload: memoryview) -> Hello:
    fields = _object("HELLO", payload)
    defaults = Hello("", "", 0, "", "")
    for name, value in fields.items():
        like = type(getattr(defaults, name, value))
        if type(value) is not like or (like is int and not 0 <= value <= MAX_NUMBER) or (
                like is str and len(value) > MOST_NAME):
            raise Damaged("HELLO has an invalid %s" % name)
    try:
        hello = Hello(**{name: fields[name] for name in Hello._fields if name in fields})
    except TypeError as error:
        raise Damaged("HELLO cannot be read: %s" % error) from None
    if not 0 <= hello.stream < hello.streams <= MOST_STREAMS:
        raise Damaged("HELLO says that it is stream %d of %d" % (hello.stream, hello.streams))
    if hello.version != VERSION or hello.cluster_bytes != CLUSTER_BYTES:
        raise Refused("the sender speaks version %s with clusters of %s bytes, this end %d with %d"
                      % (hello.version, hello.cluster_bytes, VERSION, CLUSTER_BYTES))
    return hello


def _object(frame: str, payload: memoryview) -> Dict[str, Any]:
    """Return the JSON object that a frame carries."""
    try:
        found = json.loads(bytes(payload))
    except (ValueError, RecursionError) as error:
        raise Damaged("%s cannot be read: %s" % (frame, error)) from None
    if not isinstance(found, dict):
        raise Damaged("%s cannot be read: it is no object" % frame)
    return found


def _sentence(payload: memoryview) -> str:
    return "the sender gave up: %s" % bytes(payload).decode(errors="replace")
