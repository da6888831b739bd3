"""
A replica's folder on the target host: one lock, one state.json, and only files it speaks of.

    ROOT/state.json                    the only commit point, replaced by rename
    ROOT/state.json.N                  copies of the last ones; see generations.py
    ROOT/lock  ROOT/secret             whoever changes anything holds the lock; the hash secret
    ROOT/meta/SEQUENCE/…               domain XML, NVRAM
    ROOT/DISK/base-N.raw  base-N.man   a base and its manifest
    ROOT/DISK/rp-N.qcow2               what changed from the point before to point N
    ROOT/DISK/disk-N.man               the manifest of a base that lies elsewhere, see failover/
    ROOT/DISK/incoming.*               what is being received; see incoming.py

A file of these names that state.json does not name was left by a crash before the commit, or is one
that a commit made superfluous: whoever next takes the lock removes it. The exception is a finished
file newer than every point of state.json: somebody put an older state.json back, and nothing is
changed before a person has looked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import Any, Dict, Iterator, List, Optional

from mover.errors import Damaged, Refused
from mover.image.chain import manifest_path
from mover.image.hashing import CLUSTER_BYTES, SECRET_BYTES, ZERO_CLUSTER, Hasher, secret_id
from mover.image.regular import open_regular, read_regular
from mover.locks import take_lock
from mover.replica import generations
from mover.replica.state import BASE, State, files, render_state

OURS = re.compile(r"(?:base-(?P<base>\d{6,})\.(?:raw|man)|rp-(?P<rp>\d{6,})\.qcow2"
                  r"|disk-(?P<disk>\d{6,})\.man)"
                  r"(?P<part>\.new(\.idx|\.man)?)?\Z")
QCOW2 = b"QFI\xfb"
MOST_SECRET_BYTES = 4096
DISK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Replica:
    """An open replica; change it only within `locked`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.state, self.recovered = generations.newest(root)

    def disk_dir(self, disk: str) -> str:
        """Return the folder of a disk."""
        if not DISK.match(disk):
            raise Refused("%r is not the name of a disk" % disk)
        return os.path.join(self.root, disk)

    def path(self, disk: str, name: str) -> str:
        """Return the path of a file of a disk."""
        return os.path.join(self.disk_dir(disk), name)

    def hasher(self) -> Hasher:
        """Return the hasher of this replica."""
        hasher = Hasher(self.state.algorithm, read_secret(self.root))
        if hasher.secret_id != self.state.secret_id:
            raise Refused("%s/secret is not the one this replica was hashed with" % self.root)
        return hasher

    def commit(self, state: State, *, clean: bool = True) -> None:
        """Make a new state the truth, then remove the files that it no longer names."""
        self.state = state._replace(generation=self.state.generation + 1)
        rendered = render_state(self.state)
        write_whole(os.path.join(self.root, generations.NAME), rendered)
        generations.keep(self.root, self.state.generation, rendered)
        self.recovered = ""
        if clean:
            self.clean()

    def require_newest(self) -> None:
        """Raise Refused where a finished file is newer than the state: the state is an old one."""
        for disk in disks_in(self.root):
            for name in sorted(self.newer(disk)):
                end = self.state.points[-1].sequence if self.state.points else 0
                raise Refused("%s is newer than state.json, which ends at restore point %d: put the"
                              " newest state.json back, or move that file out of the replica"
                              % (self.path(disk, name), end))

    def newer(self, disk: str) -> "set[str]":
        """Return the names of a disk's files that are newer than the state, and were finished."""
        folder = self.disk_dir(disk)
        end = self.state.points[-1].sequence if self.state.points else 0
        found = [match for match in map(OURS.match, os.listdir(folder)) if match
                 and not match["part"] and int(match["base"] or match["rp"] or 0) > end]
        finished = {match[0] for match in found if is_finished(os.path.join(folder, match[0]))}
        return finished | {os.path.basename(manifest_path(name)) for name in finished}

    def clean(self) -> List[str]:
        """Remove files of ours that the state does not name; return their paths."""
        named = files(self.state)
        removed: List[str] = []
        for disk in disks_in(self.root):
            names = {file.name for file in named.get(disk, ())}
            names |= {os.path.basename(manifest_path(file.name)) for file in named.get(disk, ())
                      if file.kind == BASE}
            removed += _remove_others(self.disk_dir(disk), names | self.newer(disk))
        sequences = {"%06d" % point.sequence for point in self.state.points}
        meta = os.path.join(self.root, "meta")
        for name in sorted(os.listdir(meta)) if os.path.isdir(meta) else ():
            if re.match(r"\d{6,}\Z", name) and name not in sequences:
                shutil.rmtree(os.path.join(meta, name))
                removed.append(os.path.join(meta, name))
        return removed


