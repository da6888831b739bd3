"""
Make a restore point of what was received: for all disks of the VM at once, by one rename.

A point is valid from the instant at which state.json is replaced, and not before:

    hold the lock of the replica and of each incoming; every stream must have reached its END
    re-read what was received                               clusters are lost: TryAgain
    finish each file: tables, then its header; sync
    meta/SEQUENCE; a second name for each file, `rp-N.qcow2`; sync the folders
    ══ state.json replaced ══                               the point is valid
    remove the incoming names

Why there. The disks of a VM belong to one instant, so they must become valid together, and a rename
is the only step that is whole or did not happen. All that the new state.json names is on the disk
before it. What it replaces stays as it was, so that the last good point cannot be harmed by a copy
that fails. The caller removes the checkpoint of the point before only after the answer.

What a crash leaves. Before the rename: files that state.json does not name, under second names of
the `.part` files. `locked` removes these names, and the incoming can be continued. After it:
`.part` files with two names, which `load` refuses and `prepare` drops. There is nothing in between.

One thing does change earlier: when a point no longer needs a lost overlay (`bypass`), the overlay
above it gets another backing file before the commit. That changes no point that could be read.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from mover.errors import Refused, TryAgain
from mover.image.chain import manifest_path
from mover.image.packed_file import unpack_line
from mover.image.qcow2_writer import Backing, finish_overlay
from mover.replica import incoming
from mover.replica.damage import bypass, recount
from mover.replica.incoming import Incoming
from mover.replica.replica import Replica, disks_in, locked, sync_dir, write_whole
from mover.replica.settle import REREAD, require_intact
from mover.replica.state import (
    BASE,
    File,
    Point,
    State,
    backing_of,
    chain,
    holder_of,
    last,
    lost,
    point_of,
    require_receiving,
    sequence_of,
)
from mover.replica.tables import digest_of
from mover.requests import Requests


class Request(NamedTuple):
    """What to publish; `disks` names for each disk the transfers that must be complete."""

    replica: str
    sequence: int
    disks: Dict[str, Dict[str, Any]]    # {"transfers": […]} or {"unchanged": true}; "compared":
                                        # as a whole; "whole": and so needs no lost file any more
    checkpoint: str = ""
    started_at: Any = None
    committed_at: Any = None
    quiesced: bool = False
    meta: Dict[str, Dict[str, str]] = {}    # noqa: RUF012 (name: {"text": …} or {"zlib": …})
    facts: Dict[str, Any] = {}  # noqa: RUF012
    reread: str = "disk"                # where from; "no": it has been settled
    attempt: str = ""                   # that has the incomings open
    changed: Dict[str, Optional[str]] = {}  # noqa: RUF012  (clusters sent after the checkpoint)
    epoch: int = 0                      # of the VM that was copied


def run(words: List[str]) -> Dict[str, Any]:
    """Publish what the request on stdin names."""
    return publish(parse_request(Requests().request))


def parse_request(fields: Dict[str, Any]) -> Request:
    """Return a request from JSON."""
    try:
        request = Request(**fields)
    except TypeError as error:
        raise Refused("the request cannot be read: %s" % error) from None
    if request.reread not in REREAD or not request.disks or request.sequence < 1:
        raise Refused("a request names disks, a sequence and reread as one of %s"
                      % ", ".join(REREAD))
    return request


def publish(request: Request) -> Dict[str, Any]:
    """Publish, and return the point's files; TryAgain names what must be sent again."""
    with locked(request.replica) as replica, contextlib.ExitStack() as stack:
        require_receiving(replica.state, request.epoch)
        newest = last(replica.state)
        if newest is not None and request.sequence <= newest.sequence:
            raise Refused("restore point %d is there already, the newest is %d"
                          % (request.sequence, newest.sequence))
        _require_unpinned(replica.state, request)
        changed = sorted(disk for disk, entry in request.disks.items()
                         if not entry.get("unchanged"))
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


def _require_unpinned(state: State, request: Request) -> None:
    """Raise TryAgain where the new point would take a file away that a pinned point reads."""
    for disk, entry in sorted(request.disks.items()):
        for name in lost(state, disk) if entry.get("whole") else ():
            held = holder_of(state, sequence_of(state, disk, name))
            if held is not None and disk in point_of(state, held[1]).files:
                raise TryAgain("%s of disk %s is damaged and would be left out from now on, but %s"
                               " has pinned restore point %d, which reads it: unpin it first"
                               % (name, disk, *held))


