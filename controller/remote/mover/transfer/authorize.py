"""
Let one other host deliver one transfer: a line in authorized_keys that can do nothing else.

The key is good for one command, from one address, until one moment, and is taken out again when
the transfer is over, or by the next for the same command: one conducts it at a time, so an older
key is of a conductor that is gone. A line is ours by its mark, the comment at its end. All other
lines are other people's, see shared_lines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from typing import Any, Dict, Iterator, List

from mover.errors import Refused, TryAgain
from mover.requests import Orders
from mover.transfer import shared_lines
from mover.transfer.keys_file import ANY, FOLDER, keys_path, render_end

MARK = re.compile(r"hotsite-transfer-[0-9a-f]{8,32}\Z")
KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+\Z")
LOCK = "authorized_keys.lock"
PATIENCE_S = 10.0
FILES_NOTED, MOST_NOTED = 4, 4 * 4097
ADDRESS = re.compile(r"[0-9A-Fa-f:.%a-z-]+\Z")


def run(words: List[str]) -> Dict[str, Any]:
    """Add {"key", "from", "command", "lasts_s", "mark"} for the account that asks."""
    request = Orders().request
    line = render_line(request, time.time())
    with _held(keys_path(str(request["from"]))) as path:
        shared_lines.take_out(path, lambda old: is_ours(old) and _command(old) == _command(line))
        shared_lines.add(path, line)
    return {"authorized": request["mark"]}


def end(words: List[str]) -> Dict[str, Any]:
    """Take out the line with {"mark"}; that it is not there is well, too."""
    mark = _mark(Orders().request)
    return {"deauthorized": mark, "was_there": remove_key(mark)}


def remove_key(mark: str) -> int:
    """Take out every line with a mark and return how many there were."""
    if not MARK.match(mark):
        raise Refused("%r is not the mark of a transfer" % mark)
    with _held(keys_path(ANY)) as path:
        return sum(shared_lines.take_out(
            one, lambda line: is_ours(line) and line.split()[-1] == mark)
            for one in {path, *map(os.path.realpath, noted_paths())})


def is_ours(line: str) -> bool:
    """Return whether a line of authorized_keys is one of these."""
    return line.startswith("restrict,") and bool(MARK.match((line.split() or [""])[-1]))


def _command(line: str) -> str:
    """Return what the key of one of our lines may run, up to the key itself."""
    return line.split('command="', 1)[-1].rsplit('" ', 1)[0]


def render_line(request: Dict[str, Any], now_s: float) -> str:
    """Return the line of authorized_keys."""
    key, address = str(request["key"]), str(request["from"])
    command = str(request["command"])
    if not KEY.match(key) or not ADDRESS.match(address) or not command.isprintable():
        raise Refused("the key, its address or its command cannot be written into one line")
    return 'restrict,from="%s",expiry-time="%s",command="%s" %s %s' % (
        address, render_end(now_s + float(request["lasts_s"])), command.replace('"', '\\"'), key,
        _mark(request))


def _mark(request: Dict[str, Any]) -> str:
    mark = str(request["mark"])
    if not MARK.match(mark):
        raise Refused("%r is not the mark of a transfer" % mark)
    return mark


@contextlib.contextmanager
def _held(path: str) -> Iterator[str]:
    """Hold the file against other movers; trouble with it is told, and nothing was let in."""
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(FOLDER, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(fd)
            _note(fd, path)
            yield os.path.realpath(path)
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused("%s cannot be written to: %s" % (path, error.strerror)) from None


def _lock(fd: int) -> None:
    """Wait for other movers, each of which takes an instant."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise TryAgain("another mover has held the file of keys for %g s" % PATIENCE_S
                               ) from None
        time.sleep(0.01)


def _note(fd: int, path: str) -> None:
    """Write down which files it is, for whoever looks for keys that were left behind."""
    known = _lines_of(os.pread(fd, MOST_NOTED, 0))
    if path not in known:
        noted = "\n".join([path, *known][:FILES_NOTED]).encode(errors="surrogateescape")
        os.ftruncate(fd, 0)
        os.pwrite(fd, noted, 0)


def noted_paths() -> List[str]:
    """Return the files in which there are keys, or were."""
    try:
        with open(os.path.join(FOLDER, LOCK), "rb") as file:
            return _lines_of(file.read(MOST_NOTED))
    except FileNotFoundError:
        return []


def _lines_of(text: bytes) -> List[str]:
    return [os.fsdecode(line) for line in text.split(b"\n") if line]
