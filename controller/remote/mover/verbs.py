"""Every verb and the function that implements it, imported when called: (words) -> the answer."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional, Type

from mover.errors import MoverError, Refused

Answer = Optional[Dict[str, Any]]       # None: the verb has written its output itself
Verb = Callable[[List[str]], Answer]

VERBS = {
    "probe": "mover.transfer.probe:run",        # what this host can compute
    "send": "mover.transfer.send:run",          # the source end
    "receive": "mover.replica.receive:run",     # the target end
    "job": "mover.backup.conductor:run",        # opens and closes the copies of a VM
    "authorize": "mover.transfer.authorize:run",    # a key for one transfer
    "deauthorize": "mover.transfer.authorize:end",
    "attend": "mover.session:run",              # several requests, one after another
    "sweep": "mover.drill.sweep:run",           # what a crash of ours has left on this host
    "replica-make": "mover.replica.verbs:make",
    "replica-show": "mover.replica.verbs:show",
    "incoming-open": "mover.replica.verbs:open_incoming",
    "incoming-drop": "mover.replica.verbs:drop_incoming",
    "incoming-settle": "mover.replica.settle:run",      # re-read what was received
    "publish": "mover.replica.publish:run",     # received data becomes a restore point
    "remove": "mover.replica.remove:run",       # a replica that another has replaced
    "pin": "mover.failover.pin:run",
    "promote": "mover.failover.promote:run",    # a restore point becomes the VM
    "launch": "mover.failover.launch:run",        # promoted VMs are defined, and started
    "drill": "mover.drill.conductor:run",       # a restore point is started, judged and taken away
    "demote": "mover.failover.demote:run",      # a promotion that never ran is taken back
    "memory-out": "mover.failover.memory:out",  # what libvirt saved of a guest goes along
    "memory-in": "mover.failover.memory:into",
    "memory-show": "mover.failover.memory:show",
    "memory-put": "mover.failover.memory:put",
    "adopt": "mover.failover.adopt:run",        # a VM's former disks become a replica
    "release": "mover.failover.release:run",    # what is kept of them beside is let go
    "retire": "mover.replica.retire:run",       # retention
    "verify": "mover.replica.scrub:run",
    "manifest-out": "mover.replica.verbs:manifest_out",
    "manifest-in": "mover.replica.verbs:manifest_in",
}
PROMPT = ("job", "authorize", "deauthorize", "probe", "promote", "launch", "demote",
          "memory-out", "memory-in", "memory-show", "memory-put")
"""A guest or the controller waits for them."""
GIVES_WAY = 10          # niceness of all others: guests come first
SWITCH_S = 0.0005       # C code does the work: a thread that returns from it has little to do
AUTOGROUP = "/proc/self/autogroup"


def verb(name: str) -> Verb:
    """Return the function behind a verb."""
    if name not in VERBS:
        raise Refused("there is no verb %r: use one of %s" % (name, ", ".join(sorted(VERBS))))
    module, _, function = VERBS[name].partition(":")
    found: Verb = getattr(importlib.import_module(module), function)
    return found


def say(line: Dict[str, Any], fd: int) -> None:
    """Write one JSON line in one piece."""
    os.write(fd, json.dumps(line, sort_keys=True).encode() + b"\n")


def main(argv: List[str]) -> int:
    """Run the verb `argv[0]`: answer on stdout, error on stderr; return the exit status."""
    sys.excepthook = _crash
    sys.setswitchinterval(SWITCH_S)
    try:
        if argv and argv[0] not in PROMPT:
            give_way()
        answer = verb(argv[0] if argv else "")(argv[1:])
        if answer is not None:
            say(answer, sys.stdout.fileno())
    except MoverError as error:
        return fail(error)
    except OSError as error:
        return fail(from_system(error))
    return 0


def give_way() -> None:
    """
    Lower this process's priority below that of guests; ssh, started from here, inherits it.

    With autogroups the kernel compares niceness only within a session: then that of the session,
    which sshd began for us, is lowered, too. Source: sched(7), the autogroup feature.
    """
    os.nice(max(0, GIVES_WAY - os.nice(0)))
    if os.getsid(0) in (os.getpid(), os.getppid()):
        with contextlib.suppress(OSError), open(AUTOGROUP, "w", encoding="ascii") as file:
            file.write(str(GIVES_WAY))


def from_system(error: OSError) -> MoverError:
    """Return the error of a verb that a system call ended; its outcome is unknown."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MoverError("no room is left on its disk: free some there")
    return MoverError("%s: %s" % (error.filename or "the system", error.strerror))


def peak_bytes() -> int:
    """Return the peak memory of this mover in bytes; getrusage would count its parent's."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def fail(error: MoverError) -> int:
    """Write an error to stderr and return its exit status."""
    with contextlib.suppress(OSError):      # without a reader the exit status is left
        say({"error": error.name, "sentence": str(error)}, sys.stderr.fileno())
    return error.status


def _crash(kind: Type[BaseException], error: BaseException, trace: Any) -> None:
    traceback.print_exception(kind, error, trace)
    os._exit(fail(MoverError("the mover broke: %s: %s" % (kind.__name__, error))))
