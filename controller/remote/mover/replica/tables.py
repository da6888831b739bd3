"""
Check what only QEMU reads of an overlay: its header, its tables, its reference counts.

One hash in state.json (`check`) covers all of it but the name of the backing file, which changes
when points are retired: that is compared with the chain. Clusters have hashes of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import List

from mover.errors import Damaged, TryAgain, unreadable_is_damaged
from mover.image.hashing import CLUSTER_BYTES
from mover.image.qcow2 import Header, Overlay, render_header
from mover.replica.replica import Replica
from mover.replica.state import OVERLAY, File, State, backing_of, chain, lost, sequence_of

PIECE_BYTES = 1 << 20
CHECK_S = 3600.0
CORRUPT, LEAKS = 2, 3           # exit statuses of qemu-img check; leaks are read as they should be


def digest_of(path: str) -> str:
    """Return the hash of what QEMU reads of an overlay besides its clusters."""
    with Overlay(path) as overlay:
        return digest(overlay.fd, overlay.header, _first_table(overlay))


def _first_table(overlay: Overlay) -> int:
    return min(overlay.places(), default=overlay.header.l1_offset)


def digest(fd: int, header: Header, first: int) -> str:
    """Return the hash of a header without backing file, and of all from `first` to its hashes."""
    found = hashlib.sha256(render_header(header._replace(backing="", backing_format="")))
    at, end = first, header.sums.offset if header.sums else os.fstat(fd).st_size
    while at < end:
        piece = os.pread(fd, min(PIECE_BYTES, end - at), at)
        if not piece:
            break
        found.update(piece)
        at += len(piece)
    return found.hexdigest()


def check(replica: Replica, disk: str, file: File) -> None:
    """
    Raise Damaged where QEMU would not read a file as it was written.

    Errors: TryAgain where no qemu-img can say whether it would.
    """
    if file.kind != OVERLAY or disk in replica.state.floor:
        return
    path = replica.path(disk, file.name)
    with unreadable_is_damaged(path), Overlay(path) as overlay:
        head = os.pread(overlay.fd, CLUSTER_BYTES, 0)
        if head != render_header(overlay.header).ljust(CLUSTER_BYTES, b"\0"):
            raise Damaged("%s: its header is not as it was written" % path)
        below = (overlay.header.backing, overlay.header.backing_format)
        if below not in map(backing_of, allowed_backings(replica.state, disk, file)):
            raise Damaged("%s names %s as its backing file, which is another one"
                          % (path, below[0]))
        checks = file.check.split()
        if checks and digest(overlay.fd, overlay.header, _first_table(overlay)) not in checks:
            raise Damaged("%s: its tables are not as they were written" % path)
    _ask_qemu(path, is_as_written=bool(file.check))


def allowed_backings(state: State, disk: str, file: File) -> List[File]:
    """
    Return the files that may be the backing file of this one.

    It is the one below it in the chain; while that is lost, also the next below (see `bypass`). So
    also where a crash struck while two overlays became one (two checks; see retire.py).
    """
    below = chain(state, disk, sequence_of(state, disk, file.name))
    below = below[:[one.name for one in below].index(file.name)]
    found: List[File] = []
    for under in reversed(below):
        found.append(under)
        if under.name not in lost(state, disk) and (len(file.check.split()) == 1 or len(found) > 1):
            break
    return found


def _ask_qemu(path: str, *, is_as_written: bool) -> None:
    """Let qemu-img check a file, without its backing file."""
    image = json.dumps({"driver": "qcow2", "backing": None,
                        "file": {"driver": "file", "filename": path}})
    try:
        done = subprocess.run(["qemu-img", "check", "-q", "-U", "json:" + image],
                              capture_output=True, check=False, stdin=subprocess.DEVNULL,
                              timeout=CHECK_S)
    except OSError as error:
        raise TryAgain("nothing was verified: qemu-img cannot be run on this host (%s): install"
                       " qemu-utils" % error.strerror) from None
    except subprocess.TimeoutExpired:
        raise TryAgain("qemu-img did not check %s within %d s" % (path, CHECK_S)) from None
    if done.returncode in (0, LEAKS):
        return
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    sentence = "%s: qemu-img check says: %s" % (path, lines[-1] if lines else "nothing")
    if done.returncode == CORRUPT or (done.returncode > 0 and not is_as_written):
        raise Damaged(sentence)
    raise TryAgain(sentence)    # byte by byte it is what was written
