"""
The file that a promoted VM writes to: an overlay over its restore point, in the pool's top folder.

    POOL/NAME.fo-EPOCH.qcow2            the VM's first disk
    POOL/NAME-TARGET.fo-EPOCH.qcow2     each other one

It lies there because whoever asks who uses a replica looks there, see remove.user_of. It is made
under another name, synced, and linked to its own, so it is whole or not there. One that is there
over the same file stays as it is, whatever it holds: a guest may have written to it.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, NamedTuple

from mover.errors import Refused, TryAgain
from mover.image.former import FormerDisk
from mover.image.qcow2 import parse_header
from mover.image.qcow2_writer import Backing, write_empty
from mover.image.regular import open_regular
from mover.replica.replica import Replica, sync_dir
from mover.replica.state import DISK, backing_of, chain, former_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\Z")
DISK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
PASSABLE = 0o711        # QEMU, which is not root, may pass through to a file whose name it knows


class Layer(NamedTuple):
    """One file of a backing chain, by the words of libvirt's XML."""

    path: str
    format: str


def pool_of(root: str) -> str:
    """Return the folder of the pool that holds a replica, which is POOL/STORE/UUID."""
    return os.path.dirname(os.path.dirname(root))


def overlay_paths(root: str, name: str, targets: List[str], epoch: int) -> Dict[str, str]:
    """Return the overlay of each disk of a VM."""
    if not NAME.match(name):
        raise Refused("%r cannot begin the name of a file: rename the VM" % name)
    return {target: os.path.join(pool_of(root), "%s%s.fo-%d.qcow2" % (
        name, "-" + target if number else "", epoch)) for number, target in
        enumerate(sorted(targets))}


def layers_of(replica: Replica, disk: str, sequence: int) -> List[Layer]:
    """Return the files of a disk at a point, uppermost first, with what a former disk lies on."""
    found: List[Layer] = []
    for file in reversed(chain(replica.state, disk, sequence)):
        if file.kind == DISK:
            with FormerDisk(*former_of(file)) as former:
                found += [Layer(*name) for name in former.names()]
        else:
            found.append(Layer(replica.path(disk, file.name), backing_of(file)[1]))
    return found


def make_overlay(replica: Replica, disk: str, sequence: int, path: str) -> List[Layer]:
    """Make the overlay of a disk, if it is not there; return its backing chain."""
    layers = layers_of(replica, disk, sequence)
    size_bytes = chain(replica.state, disk, sequence)[-1].size_bytes
    if not is_overlay_over(path, layers[0]):
        part = path + ".part"
        fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            write_empty(fd, size_bytes, Backing(layers[0].path, layers[0].format))
            os.link(part, path)
        except FileExistsError:
            raise TryAgain("%s has appeared meanwhile: it is looked at again" % path) from None
        finally:
            os.close(fd)
            os.unlink(part)
        sync_dir(os.path.dirname(path))
    return layers


def is_overlay_over(path: str, below: Layer) -> bool:
    """
    Return whether the overlay is there; False where nothing has its name.

    Errors: Refused where another file has it.
    """
    try:
        fd = open_regular(path)
    except FileNotFoundError:
        return False
    try:
        header = parse_header(os.pread(fd, 4096, 0), path)
    finally:
        os.close(fd)
    held = os.path.realpath(os.path.join(os.path.dirname(path), header.backing))
    if held != os.path.realpath(below.path) or header.backing_format != below.format:
        raise Refused("%s is there already and lies over %s, not over %s: it is never overwritten,"
                      " so move it away" % (path, header.backing or "nothing", below.path))
    return True


def make_passable(replica: Replica, disks: List[str]) -> None:
    """Let QEMU pass through the folders of a replica to the files of these disks."""
    folders = [os.path.dirname(replica.root), replica.root, *map(replica.disk_dir, disks)]
    for folder in folders:
        mode = os.stat(folder).st_mode & 0o777
        if mode | PASSABLE != mode:
            os.chmod(folder, mode | PASSABLE)
