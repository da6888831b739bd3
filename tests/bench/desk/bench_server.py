"""What the process behind the page costs: 200 pages that listen, and a list of 5,000 VMs.

The pages are readers of the stream that take gzip, as a browser does, in a process of their own.
"""

import subprocess
import sys
import time

import httpx

from tests.bench.desk.served import Served, cpu_s
from tests.bench.figure import Figure

PAGES, WATCHES, WATCH_S = 200, 3, 20.0
LISTS = 25


def figures(served: Served) -> list[Figure]:
    """Return what was measured of the process."""
    alone = share(served)
    with subprocess.Popen([sys.executable, "-m", "tests.bench.desk.readers", served.url,
                           str(PAGES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as readers:
        assert readers.stdin is not None
        assert readers.stdout is not None
        assert readers.stdout.readline() == "all\n"
        open_for = share(served)
        readers.stdin.close()
    return [
        Figure("`hotsite web`, 72 changes/s, no page", "% core", alone),
        Figure(f"`hotsite web`, {PAGES} pages more", "% core",
               tuple(one - min(alone) for one in open_for), limit=5),
        Figure("list of 5,000 VMs", "ms", lists(served, {}), limit=50),
        Figure("list of 5,000 VMs, as gzip", "ms", lists(served, {"accept-encoding": "gzip"}),
               limit=50)]


def share(served: Served) -> tuple[float, ...]:
    """Return which share of a core the process took."""
    found = []
    for _ in range(WATCHES):
        before_s, began = cpu_s(served.pid), time.monotonic()
        time.sleep(WATCH_S)
        found.append(100 * (cpu_s(served.pid) - before_s) / (time.monotonic() - began))
    return tuple(found)


def lists(served: Served, headers: dict[str, str]) -> tuple[float, ...]:
    """Return how many milliseconds a list of all VMs took, from asking to the last byte."""
    found = []
    with httpx.Client(headers={"accept-encoding": "identity"} | headers) as client:
        for _ in range(LISTS):
            began = time.perf_counter()
            assert client.get(f"{served.url}api/v1/vms").status_code == 200
            found.append(1000 * (time.perf_counter() - began))
    return tuple(found)
