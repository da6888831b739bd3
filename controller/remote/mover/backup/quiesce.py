"""
Hold a guest's file systems still for the instant of a copy, and never longer than seconds.

Before the guest is frozen a process of its own stands by, which thaws it when the time is up or
when whoever froze it is gone, whatever else becomes of the host's processes. It goes on until the
guest has surely been thawed, and no guest is frozen anew before that.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import Iterator, Optional

from mover.backup import offline
from mover.backup.virsh import GONE, Unanswered, VirshError, virsh
from mover.errors import TryAgain
from mover.locks import take_lock
from mover.processes import is_at_work

AGENT_S = 5             # how long the agent may take for one answer
FROZEN_S = 8            # from before the freeze; with the thaw's own time less than 12
STUBBORN_S = 1800       # how long a thaw is tried
PAUSE_S = 1
REFUSED = "unable to execute QEMU agent command"    # by the agent itself: nothing was frozen


class Frozen:
    """Whether it worked, and why not."""

    quiesced = False
    why = ""


@contextlib.contextmanager
def frozen(uuid: str) -> Iterator[Frozen]:
    """Freeze a guest while the block lasts; a guest that cannot be frozen is copied as it is."""
    result = Frozen()
    with contextlib.ExitStack() as stack:
        try:
            virsh("guest-agent-timeout", uuid, "--timeout", str(AGENT_S))
            stack.enter_context(_held_still(uuid, result))
        except (VirshError, TryAgain) as error:
            result.why = str(error)
        yield result


@contextlib.contextmanager
def _held_still(uuid: str, result: Frozen) -> Iterator[None]:
    until = time.monotonic() + FROZEN_S
    alive = _stand_by(uuid)
    try:
        trouble = _freeze(uuid, result)
        try:
            yield
        finally:
            if result.quiesced and time.monotonic() > until:
                result.quiesced, result.why = False, "it took more than %g s" % FROZEN_S
            if _thaw(uuid, result, trouble):
                with contextlib.suppress(BrokenPipeError):      # it had done it before
                    os.write(alive, b"1")
    finally:
        os.close(alive)


def _freeze(uuid: str, result: Frozen) -> Optional[VirshError]:
    try:
        virsh("domfsfreeze", uuid, patience_s=FROZEN_S, leave=True)
        result.quiesced = True
        return None
    except VirshError as error:
        result.why = str(error)
        return error


def _thaw(uuid: str, result: Frozen, trouble: Optional[VirshError]) -> bool:
    """Thaw the guest and return whether it surely stays so, by what the freeze had ended with."""
    try:
        virsh("domfsthaw", uuid, patience_s=FROZEN_S)
        return not isinstance(trouble, Unanswered)
    except VirshError as error:
        # it may have been thawed by the one who stands by, and then it was not frozen
        result.quiesced, result.why = False, result.why or str(error)
        return trouble is not None and REFUSED in str(trouble)


def _stand_by(uuid: str) -> int:
    """Leave a process that thaws the guest unless the returned descriptor is written to in time."""
    turn = _turn(uuid)
    waiting, alive = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            try:
                _hold_only(turn, waiting)
                _thaw_in_time(uuid, waiting)
            finally:
                os._exit(0)
        os._exit(0)
    os.close(turn)
    os.close(waiting)
    os.waitpid(child, 0)
    return alive


def _turn(uuid: str) -> int:
    """Return the right to freeze a guest; TryAgain while one stands by from a time before."""
    os.makedirs(offline.FOLDER, mode=0o700, exist_ok=True)
    turn = os.open(os.path.join(offline.FOLDER, "freeze-%s.lock" % uuid),
                   os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        take_lock(turn, "as far as is known it has not been thawed since an earlier copy; that is"
                  " still being tried", patience_s=1)
    except TryAgain:
        os.close(turn)
        raise
    return turn


def _hold_only(*kept: int) -> None:
    """Close all other files: whoever waits for the end of their owners waits for nobody else."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):      # the folder's own is closed by now
                os.close(descriptor)


def _thaw_in_time(uuid: str, waiting: int) -> None:
    """Thaw the guest unless told in time that it is; a thaw may overtake the freeze it is for."""
    if _is_told(waiting, FROZEN_S):
        return
    until, in_a_row = time.monotonic() + STUBBORN_S, 0
    while in_a_row < 2 and time.monotonic() < until:
        may_come = is_at_work("domfsfreeze", uuid)
        try:
            virsh("domfsthaw", uuid, patience_s=FROZEN_S)
            in_a_row = 0 if may_come else in_a_row + 1
        except VirshError as error:
            in_a_row = 0
            if any(word in str(error) for word in GONE):
                return
        if _is_told(waiting, 0):
            return
        time.sleep(PAUSE_S)


def _is_told(waiting: int, patience_s: float) -> bool:
    ready = select.select([waiting], [], [], patience_s)[0]
    return bool(ready) and os.read(waiting, 1) == b"1"
