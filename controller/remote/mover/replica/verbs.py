"""
The small verbs on a replica: make it, show it, open what is on its way, pin, hand out manifests.

Each takes one request line of JSON on stdin. `manifest-out` answers with bytes on stdout, squeezed
by zlib, and `manifest-in` reads such bytes; so the source learns what the target has.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from typing import Any, Dict, Iterator, List, Optional

from mover.errors import Damaged, Refused
from mover.image.chain import compose
from mover.image.hashing import HASH_BYTES
from mover.image.manifest import GROUP, UNKNOWN_HASH, Manifest
from mover.image.sent_since import with_runs, without
from mover.replica import generations, incoming
from mover.replica.damage import exposed, readable, repair_set, report
from mover.replica.replica import Replica, create, disks_in, fresh_secret, locked, read_secret
from mover.replica.scrub import notice
from mover.replica.state import files, last, point_of
from mover.requests import Orders

PIECE_BYTES = 1 << 20


def make(words: List[str]) -> Dict[str, Any]:
    """Make an empty replica {"replica", "vm", "algorithm", "secret"} or find the one there is."""
    request = Orders().request
    secret = bytes.fromhex(request["secret"]) if request.get("secret") else fresh_secret()
    state = create(os.path.abspath(str(request["replica"])), str(request["vm"]),
                   str(request.get("algorithm", "xxh3-128")), secret, request.get("facts"))
    root = os.path.abspath(str(request["replica"]))
    notice(root)
    return {"vm": state.vm, "algorithm": state.algorithm, "secret_id": state.secret_id,
            "newest": state.points[-1].sequence if state.points else None,
            "secret": read_secret(root).hex(), "picture": picture(root)}


def show(words: List[str]) -> Dict[str, Any]:
    """Tell all that is known of the replicas {"replicas": […]}, or those below {"below"}."""
    request = Orders().request
    roots = [str(root) for root in request.get("replicas", ())]
    below = request.get("below")
    if below and os.path.isdir(str(below)):
        roots += [os.path.join(str(below), name) for name in sorted(os.listdir(str(below)))
                  if generations.is_there(os.path.join(str(below), name))]
    return {"replicas": {root: picture(root) for root in roots}}


def picture(root: str) -> Dict[str, Any]:
    """Return one replica as plain values: points, files with their presence, what is incoming."""
    replica = Replica(root)
    state = replica.state
    present = {disk: [{**file._asdict(), "present": os.path.exists(replica.path(disk, file.name))}
                      for file in of] for disk, of in sorted(files(state).items())}
    return {"vm": state.vm, "algorithm": state.algorithm, "secret_id": state.secret_id,
            "generation": state.generation, "facts": state.facts, "pins": state.pins,
            "files": present, "incoming": _incoming(replica), "merging": sorted(state.floor),
            "sent": _sent(replica), "recovered": replica.recovered,
            "points": [{**point._asdict(), "files": {
                disk: file.name if file else None for disk, file in sorted(point.files.items())}}
                for point in state.points],
            **{name: part for name, part in report(replica).items() if name != "points"}}


def _incoming(replica: Replica) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for disk in disks_in(replica.root):
        folder = replica.disk_dir(disk)
        if os.path.exists(incoming.path_of(folder, "json")):
            plan, note, _attempt = incoming.read_plan(folder)
            found[disk] = {**plan._asdict(), "note": note, "ends": incoming.ends(folder),
                           "stored_bytes": _stored(incoming.path_of(folder, "part"))}
    return found


def _sent(replica: Replica) -> Dict[str, Optional[str]]:
    """
    Return by disk what has been sent since the newest point's checkpoint was made.

    What is to be mended is sent again in any case, be it changed or not.
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
            found[disk] = _with_arrived(folder, found[disk])
    return {disk: without(told, repair.get(disk, ())) for disk, told in found.items()}


def _with_arrived(folder: str, told: Optional[str]) -> Optional[str]:
    try:
        with contextlib.closing(incoming.load(folder)) as into:
            return with_runs(told, into.places.mapped())
    except (Refused, Damaged, FileNotFoundError):
        return told             # what is not whole is not gone on with


def _stored(path: str) -> int:
    return os.stat(path).st_blocks * 512 if os.path.exists(path) else 0


def open_incoming(words: List[str]) -> Dict[str, Any]:
    """Open {"replica", "attempt", "disks": {name: {"kind", "size_bytes", "note"}}} to it."""
    request = Orders().request
    with locked(str(request["replica"]), patience_s=10) as replica:
        return {"disks": {disk: incoming.prepare(
            replica, disk, str(told["kind"]), int(told["size_bytes"]), told.get("note"),
            str(request["attempt"]))
            for disk, told in sorted(request["disks"].items())}, "repair": report(replica)}


