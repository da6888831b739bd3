"""
How bytes flow from the disk to the wire, and how a slow wire holds back the reading.

    QEMU ──NBD──► reader ──batches──► workers ──loads──► queue ──► writer ──► pipe of stream 1
                  main thread         2 at a time        bounded   writer ──► pipe of stream 2 …

The main thread reads about 1 MiB per batch and hands it to a worker, which hashes every cluster,
drops those that the receiver has, turns zeros into ranges and compresses the rest. The main thread
takes the results in the order of the disk and queues them; each stream's writer takes the next load
as soon as it is free, so that one slow stream does not hold up the others. Hashes and codecs are C
code that releases the interpreter lock: two workers keep two cores busy.

Back-pressure is by counting. At most BATCHES_UNDER_WAY batches are with the workers and
BATCHES_WAITING in the queue; then `put` blocks, nothing more is read, and QEMU is left alone. While
the receivers are still logging in, BATCHES_AT_LOGIN more may wait, so that short copies are read
completely and the backup job can end. With `compress` auto an empty queue means that the wire
starves: large transfers then skip compression.

Where the receiver is asked which blocks it has (asking), a batch waits with its worker for the
answer, and up to BATCHES_ASKED are under way; never more than two threads compute at a time.

A MARK with one number goes out on every stream each MARK_EVERY batches. As writers take loads in
order, a receiver that has the same mark on all streams has everything before its offset.

A writer that fails leaves its error in `_failure`; every other thread finds it there within half a
second and stops. Batches that were not sent are dropped: without END the receiver believes none.
"""

from __future__ import annotations

import collections
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from mover.errors import MoverError, TryAgain
from mover.image.hashing import (
    CLUSTER_BYTES,
    HASH_BYTES,
    ZERO_HASH,
    Buffer,
    Hasher,
    cluster_spans,
)
from mover.transfer.blocks.asking import Asking
from mover.transfer.blocks.masks import chosen as blocks_of
from mover.transfer.blocks.masks import count_of, mask_of, packed_masks
from mover.transfer.codec import RAW, compress
from mover.transfer.frames import Ask, Blocks, Extents, Zero
from mover.transfer.nbd import Read
from mover.transfer.wire import Writer

WORKERS = 2
BATCHES_UNDER_WAY = 4
BATCHES_WAITING = 4
ALWAYS_BYTES = 256 << 20                # so much is compressed even if the wire starves
BATCHES_AT_LOGIN = 12
BATCHES_ASKED = 10                      # under way while the receiver is asked about each
MOST_BLOCKS = 12                        # of 16: a cluster that differs more goes whole
MARK_EVERY = 16                         # batches: about 16 MiB

Known = Callable[[int, int], bytes]     # (first cluster, count) -> the receiver's hashes of them


class Packed(NamedTuple):
    """Clusters that must be sent, wherever they lie on the disk, ready for a DATA frame."""

    extents: Extents
    hashes: bytes
    codec: int
    packed: Buffer


WAKE = (-1, 0, ())              # a load that only tells a writer to look for a question
Out = Union[Packed, Blocks, Zero]
Load = Tuple[int, int, Sequence[Out]]       # number and offset of the newest mark, what to send


class Packing(NamedTuple):
    """How clusters are hashed, compared and compressed; `level` is the codec's."""

    hasher: Hasher
    codec: int = RAW
    level: Callable[[], int] = lambda: 1
    compress: str = "always"            # or auto: of what is large, while the wire is slower
    known: Optional[Known] = None


