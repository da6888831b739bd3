"""
The source end: read a disk's clusters from QEMU and send those that the other end should get.

    dirty   what the bitmap says has changed, and `ranges` besides (repair, what was left over)
    full    all of [from, to): a slice of a seed
    scan    all of [from, to), compared with the manifest `known`; only what differs is sent
    set     `ranges`, whatever the bitmap says

A request of JSON comes on stdin (see Request). It may come in two lines, {"to"} and the rest: the
receiver is then reached while the job that will be read from is yet to begin. Further lines
{"rate_bps": N} change the throttle; the end of stdin ends the transfer. Progress, {"read": true}
when the export was let go and the receivers are there, and at last the result are lines of JSON, on
stdout unless the stream itself goes there.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.errors import MoverError, Refused, TryAgain
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Buffer, Hasher
from mover.image.manifest import Manifest
from mover.requests import Orders
from mover.transfer import wire
from mover.transfer.codec import number_of
from mover.transfer.extents import Piece, Ranges, dirty, pieces
from mover.transfer.nbd import ALLOCATION, READS_ZERO, Nbd, Read, bitmap_context
from mover.transfer.pipeline import Known, Packing, Pipeline, runs
from mover.transfer.receivers import Outlets, chosen, open_outlets
from mover.transfer.throttle import Throttle
from mover.transfer.wire import Extents, Writer
from mover.verbs import fail, peak_bytes, say

BATCH_BYTES = 1 << 20
BATCH_READS = 16
COMPARED_AT_ONCE = 1 << 14          # clusters of a zero range: 1 GiB of disk, 256 KiB of hashes
PROGRESS_S = 1.0
MOST_LEFT = 100_000                 # ranges, of which a line of some megabytes tells
MODES = ("dirty", "full", "scan", "set")


class Request(NamedTuple):
    """What to send, from where, how and where to; sizes and offsets in bytes."""

    socket: str
    to: Dict[str, Any]                  # see outlet.open_outlets; no count: see streams
    export: str = ""
    disk: str = ""
    transfer: str = ""
    mode: str = "full"
    bitmap: str = ""
    start: int = 0                      # of full and scan
    stop: Optional[int] = None
    ranges: Sequence[Sequence[int]] = ()
    known: str = ""                     # path of a manifest of what the other end has
    audit: bool = False                 # tell what differs, send none of it
    algorithm: str = "xxh3-128"
    secret: str = ""                    # hexadecimal
    codec: str = "zstd"
    level: int = 1
    compress: str = "always"            # or auto: of what is large, only while the wire is slower
    rate_bps: float = 0
    budget_s: float = 0                 # stop taking up work after so long; 0: no limit
    answer_s: float = 600               # for the receiver to finish after END
    meta: Dict[str, Any] = {}           # noqa: RUF012  (handed to the receiver as it is)
    attempt: str = ""                   # see incoming
    holes: bool = False                 # of dirty: all that reads as zeros is looked at, too


def parse_request(told: Dict[str, Any]) -> Request:
    """Return a request from JSON."""
    unknown = sorted(set(told) - set(Request._fields))
    missing = sorted({"socket", "to"} - set(told))
    if unknown or missing:
        raise Refused("the request has unknown fields %s and lacks %s" % (unknown, missing))
    request = Request(**told)
    if request.mode not in MODES or request.compress not in ("always", "auto"):
        raise Refused("mode is one of %s, compress is always or auto" % ", ".join(MODES))
    if not set(request.secret) <= set("0123456789abcdef") or len(request.secret) % 2:
        raise Refused("the hash secret is not hexadecimal")
    if request.mode == "scan" and not request.known:
        raise Refused("a scan needs the manifest of what the other end has")
    return request


class Source:
    """The export that is read, and the walk over what must be looked at."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reached: Optional[int] = None      # where the budget ended, None: nowhere
        self.read_bytes = 0
        self._until = time.monotonic() + request.budget_s if request.budget_s else None
        self.beyond = False                     # zeros were sent of which the bitmap knew nothing
        self._tracked = Ranges(0)
        changed = self._dirty() if request.mode == "dirty" else None
        self.nbd = Nbd(request.socket, request.export, (ALLOCATION,))
        self.ranges = self._asked_for(self.nbd.size_bytes) if changed is None else changed

    def pieces(self, pipeline: Pipeline, known: Optional[Known]) -> Iterator[Tuple[int, int]]:
        """Yield ranges to read; zeros go straight to the pipeline."""
        for piece in pieces(self.nbd, self.ranges, BATCH_BYTES):
            if self._until is not None and time.monotonic() > self._until:
                self.reached = piece.offset
                return
            if not piece.zero:
                yield piece.offset, piece.length
                continue
            for offset, length in _unknown_zeros(piece, known):
                pipeline.zero(offset, length)
                self.beyond = self.beyond or (
                    self.request.holes and not self._tracked.holds(offset, length))

    def batches(self, pipeline: Pipeline, known: Optional[Known]) -> Iterator[List[Read]]:
        """Yield what was read, in batches worth a thread's while."""
        batch: List[Read] = []
        size = 0
        for read in self.nbd.reads(self.pieces(pipeline, known)):
            batch.append(read)
            size += len(read.data)
            self.read_bytes += len(read.data)
            if size >= BATCH_BYTES or len(batch) >= BATCH_READS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _dirty(self) -> Ranges:
        request = self.request
        context, also = bitmap_context(request.bitmap), sorted(_pairs(request.ranges))
        with Nbd(request.socket, request.export, (context,)) as nbd:
            self._tracked = dirty(nbd, request.bitmap, also)
        if not request.holes:       # what is allocated is asked of what is dirty alone
            return self._tracked
        with Nbd(request.socket, request.export, (ALLOCATION,)) as nbd:
            holes = ((offset, length) for offset, length, flags in nbd.extents(
                0, nbd.size_bytes, ALLOCATION) if flags & READS_ZERO)
            return Ranges(nbd.size_bytes, heapq.merge(self._tracked, holes))

    def _asked_for(self, size: int) -> Ranges:
        request = self.request
        if request.mode == "set":
            return Ranges(size, sorted(_pairs(request.ranges)))
        stop = size if request.stop is None else min(size, request.stop)
        return Ranges(size, [(request.start, stop - request.start)])