def is_finished(path: str) -> bool:
    """Return whether a file is a whole file of a point, and no second name of `incoming.part`."""
    try:
        seen = os.lstat(path)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(seen, os.stat(os.path.join(os.path.dirname(path),
                                                           "incoming.part"))):
                return False
        with os.fdopen(open_regular(path), "rb") as file:
            return path.endswith(".raw") or (
                path.endswith(".qcow2") and file.read(len(QCOW2)) == QCOW2)
    except FileNotFoundError:
        return False
    except Damaged:
        return True         # it is no regular file, so it is not ours to remove


def _remove_others(folder: str, named: "set[str]") -> List[str]:
    stray = [os.path.join(folder, name) for name in sorted(os.listdir(folder))
             if OURS.match(name) and name not in named]
    stray = [path for path in stray         # no mover ever made a folder of such a name
             if os.path.islink(path) or not os.path.isdir(path)]
    for path in stray:
        os.unlink(path)
    return stray


def disks_in(root: str) -> List[str]:
    """Return the names of the disks' folders."""
    return sorted(name for name in os.listdir(root)
                  if name not in ("meta", "drill") and DISK.match(name)
                  and os.path.isdir(os.path.join(root, name)))


@contextlib.contextmanager
def locked(root: str, patience_s: float = 0) -> Iterator[Replica]:
    """Open a replica, alone, to change it; remove first what a crash left."""
    with lock(root, patience_s):
        replica = Replica(root)
        replica.require_newest()
        if replica.recovered:
            replica.commit(replica.state)
        replica.clean()
        yield replica


@contextlib.contextmanager
def lock(root: str, patience_s: float = 0) -> Iterator[None]:
    """Hold the lock of a replica's folder."""
    try:
        fd = os.open(os.path.join(root, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise Refused("%s is no replica: the folder is missing" % root) from None
    try:
        take_lock(fd, "%s is being changed by another mover" % root, patience_s=patience_s)
        yield
    finally:
        os.close(fd)


def create(root: str, vm: str, algorithm: str, secret: bytes,
           facts: Optional[Dict[str, Any]] = None) -> State:
    """Make an empty replica, or return the state of the one that is there."""
    make_folder(root)
    with lock(root):
        if generations.is_there(root):
            return _with_facts(Replica(root), vm, facts or {})
        points = [disk for disk in disks_in(root) if any(
            OURS.match(name) for name in os.listdir(os.path.join(root, disk)))]
        if points:
            raise Refused("%s has files of %s but no state.json: restore it, or move the folder "
                          "away" % (root, ", ".join(points)))
        state = State(vm, algorithm, secret_id(secret), facts=facts or {})
        write_whole(os.path.join(root, "secret"), secret.hex().encode())
        write_whole(os.path.join(root, generations.NAME), render_state(state))
        return state


def _with_facts(replica: "Replica", vm: str, facts: Dict[str, Any]) -> State:
    """Return the state of a replica, with the facts (the VM's name) as they are now."""
    state = replica.state
    if state.vm != vm:
        raise Refused("this folder holds the replica of %s, not of %s" % (state.vm, vm))
    if any(state.facts.get(name) != value for name, value in facts.items()):
        replica.commit(state._replace(facts={**state.facts, **facts}))
    return replica.state


def read_secret(root: str) -> bytes:
    """Return the hash secret that both ends hold."""
    try:
        held = read_regular(os.path.join(root, "secret"), MOST_SECRET_BYTES)
        return bytes.fromhex(held.decode("ascii").strip())
    except FileNotFoundError:
        raise Refused("%s is no replica: secret is missing" % root) from None
    except ValueError:
        raise Refused("%s/secret is not hexadecimal: restore it" % root) from None


def fresh_secret() -> bytes:
    """Return a new secret."""
    return os.urandom(SECRET_BYTES // 6)


def write_whole(path: str, data: bytes) -> None:
    """Replace a file by rename, so that a crash leaves the old one or the new one."""
    new = path + ".new"
    fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        _write_sparse(fd, memoryview(data))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(new, path)
    sync_dir(os.path.dirname(path))


def _write_sparse(fd: int, data: memoryview) -> None:
    """Write a file that is empty; zeros are left out of it, since firmware pads with many."""
    os.ftruncate(fd, len(data))
    for start in range(0, len(data), CLUSTER_BYTES):
        piece, at = data[start:start + CLUSTER_BYTES], start
        while piece and piece != ZERO_CLUSTER[:len(piece)]:
            written = os.pwrite(fd, piece, at)
            piece, at = piece[written:], at + written


def make_folder(path: str) -> None:
    """Make a folder and its parents; return when all their names are on the disk."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folder(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    sync_dir(parent)


def sync_dir(path: str) -> None:
    """Return when the names in a folder are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