def runs(hashes: bytes, known: bytes) -> Iterator[Tuple[int, int, bool]]:
    """Yield (first, count, zero) of each run of clusters that differ from the known hashes."""
    first, count, zero = 0, 0, False
    for at in range(0, len(hashes), HASH_BYTES):
        digest = hashes[at:at + HASH_BYTES]
        wanted = digest != known[at:at + HASH_BYTES] if known else True
        is_zero = digest == ZERO_HASH
        if count and (not wanted or is_zero != zero):
            yield first, count, zero
            count = 0
        if wanted:
            first, zero = (first, zero) if count else (at // HASH_BYTES, is_zero)
            count += 1
    if count:
        yield first, count, zero


class Chosen(NamedTuple):
    """The clusters of a batch that must be sent, in runs."""

    extents: List[Tuple[int, int]]
    hashes: List[bytes]
    views: List[memoryview]


def choose(batch: Sequence[Read], packing: Packing) -> Tuple[List[Out], Chosen]:
    """Return what must be sent of a batch: ranges of zeros, and all other clusters."""
    zeros: List[Out] = []
    chosen = Chosen([], [], [])
    for read in batch:
        own = packing.hasher.clusters(read.data)
        known = b"" if packing.known is None else packing.known(
            read.offset // CLUSTER_BYTES, len(own) // HASH_BYTES)
        if known == own:
            continue
        view = memoryview(read.data)
        for first, count, zero in runs(own, known):
            start, stop = first * CLUSTER_BYTES, min(len(view), (first + count) * CLUSTER_BYTES)
            if zero:
                zeros.append(Zero(read.offset + start, stop - start))
                continue
            chosen.views.append(view[start:stop])
            chosen.extents.append((read.offset + start, stop - start))
            chosen.hashes.append(own[first * HASH_BYTES:(first + count) * HASH_BYTES])
    return zeros, chosen


def pack(chosen: Chosen, packing: Packing, *, compressed: bool) -> List[Out]:
    """Return clusters packed for one frame."""
    if not chosen.extents:
        return []
    codec, packed = _compress(chosen.views, packing, compressed)
    return [Packed(chosen.extents, b"".join(chosen.hashes), codec, packed)]


def pack_blocks(chosen: Chosen, theirs: bytes, packing: Packing, *, compressed: bool) -> List[Out]:
    """Return clusters packed for two frames: whole, or the blocks that the receiver lacks."""
    whole, partly = Chosen([], [], []), Chosen([], [], [])
    masks: List[int] = []
    kept: List[memoryview] = []
    at = 0
    for offset, view, digest in _each_cluster(chosen):
        own = packing.hasher.blocks(view)
        mask = mask_of(own, theirs[at:at + len(own)])
        at += len(own)
        into = whole if count_of(mask) > MOST_BLOCKS else partly
        _append(into, offset, view, digest)
        if into is partly:
            masks.append(mask)
            kept += blocks_of(mask, view)
    found = pack(whole, packing, compressed=compressed)
    if partly.extents:
        codec, packed = _compress(kept, packing, compressed)
        found.append(Blocks(partly.extents, packed_masks(masks), sum(map(len, kept)), codec,
                            b"".join(partly.hashes), packed))
    return found


def _each_cluster(chosen: Chosen) -> Iterator[Tuple[int, memoryview, bytes]]:
    """Yield (offset on the disk, data, hash) of each cluster."""
    for (offset, _), view, hashes in zip(chosen.extents, chosen.views, chosen.hashes):
        for number, (at, size) in enumerate(cluster_spans(len(view))):
            yield (offset + at, view[at:at + size],
                   hashes[number * HASH_BYTES:(number + 1) * HASH_BYTES])


def _append(chosen: Chosen, offset: int, view: memoryview, digest: bytes) -> None:
    """Add one cluster; extents that touch become one, as long as all but the last are whole."""
    last = chosen.extents[-1] if chosen.extents else (0, 0)
    if chosen.extents and sum(last) == offset:
        chosen.extents[-1] = (last[0], last[1] + len(view))
    else:
        chosen.extents.append((offset, len(view)))
    chosen.views.append(view)
    chosen.hashes.append(digest)


def _compress(views: Sequence[memoryview], packing: Packing, compressed: bool
              ) -> Tuple[int, Buffer]:
    raw = views[0] if len(views) == 1 else b"".join(views)
    return compress(packing.codec if compressed else RAW, packing.level(), raw)


class Pipeline:
    """The workers and the writers of one transfer; `ready` says that the receivers are there."""

    def __init__(self, writers: List[Writer], packing: Packing,
                 ready: Callable[[], bool] = lambda: True,
                 asking: Optional[Asking] = None) -> None:
        self._packing, self._asking = packing, asking
        self._questions: Deque[Ask] = collections.deque()
        self._cores = threading.Semaphore(WORKERS)
        self._ready = ready
        self._room = threading.Semaphore(BATCHES_WAITING + BATCHES_AT_LOGIN)
        self._extra_room = BATCHES_AT_LOGIN
        self._writers = writers
        self._pool = ThreadPoolExecutor(BATCHES_ASKED if asking is not None else WORKERS)
        self._under_way: Deque[Tuple[int, Future[List[Out]]]] = collections.deque()
        self._waiting: queue.Queue[Optional[Load]] = queue.Queue()
        self._failure: Optional[MoverError] = None
        self._taken_bytes = 0
        self._passed_on = self._mark = self._marked_to = 0
        self._zero: Optional[Zero] = None
        self._threads = [threading.Thread(target=self._write, args=(writer,), daemon=True)
                         for writer in writers]
        for thread in self._threads:
            thread.start()

    def put(self, batch: List[Read]) -> None:
        """Take a batch, in ascending order of offset; blocks while the wire is slower."""
        most = BATCHES_ASKED if self._asks() else BATCHES_UNDER_WAY
        while len(self._under_way) >= most:
            self._pass_on()
        end = batch[-1].offset + len(batch[-1].data)
        self._taken_bytes += sum(len(read.data) for read in batch)
        may_skip = self._packing.compress == "auto" and self._taken_bytes > ALWAYS_BYTES
        self._under_way.append((end, self._pool.submit(self._pack, batch, may_skip)))

    def zero(self, offset: int, length: int) -> None:
        """Take a range of zeros; adjacent ranges are sent as one."""
        held = self._zero
        if held is not None and held.offset + held.length == offset:
            self._zero = Zero(held.offset, held.length + length)
            return
        self._flush_zero()
        self._zero = Zero(offset, length)

    def end(self, reached: Optional[int] = None) -> None:
        """Send all that is under way, then END on every stream."""
        while self._under_way:
            self._pass_on()
        self._flush_zero()
        for _ in self._threads:
            self._enqueue(None)
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()
        self._raise_failure()
        for writer in self._writers:
            writer.end(reached)

    def give_up(self, sentence: str) -> None:
        """Send ERROR with the reason on every stream that is still open."""
        if any(thread.is_alive() for thread in self._threads):
            return                      # a writer may be in the middle of a frame
        for writer in self._writers:
            try:
                writer.error(sentence)
            except TryAgain:
                continue                # its receiver is gone

    def stop(self) -> None:
        """Stop the workers and the writers; what waits is dropped."""
        self._failure = self._failure or TryAgain("the transfer was given up")
        self._pool.shutdown(wait=False)
        for thread in self._threads:
            thread.join(1)

    def _pack(self, batch: List[Read], may_skip: bool) -> List[Out]:
        with self._cores:
            zeros, chosen = choose(batch, self._packing)
        theirs = self._theirs(chosen) if chosen.extents and self._asks() else b""
        starving = may_skip and self._waiting.empty()
        with self._cores:
            if not theirs or self._asking is None:
                return zeros + pack(chosen, self._packing, compressed=not starving)
            outs = pack_blocks(chosen, theirs, self._packing, compressed=not starving)
        self._asking.judge(sum(map(len, chosen.views)),
                           sum(out.length if isinstance(out, Blocks) else _raw_bytes(out)
                               for out in outs))
        return zeros + outs

    def _asks(self) -> bool:
        return self._asking is not None and self._asking.pays()

    def _theirs(self, chosen: Chosen) -> bytes:
        """Return the receiver's hashes of the blocks of some clusters; nothing: not known."""
        assert self._asking is not None, "_asks has looked"
        return self._asking.ask(chosen.extents, self._question,
                                lambda: self._failure is not None)

    def _question(self, number: int, extents: Extents) -> None:
        """Have the next writer that is free ask, before what waits to be sent."""
        self._questions.append(Ask(number, extents))
        self._waiting.put(WAKE)

    def _pass_on(self) -> None:
        """Queue the result of the oldest batch; begin a new mark after each MARK_EVERY."""
        end, future = self._under_way.popleft()
        found: List[Packed] = []
        for out in future.result():
            if isinstance(out, Zero):
                self.zero(*out)
            else:
                found.append(out)
        self._enqueue((self._mark, self._marked_to, found))
        self._passed_on += 1
        if self._passed_on % MARK_EVERY == 0:
            self._flush_zero()
            self._mark, self._marked_to = self._mark + 1, end

    def _flush_zero(self) -> None:
        if self._zero is not None:
            self._enqueue((self._mark, self._marked_to, [self._zero]))
            self._zero = None

    def _enqueue(self, load: Optional[Load]) -> None:
        """Queue a load; blocks while the queue is full. None ends one writer."""
        while self._extra_room and self._ready() and self._room.acquire(blocking=False):
            self._extra_room -= 1       # the receivers are there: take back what was lent
        while not self._room.acquire(timeout=0.5):
            self._raise_failure()
        self._raise_failure()
        self._waiting.put(load)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write(self, writer: Writer) -> None:
        marked, ended = 0, False
        try:
            while True:
                load = self._next(writer)
                if load is None:
                    ended = True
                    return
                number, offset, outs = load
                if number > marked:
                    writer.mark(offset, number)
                    marked = number
                for out in outs:
                    _put(writer, out)
        except MoverError as error:
            self._failure = self._failure or error
        finally:        # after any end, nobody may wait for room for ever
            if not ended and self._failure is None:
                self._failure = TryAgain("sending ended in a way that nobody has thought of")

    def _next(self, writer: Writer) -> Optional[Load]:
        while self._failure is None:
            try:
                load = self._waiting.get(timeout=0.5)
            except queue.Empty:
                writer.heartbeat()
                continue
            while self._questions:
                writer.ask(*self._questions.popleft())
            if load is WAKE:
                continue
            self._room.release()
            return load
        return None


def _put(writer: Writer, out: Out) -> None:
    if isinstance(out, Zero):
        writer.zero(*out)
    elif isinstance(out, Blocks):
        writer.blocks(out)
    else:
        writer.data(*out)


def _raw_bytes(out: Out) -> int:
    return 0 if isinstance(out, Zero) else sum(length for _, length in out.extents)