class Progress:
    """Tell once a second how far it is."""

    def __init__(self, fd: int, total_bytes: int, writers: List[wire.Writer]) -> None:
        self._fd, self._total_bytes, self._writers = fd, total_bytes, writers
        self._due_at = time.monotonic() + PROGRESS_S

    def tell(self, read_bytes: int) -> None:
        """Say it if it is time."""
        if time.monotonic() < self._due_at:
            return
        self._due_at += PROGRESS_S
        say({"progress": {"read_bytes": read_bytes, "total_bytes": self._total_bytes,
                          "wire_bytes": sum(w.wire_bytes for w in self._writers)}}, self._fd)

    def all_read(self) -> None:
        """Say that the export is no longer needed, whatever becomes of the rest."""
        say({"read": True}, self._fd)


def run(words: List[str]) -> None:
    """Do what the request on stdin asks for; `words` may name the VM, for whoever looks."""
    orders = Orders()
    told = orders.request
    request = None if set(told) == {"to"} else parse_request(told)
    with contextlib.ExitStack() as stack:
        outlets = open_outlets({"fds": []} if request and request.audit else told["to"])
        stack.callback(outlets.abort)
        request = request or parse_request({**told, **orders.next()})
        throttle = Throttle(request.rate_bps)
        fd = 2 if 1 in request.to.get("fds", ()) else 1
        if request.rate_bps:
            outlets.narrow(throttle.lump_bytes())
        source = Source(request)
        stack.callback(source.nbd.close)
        outlets.widen(chosen(request.to, source.ranges.total_bytes, request.rate_bps))
        settled = threading.Event()

        def stop() -> None:
            """Leave the export, then everything: nobody is there to take it further."""
            if not settled.is_set():
                source.nbd.close()
                outlets.abort()
                os._exit(fail(TryAgain("whoever asked for the transfer went away")))

        orders.follow(lambda order: throttle.set(float(order.get("rate_bps", 0))), stop)
        try:
            result = transfer(request, source, outlets, throttle, fd)
        finally:
            settled.set()
        say(result, fd)


def transfer(request: Request, source: Source, outlets: Outlets, throttle: Throttle,
             fd: int) -> Dict[str, Any]:
    """Send it all and return the result, with what the receivers answered."""
    begun_at = time.monotonic()
    hasher = Hasher(request.algorithm, bytes.fromhex(request.secret))
    codec = "none" if request.audit else request.codec
    known = _known(request, hasher)
    packing = Packing(hasher, number_of(codec), request.level, request.compress, known)
    auditor = Auditor(hasher)
    writers = [wire.Writer(out, hasher, throttle) for out in outlets.fds]
    progress = Progress(fd, source.ranges.total_bytes, writers)
    try:
        _hello(request, source.nbd.size_bytes, writers)
        pipeline = Pipeline(writers or [auditor], packing, outlets.reached)
        _pump(source, pipeline, known, progress, outlets)
    except MoverError as error:
        raise outlets.complaint(error) from None
    finally:
        source.nbd.close()
    answers = outlets.finish(request.answer_s)
    return {"result": {
        "complete": source.reached is None, "reached": source.reached, "answers": answers,
        "left": left_from(source.ranges, source.reached), "beyond": source.beyond,
        "planned_bytes": source.ranges.total_bytes, "read_bytes": source.read_bytes,
        "size_bytes": source.nbd.size_bytes, "peak_bytes": peak_bytes(),
        "took_s": round(time.monotonic() - begun_at, 3),
        "wire_bytes": sum(writer.wire_bytes for writer in writers),
        "data_bytes": sum(writer.tally.data_bytes for writer in writers or [auditor]),
        "zero_bytes": sum(writer.tally.zero_bytes for writer in writers or [auditor]),
        **({"differ": auditor.differences(source.nbd.size_bytes)} if request.audit else {})}}


