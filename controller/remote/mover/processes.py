"""The processes of this host, by their command lines."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Dict, List

EXEC_LOOKS = 5


def words_of(pid: str) -> List[str]:
    """Return the arguments of a process; empty for a thread of the kernel, which has no program."""
    for _ in range(EXEC_LOOKS):
        with open("/proc/%s/cmdline" % pid, "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
        if words or not os.readlink("/proc/%s/exe" % pid):
            break
        time.sleep(0.01)    # execve() shows a new program for an instant before its arguments
    return words


def started_with() -> Dict[int, List[str]]:
    """Return the arguments of all processes, by process."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):      # it has ended, or is the kernel's own
            found[int(pid)] = words_of(pid)
    return found


def senders(uuid: str) -> List[int]:
    """Return the movers of ours that send a VM's disks: `…/mover-….pyz send UUID`."""
    return [pid for pid, words in started_with().items()
            if words[-2:] == ["send", uuid] and any(
                os.path.basename(word).startswith("mover-") for word in words)]


def receivers(root: str) -> List[int]:
    """Return the movers that receive for a replica: `…mover… receive ROOT`."""
    return [pid for pid, words in started_with().items()
            if len(words) > 2 and words[-2] == "receive" and os.path.abspath(words[-1]) == root
            and any(os.path.basename(word).startswith("mover") for word in words[:-2])]


def movers_at(path: str) -> List[int]:
    """Return the other movers that have a file open."""
    found = []
    for pid, words in started_with().items():
        if pid == os.getpid() or not any(os.path.basename(word).startswith("mover")
                                         for word in words):
            continue
        with contextlib.suppress(OSError):      # it has ended
            for number in os.listdir("/proc/%d/fd" % pid):
                if os.readlink("/proc/%d/fd/%s" % (pid, number)) == path:
                    found.append(pid)
                    break
    return found


def end(movers: List[int]) -> None:
    """Ask movers of ours to end: each of them may be killed anywhere."""
    for pid in movers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def is_at_work(command: str, uuid: str) -> bool:
    """Return whether any virsh on this host still waits for libvirt to execute a command."""
    return any((command, uuid) in zip(words, words[1:]) and any(
        os.path.basename(word) == "virsh" for word in words)
        for words in started_with().values())
