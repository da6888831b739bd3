"""What a guard costs its host, and how soon it ends guests: real processes, stand-ins for QEMU.

The guard and its grantors are those that hosts run, on loopback: with the numbers of the defaults
while it is measured what they cost, and with a short deadline while nobody grants any more. Each
cut is another one of five: grantors killed, refused by all, frozen host thawed too late, one of the
two processes killed in the middle, and a guest that is stopped.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.figure import Figure
from tests.guard.rig import BOUND_S, HOST, Rig, boottime
from tests.waiting import wait_until

GRANTORS = ("witness", "milan-1", "milan-2", "milan-3", "milan-4", "milan-5", "milan-6")
"""Of a host of the talk's estate: the witness and the other site's hosts."""
GUESTS = tuple(f"vm-{number}" for number in range(1, 7))
FIGURE_S = 60.0
CUTS = 50
DEADLINE_S, KILL_S = 2.0, 1.0
LATE_S = 1.0
TICKS = os.sysconf("SC_CLK_TCK")
sys.path.insert(0, str(Path(__file__).parents[3] / "controller" / "remote"))


def figures() -> list[Figure]:
    """Return the share of a core, and how late the last guest was gone."""
    return [cost(), *cuts()]


def processor_s(pids: list[int]) -> float:
    """Return the processor time that processes have taken so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def cost() -> Figure:
    """Measure both processes of a guard that is granted, with its usual numbers."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        try:
            rig.grantor(*GRANTORS)
            rig.guest(*GUESTS)
            rig.guard(deadline_s=30.0, every_s=1.0, kill_s=3.0, feed_s=1.0, watchdog_s=8.0)
            rig.granted()
            wait_until(lambda: len(rig.guard_pids()) == 2, BOUND_S)
            pids = rig.guard_pids()
            before, begun = processor_s(pids), time.monotonic()
            time.sleep(FIGURE_S)
            share = (processor_s(pids) - before) / (time.monotonic() - begun)
        finally:
            rig.end()
    return Figure(f"guard, {len(GRANTORS)} grantors, {len(GUESTS)} guests: share of a core", "%",
                  (100 * share,), limit=0.2)


def cuts() -> list[Figure]:
    """Cut a host off again and again, each time in another way."""
    late: dict[str, list[float]] = {}
    for number in range(CUTS):
        name, cut = WAYS[number % len(WAYS)]
        late.setdefault(name, []).append(gone_after_s(cut))
    samples = tuple(one for found in late.values() for one in found)
    return [Figure(f"guests gone after the cut, deadline {DEADLINE_S:g} s, {CUTS} cuts", "s",
                   samples, limit=DEADLINE_S + LATE_S, limit_at=1.0),
            *(Figure(f"… {name}", "s", tuple(found)) for name, found in late.items())]


def gone_after_s(cut: Callable[[Rig], float]) -> float:
    """Return how long after a cut the last guest was gone."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        try:
            rig.grantor("witness", "milan-1")
            rig.guest(*GUESTS)
            rig.guard(deadline_s=DEADLINE_S, kill_s=KILL_S, every_s=0.5)
            rig.granted()
            wait_until(lambda: len(rig.guard_pids()) == 2, BOUND_S)
            at = cut(rig)
            return rig.gone() - at
        finally:
            rig.end()


def killed(rig: Rig) -> float:
    """Kill all grantors; a grant counts from its ask, so that is when the cut begins."""
    rig.silence()
    return boottime()


def refused(rig: Rig) -> float:
    """Have all grantors refuse."""
    for name in rig.ports:
        rig.order("revoke", name)
    return boottime()


def partner_killed(rig: Rig) -> float:
    """Kill the grantors, and one of the guard's processes a second later."""
    rig.silence()
    at = boottime()
    wait_until(lambda: boottime() > at + 1)
    os.kill(rig.guard_pids()[0], signal.SIGKILL)
    return at


def guest_stopped(rig: Rig) -> float:
    """Stop a guest, which heeds no request then, and kill the grantors."""
    os.kill(rig.guests[GUESTS[0]].pid, signal.SIGSTOP)
    rig.silence()
    return boottime()


def thawed(rig: Rig) -> float:
    """Freeze host and guests beyond the deadline; return when they thaw, less the deadline."""
    pids = [*rig.guard_pids(), *(guest.pid for guest in rig.guests.values())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    rig.silence()
    last = rig.page("granted_at")
    wait_until(lambda: boottime() > last + DEADLINE_S + 1)
    at = boottime()
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    return at - DEADLINE_S


WAYS = (("grantors killed", killed), ("refused by all", refused),
        ("one of its processes killed, too", partner_killed), ("a guest stopped", guest_stopped),
        (f"{HOST} frozen and thawed: after the thaw, plus the deadline", thawed))
