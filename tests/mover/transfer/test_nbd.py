"""The NBD client against a real server: extents, order, and a clean disconnect every time."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mover.errors import MoverError, Refused, TryAgain
from mover.image.hashing import CLUSTER_BYTES
from mover.transfer.extents import Ranges, dirty, pieces
from mover.transfer.nbd import (
    ALLOCATION,
    CMD_DISC,
    OPT_ABORT,
    REQUEST,
    REQUEST_MAGIC,
    Nbd,
    bitmap_context,
)

from tests.mover.disks import (
    MIB,
    Running,
    archive,
    exported,
    filled,
    image,
    needs_qemu,
    tool,
    written,
)

pytestmark = needs_qemu
__all__ = ["archive"]
LEAVE = REQUEST.pack(REQUEST_MAGIC, 0, CMD_DISC, 0, 0, 0)
ABORT = b"IHAVEOPT" + OPT_ABORT.to_bytes(4, "big") + bytes(4)


@contextmanager
def overheard(server: str, path: Path) -> Iterator[list[bytearray]]:
    """Stand between a client and its server; yields what each client said, whole once it left."""
    said: list[bytearray] = []
    threads = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def relay(client: socket.socket, heard: bytearray) -> None:
        with client, socket.socket(socket.AF_UNIX) as far:
            far.connect(server)
            open_ends = {client: far, far: client}
            while far in open_ends:
                for one in select.select(list(open_ends), [], [])[0]:
                    data = b""
                    with suppress(ConnectionResetError):    # it closed before it had read all
                        data = one.recv(1 << 16)
                    if one is client:
                        heard += data
                    with suppress(OSError):         # the other end was closed, not just ended
                        if data:
                            open_ends[one].sendall(data)
                        else:
                            open_ends.pop(one).shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            said.append(bytearray())
            threads.append(threading.Thread(target=relay, args=(client, said[-1])))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield said
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for thread in threads:
            thread.join()


def test_allocation_is_told_in_merged_extents(tmp_path: Path) -> None:
    disk = image(tmp_path / "a.qcow2", 4 * MIB, "write -P 1 1M 1M", "write -P 2 2M 64k")
    with exported(disk, tmp_path / "s") as path, Nbd(path, "vda", (ALLOCATION,)) as nbd:
        told = list(nbd.extents(0, nbd.size_bytes, ALLOCATION))
        part = list(nbd.extents(MIB + 10, MIB, ALLOCATION))
    assert told == [(0, MIB, 3), (MIB, MIB + CLUSTER_BYTES, 0),
                    (2 * MIB + CLUSTER_BYTES, 2 * MIB - CLUSTER_BYTES, 3)]
    assert part == [(MIB + 10, MIB, 0)]


def test_many_reads_come_back_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    data = os.urandom(8 * MIB)
    disk = filled(tmp_path / "a.qcow2", data)
    ranges = [(offset, 100 + offset % 70000) for offset in range(0, 7 * MIB, 37 * 1024)]
    with exported(disk, tmp_path / "s") as path, Nbd(path, "vda") as nbd:
        for (offset, length), read in zip(ranges, nbd.reads(ranges), strict=True):
            assert read.offset == offset
            assert read.data == data[offset:offset + length]


def test_pieces_cover_what_is_dirty_and_nothing_else(tmp_path: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(8 * MIB))
    tool("qemu-img", "bitmap", "--add", disk, "since")
    written(disk, "write -P 1 1000k 300k", "discard 4M 1M", "write -P 1 4200k 1k")
    with exported(disk, tmp_path / "s", "--bitmap=since") as path:
        with Nbd(path, "vda", (bitmap_context("since"),)) as nbd:
            changed = dirty(nbd, "since", [(7 * MIB, 1)])
        with Nbd(path, "vda", (ALLOCATION,)) as nbd:
            found = list(pieces(nbd, changed, MIB // 4))
    assert sum(piece.length for piece in found) == changed.total_bytes
    assert all(piece.offset % CLUSTER_BYTES == 0 for piece in found)
    assert max(piece.length for piece in found if not piece.zero) == MIB // 4
    assert sum(piece.length for piece in found if piece.zero) == MIB - CLUSTER_BYTES
    ends = [piece.offset + piece.length for piece in found]
    assert all(end <= piece.offset for end, piece in zip(ends, found[1:], strict=False))


def test_ranges_are_widened_to_clusters_and_merged() -> None:
    size = 10 * CLUSTER_BYTES + 5
    ranges = Ranges(size, [(10, 10), (CLUSTER_BYTES - 1, 2), (3 * CLUSTER_BYTES, 0),
                           (5 * CLUSTER_BYTES, 1), (10 * CLUSTER_BYTES, 100), (size, 10)])
    assert list(ranges) == [(0, 2 * CLUSTER_BYTES), (5 * CLUSTER_BYTES, CLUSTER_BYTES),
                            (10 * CLUSTER_BYTES, 5)]
    assert ranges.total_bytes == 3 * CLUSTER_BYTES + 5


def test_leave_is_taken_after_work_after_an_error_and_when_nobody_reads_on(tmp_path: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(4 * MIB))
    with exported(disk, tmp_path / "s") as path, overheard(path, tmp_path / "p") as said:
        with Nbd(str(tmp_path / "p"), "vda", (ALLOCATION,)) as nbd:
            list(nbd.extents(0, MIB, ALLOCATION))
        with (pytest.raises(TryAgain, match="at offset"),
              Nbd(str(tmp_path / "p"), "vda") as nbd):
            list(nbd.reads([(100 * MIB, 512)]))
        with Nbd(str(tmp_path / "p"), "vda") as nbd:
            next(nbd.reads([(at, MIB) for at in range(0, 4 * MIB, MIB)]))
        with pytest.raises(Refused, match="gone"):
            Nbd(str(tmp_path / "p"), "vda", (bitmap_context("gone"),))
        with pytest.raises(Refused, match="vdz"):
            Nbd(str(tmp_path / "p"), "vdz")
    assert [bytes(heard[-28:]) for heard in said[:3]] == [LEAVE] * 3
    assert [bytes(heard[-16:]) for heard in said[3:]] == [ABORT] * 2


def test_leave_is_taken_when_the_controller_goes_away(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(16 * MIB))
    with (exported(disk, tmp_path / "s") as path, overheard(path, tmp_path / "p") as said,
          (tmp_path / "w").open("wb") as wire):
        running = Running(archive, {
            "socket": str(tmp_path / "p"), "export": "vda", "to": {"fds": [wire.fileno()]},
            "rate_bps": 1e6}, [wire.fileno()])
        while not (tmp_path / "w").stat().st_size:
            assert running.process.poll() is None
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.ended().status == 2
    assert bytes(said[-1][-28:]) == LEAVE


def test_what_is_no_nbd_server_is_refused(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def answer() -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(b"SSH-2.0-OpenSSH_9.2 and more\r\n")
            client.recv(100)

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(MoverError, match="not an NBD server"):
        Nbd(str(tmp_path / "s"), "vda")
    thread.join()
    listener.close()
