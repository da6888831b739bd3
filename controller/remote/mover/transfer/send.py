"""
The sending end of one disk's transfer: read clusters from an NBD export, send the needed ones.

By mode, see copy_mode, this much of the disk is looked at:

    increment   what `bitmap` says has changed, and `ranges` besides (damage, leftovers of a slice);
                with `holes` also all that reads as zeros
    scan, seed  all of it

With `known`, a manifest of what the receiver has, only clusters that differ from it are sent; a
scan must have one. Zeros are sent as ranges, never as data, and holes are not read at all.

    stdin    the request, one line of JSON (see Request), or two, {"to"} and the rest: the receivers
             are then reached while the job that will be read from is still beginning
             {"rate_bps": N}, at any time: a new rate
             its end ends the transfer: the controller is gone
    stdout   {"progress": …} once a second
             {"read": true}: the export is closed and the receivers are there; the job may end
             {"result": …}, with what was left over when `budget_s` was used up

How bytes flow and what holds them back: pipeline. What goes over the wire: wire.

A failure at either end leaves the replica's points as they were: the receivers write to incoming
files only, and believe a transfer only by its END. What arrived stays and is not sent again by the
next attempt that compares. Whatever ends this process, it closes the NBD connection first, because
QEMU's server does not survive an end under a client; if it is killed, the watchdog of the job waits
until the kernel has closed it.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.copy_mode import INCREMENT, MODES, SCAN, SEED
from mover.errors import MoverError, Refused, TryAgain
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.manifest import Manifest
from mover.requests import Requests
from mover.transfer import wire
from mover.transfer.blocks.asking import NO_WAY_BACK, Asking
from mover.transfer.codec import level_for, number_of
from mover.transfer.extents import Piece, Ranges, dirty, pieces
from mover.transfer.nbd import ALLOCATION, READS_ZERO, Nbd, Read, bitmap_context
from mover.transfer.pipeline import Known, Packing, Pipeline, runs
from mover.transfer.receivers import Receivers, open_receivers, stream_count
from mover.transfer.throttle import LineRate, Throttle
from mover.verbs import fail, peak_bytes, say

BATCH_BYTES = 1 << 20
BATCH_READS = 16
COMPARED_AT_ONCE = 1 << 14          # clusters of a zero range: 1 GiB of disk, 256 KiB of hashes
PROGRESS_S = 1.0
MOST_LEFT = 100_000                 # ranges, which make a line of some megabytes


class Request(NamedTuple):
    """What to send, from where, how and where to; sizes and offsets in bytes."""

    socket: str
    to: Dict[str, Any]                  # see receivers.open_receivers and stream_count
    export: str = ""
    disk: str = ""
    transfer: str = ""
    mode: str = SEED
    bitmap: str = ""
    ranges: Sequence[Sequence[int]] = ()
    known: str = ""                     # path of a manifest of what the receiver has
    algorithm: str = "xxh3-128"
    secret: str = ""                    # hexadecimal
    codec: str = "zstd"
    level: int = 1                      # of the codec, on a line that is not thin
    compress: str = "always"            # or auto: of what is large, only while the wire is slower
    rate_bps: float = 0
    budget_s: float = 0                 # take up no more work after so long; 0: no limit
    answer_s: float = 600               # for the receivers to finish after END
    meta: Dict[str, Any] = {}           # noqa: RUF012  (handed to the receiver as it is)
    attempt: str = ""                   # see incoming
    holes: bool = False                 # see measured
    blocks: bool = False                # send blocks, not clusters, where that pays: see asking


def parse_request(fields: Dict[str, Any]) -> Request:
    """Return a request from JSON."""
    unknown = sorted(set(fields) - set(Request._fields))
    missing = sorted({"socket", "to"} - set(fields))
    if unknown or missing:
        raise Refused("the request has unknown fields %s and lacks %s" % (unknown, missing))
    request = Request(**fields)
    if request.mode not in MODES or request.compress not in ("always", "auto"):
        raise Refused("mode is one of %s, compress is always or auto" % ", ".join(MODES))
    if not set(request.secret) <= set("0123456789abcdef") or len(request.secret) % 2:
        raise Refused("the hash secret is not hexadecimal")
    if request.mode == SCAN and not request.known:
        raise Refused("a scan needs the manifest of what the other end has")
    if request.mode == INCREMENT and not request.bitmap:
        raise Refused("an increment needs the bitmap of what has changed")
    return request


class Source:
    """The export that is read, and the walk over what must be looked at."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reached: Optional[int] = None      # where the budget ended; None: nowhere
        self.read_bytes = 0
        self._until = time.monotonic() + request.budget_s if request.budget_s else None
        self.beyond = False                     # zeros were sent that the bitmap did not know
        self._tracked = Ranges(0)
        changed = self._changed() if request.mode == INCREMENT else None
        self.nbd = Nbd(request.socket, request.export, (ALLOCATION,))
        size = self.nbd.size_bytes
        self.ranges = Ranges(size, [(0, size)]) if changed is None else changed

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

    def _changed(self) -> Ranges:
        """Return the ranges of an increment."""
        request = self.request
        also = sorted((int(offset), int(length)) for offset, length in request.ranges)
        context = bitmap_context(request.bitmap)
        with Nbd(request.socket, request.export, (context,)) as nbd:
            self._tracked = dirty(nbd, request.bitmap, also)
        if not request.holes:       # allocation is asked for what has changed alone
            return self._tracked
        with Nbd(request.socket, request.export, (ALLOCATION,)) as nbd:
            holes = ((offset, length) for offset, length, flags in nbd.extents(
                0, nbd.size_bytes, ALLOCATION) if flags & READS_ZERO)
            return Ranges(nbd.size_bytes, heapq.merge(self._tracked, holes))


