"""
Remove what a crash of ours has left on this host, after checking again that it is ours and unused.

A conductor holds its VM's lock, so the sweep takes that lock before it touches anything of the VM,
and leaves everything alone while a conductor or its watchdog lives.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import time
from typing import Any, Callable, Dict, Iterator, List

from mover.backup.backup_job import SCRATCH, Job, end_job
from mover.backup.conductor import FOLDER, lock
from mover.backup.virsh import VirshError, has_process, job_of, scratch_of, socket_of
from mover.errors import Refused, TryAgain
from mover.processes import started_with
from mover.transfer.authorize import remove_key

SOCKET = "hotsite.sock"
ELSEWHERE_S = 86400.0   # a scratch file whose VM may run on another host that shares the folder
SCRATCH_FILE = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[\w.-]+\.qcow2\Z")
PROGRAM = re.compile(r"mover-[0-9a-f]{16}\.pyz\Z")


class Owned(Exception):
    """It is in use, or not surely ours: it stays, for the reason in the text."""


Sweepers = Dict[str, Callable[[str], object]]


def remove_all(leftovers: List[List[str]], sweepers: Sweepers) -> Dict[str, Any]:
    """Remove [[kind, name], …]; return the removed and, with reasons, the kept."""
    removed: List[str] = []
    kept: Dict[str, str] = {}
    for kind, name in leftovers:
        try:
            if str(kind) not in sweepers:
                raise Owned("this mover does not know how to remove it")
            sweepers[str(kind)](str(name))
            removed.append(str(name))
        except (Owned, Refused, TryAgain, VirshError) as why:
            kept[str(name)] = str(why)
    return {"removed": removed, "kept": kept}


def _job(uuid: str) -> None:
    """End a backup job of ours whose conductor is gone."""
    with _locked(uuid):
        running = job_of(uuid)
        socket = socket_of(running)
        if not running:
            return
        if os.path.basename(socket) != SOCKET:
            raise Owned("the job that runs is not ours")
        end_job(Job(uuid, socket, scratch_of(running)))


def _scratch(path: str) -> None:
    match = SCRATCH_FILE.match(os.path.basename(path))
    if match is None or os.path.basename(os.path.dirname(path)) != SCRATCH:
        raise Owned("it is not a scratch file of ours")
    with _locked(match[1]):
        if not _runs_here(match[1]):
            if _untouched_s(path) < ELSEWHERE_S:
                raise Owned("its VM does not run here and may run on another host")
        elif path in scratch_of(job_of(match[1])):
            raise Owned("a job uses it")
        _unlink(path)


def _runs_here(uuid: str) -> bool:
    try:
        return has_process(uuid)
    except VirshError as error:
        if "failed to get domain" in str(error):
            return False
        raise


def _untouched_s(path: str) -> float:
    with contextlib.suppress(FileNotFoundError):
        seen = os.stat(path)
        return time.time() - max(seen.st_mtime, seen.st_atime)
    return ELSEWHERE_S


def _socket(path: str) -> None:
    folder = os.path.basename(os.path.dirname(path))
    if os.path.basename(path) != SOCKET or not folder.startswith("domain-"):
        raise Owned("it is not a socket of ours")
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        if any(line.rstrip("\n").endswith(" " + path) for line in table):
            raise Owned("it is in use")
    _unlink(path)


def _program(path: str) -> None:
    if os.path.dirname(path) != FOLDER or not PROGRAM.match(os.path.basename(path)):
        raise Owned("it is not a mover")
    if any(path in words for words in started_with().values()):
        raise Owned("it is running")
    for compiled in glob.glob(glob.escape(path) + ".*"):
        _unlink(compiled)
    _unlink(path)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@contextlib.contextmanager
def _locked(uuid: str) -> Iterator[None]:
    held = lock(uuid)
    try:
        yield
    finally:
        os.close(held)


SWEEPERS: Sweepers = {
    "job": _job, "scratch": _scratch, "socket": _socket, "key": remove_key, "program": _program}
