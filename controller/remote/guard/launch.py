"""
Start a guard or a grantor so that it outlives whoever starts it.

With systemd each is a unit of its own, which is ended after everything else at a shutdown. It
forks, and no process of the two is the main one: the unit lives as long as any of them. A newer one
is another unit, since both run until the newer one guards. Elsewhere it is a session of its
own.

Either way the starter waits until the new one guards, or listens, or says that it cannot.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
from typing import Callable, List

from guard.errors import GuardError, TryAgain

SYSTEMD = "/run/systemd/system"
START_S = 20.0
PYTHON = ("-X", "utf8", "-I", "-S")
PROPERTIES = ("Type=forking", "GuessMainPID=no", "OOMScoreAdjust=-1000", "LimitMEMLOCK=infinity",
              "DefaultDependencies=no", "TimeoutStartSec=%d" % START_S, "TimeoutStopSec=5")

CURRENT, FUTURE = 1, 2      # flags of mlockall(2)
PRIORITY = 50
_libc = ctypes.CDLL(None, use_errno=True)


def detach(folder: str, name: str, live: "Callable[[int], None]") -> None:
    """Run `live(ready)` in a process of its own; return once it wrote `1` to `ready`."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    reading, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            _run(folder, name, live, reading, ready)
        os._exit(0)
    os.close(ready)
    os.waitpid(child, 0)
    said = os.read(reading, 1)
    os.close(reading)
    if said != b"1":
        raise TryAgain(_complaint(folder, name))


def _run(folder: str, name: str, live: "Callable[[int], None]", reading: int,
         ready: int) -> None:
    status = 1
    try:
        os.close(reading)
        os.umask(0o077)
        ignore_signals()
        close_inherited()
        _say(folder, name, "it was never granted, and the one before it goes on")
        live(ready)
        status = 0
    except (GuardError, OSError) as error:      # nobody is left to raise it to
        _say(folder, name, str(error))
    finally:
        os._exit(status)


def _say(folder: str, name: str, sentence: str) -> None:
    """Write down why it ended, should it end before it is ready."""
    with contextlib.suppress(OSError), open(os.path.join(folder, "%s.why" % name), "w",
                                            encoding="utf-8") as file:
        file.write(sentence)


def _complaint(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, "%s.why" % name), encoding="utf-8") as file:
            return "the %s did not start: %s" % (name, file.read(1000))
    except OSError:
        return "the %s did not start, and could not say why" % name


def unit_argv(name: str, unit: str, words: "List[str]") -> "List[str]":
    """Return the command that starts this program as a unit of systemd, and waits until it is up.
    """
    argv = ["systemd-run", "--quiet", "--collect", "--unit=%s" % unit,
            "--description=hotsite's %s" % name]
    argv += ["--property=%s" % one for one in PROPERTIES]
    return [*argv, sys.executable, *PYTHON, os.path.abspath(sys.argv[0]), *words]


def start(folder: str, name: str, words: "List[str]", unit: str) -> None:
    """Start this program with `words`, as a unit where there is systemd."""
    argv = [sys.executable, *PYTHON, os.path.abspath(sys.argv[0]), *words]
    if os.path.isdir(SYSTEMD):
        argv = unit_argv(name, unit, words)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=START_S + 10, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise TryAgain(lines[-1] if lines else _complaint(folder, name))


def stay_in_memory() -> None:
    """
    Keep this process in memory, scheduled first and safe from the OOM killer, as far as it may.

    Each process asks for itself: a fork inherits no locked memory. Where the system refuses
    (a cgroup without real-time share), the guard is a little later, which `tick` allows for.
    """
    with contextlib.suppress(OSError, ValueError):      # a pidfd for each guest
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _libc.mlockall(CURRENT | FUTURE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w",
                                            encoding="ascii") as file:
        file.write("-1000")


def ignore_signals() -> None:
    """Outlive the session that it was started from, and those who end processes in good order."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)       # the kernel reaps


def close_inherited() -> None:
    """Let go of the terminal or connection that it was started from."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    if nothing > 2:
        os.close(nothing)
