"""
Let one other host deliver one transfer: a line in authorized_keys that can do nothing else.

The key is good for one command, from one address, until one moment, and is taken out again when
the transfer is over, or by the next for the same command: one conducts it at a time, so an older
key is of a conductor that is gone. A line is ours by its mark, the comment at its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from typing import Any, Callable, Dict, Iterator, List

from mover.errors import Refused
from mover.orders import Orders

MARK = re.compile(r"hotsite-transfer-[0-9a-f]{8,32}\Z")
KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+\Z")
ADDRESS = re.compile(r"[0-9A-Fa-f:.%a-z-]+\Z")
FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")


def run(words: List[str]) -> Dict[str, Any]:
    """Add {"key", "from", "command", "lasts_s", "mark"} for the account that asks."""
    request = Orders().request
    line = render_line(request, time.time())
    with _held(keys_path()) as path:
        take_out(path, lambda old: _command(old) == _command(line))
        text = _read(path)
        gap = "" if not text or text.endswith("\n") else "\n"
        fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, (gap + line + "\n").encode())
        finally:
            os.close(fd)
    return {"authorized": request["mark"]}


def end(words: List[str]) -> Dict[str, Any]:
    """Take out the line with {"mark"}; that it is not there is well, too."""
    mark = _mark(Orders().request)
    return {"deauthorized": mark, "was_there": remove_key(mark)}


def remove_key(mark: str) -> int:
    """Take out every line with a mark and return how many there were."""
    if not MARK.match(mark):
        raise Refused("%r is not the mark of a transfer" % mark)
    with _held(keys_path()) as path:
        return take_out(path, lambda line: line.split()[-1] == mark)


def take_out(path: str, unwanted: Callable[[str], bool]) -> int:
    """Take out those of our lines that are unwanted and return how many there were."""
    lines = _read(path).splitlines(keepends=True)
    kept = [line for line in lines if not is_ours(line) or not unwanted(line)]
    if kept != lines:
        _replace(path, "".join(kept))
    return len(lines) - len(kept)


def is_ours(line: str) -> bool:
    """Return whether a line of authorized_keys is one of these."""
    return line.startswith("restrict,") and bool(MARK.match((line.split() or [""])[-1]))


def _command(line: str) -> str:
    """Return what the key of one of our lines may run, up to the key itself."""
    return line.split('command="', 1)[-1].rsplit('" ', 1)[0]


def render_line(request: Dict[str, Any], now_s: float) -> str:
    """Return the line of authorized_keys; sshd reads the moment in the host's own time."""
    key, address = str(request["key"]), str(request["from"])
    command = str(request["command"])
    if not KEY.match(key) or not ADDRESS.match(address) or "\n" in command:
        raise Refused("the key, its address or its command cannot be written into one line")
    until = time.strftime("%Y%m%d%H%M%S", time.localtime(now_s + float(request["lasts_s"])))
    return 'restrict,from="%s",expiry-time="%s",command="%s" %s %s' % (
        address, until, command.replace('"', '\\"'), key, _mark(request))


def _mark(request: Dict[str, Any]) -> str:
    mark = str(request["mark"])
    if not MARK.match(mark):
        raise Refused("%r is not the mark of a transfer" % mark)
    return mark


def keys_path() -> str:
    """Return the file of keys that may log in as this account."""
    return os.path.join(os.path.expanduser("~"), ".ssh", "authorized_keys")


@contextlib.contextmanager
def _held(path: str) -> Iterator[str]:
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(os.path.join(FOLDER, "authorized_keys.lock"),
                 os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield os.path.realpath(path)
    finally:
        os.close(fd)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _replace(path: str, text: str) -> None:
    """Replace the file by rename, with the owner and the mode that it had."""
    found = os.stat(path)
    new = path + ".hotsite-new"
    with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), found.st_mode & 0o777)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), found.st_uid, found.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
