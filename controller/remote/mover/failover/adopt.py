"""
The disks that a VM had on this host, before it failed over, become the base of a replica here.

Nothing is copied and the disks are only read: each is hashed once, and its manifest is all that
the replica's folder gets of it. What they hold is kept as a restore point of its own, the *tail*:
it has what the guest wrote here after the point that was promoted elsewhere.

    POOL/…/sql.qcow2                the former disk, wherever it lies on this host
    ROOT/DISK/disk-N.man            its hashes; state.json says what they are of
    point N                         all disks as they were found: marked as diverged, pinned by
                                    `tail-N` until a person releases it

The next copy of the VM, from where it runs now, is compared with these hashes. So what is sent is
what differs: the clusters that changed there since, and those that diverged here. The overlay of
its point lies over the former disk.

Where the bitmap of the promoted point's checkpoint is whole, on the very file that it was begun on,
only its clusters are read: the rest is what the manifest of that point says, which the caller has
brought here.

Afterwards the former disk must not be written to. Whoever does, by starting the older copy of the
VM, is noticed by the file's time before the next copy or promotion: then all of it is read again,
and what differs is damage of the base, which the next copy mends; see scrub.note_missing_files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.backup import offline
from mover.backup.conductor import lock
from mover.backup.definition import epoch_of as epoch_of_mark
from mover.backup.definition import read_definition
from mover.backup.origins import is_same_origin, origin_of
from mover.backup.virsh import OFF, Disk, Domain, DomainStatus, VirshError, inspect
from mover.errors import Damaged, Refused, TryAgain
from mover.failover.overlay import DISK_NAME
from mover.image.former import FormerDisk, hash_disk, stamp_of
from mover.image.hashing import CLUSTER_BYTES
from mover.image.manifest import Header, Manifest
from mover.image.packed_file import unpack_line
from mover.replica.generations import NAME
from mover.replica.remove import process_using
from mover.replica.replica import (
    Replica,
    create,
    fresh_secret,
    locked,
    make_folder,
    sync_dir,
    write_whole,
)
from mover.replica.state import DISK, File, Point, State, epoch_of, last
from mover.requests import Requests
from mover.transfer.extents import dirty
from mover.transfer.nbd import Nbd, bitmap_context

NO_TRACE = "%s is a block device, to which anybody may write without a trace"


class Known(NamedTuple):
    """What is known of a disk without reading it: `manifest` is that of the promoted point."""

    manifest: str
    checkpoint: str
    origin: Any


class Request(NamedTuple):
    """What is taken back; `epoch`: of the VM that runs elsewhere; `by`: who wants the tail kept."""

    replica: str
    vm: str
    epoch: int
    by: str
    at: float
    until: Optional[float]
    facts: Dict[str, Any] = {}              # noqa: RUF012  (the VM's name, the estate's)
    algorithm: str = "xxh3-128"
    secret: str = ""
    known: Dict[str, Any] = {}              # noqa: RUF012  (by disk, see Known)


class Taken(NamedTuple):
    """One disk that was hashed."""

    file: File
    stamp: List[int]
    read_bytes: int
    by: str         # "bitmap" or "hashes"


def run(words: List[str]) -> Dict[str, Any]:
    """Take back the disks of the VM that the request on stdin names."""
    fields = Requests().request
    try:
        return adopt(Request(**fields))
    except TypeError as error:
        raise Refused("the request cannot be read: %s" % error) from None
    finally:
        for known in fields.get("known", {}).values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(str(known["manifest"]))


def adopt(request: Request) -> Dict[str, Any]:
    """Make a restore point of the VM's former disks; one that is there already is returned."""
    status = _domain_at_rest(request.vm)
    root = os.path.abspath(request.replica)
    if os.path.exists(os.path.join(root, NAME)):    # it may be done already
        held = _tail(Replica(root).state, request.epoch)
        if held is not None:
            return _answer(held, {}, {})
    if epoch_of_mark(status.definition) >= request.epoch:
        raise Refused("%s is of epoch %d here: it is no older copy of the VM than epoch %d" % (
            status.domain.name, epoch_of_mark(status.definition), request.epoch))
    disks = _disks_of(status.domain)
    create(root, request.vm, request.algorithm,
           bytes.fromhex(request.secret) if request.secret else fresh_secret(), request.facts)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lock(request.vm))      # no copy of the older VM meanwhile
        replica = stack.enter_context(locked(root, patience_s=10))
        _require_newer(replica.state, request)
        newest = last(replica.state)
        sequence = newest.sequence + 1 if newest else 1
        taken, left_out = _take_all(replica, request, disks, sequence)
        left_out.update((target, NO_TRACE % disk.source)
                        for target, disk in status.domain.disks.items() if disk.kind == "block")
        if not taken:       # they are seeded, into a replica that follows this epoch
            replica.commit(_following(replica.state, request.epoch))
            return _answer(None, {}, left_out)
        _require_at_rest(request.vm, disks, taken)
        point = _point(replica, request, status, sequence, taken)
        replica.commit(_with(replica.state, request, point, taken))
        return _answer(point, taken, left_out)


