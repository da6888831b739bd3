"""
Re-read what was received and compare each cluster with its hash, before a point is made of it.

A receiver checks every cluster as it comes in, but writes it, its hash and its place without any
order on the disk: a crash, a loss of power or a bad disk may have kept one and not the other.
Only what has its hash now is kept. The rest is forgotten, and the caller sends it again.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, Iterator, List, Tuple

from mover.errors import Refused, TryAgain
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.index import BASE
from mover.image.qcow2 import DATA, Run
from mover.image.sparse import filled
from mover.replica import incoming
from mover.replica.incoming import Incoming
from mover.replica.replica import Replica
from mover.replica.state import require_receiving
from mover.requests import Requests

REREAD = ("disk", "memory", "no")   # where from; "no": it has been settled, or need not be
READ_BYTES = 2 * CLUSTER_BYTES      # stays in a processor's own cache until it is hashed


def run(words: List[str]) -> Dict[str, Any]:
    """
    Re-read all that was received for {"replica", "disks": […], "attempt", "reread"}.

    Errors: TryAgain when some of it is lost, or another attempt has opened it.
    """
    request = Requests().request
    replica, reread = Replica(str(request["replica"])), str(request.get("reread", "disk"))
    attempt = str(request["attempt"])
    if reread not in REREAD:
        raise Refused("reread is one of %s" % ", ".join(REREAD))
    for disk in sorted(request["disks"]):
        folder = replica.disk_dir(disk)
        with incoming.hold(folder, shared=False):
            into = incoming.load(folder).require(attempt)
            try:
                require_receiving(replica.state, into.epoch)
                require_intact(into, disk, replica.hasher(), reread)
            finally:
                into.close()
            incoming.note_settled(folder, attempt)
    return {"settled": sorted(request["disks"])}


def require_intact(into: Incoming, disk: str, hasher: Hasher, reread: str) -> None:
    """Compare every cluster with its hash; TryAgain when some had to be forgotten."""
    forgotten = _forget_lost(into, hasher, cold=reread == "disk") if reread != "no" else 0
    if forgotten:
        incoming.forget_ends(into.folder)
        raise TryAgain("%d clusters of disk %s are not what was received: send them again"
                       % (forgotten, disk))


def _forget_lost(into: Incoming, hasher: Hasher, *, cold: bool) -> int:
    """
    Forget every cluster that does not have its hash and return how many there were.

    `cold` reads from the disk, not from memory.
    """
    if cold:
        os.fsync(into.part)
        os.posix_fadvise(into.part, 0, 0, os.POSIX_FADV_DONTNEED)
    forgotten, buffer = 0, memoryview(bytearray(READ_BYTES))
    for run in into.index.mapped():
        expected = bytes(run.clusters * HASH_BYTES)
        if run.kind == DATA:
            expected = into.manifest.hashes(run.cluster, run.clusters)
        else:
            into.manifest.put(run.cluster, expected)
        for first, count in _to_read(into, run):
            at = first - run.cluster
            position = first * CLUSTER_BYTES if into.plan.kind == BASE else (
                run.position + at * CLUSTER_BYTES)
            wanted = expected[at * HASH_BYTES:(at + count) * HASH_BYTES]
            forgotten += _forget_lost_in(into, hasher, first, wanted, buffer, position)
    return forgotten


def _to_read(into: Incoming, run: Run) -> Iterator[Tuple[int, int]]:
    """Yield (first, count) of the clusters of a run that may be wrong, a few at a time."""
    spans: Iterable[Tuple[int, int]] = ()
    if run.kind == DATA:
        spans = ((run.cluster, run.cluster + run.clusters),)
    elif into.plan.kind == BASE:        # a crash may have kept data that became zeros later
        spans = filled(into.part, run.cluster, run.cluster + run.clusters)
    step = READ_BYTES // CLUSTER_BYTES
    for first, stop in spans:
        for at in range(first, stop, step):
            yield at, min(step, stop - at)


def _forget_lost_in(into: Incoming, hasher: Hasher, first: int, wanted: bytes, buffer: memoryview,
                    position: int) -> int:
    count = len(wanted) // HASH_BYTES
    length = min(count * CLUSTER_BYTES, into.plan.size_bytes - first * CLUSTER_BYTES)
    data = buffer[:length]
    got = os.preadv(into.part, [data], position)
    found = hasher.clusters(data) if got == length else bytes(b ^ 255 for b in wanted)
    if found == wanted:
        return 0
    bad = [at for at in range(count) if found[at * HASH_BYTES:(at + 1) * HASH_BYTES]
           != wanted[at * HASH_BYTES:(at + 1) * HASH_BYTES]]
    for at in bad:
        into.index.forget(first + at, 1)
    return len(bad)