def _drop_all(replica: Replica, held: Sequence[str]) -> None:
    """
    Remove every incoming, also those of disks that the point does not have.

    They built on the newest point, which is now another one.
    """
    for disk in held:
        incoming.drop(replica.disk_dir(disk))
    for disk in disks_in(replica.root):
        folder = replica.disk_dir(disk)
        if disk not in held and os.path.exists(incoming.path_of(folder, "json")):
            with contextlib.suppress(TryAgain), incoming.hold(folder, shared=False):
                incoming.drop(folder)       # TryAgain: its receiver finds that out by itself


def _finish(replica: Replica, disk: str, request: Request) -> File:
    into = incoming.load(replica.disk_dir(disk)).require(request.attempt)
    try:
        newest = last(replica.state)
        if into.plan.parent != (newest.sequence if newest else None):
            raise TryAgain("the incoming of disk %s builds on point %s, which is not the newest"
                           % (disk, into.plan.parent))
        require_intact(into, disk, replica.hasher(), request.reread)
        if into.plan.kind == BASE:
            return _finish_base(into, disk, request.sequence)
        return _finish_overlay(replica, into, disk, request.sequence)
    finally:
        into.close()


def _finish_base(into: Incoming, disk: str, sequence: int) -> File:
    missing = next(into.index.missing(), None)
    if missing is not None:
        raise TryAgain("disk %s is not whole: %d clusters from %d on were not received yet"
                       % (disk, missing[1], missing[0]))
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
        raise Refused("the base of disk %s is lost: seed it" % disk)
    backing = Backing(*backing_of(below[0]))
    finished = finish_overlay(into.part, into.index, into.manifest, backing)
    return File("rp-%06d.qcow2" % sequence, "overlay", into.plan.size_bytes, finished.file_bytes,
                digest_of(incoming.path_of(into.folder, "part")))


def _point(replica: Replica, request: Request, done: Dict[str, File]) -> Point:
    newest = last(replica.state)
    files: Dict[str, Optional[File]] = {}
    for disk in sorted(request.disks):
        if disk not in done and (newest is None or disk not in newest.files):
            raise Refused("disk %s cannot be unchanged: the newest restore point does not have it"
                          % disk)
        files[disk] = done.get(disk)
    facts = {**request.facts, **({"epoch": request.epoch} if request.epoch else {})}
    return Point(request.sequence, request.checkpoint, request.started_at, request.committed_at,
                 request.quiesced, files, tuple(sorted(request.meta)), facts=facts)


def _with(replica: Replica, request: Request, point: Point) -> State:
    """Return the state with the new point; a disk compared as a whole needs no lost file."""
    state = replica.state
    for disk, entry in sorted(request.disks.items()):
        if entry.get("whole") and lost(state, disk):
            state = bypass(replica, state, disk, point.sequence)
    if all(entry.get("compared") for entry in request.disks.values()):
        state = state._replace(facts={**state.facts, "compared_at": point.started_at})
    if not state.points:
        state = state._replace(facts={**state.facts, "seeded_at": request.committed_at})
    facts = {name: fact for name, fact in state.facts.items() if name != "sent"}
    if request.epoch:
        facts["epoch"] = request.epoch
    if request.checkpoint and request.changed:      # the next copy builds on that checkpoint, too
        facts["sent"] = {"checkpoint": request.checkpoint, "disks": request.changed}
    return recount(replica, state._replace(points=(*state.points, point), facts=facts))


def _write_meta(replica: Replica, request: Request) -> None:
    folder = os.path.join(replica.root, "meta", "%06d" % request.sequence)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name, content in sorted(request.meta.items()):
        if os.path.basename(name) != name or name.startswith("."):
            raise Refused("%r is not a plain file name" % name)
        if not content.keys() & {"text", "zlib"}:
            raise Refused("%s has neither text nor zlib" % name)
        write_whole(os.path.join(folder, name), content["text"].encode() if "text" in content
                    else unpack_line(content["zlib"]))
    for path in (folder, os.path.dirname(folder), replica.root):
        sync_dir(path)


def _link(replica: Replica, disk: str, file: File) -> None:
    folder = replica.disk_dir(disk)
    names = {"part": file.name}
    if file.kind == BASE:       # the manifest first: a base without one is no base
        names = {"man": manifest_path(file.name), **names}
    for part, name in names.items():
        os.link(incoming.path_of(folder, part), os.path.join(folder, name))
    sync_dir(folder)