def _answer(point: Optional[Point], taken: Dict[str, Taken], left_out: Dict[str, str]
            ) -> Dict[str, Any]:
    return {"sequence": point.sequence if point else None,
            "disks": sorted(point.files) if point else [], "left_out": left_out,
            "read_bytes": sum(one.read_bytes for one in taken.values()),
            "by": {target: one.by for target, one in sorted(taken.items())}}


def _domain_at_rest(uuid: str) -> DomainStatus:
    """Return the VM's domain here; Refused unless it is off."""
    try:
        status = inspect(uuid)
    except VirshError as error:
        raise TryAgain("libvirt does not say what became of the VM here: %s" % error) from None
    if status.state not in OFF or status.domain.id:
        raise Refused("%s is %s here: its disks are taken back when it is off"
                      % (status.domain.name, status.state))
    return status


def _disks_of(domain: Domain) -> Dict[str, Disk]:
    """Return the disks that can be the base of a replica: files, which show that they changed."""
    found = {target: disk for target, disk in domain.disks.items()
             if not disk.why_not and disk.kind == "file" and DISK_NAME.match(target)}
    for disk in found.values():
        user = next(process_using(os.path.realpath(disk.source)), None)
        if user is not None:
            raise Refused("%s is in use by %s: end that first" % (disk.source, user))
    return found


def _tail(state: State, epoch: int) -> Optional[Point]:
    """Return the tail that was kept when the VM became this epoch elsewhere, if there is one."""
    return next((point for point in state.points
                 if point.facts.get("diverged", {}).get("epoch") == epoch), None)


def _require_newer(state: State, request: Request) -> None:
    promoted = state.facts.get("promoted")
    least = epoch_of(state) + (1 if promoted else 0)
    if request.epoch < least or request.epoch < 1:
        raise Refused("the replica of %s follows epoch %d of its VM%s: disks are taken back for a"
                      " newer one, not for %d" % (
                          state.vm, epoch_of(state), ", which is the VM here" if promoted else "",
                          request.epoch))


def _take_all(replica: Replica, request: Request, disks: Dict[str, Disk], sequence: int
              ) -> Tuple[Dict[str, Taken], Dict[str, str]]:
    """Hash every disk that can be read; return those, and why each other one is left out."""
    taken: Dict[str, Taken] = {}
    left_out: Dict[str, str] = {}
    for target, disk in sorted(disks.items()):
        try:
            taken[target] = _take(replica, request, disk, target, sequence)
        except (Refused, Damaged, FileNotFoundError) as error:
            left_out[target] = str(error)
    return taken, left_out


