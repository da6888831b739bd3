"""
Between the disk and the wire: workers hash, skip and squeeze; one thread per stream sends.

Memory is bounded: so many batches under way, so many waiting. Whichever stream is free takes what
comes next, so one slow stream does not hold the others. C code does the work and lets the
interpreter go, so that two threads keep two cores busy.
"""

from __future__ import annotations

import collections
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from mover.errors import MoverError, TryAgain
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, ZERO_HASH, Buffer, Hasher
from mover.transfer.codec import RAW, compress
from mover.transfer.nbd import Read
from mover.transfer.wire import Extents, Writer, Zero

WORKERS = 2
BATCHES_UNDER_WAY = 4
BATCHES_WAITING = 4
ALWAYS_BYTES = 256 << 20                # so much is squeezed whatever is the slower part
BATCHES_AT_LOGIN = 12                   # may wait besides while the receiver is not there yet
MARK_EVERY = 16                         # batches: about 16 MiB

Known = Callable[[int, int], bytes]     # (first cluster, count) -> what the other end has there


class Packed(NamedTuple):
    """Clusters that must be sent, from wherever they are on the disk, ready for the wire."""

    extents: Extents
    hashes: bytes
    codec: int
    packed: Buffer


Out = Union[Packed, Zero]
Load = Tuple[int, int, Sequence[Out]]       # number and offset of the newest mark, what to send


class Packing(NamedTuple):
    """How clusters become what is sent; `level` is the codec's."""

    hasher: Hasher
    codec: int = RAW
    level: int = 1
    compress: str = "always"            # or auto: of what is large, while the wire is slower
    known: Optional[Known] = None


def runs(hashes: bytes, known: bytes) -> Iterator[Tuple[int, int, bool]]:
    """Yield (first, count, zero) of each run of clusters that are not what is known."""
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


def pack(batch: Sequence[Read], packing: Packing, *, squeeze: bool) -> List[Out]:
    """Return what must be sent of some bytes read: all that is not zeros goes in one frame."""
    found: List[Out] = []
    kept: List[memoryview] = []
    extents: List[Tuple[int, int]] = []
    hashes: List[bytes] = []
    for read in batch:
        own = packing.hasher.clusters(read.data)
        known = _known(read, own, packing)
        if known == own:
            continue
        view = memoryview(read.data)
        for first, count, zero in runs(own, known):
            start, stop = first * CLUSTER_BYTES, min(len(view), (first + count) * CLUSTER_BYTES)
            if zero:
                found.append(Zero(read.offset + start, stop - start))
                continue
            kept.append(view[start:stop])
            extents.append((read.offset + start, stop - start))
            hashes.append(own[first * HASH_BYTES:(first + count) * HASH_BYTES])
    if kept:
        raw = kept[0] if len(kept) == 1 else b"".join(kept)
        codec, packed = compress(packing.codec if squeeze else RAW, packing.level, raw)
        found.append(Packed(extents, b"".join(hashes), codec, packed))
    return found


def _known(read: Read, own: bytes, packing: Packing) -> bytes:
    if packing.known is None:
        return b""
    return packing.known(read.offset // CLUSTER_BYTES, len(own) // HASH_BYTES)


class Pipeline:
    """The workers and the senders of one transfer."""

    def __init__(self, writers: List[Writer], packing: Packing,
                 reached: Callable[[], bool] = lambda: True) -> None:
        self._packing = packing
        self._reached = reached
        self._room = threading.Semaphore(BATCHES_WAITING + BATCHES_AT_LOGIN)
        self._lent = BATCHES_AT_LOGIN
        self._writers = writers
        self._pool = ThreadPoolExecutor(WORKERS)
        self._under_way: Deque[Tuple[int, Future[List[Out]]]] = collections.deque()
        self._waiting: queue.Queue[Optional[Load]] = queue.Queue()
        self._failure: Optional[MoverError] = None
        self._taken_bytes = 0
        self._passed_on = self._mark = self._marked_to = 0
        self._zero: Optional[Zero] = None
        self._threads = [threading.Thread(target=self._send, args=(writer,), daemon=True)
                         for writer in writers]
        for thread in self._threads:
            thread.start()

    def put(self, batch: List[Read]) -> None:
        """Take bytes that were read, in ascending order of offset."""
        while len(self._under_way) >= BATCHES_UNDER_WAY:
            self._pass_on()
        end = batch[-1].offset + len(batch[-1].data)
        self._taken_bytes += sum(len(read.data) for read in batch)
        may_skip = self._packing.compress == "auto" and self._taken_bytes > ALWAYS_BYTES
        self._under_way.append((end, self._pool.submit(self._pack, batch, may_skip)))

    def zero(self, offset: int, length: int) -> None:
        """Take a range known to be zeros; what touches goes as one."""
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
            self._offer(None)
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()
        self._look()
        for writer in self._writers:
            writer.end(reached)

    def give_up(self, sentence: str) -> None:
        """Tell every stream that still listens why nothing more comes."""
        if any(thread.is_alive() for thread in self._threads):
            return                      # a sender may be in the middle of a frame
        for writer in self._writers:
            try:
                writer.error(sentence)
            except TryAgain:
                continue                # it knows already

    def stop(self) -> None:
        """Let the workers and the senders go; what waits is dropped."""
        self._failure = self._failure or TryAgain("the transfer was given up")
        self._pool.shutdown(wait=False)
        for thread in self._threads:
            thread.join(1)

    def _pack(self, batch: List[Read], may_skip: bool) -> List[Out]:
        starving = may_skip and self._waiting.empty()
        return pack(batch, self._packing, squeeze=not starving)

    def _pass_on(self) -> None:
        end, future = self._under_way.popleft()
        found: List[Packed] = []
        for out in future.result():
            if isinstance(out, Zero):
                self.zero(*out)
            else:
                found.append(out)
        self._offer((self._mark, self._marked_to, found))
        self._passed_on += 1
        if self._passed_on % MARK_EVERY == 0:
            self._flush_zero()
            self._mark, self._marked_to = self._mark + 1, end

    def _flush_zero(self) -> None:
        if self._zero is not None:
            self._offer((self._mark, self._marked_to, [self._zero]))
            self._zero = None

    def _offer(self, load: Optional[Load]) -> None:
        while self._lent and self._reached() and self._room.acquire(blocking=False):
            self._lent -= 1
        while not self._room.acquire(timeout=0.5):
            self._look()
        self._look()
        self._waiting.put(load)

    def _look(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _send(self, writer: Writer) -> None:
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
                    writer.zero(*out) if isinstance(out, Zero) else writer.data(*out)
        except MoverError as error:
            self._failure = self._failure or error
        finally:        # whatever it was, who waits for room must not wait for ever
            if not ended and self._failure is None:
                self._failure = TryAgain("sending ended in a way that nobody has thought of")

    def _next(self, writer: Writer) -> Optional[Load]:
        while self._failure is None:
            try:
                load = self._waiting.get(timeout=0.5)
            except queue.Empty:
                writer.beat()
                continue
            self._room.release()
            return load
        return None
