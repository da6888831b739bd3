"""
Read a disk from QEMU over NBD: unix socket, structured replies, many requests under way at once.

The connection always ends with NBD_CMD_DISC before the socket closes: QEMU has been seen to crash,
guest and all, when its NBD server was stopped with a client still connected.
Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.errors import Refused, TryAgain

ALLOCATION = "base:allocation"
HOLE, READS_ZERO, DIRTY = 1, 2, 1       # flags of base:allocation; of a dirty bitmap
STATUS_BYTES = (1 << 32) - (1 << 16)    # of one question: the length is 32 bits
READS_UNDER_WAY, BYTES_UNDER_WAY = 32, 6 << 20
TIMEOUT_S = 60                          # QEMU reads local disks: longer silence is a hang
LEAVE_S = 5
MOST_BYTES = 16 << 20                   # of anything but a disk's contents, which have a buffer

OPTION = struct.Struct(">8sII")
OPTION_REPLY = struct.Struct(">QIII")
REQUEST = struct.Struct(">IHHQQI")
CHUNK = struct.Struct(">IHHQI")
REQUEST_MAGIC, CHUNK_MAGIC, REPLY_MAGIC = 0x25609513, 0x668E33EF, 0x3E889045565A9
OPT_ABORT, OPT_GO, OPT_STRUCTURED, OPT_SET_META = 2, 7, 8, 10
REP_ACK, REP_INFO, REP_META, REP_ERROR = 1, 3, 4, 1 << 31
CMD_READ, CMD_DISC, CMD_STATUS = 0, 2, 7
CHUNK_DONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 1, 1, 2, 5, 1 << 15

Extent = Tuple[int, int]                # length, flags


def bitmap_context(bitmap: str) -> str:
    """Return the name of the meta context with a bitmap's dirty ranges."""
    return "qemu:dirty-bitmap:" + bitmap


class _Request:
    """One request under way: a read into a buffer, or a question for extents."""

    def __init__(self, offset: int, buffer: Optional[bytearray]) -> None:
        self.offset, self.buffer = offset, buffer
        self.extents: Dict[str, List[Extent]] = {}
        self.failure = ""


class Read(NamedTuple):
    """Bytes of the disk, and where they start."""

    offset: int
    data: bytearray


