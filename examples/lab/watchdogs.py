"""The watchdogs of all hosts: one process outside of them, which cuts the power of one not fed.

A host's watchdog is a FIFO, `/run/hotsite/watchdog` inside of it. Who has begun to feed it must go
on: a host that was not fed for as long as `lab break watchdog` said, or 8 s, loses its power. The
letter V stops it, as it does a real one. No device of this machine is ever opened.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import nodes
import processes
from layout import MARK, STATE, Node, Topology, load_topology
from shell import LabError, wait_for

FIRES_S = 8.0
LOOK_S = 0.05
READY = STATE / "nodes/watchdogs.ready"
LOG = STATE / "nodes/watchdogs.log"


def pid() -> int:
    """Return the process that reads the FIFOs, or 0."""
    return next((one for one in processes.marked()
                 if Path(__file__).name in [Path(word).name
                                            for word in processes.command_of(one)[:2]]), 0)


def start() -> None:
    """Start the reader unless it is there, and return when it reads."""
    if pid():
        return
    READY.unlink(missing_ok=True)
    with LOG.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True, env={**os.environ, MARK: str(STATE)},
        )  # fmt: skip
    wait_for(f"the watchdogs (see {LOG})", lambda: READY.exists() or process.poll() is not None)
    if process.poll() is not None:
        raise LabError(f"the watchdogs did not start: {LOG.read_text().strip()[-400:]}")


def fires_after_s(host: Node) -> float:
    """Return how long a host may go without being fed."""
    try:
        return float((STATE / f"nodes/{host.name}.watchdog_s").read_text())
    except (FileNotFoundError, ValueError):
        return FIRES_S


class Watch:
    """One host and when it was fed last; None: nobody has begun to, in this life of the host."""

    def __init__(self, host: Node) -> None:
        self.host = host
        self.fd = os.open(nodes.watchdog_of(host), os.O_RDWR | os.O_NONBLOCK)
        self.fed_s: "float | None" = None

    def read(self) -> None:
        """Take what it was fed with."""
        try:
            food = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        self.fed_s = None if b"V" in food else time.monotonic()

    def look(self, topology: Topology) -> None:
        """Cut the host's power once it was not fed for too long."""
        if self.fed_s is None or time.monotonic() - self.fed_s < fires_after_s(self.host):
            return
        self.fed_s = None
        if processes.first_process(self.host.name):
            nodes.power_off(self.host, topology)
            print(f"{time.time():.2f} cut the power of {self.host.name}", flush=True)


def main() -> None:
    """Watch all hosts until the lab is taken down."""
    topology = load_topology()
    watches = {watch.fd: watch for watch in map(Watch, topology.hosts)}
    READY.touch()
    while True:
        for fd in select.select(list(watches), [], [], LOOK_S)[0]:
            watches[fd].read()
        for watch in watches.values():
            watch.look(topology)
        time.sleep(LOOK_S)  # whoever feeds often must not keep it busy


if __name__ == "__main__":
    main()