class Progress:
    """Reports to the controller, once a second."""

    def __init__(self, fd: int, total_bytes: int, writers: List[wire.Writer]) -> None:
        self._fd, self._total_bytes, self._writers = fd, total_bytes, writers
        self._due_at = time.monotonic() + PROGRESS_S

    def report(self, read_bytes: int) -> None:
        """Report if it is time."""
        if time.monotonic() < self._due_at:
            return
        self._due_at += PROGRESS_S
        say({"progress": {"read_bytes": read_bytes, "total_bytes": self._total_bytes,
                          "wire_bytes": sum(w.wire_bytes for w in self._writers)}}, self._fd)

    def all_read(self) -> None:
        """Report that the export is no longer needed, even if the rest fails."""
        say({"read": True}, self._fd)


def run(words: List[str]) -> None:
    """Execute the request on stdin; `words` may name the VM, see processes.senders."""
    requests = Requests()
    fields = requests.request
    request = None if set(fields) == {"to"} else parse_request(fields)
    with contextlib.ExitStack() as stack:
        receivers = open_receivers(fields["to"])
        stack.callback(receivers.abort)
        request = request or parse_request({**fields, **requests.next()})
        throttle = Throttle(request.rate_bps)
        fd = 2 if 1 in request.to.get("fds", ()) else 1
        if request.rate_bps:
            receivers.narrow(throttle.lump_bytes())
        source = Source(request)
        stack.callback(source.nbd.close)
        receivers.widen(stream_count(request.to, source.ranges.total_bytes, request.rate_bps))
        settled = threading.Event()

        def stop() -> None:
            """Close the export, then end: the controller is gone."""
            if not settled.is_set():
                source.nbd.close()
                receivers.abort()
                os._exit(fail(TryAgain("the controller that asked for the transfer is gone")))

        requests.follow(lambda line: throttle.set(float(line.get("rate_bps", 0))), stop)
        try:
            result = transfer(request, source, receivers, throttle, fd)
        finally:
            settled.set()
        say(result, fd)


def transfer(request: Request, source: Source, receivers: Receivers, throttle: Throttle,
             fd: int) -> Dict[str, Any]:
    """Send it all and return the result, with the receivers' answers."""
    begun_at = time.monotonic()
    hasher = Hasher(request.algorithm, bytes.fromhex(request.secret))
    known = _known(request, hasher)
    line = LineRate(len(receivers.fds))
    writers = [wire.Writer(out, hasher, throttle, line) for out in receivers.fds]

    def rate_bps() -> float:
        """Return what is known of the line: its limit, or what it carries; 0: nothing."""
        return min((rate for rate in (throttle.rate_bps, line.rate_bps) if rate), default=0.0)

    asking = Asking(receivers.answers, rate_bps)
    asks = asking if request.blocks and receivers.can_answer else None
    packing = Packing(hasher, number_of(request.codec),
                      lambda: level_for(rate_bps(), request.level), request.compress, known)
    progress = Progress(fd, source.ranges.total_bytes, writers)
    try:
        for number, writer in enumerate(writers):
            writer.hello(wire.Hello(
                request.transfer, request.disk, source.nbd.size_bytes, hasher.algorithm,
                hasher.secret_id, number, len(writers), request.mode, request.codec,
                meta=request.meta, attempt=request.attempt))
        _pump(source, Pipeline(writers, packing, receivers.ready, asks), known, progress,
              receivers)
    except MoverError as error:
        raise receivers.complaint(error) from None
    finally:
        source.nbd.close()
    answers = receivers.finish(request.answer_s)
    return {"result": {
        "complete": source.reached is None, "reached": source.reached, "answers": answers,
        "left": left_from(source.ranges, source.reached), "beyond": source.beyond,
        "planned_bytes": source.ranges.total_bytes, "read_bytes": source.read_bytes,
        "size_bytes": source.nbd.size_bytes, "peak_bytes": peak_bytes(),
        "asked_bytes": asking.asked_bytes, "block_bytes": asking.sent_bytes,
        "whole_because": asking.why or (NO_WAY_BACK if request.blocks and asks is None else ""),
        "took_s": round(time.monotonic() - begun_at, 3),
        "wire_bytes": sum(writer.wire_bytes for writer in writers),
        "data_bytes": sum(writer.tally.data_bytes for writer in writers),
        "zero_bytes": sum(writer.tally.zero_bytes for writer in writers)}}


def left_from(ranges: Ranges, reached: Optional[int]) -> List[Tuple[int, int]]:
    """Return what was not looked at; one range up to the end of it where the list is too long."""
    if reached is None:
        return []
    left = [(max(offset, reached), offset + length - max(offset, reached))
            for offset, length in ranges if offset + length > reached]
    if len(left) > MOST_LEFT:
        left = [(left[0][0], left[-1][0] + left[-1][1] - left[0][0])]
    return left


def _pump(source: Source, pipeline: Pipeline, known: Optional[Known], progress: Progress,
          receivers: Receivers) -> None:
    try:
        for batch in source.batches(pipeline, known):
            pipeline.put(batch)
            progress.report(source.read_bytes)
        source.nbd.close()      # before the rest is sent: the job that serves it may end now
        if receivers.ready():   # else it may have to be read again, over another route
            progress.all_read()
        pipeline.end(source.reached)
    except MoverError as error:
        pipeline.stop()
        pipeline.give_up(str(error))
        raise


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
    """Yield the parts of a range of zeros that the receiver does not have as zeros."""
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
