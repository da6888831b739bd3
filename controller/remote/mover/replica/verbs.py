"""
The small verbs on a replica: make it, show it, open an incoming, exchange manifests.

Each takes one request line of JSON on stdin. `manifest-out` on the target writes zlib-compressed
bytes to stdout, and `manifest-in` on the source reads them, so that it knows what the target has.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from typing import Any, Dict, List, Optional

from mover.errors import Damaged, Refused
from mover.image.chain import compose
from mover.image.hashing import HASH_BYTES
from mover.image.manifest import UNKNOWN_HASH, Manifest
from mover.image.sent_since import with_runs, without
from mover.replica import generations, incoming
from mover.replica.damage import exposed, readable, repair_set, report
from mover.replica.replica import Replica, create, disks_in, fresh_secret, locked, read_secret
from mover.replica.scrub import note_missing_files
from mover.replica.state import (
    DISK,
    File,
    epoch_of,
    files,
    former_of,
    last,
    require_receiving,
)
from mover.requests import Requests

PIECE_BYTES = 1 << 20


def make(words: List[str]) -> Dict[str, Any]:
    """Make an empty replica {"replica", "vm", "algorithm", "secret"}, or open the one there is."""
    request = Requests().request
    root = os.path.abspath(str(request["replica"]))
    secret = bytes.fromhex(request["secret"]) if request.get("secret") else fresh_secret()
    state = create(root, str(request["vm"]), str(request.get("algorithm", "xxh3-128")), secret,
                   request.get("facts"))
    note_missing_files(root)
    return {"vm": state.vm, "algorithm": state.algorithm, "secret_id": state.secret_id,
            "newest": state.points[-1].sequence if state.points else None,
            "secret": read_secret(root).hex(), "replica": describe(root)}


def show(words: List[str]) -> Dict[str, Any]:
    """Describe the replicas {"replicas": […]}, and those in the folder {"below"}."""
    request = Requests().request
    roots = [str(root) for root in request.get("replicas", ())]
    below = request.get("below")
    if below and os.path.isdir(str(below)):
        roots += [os.path.join(str(below), name) for name in sorted(os.listdir(str(below)))
                  if generations.is_there(os.path.join(str(below), name))]
    return {"replicas": {root: describe(root) for root in roots}}


def describe(root: str) -> Dict[str, Any]:
    """Return one replica as plain values: its points, files and incomings."""
    replica = Replica(root)
    state = replica.state
    present = {disk: [{**file._asdict(), "present": _is_present(replica, disk, file)}
                      for file in of] for disk, of in sorted(files(state).items())}
    return {"vm": state.vm, "algorithm": state.algorithm, "secret_id": state.secret_id,
            "generation": state.generation, "facts": state.facts, "pins": state.pins,
            "files": present, "incoming": _incoming(replica), "merging": sorted(state.floor),
            "sent": _sent(replica), "recovered": replica.recovered,
            "points": [{**point._asdict(), "files": {
                disk: file.name if file else None for disk, file in sorted(point.files.items())}}
                for point in state.points],
            **{name: part for name, part in report(replica).items() if name != "points"}}


def _is_present(replica: Replica, disk: str, file: File) -> bool:
    return os.path.exists(replica.path(disk, file.name)) and (
        file.kind != DISK or os.path.exists(former_of(file)[0]))


def _incoming(replica: Replica) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for disk in disks_in(replica.root):
        folder = replica.disk_dir(disk)
        if os.path.exists(incoming.path_of(folder, "json")):
            plan, note = incoming.read_plan(folder)[:2]
            part = incoming.path_of(folder, "part")
            found[disk] = {**plan._asdict(), "note": note, "ends": incoming.ends(folder),
                           "stored_bytes": os.stat(part).st_blocks * 512
                           if os.path.exists(part) else 0}
    return found


def _sent(replica: Replica) -> Dict[str, Optional[str]]:
    """
    Return by disk the clusters sent since the newest point's checkpoint was made.

    Those of the repair set are left out: they are sent again, changed or not.
    """
    repair = repair_set(replica)
    newest, noted = last(replica.state), replica.state.facts.get("sent", {})
    found: Dict[str, Optional[str]] = {}
    if newest is None or not newest.checkpoint:
        return found
    if noted.get("checkpoint") == newest.checkpoint:
        found.update(noted["disks"])
    for disk in newest.files:
        folder = replica.disk_dir(disk)
        if found.setdefault(disk, "") is not None:
            with contextlib.suppress(Refused, Damaged, FileNotFoundError), contextlib.closing(
                    incoming.load(folder)) as into:     # one that is not whole is not continued
                found[disk] = with_runs(found[disk], into.index.mapped())
    return {disk: without(sent, repair.get(disk, ())) for disk, sent in found.items()}



def open_incoming(words: List[str]) -> Dict[str, Any]:
    """
    Open {"replica", "attempt", "epoch", "disks": {name: {"kind", "size_bytes", "note"}}}.

    The epoch is that of the VM that is copied. A higher one is written down first: from then on
    nothing that an older copy of the VM has opened can be received or published.
    """
    request = Requests().request
    epoch = int(request.get("epoch", 0))
    with locked(str(request["replica"]), patience_s=10) as replica:
        require_receiving(replica.state, epoch)
        if epoch > epoch_of(replica.state):
            replica.commit(replica.state._replace(facts={**replica.state.facts, "epoch": epoch}))
        return {"disks": {disk: incoming.prepare(
            replica, disk, str(entry["kind"]), int(entry["size_bytes"]), entry.get("note"),
            str(request["attempt"]), epoch)
            for disk, entry in sorted(request["disks"].items())}, "repair": report(replica)}


def drop_incoming(words: List[str]) -> Dict[str, Any]:
    """Drop the incomings of {"replica", "attempt", "disks": […]}."""
    request = Requests().request
    with locked(str(request["replica"]), patience_s=10) as replica:
        for disk in request["disks"]:
            folder = replica.disk_dir(disk)
            with incoming.hold(folder, shared=False):
                incoming.require_opened(folder, str(request["attempt"]))
                incoming.drop(folder)
    return {"dropped": sorted(request["disks"])}


def manifest_out(words: List[str]) -> None:
    """Write the manifest of {"replica", "disk", "point" or "incoming": true} to stdout."""
    request = Requests().request
    replica = Replica(str(request["replica"]))
    disk = str(request["disk"])
    path = os.path.join(replica.disk_dir(disk), ".manifest-%d" % os.getpid())
    try:
        manifest = known(replica, disk, path, request)
        os.unlink(path)
    finally:
        if os.path.exists(path):
            os.unlink(path)
    compressor = zlib.compressobj(1)
    out = sys.stdout.buffer
    at, end = 0, os.fstat(manifest.fd).st_size
    while at < end:
        piece = os.pread(manifest.fd, PIECE_BYTES, at)
        at += len(piece)
        out.write(compressor.compress(piece))
    out.write(compressor.flush())
    out.flush()


def known(replica: Replica, disk: str, into: str, request: Dict[str, Any]) -> Manifest:
    """Write the manifest of what the target has; a damaged cluster's hash matches nothing."""
    newest = last(replica.state)
    sequence = request.get("point") or (newest.sequence if newest else None)
    if request.get("incoming"):
        below = readable(replica, disk, newest.sequence) if newest else []
        manifest = incoming.compose_known(replica, disk, into, below)
    elif sequence is None:
        raise Refused("%s has no restore point yet" % replica.root)
    else:
        manifest = compose(readable(replica, disk, int(sequence)), into, int(sequence))
    if newest is not None:
        for one in replica.state.damage:
            for first, count in exposed(replica, replica.state, one, newest):
                inside = max(0, min(count, manifest.clusters - first))
                if one.disk == disk and not one.lost:
                    manifest.put(first, UNKNOWN_HASH * inside)
    return manifest