class Nbd:
    """One connection to one export."""

    def __init__(self, path: str, export: str, contexts: Sequence[str] = ()) -> None:
        self.path, self.export = path, export
        self.size_bytes = 0
        self._contexts: Dict[int, str] = {}
        self._pending: Dict[int, _Request] = {}
        self._done: List[_Request] = []
        self._handle = 0
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._set_timeout(TIMEOUT_S)
        try:
            self._connect(contexts)
        except BaseException:
            with contextlib.suppress(OSError):              # there may be no server
                self._socket.sendall(OPTION.pack(b"IHAVEOPT", OPT_ABORT, 0))
            self._socket.close()
            raise

    def __enter__(self) -> Nbd:        # noqa: PYI034  (Self came with 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect, whatever is under way, and return when the server has closed, too."""
        with self._lock:
            with contextlib.suppress(OSError):              # the server left first, or hangs
                self._set_timeout(LEAVE_S)
                self._socket.sendall(REQUEST.pack(REQUEST_MAGIC, 0, CMD_DISC, 0, 0, 0))
                self._socket.shutdown(socket.SHUT_WR)
                while self._socket.recv(1 << 16):
                    pass                                    # replies that nobody waits for
                self._socket.shutdown(socket.SHUT_RDWR)     # wakes who reads in another thread
            self._socket.close()

    def _set_timeout(self, timeout_s: int) -> None:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", timeout_s, 0))

    def extents(self, offset: int, length: int, context: str) -> Iterator[Tuple[int, int, int]]:
        """Yield (offset, length, flags) that cover a range, neighbours with one flag merged."""
        end, start, held = offset + length, offset, 0
        flags = -1
        while offset < end:
            for reported, found in self._status(offset, min(end - offset, STATUS_BYTES), context):
                if found != flags and held:
                    yield start, held, flags
                if found != flags:
                    start, held, flags = offset, 0, found
                size = min(reported, end - offset)  # the last extent may go beyond the request
                held, offset = held + size, offset + size
        if held:
            yield start, held, flags

    def reads(self, ranges: Iterable[Extent]) -> Iterator[Read]:
        """Yield the contents of (offset, length) ranges in their order, many asked for at once."""
        waiting = iter(ranges)
        order: List[_Request] = []
        bytes_asked, more = 0, True
        while True:
            while more and len(order) < READS_UNDER_WAY and bytes_asked < BYTES_UNDER_WAY:
                wanted = next(waiting, None)
                if wanted is None:
                    more = False
                    break
                order.append(self._send(CMD_READ, wanted[0], wanted[1], bytearray(wanted[1])))
                bytes_asked += wanted[1]
            if not order:
                return
            first = order.pop(0)
            self._finish(first)
            assert first.buffer is not None, "a read has a buffer"
            bytes_asked -= len(first.buffer)
            yield Read(first.offset, first.buffer)

    def _status(self, offset: int, length: int, context: str) -> List[Extent]:
        pending = self._send(CMD_STATUS, offset, length, None)
        self._finish(pending)
        extents = pending.extents.get(context, [])
        if not extents or any(size == 0 for size, _flags in extents):
            raise TryAgain("the export %s does not say what lies at offset %d"
                           % (self.export, offset))
        return extents

    def _send(self, command: int, offset: int, length: int, buffer: Optional[bytearray]
              ) -> _Request:
        self._handle += 1
        pending = self._pending[self._handle] = _Request(offset, buffer)
        request = REQUEST.pack(REQUEST_MAGIC, 0, command, self._handle, offset, length)
        with self._lock:
            try:
                self._socket.sendall(request)
            except OSError as error:
                raise self._gone(error) from None
        return pending

    def _finish(self, pending: _Request) -> None:
        while pending not in self._done:
            self._chunk()
        self._done.remove(pending)
        if pending.failure:
            raise TryAgain("the export %s failed at offset %d: %s"
                           % (self.export, pending.offset, pending.failure))

    def _chunk(self) -> None:
        magic, flags, kind, handle, size = CHUNK.unpack(self._read(CHUNK.size))
        pending = self._pending.get(handle)
        if magic != CHUNK_MAGIC or pending is None:
            raise TryAgain("the NBD server at %s replied to no request of ours" % self.path)
        if kind != CHUNK_DATA and size > MOST_BYTES:
            raise TryAgain("the NBD server at %s sent a reply of %d bytes" % (self.path, size))
        if kind & CHUNK_ERROR:
            reply = self._read(size)
            number, length = struct.unpack(">IH", reply[:6])
            text = reply[6:6 + length].decode(errors="replace")
            pending.failure = text or "error %d" % number
        elif kind == CHUNK_DATA:
            start = struct.unpack(">Q", self._read(8))[0] - pending.offset
            buffer = pending.buffer
            if buffer is None or start < 0 or start + size - 8 > len(buffer):
                raise TryAgain("the NBD server at %s sent more than was requested" % self.path)
            self._read_into(memoryview(buffer)[start:start + size - 8])
        elif kind == CHUNK_HOLE:
            struct.unpack(">QI", self._read(size))      # the buffer is zero already
        elif kind == CHUNK_STATUS:
            number, *words = struct.unpack(">%dI" % (size // 4), self._read(size))
            pending.extents[self._contexts[number]] = list(zip(words[::2], words[1::2]))
        else:
            self._read(size)
        if flags & CHUNK_DONE:
            self._done.append(self._pending.pop(handle))

    def _read(self, size: int) -> bytearray:
        buffer = bytearray(size)
        self._read_into(memoryview(buffer))
        return buffer

    def _read_into(self, view: memoryview) -> None:
        while view:
            try:
                got = self._socket.recv_into(view, len(view), socket.MSG_WAITALL)
            except OSError as error:
                raise self._gone(error) from None
            if got == 0:
                raise self._gone(None)
            view = view[got:]

    def _gone(self, error: Optional[OSError]) -> TryAgain:
        why = "it closed" if error is None else str(error.strerror)
        if isinstance(error, BlockingIOError):
            why = "silent for %d s" % TIMEOUT_S
        return TryAgain("the NBD export %s at %s went away: %s" % (self.export, self.path, why))

    def _connect(self, contexts: Sequence[str]) -> None:
        try:
            self._socket.connect(self.path)
        except OSError as error:
            raise TryAgain("no NBD server at %s: %s" % (self.path, error.strerror)) from None
        greeting = self._read(18)
        if greeting[:16] != b"NBDMAGICIHAVEOPT":
            raise Refused("what listens at %s is not an NBD server" % self.path)
        self._socket.sendall(struct.pack(">I", 3))      # fixed newstyle, no zeroes
        list(self._option(OPT_STRUCTURED, b""))
        if contexts:
            texts = [self.export.encode(), *(context.encode() for context in contexts)]
            packed = [struct.pack(">I", len(text)) + text for text in texts]
            packed.insert(1, struct.pack(">I", len(contexts)))
            for reply in self._option(OPT_SET_META, b"".join(packed)):
                self._contexts[struct.unpack(">I", reply[:4])[0]] = reply[4:].decode()
            missing = sorted(set(contexts) - set(self._contexts.values()))
            if missing:
                raise Refused("the export %s has no %s" % (self.export, ", ".join(missing)))
        name = self.export.encode()
        for info in self._option(OPT_GO, struct.pack(">I%dsH" % len(name), len(name), name, 0)):
            if info[:2] == b"\0\0":
                self.size_bytes = struct.unpack(">Q", info[2:10])[0]

    def _option(self, option: int, payload: bytes) -> Iterator[bytearray]:
        self._socket.sendall(OPTION.pack(b"IHAVEOPT", option, len(payload)) + payload)
        while True:
            magic, _option, kind, size = OPTION_REPLY.unpack(self._read(OPTION_REPLY.size))
            if magic != REPLY_MAGIC or size > MOST_BYTES:
                raise Refused("what listens at %s is not an NBD server" % self.path)
            reply = self._read(size)
            if kind == REP_ACK:
                return
            if kind & REP_ERROR:
                text = reply.decode(errors="replace") or "error %d" % (kind & ~REP_ERROR)
                raise Refused("the NBD server at %s refuses export %s: %s"
                              % (self.path, self.export, text))
            yield reply
