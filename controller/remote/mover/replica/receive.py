"""
The target end of a stream: check every cluster, write it where it can be found again, answer.

`receive ROOT` reads one stream after another from stdin until EOF. The replica under ROOT must
have an incoming open for the disk of each stream. No restore point is touched, whatever the stream
holds and whenever it stops; nor is anything that another attempt sent.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import os
import queue
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from mover.errors import Damaged, MoverError, Refused, TryAgain
from mover.image.chain import Chain
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Buffer, Hasher
from mover.image.index import BASE
from mover.image.manifest import clusters_of, put_whole
from mover.image.sparse import filled, punch
from mover.replica import incoming
from mover.replica.incoming import Incoming
from mover.replica.replica import Replica, read_secret
from mover.replica.state import chain, lost, require_receiving
from mover.transfer.frames import Ask, Blocks, Data, Frame, Zero, placed
from mover.transfer.wire import Hello, Reader
from mover.verbs import say

SYNC_BYTES = 32 << 20   # written before a sync begins
FRAMES_AHEAD = 4        # read and checked while the one before is expanded and written
ZEROS_AT_ONCE = 1 << 16
PIPE_BYTES = 1 << 20    # fewer switches between the program that fills it and this mover
_SET_PIPE_SIZE = 1031   # fcntl has the name from Python 3.10 on


class BackgroundSync:
    """
    A thread that syncs a file each time SYNC_BYTES were written, one sync at a time.

    The kernel reports a failed write-back to one sync only. The failure is therefore kept, and
    raised by the next `wrote` or by the end of the block.
    Source: fsync(2), errors since Linux 4.13
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._bytes = 0
        self._due = threading.Condition()
        self._ended = False
        self._failure: Optional[OSError] = None
        self._thread = threading.Thread(target=self._sync, daemon=True)

    def __enter__(self) -> BackgroundSync:       # noqa: PYI034  (Self came with 3.11)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._due:
            self._ended = True
            self._due.notify()
        self._thread.join()
        if kind is None:
            self._raise_failure()

    def wrote(self, size_bytes: int) -> None:
        """Count bytes as written."""
        self._raise_failure()
        with self._due:
            self._bytes += size_bytes
            if self._bytes >= SYNC_BYTES:
                self._due.notify()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _sync(self) -> None:
        while True:
            with self._due:
                self._due.wait_for(lambda: self._ended or self._bytes >= SYNC_BYTES)
                if self._ended:
                    return
                self._bytes = 0
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._failure = error
                return


class PointBlocks:
    """
    Reads point `sequence` of a disk: blocks to compare, clusters to fill; None: there is no point.

    It is opened at the first question and stays open for one transfer. A merge that goes on
    meanwhile does not change what is read: it copies an overlay into the file below it, and the
    overlay stays readable here after its name is gone.
    """

    def __init__(self, replica: Replica, disk: str, sequence: Optional[int],
                 hasher: Hasher) -> None:
        self._replica, self._disk, self._sequence = replica, disk, sequence
        self._hasher = hasher
        self._chain: Optional[Chain] = None

    def __enter__(self) -> PointBlocks:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        if self._chain is not None:
            self._chain.close()

    def read(self, offset: int, length: int) -> bytearray:
        """Return a range of the disk as the point has it."""
        return self._opened().read(offset, length)

    def answer(self, ask: Ask) -> Dict[str, Any]:
        """Return the answer to a question; one without hashes where the point cannot be read."""
        begun_at = time.monotonic()
        try:
            hashes = b"".join(self._hasher.blocks(self.read(offset, length))
                              for offset, length in ask.extents)
        except (MoverError, OSError):
            hashes = b""        # the clusters then come whole, which needs nothing of the point
        return {"blocks": [ask.number, base64.b64encode(hashes).decode(),
                           round(time.monotonic() - begun_at, 6)]}

    def _opened(self) -> Chain:
        if self._chain is None:
            state = Replica(self._replica.root).state      # as it is by now
            if self._sequence is None or lost(state, self._disk):
                raise Damaged("disk %s has no restore point that can be read whole" % self._disk)
            self._chain = Chain([self._replica.path(self._disk, file.name)
                                 for file in chain(state, self._disk, self._sequence)])
        return self._chain


def run(words: List[str]) -> Dict[str, Any]:
    """Receive the streams on stdin for the replica in `words`."""
    if len(words) != 1:
        raise Refused("receive wants one word: the folder of the replica")
    root = os.path.abspath(words[0])
    say({"ready": True}, 1)
    return receive(root, 0, lambda line: say(line, 1))


def receive(root: str, fd: int, answer: Callable[[Dict[str, Any]], None] = lambda line: None
            ) -> Dict[str, Any]:
    """Receive every transfer on a descriptor; return what each held. `answer`: to questions."""
    with contextlib.suppress(OSError):      # a file or a socket has none, or it may not grow
        fcntl.fcntl(fd, _SET_PIPE_SIZE, PIPE_BYTES)
    reader = Reader(fd, read_secret(root))
    replica = Replica(root)
    received: List[Dict[str, Any]] = []
    while True:
        hello = reader.hello()
        if hello is None:
            break
        received.append(receive_transfer(replica, hello, reader, answer))
    if not received:
        raise TryAgain("the stream ended before it began")
    return {"received": received}


