"""
The memory of a guest goes along with it: what libvirt saved of it, from one host to another.

    memory-out    source: send the image that libvirt keeps of a VM that it has saved
    memory-in     target: take it, beside the replica; whole, or it is not there
    memory-show   target: the definition inside it
    memory-put    target: give it the definition of the VM there, and leave it to libvirt

While a VM is saved, libvirt goes on with it from the image at any start, whoever asks for that; and
it deletes the image only once the guest runs. So each copy of the image is good on its host, and
the one at the source stays until the guest runs at the target. What is sent is the file as it is:
its length first, then its bytes, then their hash.

A mover may go on after the controller that asked it for that has died. What it brings is of another
moment than what the next attempt saves: so that ends it, and `demote` drops what it has brought.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from typing import Any, BinaryIO, Dict, Iterator, List

from mover.backup.virsh import VirshError, answers
from mover.errors import MoverError, Refused, TryAgain
from mover.processes import end, movers_at
from mover.replica.replica import sync_dir
from mover.requests import Requests
from mover.transfer.receivers import open_receivers
from mover.verbs import say

SAVES = "/var/lib/libvirt/qemu/save"        # libvirt looks there, and nowhere else
NAME = "memory"                             # beside the replica's state
MAGIC = b"hotsite-memory-1 "
MOST_HEAD_BYTES = 64
PIECE_BYTES = 1 << 20
ANSWER_S = 600.0
VIRSH_S = 60.0
ENDING_S = 10.0         # for a mover to end after SIGTERM


def out(words: List[str]) -> None:
    """Send the image of {"uuid"} to {"to"}, see receivers.open_receivers."""
    request = Requests().request
    path = saved_path(str(request["uuid"]))
    with contextlib.ExitStack() as stack:
        receivers = open_receivers(request["to"])
        stack.callback(receivers.abort)
        fd = 2 if 1 in request["to"].get("fds", ()) else 1
        try:
            with open(path, "rb") as image:
                size_bytes = os.fstat(image.fileno()).st_size
                _write(receivers.fds[0], MAGIC + b"%d\n" % size_bytes)
                digest = _copy(image, receivers.fds[0], size_bytes)
            _write(receivers.fds[0], digest)
        except BrokenPipeError:
            raise receivers.complaint(TryAgain("the other end closed the stream")) from None
        except MoverError as error:
            raise receivers.complaint(error) from None
        receivers.finish(ANSWER_S)
        say({"sent": size_bytes}, fd)


def into(words: List[str]) -> Dict[str, Any]:
    """Take an image from stdin for the replica in `words`."""
    if len(words) != 1:
        raise Refused("memory-in wants one word: the folder of the replica")
    root = os.path.abspath(words[0])
    if not os.path.isfile(os.path.join(root, "state.json")):
        raise Refused("%s holds no replica" % root)
    say({"ready": True}, 1)
    path = os.path.join(root, NAME)
    part = path + ".part"
    with os.fdopen(os.dup(0), "rb", buffering=PIECE_BYTES) as stream:
        size_bytes = _size(stream.readline(MOST_HEAD_BYTES))
        _end_older(part)
        fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            digest = _copy(stream, fd, size_bytes)
            if stream.read(len(digest)) != digest:
                raise TryAgain("the memory that was received is not what was sent")
            os.fsync(fd)
            os.rename(part, path)
        finally:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
    sync_dir(root)
    return {"received": size_bytes}


def show(words: List[str]) -> Dict[str, Any]:
    """Return the definition inside the image that is beside {"replica"}."""
    path = os.path.join(os.path.abspath(str(Requests().request["replica"])), NAME)
    return {"xml": _virsh("save-image-dumpxml", "--security-info", path)}


def put(words: List[str]) -> Dict[str, Any]:
    """Leave the image beside {"replica"} to libvirt for {"domain"}, with the definition {"xml"}."""
    request = Requests().request
    name = str(request["domain"])
    if "/" in name or name.startswith("-") or not name:
        raise Refused("%r cannot be the name of a file" % name)
    root = os.path.abspath(str(request["replica"]))
    path, place = os.path.join(root, NAME), os.path.join(SAVES, name + ".save")
    _virsh("save-image-define", path, "/dev/stdin", "--running", text=str(request["xml"]))
    os.makedirs(SAVES, mode=0o755, exist_ok=True)
    try:
        os.rename(path, place)
    except OSError:                 # another file system
        part = place + ".part"
        with open(path, "rb") as image:
            fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                _copy(image, fd, os.fstat(image.fileno()).st_size)
                os.fsync(fd)
                os.rename(part, place)
            finally:
                os.close(fd)
        os.unlink(path)
    sync_dir(SAVES)
    return {"put": place}


def forget(uuid: str, name: str) -> None:
    """Delete what libvirt here would go on from, if it is of that VM: an attempt of ours left it.
    """
    path = os.path.join(SAVES, name + ".save")
    if "/" in name or not os.path.exists(path):
        return
    if "<uuid>%s</uuid>" % uuid in _virsh("save-image-dumpxml", path):
        os.unlink(path)
        sync_dir(SAVES)


def drop(root: str) -> None:
    """Delete what an earlier attempt brought beside a replica, whole or not."""
    path = os.path.join(root, NAME)
    _end_older(path + ".part")
    for one in (path, path + ".part"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(one)


def _end_older(part: str) -> None:
    """End the movers that still write it: two would mix the memory of two moments."""
    until = time.monotonic() + ENDING_S
    older = movers_at(os.path.realpath(part))
    while older:
        if time.monotonic() >= until:
            raise TryAgain("process %d still writes %s, and does not end" % (older[0], part))
        end(older)
        time.sleep(0.05)
        older = movers_at(os.path.realpath(part))


def saved_path(uuid: str) -> str:
    """Return the image that libvirt keeps of a VM; Refused where it keeps none."""
    try:
        (name, state), errors = answers("domname " + uuid, "domstate " + uuid)
    except VirshError as error:
        raise TryAgain("libvirt does not say whether the VM is saved: %s" % error) from None
    path = os.path.join(SAVES, name.strip() + ".save")
    if state.strip() != "shut off" or not os.path.isfile(path):
        raise Refused("it is not saved but %s%s" % (state.strip() or "not seen", errors and (
            " (%s)" % errors)))
    return path


def _size(head: bytes) -> int:
    number = head[len(MAGIC):].strip()
    if not head.startswith(MAGIC) or not head.endswith(b"\n") or not number.isdigit():
        raise TryAgain("the stream does not begin as one of ours")
    return int(number)


def _copy(source: BinaryIO, fd: int, size_bytes: int) -> bytes:
    """Copy so many bytes and return their hash."""
    hasher = hashlib.sha256()
    for piece in _pieces(source, size_bytes):
        hasher.update(piece)
        _write(fd, piece)
    return hasher.digest()


def _pieces(source: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        piece = source.read(min(PIECE_BYTES, left))
        if not piece:
            raise TryAgain("the stream ended %d bytes early" % left)
        left -= len(piece)
        yield piece


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def _virsh(*words: str, text: str = "") -> str:
    """Return what virsh prints; Refused with its complaint."""
    try:
        done = subprocess.run(("virsh", "-q", "-c", "qemu:///system", *words), check=False,
                              input=text, capture_output=True, text=True, timeout=VIRSH_S,
                              env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TryAgain("virsh did not answer: %s" % error) from None
    if done.returncode:
        raise Refused("libvirt: %s" % " ".join(done.stderr.replace("error: ", "").split()))
    return done.stdout
