"""
What is being received for one disk of a replica, from its opening to the restore point.

    incoming.json   the plan (a base, or an overlay on which point), the caller's note, the attempt
    incoming.part   the clusters; incoming.idx says where each lies, incoming.man has their hashes
    incoming.ends   a line for each stream that reached its END, and one when all was re-read
    incoming.lock   receivers share it; whoever opens, re-reads, publishes or drops holds it alone

    prepare ──► receive, receive, … ──► settle ──► publish ──► dropped
       ▲              │ cut off            │ clusters lost
       └──────────────┴────────────────────┘ opened again; what is there stays, if the plan is equal

Who may write. Each copy is an attempt with an id of its own. `prepare` writes the id into
incoming.json, and from then on only this attempt may send, settle, publish or drop. A receiver of
an earlier attempt carries the disk of another instant: it is refused, and ended if it still holds
the lock. An attempt for an older copy of the VM is refused once the replica follows a newer one,
whenever it was opened. The clusters that an earlier attempt sent stay; the source asks which they
are and sends what differs.

What is believed. Nothing, until it was re-read. Receivers write the three files without any order
on the disk, so that a crash may keep a cluster and lose its hash, or the other way round. `settle`
compares every cluster with its hash. What does not match is forgotten together with all ENDs, and
the caller sends it again. The note alone is believed: it says from where the source may go on, so
the clusters are synced before it is written.

What a crash leaves. Without incoming.json there is nothing: `drop` removes it first. If the other
files do not fit it, the incoming begins anew. A `.part` file with two names was linked to a restore
point; it is never written to again.

How it ends. Publishing drops the incoming of every disk, since what it builds on is then no longer
the newest point. `incoming-drop` and an opening with another plan drop one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from mover.errors import Damaged, Refused, TryAgain
from mover.image.chain import compose
from mover.image.hashing import HASH_BYTES
from mover.image.index import BASE, OVERLAY, Index
from mover.image.manifest import UNKNOWN_HASH, Header, Manifest
from mover.image.qcow2 import DATA
from mover.image.regular import open_regular, read_regular
from mover.locks import take_lock
from mover.processes import receivers
from mover.replica.replica import Replica, make_folder, sync_dir, write_whole
from mover.replica.state import last

NAMES = ("json", "part", "idx", "man", "ends")
ENDING_S = 10.0                     # for a receiver to end after SIGTERM
MOST_PLAN_BYTES = 24 << 20          # of incoming.json; the note is most of it
MOST_ENDS_BYTES = 1 << 20           # of incoming.ends, a few lines per transfer
UNKNOWN_AT_ONCE = 1 << 16           # clusters: 1 MiB of hashes


class IncomingPlan(NamedTuple):
    """What an incoming will become; `parent` is the point it builds on, None for the first."""

    kind: str
    size_bytes: int
    parent: Optional[int]
    algorithm: str
    secret_id: str


class Incoming(NamedTuple):
    """An open incoming."""

    folder: str
    plan: IncomingPlan
    note: Any
    part: int
    index: Index
    manifest: Manifest
    attempt: str = ""
    epoch: int = 0

    def require(self, attempt: str) -> Incoming:
        """Return itself; if another attempt has opened it, close it and raise TryAgain."""
        try:
            _require_attempt(self.folder, self.attempt, attempt)
        except TryAgain:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the files."""
        os.close(self.part)
        self.index.close()
        self.manifest.close()


def path_of(folder: str, name: str) -> str:
    """Return the path of one of the files."""
    return os.path.join(folder, "incoming." + name)


