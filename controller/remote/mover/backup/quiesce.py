"""
Freeze a guest's file systems while its backup job begins, and never for longer than seconds.

A guest that stays frozen is down, so nothing may prevent its thaw. The order:

    1. take freeze-UUID.lock   held as long as a thaw of this guest may be pending
    2. fork the thawer         a daemon that holds the lock and one end of a pipe, nothing else
    3. domfsfreeze             by the guest agent; refused or unanswered: copied unquiesced
    4. the block               backup-begin
    5. domfsthaw               by this process
    6. write 1 to the pipe     only if the guest surely stays thawed: the thawer leaves

The thawer acts when the pipe ends without a 1 (this process was killed), or after FROZEN_S. It
repeats the thaw until it has succeeded twice in a row with no domfsfreeze of this guest still at
work, since a freeze that libvirt answers late would come after its own thaw; until the VM is gone;
or for half an hour.

A freeze of which libvirt has said nothing in time counts as possible: the thawer stays for it. No
guest is frozen again while a thawer holds its lock; it is copied unquiesced, and the report says
why. A crash of the host leaves nothing: the guest is gone with it.
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
FROZEN_S = 8            # from before the freeze; with the thaw itself less than 12
STUBBORN_S = 1800       # how long the thawer tries
PAUSE_S = 1
REFUSED = "unable to execute QEMU agent command"    # by the agent itself: nothing was frozen


class Freeze:
    """Whether the guest was quiesced, and why not."""

    quiesced = False
    why = ""


@contextlib.contextmanager
def frozen(uuid: str) -> Iterator[Freeze]:
    """Freeze a guest while the block lasts; the block runs also where that is not possible."""
    result = Freeze()
    with contextlib.ExitStack() as stack:
        try:
            virsh("guest-agent-timeout", uuid, "--timeout", str(AGENT_S))
            stack.enter_context(_frozen(uuid, result))
        except (VirshError, TryAgain) as error:
            result.why = str(error)
        yield result


@contextlib.contextmanager
def _frozen(uuid: str, result: Freeze) -> Iterator[None]:
    until = time.monotonic() + FROZEN_S
    pipe = _start_thawer(uuid)
    try:
        error = _freeze(uuid, result)
        try:
            yield
        finally:
            if result.quiesced and time.monotonic() > until:
                result.quiesced, result.why = False, "it took more than %g s" % FROZEN_S
            if _thaw(uuid, result, error):
                with contextlib.suppress(BrokenPipeError):      # it has thawed, and left
                    os.write(pipe, b"1")
    finally:
        os.close(pipe)


def _freeze(uuid: str, result: Freeze) -> Optional[VirshError]:
    try:
        virsh("domfsfreeze", uuid, patience_s=FROZEN_S, leave=True)
        result.quiesced = True
        return None
    except VirshError as error:
        result.why = str(error)
        return error


def _thaw(uuid: str, result: Freeze, freeze_error: Optional[VirshError]) -> bool:
    """Thaw the guest; return whether it surely stays thawed, by how the freeze had ended."""
    try:
        virsh("domfsthaw", uuid, patience_s=FROZEN_S)
        return not isinstance(freeze_error, Unanswered)
    except VirshError as error:
        # the thawer may have thawed it during the block: then it was not quiesced
        result.quiesced, result.why = False, result.why or str(error)
        return freeze_error is not None and REFUSED in str(freeze_error)


def _start_thawer(uuid: str) -> int:
    """Fork a daemon that thaws the guest unless 1 is written to the returned pipe in time."""
    lock = _lock(uuid)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            try:
                _keep_only(lock, reading)
                _run_thawer(uuid, reading)
            finally:
                os._exit(0)
        os._exit(0)
    os.close(lock)
    os.close(reading)
    os.waitpid(child, 0)
    return writing


def _lock(uuid: str) -> int:
    """Take the guest's freeze lock; TryAgain while a thawer of an earlier copy holds it."""
    os.makedirs(offline.FOLDER, mode=0o700, exist_ok=True)
    fd = os.open(os.path.join(offline.FOLDER, "freeze-%s.lock" % uuid),
                 os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        take_lock(fd, "as far as is known it has not been thawed since an earlier copy; that is"
                  " still being tried", patience_s=1)
    except TryAgain:
        os.close(fd)
        raise
    return fd


def _keep_only(*kept: int) -> None:
    """Close all other files: their locks and pipes must end with the process that owns them."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):      # the folder's own is closed by now
                os.close(descriptor)


def _run_thawer(uuid: str, pipe: int) -> None:
    """Thaw the guest unless the pipe says in time that it is thawed; see the module's head."""
    if _is_dismissed(pipe, FROZEN_S):
        return
    until, in_a_row = time.monotonic() + STUBBORN_S, 0
    while in_a_row < 2 and time.monotonic() < until:
        freeze_pending = is_at_work("domfsfreeze", uuid)
        try:
            virsh("domfsthaw", uuid, patience_s=FROZEN_S)
            in_a_row = 0 if freeze_pending else in_a_row + 1
        except VirshError as error:
            in_a_row = 0
            if any(word in str(error) for word in GONE):
                return
        if _is_dismissed(pipe, 0):
            return
        time.sleep(PAUSE_S)


def _is_dismissed(pipe: int, patience_s: float) -> bool:
    ready = select.select([pipe], [], [], patience_s)[0]
    return bool(ready) and os.read(pipe, 1) == b"1"
