"""
What is on its way to a disk of a replica: kept over a cut line, believed only after a second look.

    incoming.json   what it will be: an overlay on which point, or a base; the caller's note; whose
    incoming.part   the clusters; incoming.idx where they lie; incoming.man their hashes
    incoming.ends   one line for each stream that came to its END, and one once it was settled
    incoming.lock   receivers share it; whoever opens or finishes holds it alone

Whoever makes a point does it under an attempt's id of his own. The last who opened an incoming is
the one who is served: what comes late of an attempt before is refused, since it tells of another
instant.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.errors import Damaged, Refused, TryAgain
from mover.image.chain import compose
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, Hasher
from mover.image.index import BASE, OVERLAY, Index
from mover.image.manifest import UNKNOWN_HASH, Header, Manifest
from mover.image.qcow2 import DATA, Run
from mover.image.regular import open_regular, read_regular
from mover.image.sparse import filled
from mover.locks import take_lock
from mover.processes import receivers
from mover.replica.replica import Replica, make_folder, sync_dir, write_whole
from mover.replica.state import last

NAMES = ("json", "part", "idx", "man", "ends")
ENDING_S = 10.0                     # for a receiver that was told to end
READ_BYTES = 2 * CLUSTER_BYTES      # stays in a processor's own cache until it is hashed
MOST_TOLD_BYTES = 24 << 20          # of a note
MOST_ENDS_BYTES = 1 << 20           # of the ENDs that came, a few lines each
DOUBTED_AT_ONCE = 1 << 16           # clusters: 1 MiB of hashes


class Plan(NamedTuple):
    """What an incoming will be; `parent` is the point it builds on, None for the first."""

    kind: str
    size_bytes: int
    parent: Optional[int]
    algorithm: str
    secret_id: str


class Incoming(NamedTuple):
    """An open incoming."""

    folder: str
    plan: Plan
    note: Any
    part: int
    places: Index
    manifest: Manifest
    attempt: str = ""

    def require(self, attempt: str) -> Incoming:
        """Return this one; TryAgain, and it is closed, when another attempt has opened it."""
        try:
            _require_attempt(self.folder, self.attempt, attempt)
        except TryAgain:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Let the files go."""
        os.close(self.part)
        self.places.close()
        self.manifest.close()


def path_of(folder: str, name: str) -> str:
    """Return where one of the files lies."""
    return os.path.join(folder, "incoming." + name)