def _take(replica: Replica, request: Request, disk: Disk, target: str, sequence: int) -> Taken:
    """Hash a disk into a manifest of the replica."""
    folder = replica.disk_dir(target)
    make_folder(folder)
    name = "disk-%06d.man" % sequence
    new = os.path.join(folder, name + ".new")
    stamp, hasher = stamp_of(disk.source), replica.hasher()
    with FormerDisk(disk.source, disk.format) as former:
        header = Header(former.size_bytes, hasher.algorithm, hasher.secret_id, sequence)
        changed = _changed(request, disk, target, header)
        if changed is None:
            manifest, spans = Manifest.create(new, header), [(0, former.clusters)]
        else:
            shutil.copyfile(Known(**request.known[target]).manifest, new)
            manifest, spans = Manifest.open(new, writable=True), changed
        with manifest:
            manifest.resize(header)
            read_bytes = hash_disk(former, manifest, hasher, spans)
            manifest.sync()
        size_bytes = former.size_bytes
    os.rename(new, os.path.join(folder, name))
    sync_dir(folder)
    file = File(name, DISK, size_bytes, os.stat(os.path.join(folder, name)).st_size,
                "%s:%s" % (disk.format, disk.source))
    return Taken(file, stamp, read_bytes, "hashes" if changed is None else "bitmap")


def _changed(request: Request, disk: Disk, target: str, header: Header
             ) -> Optional[List[Tuple[int, int]]]:
    """
    Return the clusters that its bitmap says were written to since the promoted point.

    None where that cannot be trusted: then all of the disk is read.
    """
    if target not in request.known:
        return None
    known = Known(**request.known[target])
    if not is_same_origin(known.origin, origin_of(disk), same_run=False):
        return None
    with contextlib.ExitStack() as stack:
        manifest = stack.enter_context(Manifest.open(known.manifest))
        if manifest.header._replace(generation=header.generation) != header:
            return None
        domain = Domain(request.vm, "", "", {target: disk}, "", False)
        served = offline.serve(domain, [target], {target: known.checkpoint})
        stack.callback(offline.stop, served)
        bitmap = served.bitmaps.get(target, "")
        if not bitmap:
            return None
        with Nbd(served.sockets[target], target, (bitmap_context(bitmap),)) as nbd:
            return list(_clusters(dirty(nbd, bitmap)))


def _clusters(ranges: Sequence[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    """Yield ranges of bytes, in ascending order, as (first, stop) of clusters."""
    done = 0
    for offset, length in ranges:
        first = max(done, offset // CLUSTER_BYTES)
        done = max(done, -(-(offset + length) // CLUSTER_BYTES))
        if first < done:
            yield first, done


def _require_at_rest(uuid: str, disks: Dict[str, Disk], taken: Dict[str, Taken]) -> None:
    """Raise TryAgain where the VM was started, or a disk written to, while it was hashed."""
    for target, one in taken.items():
        if stamp_of(disks[target].source) != one.stamp:
            raise TryAgain("%s was written to while it was read: it is read again"
                           % disks[target].source)
    _domain_at_rest(uuid)


def _point(replica: Replica, request: Request, status: DomainStatus, sequence: int,
           taken: Dict[str, Taken]) -> Point:
    meta = read_definition(status)
    held = {"domain.xml": meta["xml"].encode()}
    held.update({name: unpack_line(meta[name]) for name in ("nvram", "tpm") if name in meta})
    folder = os.path.join(replica.root, "meta", "%06d" % sequence)
    make_folder(folder)
    for name, data in sorted(held.items()):
        write_whole(os.path.join(folder, name), data)
    facts = {"epoch": meta["epoch"], "diverged": {
        "epoch": request.epoch, "by": request.by, "until": request.until}}
    return Point(sequence, "", request.at, request.at, False,
                 {target: one.file for target, one in sorted(taken.items())},
                 tuple(sorted(held)), facts=facts)


def _with(state: State, request: Request, point: Point, taken: Dict[str, Taken]) -> State:
    state = _following(state, request.epoch)
    former = {**state.facts.get("former", {}),
              **{one.file.name: one.stamp for one in taken.values()}}
    return state._replace(
        points=(*state.points, point), pins={**state.pins, "tail-%d" % point.sequence:
                                             point.sequence},
        facts={**state.facts, "former": former})


def _following(state: State, epoch: int) -> State:
    """Return the state of a replica that follows an epoch, whatever it was before."""
    facts = {name: fact for name, fact in state.facts.items() if name not in ("promoted", "sent")}
    return state._replace(facts={**facts, "epoch": epoch})
