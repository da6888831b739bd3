"""
Remove a replica, unless somebody uses its files; and find out who does.

A person may start a guest from a replica, on a point or on an overlay over it, or serve or mount a
point to fetch a file. What they read must stay.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import struct
from typing import Any, Dict, FrozenSet, Iterator, List, Optional

from mover.errors import Refused
from mover.replica import generations
from mover.replica.replica import lock, sync_dir
from mover.replica.state import require_epoch
from mover.requests import Requests

QEMU = ("qemu-system", "qemu-kvm", "kvm", "qemu-nbd", "qemu-storage-da", "nbdkit")
"""How the name of a process that runs a guest, or serves a disk, begins."""
HEAD = struct.Struct(">4sIQI")      # qcow2: magic, version, offset and length of the backing name
NAME_MOST_BYTES = 1023              # QEMU refuses a longer one


def user_of(root: str, but: FrozenSet[str] = frozenset()) -> Optional[str]:
    """
    Return who uses the files of a replica as a disk; None when nobody does.

    `but`: images that may lie over it, since the replica itself is built on them.
    """
    here = os.path.realpath(root) + os.sep
    for user in process_using(here):
        return user
    for loop in glob.glob("/sys/block/loop*/loop/backing_file"):
        with contextlib.suppress(OSError), open(loop, encoding="utf-8", errors="replace") as file:
            if file.read().strip().startswith(here):
                return "%s, whose contents it is" % loop.split("/")[3]
    pool = os.path.dirname(os.path.dirname(os.path.realpath(root)))
    own = {os.path.realpath(image) for image in but}
    with os.scandir(pool) as entries:       # an overlay over a point lies beside the replicas
        images = sorted(entry.path for entry in entries if entry.is_file()
                        and os.path.realpath(entry.path) not in own)
    for image in images:
        backing = backing_of(image)
        if backing is not None and os.path.realpath(
                os.path.join(os.path.dirname(image), backing)).startswith(here):
            return "%s, which lies over it" % image
    return None


def process_using(here: str) -> Iterator[str]:
    """Yield each process that has a file open, as a disk, whose path begins so."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        user = _process_using(pid, here)
        if user is not None:
            yield user


def _process_using(pid: str, here: str) -> Optional[str]:
    try:
        with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
        if not name.startswith(QEMU):
            return None
        numbers = os.listdir("/proc/%s/fd" % pid)
    except OSError:
        return None     # it ended meanwhile
    for number in numbers:
        with contextlib.suppress(OSError):      # closed meanwhile: the others are looked at
            if os.readlink("/proc/%s/fd/%s" % (pid, number)).startswith(here):
                return "process %s (%s), which has it open" % (pid, name)
    return None



def backing_of(image: str) -> Optional[str]:
    """Return the name of the file below a qcow2 image; None where there is none."""
    with open(image, "rb") as file:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        magic, _version, at, length = HEAD.unpack(head)
        if magic != b"QFI\xfb" or not at or length > NAME_MOST_BYTES:
            return None
        file.seek(at)
        name = os.fsdecode(file.read(length))
        return name[len("file:"):] if name.startswith("file:") else name


def run(words: List[str]) -> Dict[str, Any]:
    """
    Remove the folder of the request {"replica", "store", "uuid", "epoch"}: it must be STORE/UUID.

    Errors: Refused for another folder, one in use or with a pin; TryAgain while its lock is held.
    """
    request = Requests().request
    root, store, uuid = (str(request[word]) for word in ("replica", "store", "uuid"))
    parts = os.path.normpath(root).split(os.sep)
    if not os.path.isabs(root) or not uuid or parts[-2:] != [store, uuid]:
        raise Refused("%s is not where replicas are kept" % root)
    if not os.path.isdir(root):
        return {"removed": False}
    with lock(root):
        user = user_of(root)
        if user is not None:
            raise Refused("%s is in use by %s: end that first" % (root, user))
        if generations.is_there(root):
            state = generations.newest(root).state
            require_epoch(state, request.get("epoch"))
            if state.pins:
                raise Refused("%s has restore points that are pinned by %s: unpin them first"
                              % (root, ", ".join(sorted(state.pins))))
        generations.forget(root)        # first, so that a crash leaves no replica
        sync_dir(root)
        shutil.rmtree(root)
    sync_dir(os.path.dirname(root))
    return {"removed": True}
