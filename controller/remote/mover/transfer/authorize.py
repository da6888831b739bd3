"""
Allow one other host one transfer: a one-time key in authorized_keys.

The key is good for one command, from one address, until one moment. It is removed when the transfer
is over, or by the next key for the same command: a replica has one controller at a time, so an
older key belongs to one that is gone. A line is ours by its mark, the comment at its end; all other
lines belong to other people, see shared_lines.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
from typing import Any, Dict, Iterator, List

from mover.errors import Refused
from mover.locks import take_lock
from mover.requests import Requests
from mover.transfer import shared_lines
from mover.transfer.keys_file import ANY, FOLDER, entry_of, keys_path, render_end

MARK = re.compile(r"hotsite-transfer-[0-9a-f]{8,32}\Z")
KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+\Z")
LOCK = "authorized_keys.lock"
PATIENCE_S = 10.0
FILES_NOTED, MOST_NOTED = 4, 4 * 4097
ADDRESS = re.compile(r"[0-9A-Fa-f:.%a-z-]+\Z")


def run(words: List[str]) -> Dict[str, Any]:
    """Add {"key", "from", "command", "lasts_s", "mark"}; for "account", else for this one."""
    request = Requests().request
    line, account = render_line(request, time.time()), str(request.get("account", ""))
    path = keys_path(str(request["from"]), account)
    if account:
        _prepare(path, entry_of(account))
    with _locked(path) as path:
        shared_lines.take_out(path, lambda old: is_ours(old) and _command(old) == _command(line))
        shared_lines.add(path, line)
    return {"authorized": request["mark"]}


def end(words: List[str]) -> Dict[str, Any]:
    """Remove the line with {"mark"}, if there is one."""
    mark = _mark(Requests().request)
    return {"deauthorized": mark, "was_there": remove_key(mark)}


def remove_key(mark: str) -> int:
    """Remove every line with a mark and return how many there were."""
    if not MARK.match(mark):
        raise Refused("%r is not the mark of a transfer" % mark)
    with _locked(keys_path(ANY)) as path:
        return sum(shared_lines.take_out(
            one, lambda line: is_ours(line) and line.split()[-1] == mark)
            for one in {path, *map(os.path.realpath, noted_paths())})


def is_ours(line: str) -> bool:
    """Return whether a line of authorized_keys is one of ours."""
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


def _prepare(path: str, account: pwd.struct_passwd) -> None:
    """Make the file of keys in an account's home, its own, if it is not there."""
    if os.path.exists(path) or not path.startswith(os.path.join(account.pw_dir, "")):
        return
    try:
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
            os.chown(folder, account.pw_uid, account.pw_gid)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchown(fd, account.pw_uid, account.pw_gid)
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused("%s cannot be made: %s" % (path, error.strerror)) from None


@contextlib.contextmanager
def _locked(path: str) -> Iterator[str]:
    """Lock the file against other movers; Refused if it cannot be written, and no key was added."""
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(FOLDER, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            take_lock(fd, "another mover has held the file of keys for %g s" % PATIENCE_S,
                      patience_s=PATIENCE_S)
            # the lock file notes which files had keys: the facts script looks there for leftovers
            known = _lines_of(os.pread(fd, MOST_NOTED, 0))
            if path not in known:
                noted = "\n".join([path, *known][:FILES_NOTED]).encode(errors="surrogateescape")
                os.ftruncate(fd, 0)
                os.pwrite(fd, noted, 0)
            yield os.path.realpath(path)
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused("%s cannot be written to: %s" % (path, error.strerror)) from None


def noted_paths() -> List[str]:
    """Return the files of keys that we have written to."""
    try:
        with open(os.path.join(FOLDER, LOCK), "rb") as file:
            return _lines_of(file.read(MOST_NOTED))
    except FileNotFoundError:
        return []


def _lines_of(text: bytes) -> List[str]:
    return [os.fsdecode(line) for line in text.split(b"\n") if line]
