"""
Make what arrived a restore point: one rename for all disks, once every cluster was looked at again.

Until state.json is renamed, nothing that was there before has changed and what arrived can be
gone on with: the final names are second links to the `.part` files. After it, the new point is
whole. Whatever a crash leaves on either side is cleared by the next who takes the lock.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from mover.errors import Refused, TryAgain
from mover.image.chain import manifest_path
from mover.image.hashing import Hasher
from mover.image.packed_file import unsqueezed
from mover.image.qcow2_writer import Backing, finish_overlay
from mover.replica import incoming
from mover.replica.damage import bypass, recount
from mover.replica.incoming import Incoming
from mover.replica.replica import Replica, disks_in, locked, sync_dir, write_whole
from mover.replica.state import BASE, File, Point, State, chain, last, lost
from mover.replica.tables import digest_of
from mover.requests import Orders


class Request(NamedTuple):
    """What to publish; `disks` has for each disk the transfers that must have come whole."""

    replica: str
    sequence: int
    disks: Dict[str, Dict[str, Any]]    # {"transfers": […]} or {"unchanged": true}; "compared":
                                        # all of it was; "whole": it needs no lost file any more
    checkpoint: str = ""
    started_at: Any = None
    committed_at: Any = None
    quiesced: bool = False
    meta: Dict[str, Dict[str, str]] = {}    # noqa: RUF012 (name: {"text": …} or {"zlib": …})
    facts: Dict[str, Any] = {}  # noqa: RUF012
    reread: str = "disk"                # before it is believed; "no": it has been settled
    attempt: str = ""                   # under which all of it has come
    changed: Dict[str, Optional[str]] = {}  # noqa: RUF012  (see gone_over: since the checkpoint)


def run(words: List[str]) -> Dict[str, Any]:
    """Publish what the request on stdin names."""
    return publish(parse_request(Orders().request))


def parse_request(told: Dict[str, Any]) -> Request:
    """Return a request from JSON."""
    try:
        request = Request(**told)
    except TypeError as error:
        raise Refused("the request cannot be read: %s" % error) from None
    if request.reread not in REREAD or not request.disks or request.sequence < 1:
        raise Refused("a request names disks, a sequence and reread as one of %s"
                      % ", ".join(REREAD))
    return request


def publish(request: Request) -> Dict[str, Any]:
    """Publish, and return the point's files; TryAgain names what must be sent again."""
    with locked(request.replica) as replica, contextlib.ExitStack() as stack:
        newest = last(replica.state)
        if newest is not None and request.sequence <= newest.sequence:
            raise Refused("restore point %d is there already, the newest is %d"
                          % (request.sequence, newest.sequence))
        changed = sorted(disk for disk, told in request.disks.items()
                         if not told.get("unchanged"))
        for disk in changed:
            folder = replica.disk_dir(disk)
            stack.enter_context(incoming.hold(folder, shared=False))
            incoming.require_ends(folder, request.disks[disk].get("transfers", ()))
            if request.reread == "no":
                incoming.require_settled(folder, request.attempt)
        done = {disk: _finish(replica, disk, request) for disk in changed}
        point = _point(replica, request, done)
        _write_meta(replica, request)
        for disk in changed:
            _link(replica, disk, done[disk])
        replica.commit(_with(replica, request, point))
        _drop_all(replica, changed)
        return {"sequence": point.sequence, "generation": replica.state.generation,
                "files": {disk: file._asdict() for disk, file in sorted(done.items())}}


def _drop_all(replica: Replica, held: Sequence[str]) -> None:
    """
    Forget what has come, also of disks of which nothing was published: it can never be used.

    What comes builds on the newest point, which is another one now.
    """
    for disk in held:
        incoming.drop(replica.disk_dir(disk))
    for disk in disks_in(replica.root):
        folder = replica.disk_dir(disk)
        if disk not in held and os.path.exists(incoming.path_of(folder, "json")):
            with contextlib.suppress(TryAgain), incoming.hold(folder, shared=False):
                incoming.drop(folder)       # a receiver that is still there finds it gone itself


def _finish(replica: Replica, disk: str, request: Request) -> File:
    into = incoming.load(replica.disk_dir(disk)).require(request.attempt)
    try:
        newest = last(replica.state)
        if into.plan.parent != (newest.sequence if newest else None):
            raise TryAgain("what came for disk %s builds on point %s, which is not the newest"
                           % (disk, into.plan.parent))
        look_again(into, disk, replica.hasher(), request.reread)
        _require_whole(into, disk)
        if into.plan.kind == BASE:
            return _finish_base(into, disk, request.sequence)
        return _finish_overlay(replica, into, disk, request.sequence)
    finally:
        into.close()


def _require_whole(into: Incoming, disk: str) -> None:
    if into.plan.kind == BASE:
        missing = next(into.places.missing(), None)
        if missing is not None:
            raise TryAgain("disk %s is not whole: %d clusters from %d on have not come yet"
                           % (disk, missing[1], missing[0]))