def drop_incoming(words: List[str]) -> Dict[str, Any]:
    """Forget what has come so far for {"replica", "attempt", "disks": […]}."""
    request = Orders().request
    with locked(str(request["replica"]), patience_s=10) as replica:
        for disk in request["disks"]:
            folder = replica.disk_dir(disk)
            with incoming.hold(folder, shared=False):
                incoming.require_opened(folder, str(request["attempt"]))
                incoming.drop(folder)
    return {"dropped": sorted(request["disks"])}


def pin(words: List[str]) -> Dict[str, Any]:
    """Hold a point {"replica", "holder", "sequence"}, or let go of it: sequence null."""
    request = Orders().request
    with locked(str(request["replica"]), patience_s=10) as replica:
        pins = {who: at for who, at in replica.state.pins.items() if who != request["holder"]}
        if request.get("sequence") is not None:
            point = point_of(replica.state, int(request["sequence"]))
            pins[str(request["holder"])] = point.sequence
        replica.commit(replica.state._replace(pins=pins))
        return {"pins": pins}


def manifest_out(words: List[str]) -> None:
    """
    Write the manifest of {"replica", "disk", "point" or "incoming": true} to stdout.

    Shapes: all of it, or {"what": "supers"}, or {"what": "groups", "groups": […]}.
    """
    request = Orders().request
    replica = Replica(str(request["replica"]))
    disk = str(request["disk"])
    path = os.path.join(replica.disk_dir(disk), ".manifest-%d" % os.getpid())
    try:
        manifest = known(replica, disk, path, request)
        os.unlink(path)
    finally:
        if os.path.exists(path):
            os.unlink(path)
    squeeze = zlib.compressobj(1)
    out = sys.stdout.buffer
    for piece in _pieces(manifest, request):
        out.write(squeeze.compress(piece))
    out.write(squeeze.flush())
    out.flush()


def known(replica: Replica, disk: str, into: str, request: Dict[str, Any]) -> Manifest:
    """Write the manifest of what the target has; damaged clusters have a hash nothing has."""
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


def _pieces(manifest: Manifest, request: Dict[str, Any]) -> Iterator[bytes]:
    what = request.get("what", "all")
    if what == "supers":
        yield manifest.supers()
    elif what == "groups":
        for group in request["groups"]:
            yield manifest.hashes(int(group) * GROUP, GROUP)
    else:
        at, end = 0, os.fstat(manifest.fd).st_size
        while at < end:
            piece = os.pread(manifest.fd, PIECE_BYTES, at)
            at += len(piece)
            yield piece


def manifest_in(words: List[str]) -> Dict[str, Any]:
    """
    Read a whole manifest, as `manifest-out` wrote it, from stdin into a file.

    `words`: its path, and how many bytes it may have at the most. What is more leaves no file.
    """
    if len(words) != 2 or not words[1].isdigit():
        raise Refused("manifest-in wants two words: the path to write, and how much it may be")
    os.makedirs(os.path.dirname(words[0]), mode=0o700, exist_ok=True)
    fd = os.open(words[0], os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, _take(fd, int(words[1])))
    except (zlib.error, Refused) as error:
        os.unlink(words[0])
        raise Refused("what came is no manifest: %s" % error) from None
    finally:
        os.close(fd)
    with Manifest.open(words[0]) as manifest:
        return {"root": manifest.root(), "size_bytes": manifest.header.size_bytes,
                "hash_bytes": manifest.clusters * HASH_BYTES}


def _take(fd: int, most_bytes: int) -> int:
    """Write what is squeezed on stdin, piece by piece, and return how much that is."""
    expand, size = zlib.decompressobj(), 0
    for got in _raws():
        left = got
        while left and not expand.eof:
            size += _write_sparse(fd, expand.decompress(left, PIECE_BYTES), size)
            if size > most_bytes:
                raise Refused("it has more than the %d bytes that this disk's has" % most_bytes)
            left = expand.unconsumed_tail
    return size


def _raws() -> Iterator[bytes]:
    while True:
        got = os.read(0, PIECE_BYTES)
        if not got:
            return
        yield got


def _write_sparse(fd: int, data: bytes, at: int) -> int:
    for start in range(0, len(data), 4096):
        if any(data[start:start + 4096]):
            os.pwrite(fd, data[start:start + 4096], at + start)
    return len(data)