def receive_transfer(replica: Replica, hello: Hello, reader: Reader,
                     answer: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    """Receive one transfer into the disk's incoming; record its END."""
    folder = replica.disk_dir(hello.disk)
    if not os.path.isdir(folder):
        raise Refused("disk %s has no open incoming" % hello.disk)
    with incoming.hold(folder, shared=True):
        into = incoming.load(folder).require(hello.attempt)
        try:
            require_receiving(Replica(replica.root).state, into.epoch)
            mine = (into.plan.size_bytes, into.plan.algorithm, into.plan.secret_id)
            theirs = (hello.size_bytes, hello.algorithm, hello.secret_id)
            if mine != theirs:
                raise Refused("the incoming of disk %s has (size, hash, secret) %s, the stream has"
                              " %s" % (hello.disk, mine, theirs))
            assert reader.hasher is not None, "hello() made it"
            with BackgroundSync(into.part) as sync, PointBlocks(
                    replica, hello.disk, into.plan.parent, reader.hasher) as point:
                for frame in ahead(reader.frames(), FRAMES_AHEAD):
                    if isinstance(frame, Ask):
                        answer(point.answer(frame))
                    elif isinstance(frame, (Data, Blocks)):
                        _put_data(into, frame, frame.expand(reader.hasher) if isinstance(
                            frame, Data) else frame.expand(reader.hasher, point.read))
                        sync.wrote(frame.raw_bytes)
                    elif isinstance(frame, Zero):
                        _put_zero(into, frame.offset, frame.length)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise TryAgain("no room left for %s: free some, the restore points are as they were"
                               % folder) from None
            raise TryAgain("%s: %s" % (folder, error.strerror)) from None
        finally:
            into.close()
        line = {"transfer": hello.transfer, "stream": hello.stream, "streams": hello.streams,
                "mode": hello.mode, "disk": hello.disk, "reached": reader.reached,
                **reader.tally.end()}
        require_receiving(Replica(replica.root).state, into.epoch)  # as it is by now
        incoming.note_end(folder, line)
    return {**line, "wire_bytes": reader.wire_bytes}


def _put_data(into: Incoming, data: Union[Data, Blocks], raw: Buffer) -> None:
    """Write clusters: of an overlay one after another, of a base each at its own offset."""
    if into.plan.kind == BASE:
        view = memoryview(raw)
        for offset, done, length in placed(data.extents):
            put_whole(into.part, view[done:done + length], offset)
        at = None
    else:
        at = into.index.reserve(len(data.hashes) // HASH_BYTES)
        put_whole(into.part, raw, at)
    for offset, done, length in placed(data.extents):
        first, before = offset // CLUSTER_BYTES, done // CLUSTER_BYTES
        hashes = data.hashes[before * HASH_BYTES:(before + clusters_of(length)) * HASH_BYTES]
        into.manifest.put(first, hashes)
        into.index.put_data(first, clusters_of(length), at + done if at is not None
                             else offset + CLUSTER_BYTES)   # any number but 0 says: it is here


def _put_zero(into: Incoming, offset: int, length: int) -> None:
    """Make clusters zeros; of a base also in the file, where a crash may have kept other data."""
    end = offset // CLUSTER_BYTES + clusters_of(length)
    for first in range(offset // CLUSTER_BYTES, end, ZEROS_AT_ONCE):
        count = min(ZEROS_AT_ONCE, end - first)
        if into.plan.kind == BASE:
            for at, stop in filled(into.part, first, first + count):
                size = min(stop * CLUSTER_BYTES, into.plan.size_bytes) - at * CLUSTER_BYTES
                punch(into.part, at * CLUSTER_BYTES, size)
            if any(into.manifest.hashes(first, count)):
                into.manifest.put(first, bytes(count * HASH_BYTES))
        into.index.put_zero(first, count)


class _ReadAhead:
    """A thread that reads frames into a queue of `depth` frames."""

    def __init__(self, frames: Iterator[Frame], depth: int) -> None:
        self._frames = frames
        self.waiting: queue.Queue[Tuple[Optional[Frame], Optional[BaseException]]] = (
            queue.Queue(depth))
        self.left = threading.Event()       # nobody takes frames any more
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        ended: Optional[BaseException] = TryAgain("the stream's reader broke: see what this mover"
                                                  " wrote to stderr")
        try:
            for frame in self._frames:
                if not self._put(frame, None):
                    return
            ended = None
        except (MoverError, OSError, ValueError) as error:
            ended = error
        finally:        # whatever it was: nobody may wait for the next frame for ever
            self._put(None, ended)

    def _put(self, frame: Optional[Frame], ended: Optional[BaseException]) -> bool:
        while not self.left.is_set():
            try:
                self.waiting.put((frame, ended), timeout=0.2)
            except queue.Full:
                continue
            return True
        return False


def ahead(frames: Iterator[Frame], depth: int) -> Iterator[Frame]:
    """Yield the same frames, read by a thread that is at most `depth` frames ahead."""
    reading = _ReadAhead(frames, depth)
    try:
        while True:
            frame, ended = reading.waiting.get()
            if ended is not None:
                raise ended
            if frame is None:
                return
            yield frame
    finally:
        reading.left.set()