@contextlib.contextmanager
def hold(folder: str, *, shared: bool) -> Iterator[None]:
    """Hold the lock of a disk's incoming."""
    fd = os.open(path_of(folder, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        take_lock(fd, "%s is still being received" % folder, shared)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _taken_over(root: str, folder: str) -> Iterator[None]:
    """Hold the lock alone; receivers of an attempt before end now, whatever they wait for.

    Only one conducts the copies of a VM, so they belong to a conductor or a way that is gone.
    """
    fd = os.open(path_of(folder, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    busy = "%s is still being received" % folder
    try:
        try:
            take_lock(fd, busy)
        except TryAgain:
            for pid in receivers(root):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            take_lock(fd, busy, patience_s=ENDING_S)
        yield
    finally:
        os.close(fd)


def prepare(replica: Replica, disk: str, kind: str, size_bytes: int, note: Any,
            attempt: str) -> Dict[str, Any]:
    """
    Open a disk's incoming for an attempt and tell what it holds: what is there, if it still fits.

    A note is taken only of the attempt that has it open: what else is there it knows nothing of.
    """
    folder = replica.disk_dir(disk)
    newest = last(replica.state)
    if kind not in (BASE, OVERLAY) or size_bytes <= 0:
        raise Refused("an incoming is a base or an overlay of some size")
    if not attempt:
        raise Refused("whoever opens an incoming says for which attempt")
    if kind == OVERLAY and (newest is None or disk not in newest.files):
        raise Refused("disk %s has no restore point to build on: seed it" % disk)
    plan = Plan(kind, size_bytes, newest.sequence if newest else None,
                replica.state.algorithm, replica.state.secret_id)
    make_folder(folder)
    with _taken_over(replica.root, folder):
        held = _fits(folder, plan)
        if note is not None:
            _require_attempt(folder, held.attempt if held else "", attempt)
            _sync(folder)       # else the note may outlast, over a loss of power, what it is about
        if held is None:
            _begin(folder, plan)
        if held is None or note is not None or held.attempt != attempt:
            _write_plan(folder, plan, held.note if held and note is None else note, attempt)
        incoming = load(folder)
        try:
            incoming.places.start_after(os.fstat(incoming.part).st_size)
            missing = list(incoming.places.missing()) if kind == BASE else []
            return {"resumed": held is not None, "note": incoming.note,
                    "arrived_clusters": incoming.places.arrived(),
                    "missing": missing[:4096], "missing_ranges": len(missing)}
        finally:
            incoming.close()


def _fits(folder: str, plan: Plan) -> Optional[Incoming]:
    """Return what is there, closed, where it can be gone on with."""
    try:
        found = load(folder)
    except (Refused, Damaged, FileNotFoundError):
        return None
    size, most = os.fstat(found.part).st_size, found.places.most_bytes
    found.close()
    crowded = size > most // 2 or _size_of(path_of(folder, "ends")) > MOST_ENDS_BYTES // 2
    return found if found.plan == plan and not crowded else None


def _size_of(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0


def require_opened(folder: str, attempt: str) -> None:
    """Raise TryAgain when another attempt has opened what is there, be it whole or not."""
    try:
        opened_by = read_plan(folder)[2]
    except (Refused, Damaged):
        return
    _require_attempt(folder, opened_by, attempt)


def _require_attempt(folder: str, held: str, attempt: str) -> None:
    if held != attempt or not attempt:
        raise TryAgain("what comes to %s is of another attempt by now: this one was given up"
                       % folder)


def _begin(folder: str, plan: Plan) -> None:
    drop(folder)
    Index.create(path_of(folder, "idx"), plan.kind, plan.size_bytes).close()
    Manifest.create(path_of(folder, "man"),
                    Header(plan.size_bytes, plan.algorithm, plan.secret_id)).close()
    fd = os.open(path_of(folder, "part"), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        if plan.kind == BASE:
            os.ftruncate(fd, plan.size_bytes)
    finally:
        os.close(fd)


def _sync(folder: str) -> None:
    for name in ("part", "idx", "man"):
        fd = os.open(path_of(folder, name), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write_plan(folder: str, plan: Plan, note: Any, attempt: str) -> None:
    told = {"plan": plan._asdict(), "note": note, "attempt": attempt}
    write_whole(path_of(folder, "json"), json.dumps(told, sort_keys=True).encode())


def drop(folder: str) -> None:
    """Forget an incoming; the plan goes first, so that nothing half removed is gone on with."""
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path_of(folder, name))
    sync_dir(folder)


def load(folder: str) -> Incoming:
    """Open an incoming that is there; Refused when there is none, or it is a point by now."""
    plan, note, attempt = read_plan(folder)
    with contextlib.ExitStack() as stack:
        part = open_regular(path_of(folder, "part"), os.O_RDWR)
        stack.callback(os.close, part)
        if os.fstat(part).st_nlink != 1:    # linked to its final name, then a crash
            raise Refused("what came for %s is a restore point already: open a new one" % folder)
        index = stack.enter_context(Index.open(path_of(folder, "idx")))
        manifest = stack.enter_context(Manifest.open(path_of(folder, "man"), writable=True))
        if (index.kind, index.size_bytes) != (plan.kind, plan.size_bytes):
            raise Damaged("%s: index and plan do not fit" % folder)
        stack.pop_all()
    return Incoming(folder, plan, note, part, index, manifest, attempt)


def read_plan(folder: str) -> Tuple[Plan, Any, str]:
    """Return what an incoming will be, the note with it, and the attempt that has it open."""
    try:
        told = json.loads(read_regular(path_of(folder, "json"), MOST_TOLD_BYTES))
        return Plan(**told["plan"]), told["note"], str(told.get("attempt", ""))
    except FileNotFoundError:
        raise Refused("nothing is on its way to %s: open it first" % folder) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Damaged("%s cannot be read" % path_of(folder, "json")) from None


def note_end(folder: str, line: Dict[str, Any]) -> None:
    """Note that a stream came to its END."""
    fd = os.open(path_of(folder, "ends"),
                 os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size > MOST_ENDS_BYTES:
            raise Damaged("%s: more has ended than was ever begun" % path_of(folder, "ends"))
        os.write(fd, b"\n" + json.dumps(line, sort_keys=True).encode() + b"\n")
    finally:
        os.close(fd)


def ends(folder: str) -> List[Dict[str, Any]]:
    """Return the ENDs that came; a line that a crash tore is none."""
    try:
        lines = read_regular(path_of(folder, "ends"), 2 * MOST_ENDS_BYTES).splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def require_ends(folder: str, transfers: Sequence[str]) -> None:
    """Raise TryAgain unless every stream of every one of these transfers came to its END."""
    told = ends(folder)
    for transfer in transfers:
        mine = [line for line in told if line.get("transfer") == transfer]
        came = {line["stream"] for line in mine}
        wanted = {number for line in mine for number in range(line["streams"])}
        if not mine or came != wanted:
            raise TryAgain("transfer %s to %s is not complete: %d of %s streams ended"
                           % (transfer, folder, len(came), len(wanted) or "its"))


def note_settled(folder: str, attempt: str) -> None:
    """Note that all that has come was looked at again, and is as it was sent."""
    note_end(folder, {"settled": attempt})


def require_settled(folder: str, attempt: str) -> None:
    """Raise TryAgain unless nothing has come since an attempt looked at all of it."""
    if ends(folder)[-1:] != [{"settled": attempt}]:
        raise TryAgain("what came to %s has not been looked at again since: it is no restore point"
                       " before that" % folder)


def unend(folder: str) -> None:
    """Forget every END: something that had come with them has been lost."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path_of(folder, "ends"))


def recheck(incoming: Incoming, hasher: Hasher, *, cold: bool) -> int:
    """
    Read everything that arrived again and forget what does not have its hash.

    Returns how many clusters had to be forgotten. `cold` reads from the disk, not from memory.
    """
    if cold:
        os.fsync(incoming.part)
        os.posix_fadvise(incoming.part, 0, 0, os.POSIX_FADV_DONTNEED)
    forgotten, room = 0, memoryview(bytearray(READ_BYTES))
    for run in incoming.places.mapped():
        expected = bytes(run.clusters * HASH_BYTES)
        if run.kind == DATA:
            expected = incoming.manifest.hashes(run.cluster, run.clusters)
        else:
            incoming.manifest.put(run.cluster, expected)
        for first, count in _to_read(incoming, run):
            at = first - run.cluster
            wanted = expected[at * HASH_BYTES:(at + count) * HASH_BYTES]
            forgotten += _recheck(incoming, hasher, first, wanted, room,
                                  position_of(incoming.plan.kind, first,
                                              run.position + at * CLUSTER_BYTES))
    return forgotten


def _to_read(incoming: Incoming, run: Run) -> Iterator[Tuple[int, int]]:
    """Yield (first, count) of what of a run may be other than it should, a little at a time."""
    spans: Iterable[Tuple[int, int]] = ()
    if run.kind == DATA:
        spans = ((run.cluster, run.cluster + run.clusters),)
    elif incoming.plan.kind == BASE:    # a crash may have kept what was made zeros later
        spans = filled(incoming.part, run.cluster, run.cluster + run.clusters)
    step = READ_BYTES // CLUSTER_BYTES
    for first, stop in spans:
        for at in range(first, stop, step):
            yield at, min(step, stop - at)


def position_of(kind: str, cluster: int, position: int) -> int:
    """Return where a cluster lies in the `.part` file: in a base, where it belongs."""
    return cluster * CLUSTER_BYTES if kind == BASE else position


def _recheck(incoming: Incoming, hasher: Hasher, first: int, wanted: bytes, room: memoryview,
             position: int) -> int:
    count = len(wanted) // HASH_BYTES
    length = min(count * CLUSTER_BYTES, incoming.plan.size_bytes - first * CLUSTER_BYTES)
    data = room[:length]
    got = os.preadv(incoming.part, [data], position)
    found = hasher.clusters(data) if got == length else bytes(b ^ 255 for b in wanted)
    if found == wanted:
        return 0
    bad = [at for at in range(count) if found[at * HASH_BYTES:(at + 1) * HASH_BYTES]
           != wanted[at * HASH_BYTES:(at + 1) * HASH_BYTES]]
    for at in bad:
        incoming.places.forget(first + at, 1)
    return len(bad)


def compose_known(replica: Replica, disk: str, into: str, below: Sequence[str]) -> Manifest:
    """Write the manifest of what the target would have if all on its way were on `below`."""
    folder = replica.disk_dir(disk)
    with hold(folder, shared=False):
        incoming = load(folder)
        try:
            if incoming.plan.kind == OVERLAY:
                known = compose(below, into)
            else:
                known = Manifest.create(into, incoming.manifest.header)
                _doubt(known, incoming.places.missing())
            known.resize(incoming.manifest.header)
            for run in incoming.places.mapped():
                zeros = bytes(run.clusters * HASH_BYTES)
                known.put(run.cluster, incoming.manifest.hashes(run.cluster, run.clusters)
                          if run.kind == DATA else zeros)
            return known
        finally:
            incoming.close()


def _doubt(known: Manifest, missing: Iterable[Tuple[int, int]]) -> None:
    """Give what has not come a hash nothing has: not even zeros may be left out as known."""
    for first, count in missing:
        for at in range(first, first + count, DOUBTED_AT_ONCE):
            known.put(at, UNKNOWN_HASH * min(DOUBTED_AT_ONCE, first + count - at))