def _finish_base(into: Incoming, disk: str, sequence: int) -> File:
    os.ftruncate(into.part, into.plan.size_bytes)
    os.fsync(into.part)
    into.manifest.sync()
    return File("base-%06d.raw" % sequence, BASE, into.plan.size_bytes,
                os.fstat(into.part).st_blocks * 512)


def _finish_overlay(replica: Replica, into: Incoming, disk: str, sequence: int) -> File:
    newest = last(replica.state)
    assert newest is not None, "an overlay has a parent"
    gone = lost(replica.state, disk)
    below = [file for file in chain(replica.state, disk, newest.sequence)
             if file.name not in gone][-1:]
    if not below or chain(replica.state, disk, newest.sequence)[0].name in gone:
        raise Refused("nothing of disk %s can be read any more: seed it" % disk)
    backing = Backing(below[0].name, "raw" if below[0].kind == BASE else "qcow2")
    finished = finish_overlay(into.part, into.places, into.manifest, backing)
    return File("rp-%06d.qcow2" % sequence, "overlay", into.plan.size_bytes, finished.file_bytes,
                digest_of(incoming.path_of(into.folder, "part")))


def _point(replica: Replica, request: Request, done: Dict[str, File]) -> Point:
    newest = last(replica.state)
    files: Dict[str, Optional[File]] = {}
    for disk in sorted(request.disks):
        if disk not in done and (newest is None or disk not in newest.files):
            raise Refused("disk %s cannot be unchanged: no restore point has it" % disk)
        files[disk] = done.get(disk)
    return Point(request.sequence, request.checkpoint, request.started_at, request.committed_at,
                 request.quiesced, files, tuple(sorted(request.meta)), facts=request.facts)


def _with(replica: Replica, request: Request, point: Point) -> State:
    """Return the state with the new point; a disk compared as a whole needs no lost file."""
    state = replica.state
    for disk, told in sorted(request.disks.items()):
        if told.get("whole") and lost(state, disk):
            state = bypass(replica, state, disk, point.sequence)
    if all(told.get("compared") for told in request.disks.values()):
        state = state._replace(facts={**state.facts, "compared_at": point.started_at})
    if not state.points:
        state = state._replace(facts={**state.facts, "seeded_at": request.committed_at})
    state = state._replace(facts=_gone_over(state, request))
    return recount(replica, state._replace(points=(*state.points, point)))


def _gone_over(state: State, request: Request) -> Dict[str, Any]:
    """Return the facts with what had changed since the checkpoint, where more is yet to change."""
    facts = {name: fact for name, fact in state.facts.items() if name != "sent"}
    if request.checkpoint and request.changed:
        facts["sent"] = {"checkpoint": request.checkpoint, "disks": request.changed}
    return facts


def _write_meta(replica: Replica, request: Request) -> None:
    folder = os.path.join(replica.root, "meta", "%06d" % request.sequence)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name, told in sorted(request.meta.items()):
        if os.path.basename(name) != name or name.startswith("."):
            raise Refused("%r is not a plain file name" % name)
        write_whole(os.path.join(folder, name), _bytes(name, told))
    for path in (folder, os.path.dirname(folder), replica.root):
        sync_dir(path)


def _bytes(name: str, told: Dict[str, str]) -> bytes:
    try:
        return told["text"].encode() if "text" in told else unsqueezed(told["zlib"])
    except KeyError:
        raise Refused("%s has neither text nor zlib" % name) from None


def _link(replica: Replica, disk: str, file: File) -> None:
    folder = replica.disk_dir(disk)
    for part, name in _links(file):
        os.link(incoming.path_of(folder, part), os.path.join(folder, name))
    sync_dir(folder)


def _links(file: File) -> Sequence[Tuple[str, str]]:
    if file.kind == BASE:
        return ("man", manifest_path(file.name)), ("part", file.name)
    return (("part", file.name),)


REREAD = ("disk", "memory", "no")


def run_settle(words: List[str]) -> Dict[str, Any]:
    """
    Look at all that came for {"replica", "disks": […], "attempt", "reread"}.

    Errors: TryAgain when some of it is lost, or another attempt has it open by now.
    """
    request = Orders().request
    replica, reread = Replica(str(request["replica"])), str(request.get("reread", "disk"))
    attempt = str(request["attempt"])
    if reread not in REREAD:
        raise Refused("reread is one of %s" % ", ".join(REREAD))
    for disk in sorted(request["disks"]):
        folder = replica.disk_dir(disk)
        with incoming.hold(folder, shared=False):
            into = incoming.load(folder).require(attempt)
            try:
                look_again(into, disk, replica.hasher(), reread)
            finally:
                into.close()
            incoming.note_settled(folder, attempt)
    return {"settled": sorted(request["disks"])}


def look_again(into: Incoming, disk: str, hasher: Hasher, reread: str) -> None:
    """Compare every cluster with its hash; what does not fit is forgotten and TryAgain raised."""
    forgotten = incoming.recheck(into, hasher, cold=reread == "disk") if reread != "no" else 0
    if forgotten:
        incoming.unend(into.folder)
        raise TryAgain("%d clusters of disk %s are not what was received: send them again"
                       % (forgotten, disk))