def left_from(ranges: Ranges, reached: Optional[int]) -> List[Tuple[int, int]]:
    """Return what was not looked at; where that is too long a list, all from there to the end."""
    if reached is None:
        return []
    left = [(max(offset, reached), offset + length - max(offset, reached))
            for offset, length in ranges if offset + length > reached]
    if len(left) > MOST_LEFT:
        left = [(left[0][0], left[-1][0] + left[-1][1] - left[0][0])]
    return left


def _pump(source: Source, pipeline: Pipeline, known: Optional[Known], progress: Progress,
          outlets: Outlets) -> None:
    try:
        for batch in source.batches(pipeline, known):
            pipeline.put(batch)
            progress.tell(source.read_bytes)
        source.nbd.close()      # before the rest is sent: the job that serves it may end now
        if outlets.reached():   # else it may have to be read again, to be sent another way
            progress.all_read()
        pipeline.end(source.reached)
    except MoverError as error:
        pipeline.stop()
        pipeline.give_up(str(error))
        raise


def _hello(request: Request, size: int, writers: List[wire.Writer]) -> None:
    for number, writer in enumerate(writers):
        writer.hello(wire.Hello(
            request.transfer, request.disk, size, writer.hasher.algorithm, writer.hasher.secret_id,
            number, len(writers), request.mode, request.codec, meta=request.meta,
            attempt=request.attempt))


def _known(request: Request, hasher: Hasher) -> Optional[Known]:
    if not request.known:
        return None
    manifest = Manifest.open(request.known)
    header = manifest.header
    if (header.algorithm, header.secret_id) != (hasher.algorithm, hasher.secret_id):
        raise Refused("%s was made with %s under secret %s: nothing here compares with it"
                      % (request.known, header.algorithm, header.secret_id))
    return manifest.hashes


def _unknown_zeros(piece: Piece, known: Optional[Known]) -> Iterator[Tuple[int, int]]:
    if known is None:
        yield piece.offset, piece.length
        return
    end = piece.offset + piece.length
    for offset in range(piece.offset, end, COMPARED_AT_ONCE * CLUSTER_BYTES):
        count = min(COMPARED_AT_ONCE, -(-(end - offset) // CLUSTER_BYTES))
        zeros, there = bytes(count * HASH_BYTES), known(offset // CLUSTER_BYTES, count)
        if zeros == there:
            continue
        for first, run, _zero in runs(zeros, there):
            start = offset + first * CLUSTER_BYTES
            yield start, min(end, start + run * CLUSTER_BYTES) - start


def _pairs(ranges: Sequence[Sequence[int]]) -> List[Tuple[int, int]]:
    return [(int(offset), int(length)) for offset, length in ranges]


MOST_RANGES = 10000         # of a disk so damaged that a list of places no longer helps


class Auditor(Writer):
    """Takes what a Writer takes."""

    def __init__(self, hasher: Hasher) -> None:
        super().__init__(-1, hasher)
        self._found: List[Tuple[int, int]] = []

    def data(self, extents: Extents, hashes: bytes, codec: int, packed: Buffer) -> None:
        """Remember clusters that are not what the other end has."""
        super().data(extents, hashes, codec, packed)
        self._found += extents

    def zero(self, offset: int, length: int) -> None:
        """Remember zeros that are not zeros at the other end."""
        super().zero(offset, length)
        self._found.append((offset, length))

    def differences(self, size_bytes: int) -> List[Tuple[int, int]]:
        """Return the first ranges that differ, in ascending order."""
        return list(Ranges(size_bytes, sorted(self._found)))[:MOST_RANGES]

    def _put(self, kind: int, a: int, b: int, *payload: Buffer) -> None:
        pass

    def _write(self, parts: Iterable[Buffer]) -> None:
        raise AssertionError("an audit has no wire")
