"""
End a backup job of ours in the one order that is safe for the guest, and clean up behind it.

Clients first: QEMU has been seen to die when its NBD server was stopped with one still there.
Then the job, if it is ours; then the guest goes on where a full scratch had stopped it; then the
scratch goes. Each step may be repeated.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, Dict, NamedTuple, Sequence, Tuple

from mover.processes import senders
from mover.virsh import GONE, VirshError, abort_job, job_of, socket_of, state_of, virsh

CLIENT_S = 5            # for a sender that has been told to leave
ENDING_S = 90           # libvirt handles one event after another, and one may wait for 30 s
STRANGER = "a client that is none of ours read the copy's job until it was ended"
STRANGER_S = 10         # for a client that is none of ours
CONNECTED = "03"        # the state of a connected socket in /proc/net/unix


class Job(NamedTuple):
    """A job of ours by all that tells it from others."""

    uuid: str
    socket: str
    scratch: Sequence[str]


def clients(socket: str) -> int:
    """Return how many are connected to a socket of this host."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        rows = (line.split(None, 7) for line in table)
        return sum(1 for row in rows if len(row) == 8 and row[7].rstrip("\n") == socket
                   and row[5] == CONNECTED)


def end_job(job: Job, patience_s: float = CLIENT_S) -> Dict[str, Any]:
    """End the job and tell what was found; VirshError when libvirt does not do it now."""
    stranger = part_with_clients(job.socket, job.uuid, patience_s)
    running = job_of(job.uuid)
    ours = bool(running) and socket_of(running) == job.socket
    state = _abort(job) if ours else state_of(job.uuid)
    incident = revive(job.uuid, *state) or (STRANGER if stranger and ours else "")
    if ours or not running:
        for path in (*job.scratch, *([] if running else [job.socket])):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    return {"was": "ended" if ours else "foreign" if running else "gone", "incident": incident}


def part_with_clients(socket: str, uuid: str, patience_s: float = CLIENT_S) -> bool:
    """
    Return once nobody is connected; a sender of ours that stays is killed, nobody else.

    A stranger who stays is not waited for for ever, since the job gathers what the guest writes
    meanwhile; returns whether one did.
    """
    until, last = time.monotonic() + patience_s, time.monotonic() + patience_s + STRANGER_S
    while clients(socket) and time.monotonic() < last:
        if time.monotonic() > until:
            for pid in senders(uuid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until += CLIENT_S
        time.sleep(0.02)
    return bool(clients(socket))


def _abort(job: Job) -> Tuple[str, str]:
    """End the job and return the domain's state once it is gone."""
    running, state = abort_job(job.uuid)
    until = time.monotonic() + ENDING_S
    pause_s = 0.02
    while running and socket_of(job_of(job.uuid)) == job.socket:
        if time.monotonic() > until:
            raise VirshError("libvirt has been told to end the copy and has not for %d s"
                             % ENDING_S)
        time.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)
    return state_of(job.uuid) if running else state


def revive(uuid: str, state: str, reason: str) -> str:
    """Let a guest go on that was stopped by a failed write, and tell of it."""
    if (state, reason) != ("paused", "I/O error"):
        return ""
    virsh("resume", uuid)
    return "the guest was stopped by a failed write while it was copied, and was resumed"


def end_stubbornly(job: Job, limit_s: float, patience_s: float = CLIENT_S) -> Dict[str, Any]:
    """End the job however long libvirt is away; the VM's own end ends it, too."""
    until, pause_s = time.monotonic() + limit_s, 0.2
    while True:
        try:
            return end_job(job, patience_s)
        except VirshError as error:
            if any(word in str(error) for word in GONE):
                return {"was": "gone", "incident": ""}
            if time.monotonic() > until:
                return {"was": "running", "incident": str(error)}
        time.sleep(pause_s)
        pause_s = min(10.0, 2 * pause_s)