@contextlib.contextmanager
def hold(folder: str, *, shared: bool) -> Iterator[None]:
    """Hold the lock of a disk's incoming; TryAgain when somebody else has it."""
    fd = os.open(path_of(folder, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        take_lock(fd, "%s is still being received" % folder, shared)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _taken_over(root: str, folder: str) -> Iterator[None]:
    """Hold the lock alone; end the receivers that still hold it.

    Only one controller copies a VM at a time, so they belong to a copy that is over.
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
            attempt: str, epoch: int = 0) -> Dict[str, Any]:
    """
    Open a disk's incoming for an attempt of an epoch and return what it holds already.

    What is there stays if its plan is equal. A note is taken only from the attempt that has the
    incoming open: no other one knows what it holds.
    """
    folder = replica.disk_dir(disk)
    newest = last(replica.state)
    if kind not in (BASE, OVERLAY) or size_bytes <= 0:
        raise Refused("an incoming is a base or an overlay, and has a size")
    if not attempt:
        raise Refused("the request to open an incoming names no attempt")
    if kind == OVERLAY and (newest is None or disk not in newest.files):
        raise Refused("disk %s has no restore point to build on: seed it" % disk)
    plan = IncomingPlan(kind, size_bytes, newest.sequence if newest else None,
                replica.state.algorithm, replica.state.secret_id)
    make_folder(folder)
    with _taken_over(replica.root, folder):
        held = _fits(folder, plan)
        if note is not None:
            _require_attempt(folder, held.attempt if held else "", attempt)
            # synced, or a loss of power may spare the note and not what it describes
            for name in ("part", "idx", "man"):
                fd = os.open(path_of(folder, name), os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        if held is None:
            _begin(folder, plan)
        if held is None or note is not None or (held.attempt, held.epoch) != (attempt, epoch):
            content = {"plan": plan._asdict(), "attempt": attempt, "epoch": epoch,
                       "note": held.note if held and note is None else note}
            write_whole(path_of(folder, "json"), json.dumps(content, sort_keys=True).encode())
        incoming = load(folder)
        try:
            incoming.index.start_after(os.fstat(incoming.part).st_size)
            missing = list(incoming.index.missing()) if kind == BASE else []
            return {"resumed": held is not None, "note": incoming.note,
                    "arrived_clusters": incoming.index.arrived(),
                    "missing": missing[:4096], "missing_ranges": len(missing)}
        finally:
            incoming.close()


def _fits(folder: str, plan: IncomingPlan) -> Optional[Incoming]:
    """Return the incoming that is there, closed; None where it cannot be continued."""
    try:
        found = load(folder)
    except (Refused, Damaged, FileNotFoundError):
        return None
    size, most = os.fstat(found.part).st_size, found.index.most_bytes
    found.close()
    ends_path = path_of(folder, "ends")
    ends_bytes = os.stat(ends_path).st_size if os.path.exists(ends_path) else 0
    crowded = size > most // 2 or ends_bytes > MOST_ENDS_BYTES // 2
    return found if found.plan == plan and not crowded else None


def require_opened(folder: str, attempt: str) -> None:
    """Raise TryAgain when another attempt has opened the incoming, be it whole or not."""
    try:
        opened_by = read_plan(folder).attempt
    except (Refused, Damaged):
        return
    _require_attempt(folder, opened_by, attempt)


def _require_attempt(folder: str, held: str, attempt: str) -> None:
    if held != attempt or not attempt:
        raise TryAgain("%s was opened for another attempt: this one is over" % folder)


def _begin(folder: str, plan: IncomingPlan) -> None:
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


def drop(folder: str) -> None:
    """Remove an incoming; the plan first, so that nothing half removed is ever continued."""
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path_of(folder, name))
    sync_dir(folder)


def load(folder: str) -> Incoming:
    """Open the incoming that is there; Refused when there is none, or it is a point by now."""
    plan, note, attempt, epoch = read_plan(folder)
    with contextlib.ExitStack() as stack:
        part = open_regular(path_of(folder, "part"), os.O_RDWR)
        stack.callback(os.close, part)
        if os.fstat(part).st_nlink != 1:    # linked to its final name, then a crash
            raise Refused("%s/incoming.part is a file of a restore point already: open a new"
                          " incoming" % folder)
        index = stack.enter_context(Index.open(path_of(folder, "idx")))
        manifest = stack.enter_context(Manifest.open(path_of(folder, "man"), writable=True))
        if (index.kind, index.size_bytes) != (plan.kind, plan.size_bytes):
            raise Damaged("%s: incoming.idx does not fit incoming.json" % folder)
        stack.pop_all()
    return Incoming(folder, plan, note, part, index, manifest, attempt, epoch)


class Opening(NamedTuple):
    """What incoming.json says; `epoch` is that of the VM whose copy has it open."""

    plan: IncomingPlan
    note: Any
    attempt: str
    epoch: int


def read_plan(folder: str) -> Opening:
    """Return the plan of an incoming, its note, and the attempt that has it open."""
    try:
        content = json.loads(read_regular(path_of(folder, "json"), MOST_PLAN_BYTES))
        return Opening(IncomingPlan(**content["plan"]), content["note"],
                       str(content.get("attempt", "")), int(content.get("epoch", 0)))
    except FileNotFoundError:
        raise Refused("%s has no open incoming: open one first" % folder) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Damaged("%s cannot be read" % path_of(folder, "json")) from None


def note_end(folder: str, line: Dict[str, Any]) -> None:
    """Record that a stream reached its END."""
    fd = os.open(path_of(folder, "ends"),
                 os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size > MOST_ENDS_BYTES:
            raise Damaged("%s is longer than %d bytes" % (path_of(folder, "ends"),
                                                          MOST_ENDS_BYTES))
        os.write(fd, b"\n" + json.dumps(line, sort_keys=True).encode() + b"\n")
    finally:
        os.close(fd)


def ends(folder: str) -> List[Dict[str, Any]]:
    """Return the recorded ENDs; a line that a crash tore does not count."""
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
    """Raise TryAgain unless every stream of each of these transfers reached its END."""
    recorded = ends(folder)
    for transfer in transfers:
        mine = [line for line in recorded if line.get("transfer") == transfer]
        ended = {line["stream"] for line in mine}
        wanted = {number for line in mine for number in range(line["streams"])}
        if not mine or ended != wanted:
            raise TryAgain("transfer %s to %s is not complete: %d of %s streams ended"
                           % (transfer, folder, len(ended), len(wanted) or "its"))


def note_settled(folder: str, attempt: str) -> None:
    """Record that all that was received has been re-read, and is what was sent."""
    note_end(folder, {"settled": attempt})


def require_settled(folder: str, attempt: str) -> None:
    """Raise TryAgain unless the attempt re-read everything and nothing was received since."""
    if ends(folder)[-1:] != [{"settled": attempt}]:
        raise TryAgain("%s has received data that was not re-read yet: settle it first" % folder)


def forget_ends(folder: str) -> None:
    """Forget every END, because some of what was received with them is lost."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path_of(folder, "ends"))


def compose_known(replica: Replica, disk: str, into: str, below: Sequence[str]) -> Manifest:
    """Write the manifest of the disk as it would be with the incoming on top of `below`."""
    folder = replica.disk_dir(disk)
    with hold(folder, shared=False):
        incoming = load(folder)
        try:
            if incoming.plan.kind == OVERLAY:
                known = compose(below, into)
            else:
                known = Manifest.create(into, incoming.manifest.header)
                for first, count in incoming.index.missing():   # not even zeros count as known
                    for at in range(first, first + count, UNKNOWN_AT_ONCE):
                        known.put(at, UNKNOWN_HASH * min(UNKNOWN_AT_ONCE, first + count - at))
            known.resize(incoming.manifest.header)
            for run in incoming.index.mapped():
                zeros = bytes(run.clusters * HASH_BYTES)
                known.put(run.cluster, incoming.manifest.hashes(run.cluster, run.clusters)
                          if run.kind == DATA else zeros)
            return known
        finally:
            incoming.close()

