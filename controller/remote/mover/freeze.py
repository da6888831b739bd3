"""
Hold a guest's file systems still for the instant of a copy, and never longer than seconds.

Before the guest is frozen a process of its own stands by, which thaws it when the time is up or
when whoever froze it is gone, whatever else becomes of the host's processes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Iterator

from mover.virsh import VirshError, virsh

AGENT_S = 5             # how long the agent may take for one answer
FROZEN_S = 8            # from before the freeze; with the thaw's own time less than 12


class Frozen:
    """Whether it worked, and why not."""

    quiesced = False
    why = ""


@contextlib.contextmanager
def frozen(uuid: str) -> Iterator[Frozen]:
    """Freeze a guest while the block lasts; a guest that cannot be frozen is copied as it is."""
    result = Frozen()
    alive = _stand_by(uuid)
    try:
        try:
            virsh("guest-agent-timeout", uuid, "--timeout", str(AGENT_S))
            virsh("domfsfreeze", uuid, patience_s=FROZEN_S)
            result.quiesced = True
        except VirshError as error:
            result.why = str(error)
        yield result
    finally:
        try:
            virsh("domfsthaw", uuid, patience_s=FROZEN_S)
            os.write(alive, b"1")
        except VirshError as error:
            # it may have been thawed by the one who stands by, and then it was not frozen
            result.quiesced, result.why = False, result.why or str(error)
        finally:
            os.close(alive)


def _stand_by(uuid: str) -> int:
    """Leave a process that thaws the guest unless the returned descriptor is written to in time."""
    waiting, alive = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            os.close(alive)
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            try:
                _thaw_in_time(uuid, waiting)
            finally:
                os._exit(0)
        os._exit(0)
    os.close(waiting)
    os.waitpid(child, 0)
    return alive


def _thaw_in_time(uuid: str, waiting: int) -> None:
    ready = select.select([waiting], [], [], FROZEN_S)[0]
    if ready and os.read(waiting, 1) == b"1":
        return
    for _ in range(3):
        with contextlib.suppress(VirshError):
            virsh("domfsthaw", uuid, patience_s=FROZEN_S)
            return