def manifest_in(words: List[str]) -> Dict[str, Any]:
    """
    Read a whole manifest, as `manifest-out` wrote it, from stdin into a file.

    `words`: its path and its greatest size in bytes. A larger one leaves no file.
    """
    if len(words) != 2 or not words[1].isdigit():
        raise Refused("manifest-in wants two words: the path to write, and its most bytes")
    os.makedirs(os.path.dirname(words[0]), mode=0o700, exist_ok=True)
    fd = os.open(words[0], os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, _expand_stdin(fd, int(words[1])))
    except (zlib.error, Refused) as error:
        os.unlink(words[0])
        raise Refused("the target sent no manifest: %s" % error) from None
    finally:
        os.close(fd)
    with Manifest.open(words[0]) as manifest:
        return {"root": manifest.root(), "size_bytes": manifest.header.size_bytes,
                "hash_bytes": manifest.clusters * HASH_BYTES}


def _expand_stdin(fd: int, most_bytes: int) -> int:
    """Decompress stdin into a file, piece by piece, and return its size."""
    expand, size = zlib.decompressobj(), 0
    for got in iter(lambda: os.read(0, PIECE_BYTES), b""):
        left = got
        while left and not expand.eof:
            data = expand.decompress(left, PIECE_BYTES)
            for start in range(0, len(data), 4096):     # zeros are left out
                if any(data[start:start + 4096]):
                    os.pwrite(fd, data[start:start + 4096], size + start)
            size += len(data)
            if size > most_bytes:
                raise Refused("it has more than the %d bytes of this disk's manifest" % most_bytes)
            left = expand.unconsumed_tail
    return size
