"""In the lab: how soon a killed guest is started again, and what the idle loop costs."""

import os
import tempfile
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.lab.hotsite import Hotsite
from tests.lab.lab import COMMAND, STATE, Lab, wait_until
from tests.lab.witness import replaced

KILLS = 50
IDLE_S = 60
HOST, VM = "paris-2", "mail"
NOTED = "/tmp/started"
# inside the host, so that a guest of the same name in another lab of this machine is never hit
KILL = 'date +%s.%N && kill -9 "$(cat "$1")"'
NOTE = f'case " $* " in *" start "*) date +%s.%N >>{NOTED};; esac; exec "$REAL" "$@"'


def figures() -> list[Figure]:
    """Return death-to-start times and the idle loop's share of a core, measured in the lab."""
    if os.geteuid() != 0 or not COMMAND.exists():
        return []
    was_up = (STATE / "standing").exists()
    lab = Lab()
    lab.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return measure(lab, Hotsite(Path(folder), protected=True))
    finally:
        if not was_up:
            lab.down()


def measure(lab: Lab, hotsite: Hotsite) -> list[Figure]:
    """Converge, keep the loop going, and measure both."""
    hotsite.limit(quarantineRepairs=9999)
    hotsite.converge()
    with hotsite.running() as loop:
        time.sleep(10)  # guests that have just booted want the processor for themselves
        idle = idle_share(loop.pid)
        with replaced(lab, HOST, "/usr/bin/virsh", NOTE):
            lab.exec(HOST, "rm", "-f", NOTED)
            deaths = tuple(heal_s(lab, count) for count in range(1, KILLS + 1))
    return [
        Figure("killed QEMU to start command on its host", "s", deaths, limit=0.3,
               note="the same samples, of which 99 % are to be within 1 s, are the next line"),
        Figure("killed QEMU to start command, slow tail", "s", deaths, limit=1.0, limit_at=0.99),
        Figure("idle `run` on the 2x2 lab, share of one core", "%", (idle,), limit=3.0),
    ]


def heal_s(lab: Lab, count: int) -> float:
    """Kill the guest's QEMU and return after how long the host was told to start it."""
    noted = host_file(lab, NOTED)
    died_at = float(lab.exec(HOST, "sh", "-c", KILL, "sh", f"/run/libvirt/qemu/{VM}.pid"))
    wait_until(f"start {count} of {VM}", lambda: noted.exists()
               and len(noted.read_text().splitlines()) >= count)
    wait_until(f"{VM} runs again", lambda: VM in lab.running(HOST))
    time.sleep(1.0)
    return float(noted.read_text().splitlines()[count - 1]) - died_at


def host_file(lab: Lab, path: str) -> Path:
    """Return a file of the host's, as this machine sees it."""
    assert path.startswith("/tmp/")  # of the host, kept in a folder of this machine
    return lab.state / f"nodes/{HOST}{path}"


def idle_share(pid: int) -> float:
    """Return how many percent of a core a process takes while nothing happens."""
    before, begun_s = cpu_s(pid), time.monotonic()
    time.sleep(IDLE_S)
    return 100.0 * (cpu_s(pid) - before) / (time.monotonic() - begun_s)


def cpu_s(pid: int) -> float:
    """Return the processor seconds of a process, and of those it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
