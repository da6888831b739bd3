"""Where the time of one cycle goes: a diagram of it, at both sizes, idle and beside a busy guest.

For each case the cycle whose length is the median is drawn to bench-profile-SIZE-GUEST.svg, and its
longest parts are printed. Programs on the hosts are drawn where the kernel tells of processes.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.plan.actions.replica import CopyMode
from tests.bench.figure import Figure
from tests.bench.replication.aside import PROGRAMS
from tests.bench.replication.machine import Machine
from tests.bench.replication.node import link_of
from tests.bench.replication.ours import Replica, conductor
from tests.bench.replication.profile.diagram import draw
from tests.bench.replication.profile.spans import CONTROLLER, Span, Spans, of_programs
from tests.bench.replication.scale import Scale, hosts, title

CYCLES = 5
BUSY_S = 2.0
"""Between two cycles while the guest writes all the time."""
LISTED = 12
LATE_S = 0.3
"""The kernel's events of a cycle are all written after so long."""


def figures(scale: Scale) -> list[Figure]:
    """Return how long the cycles took and where their longest parts lie."""
    found = []
    with conductor() as hands:
        for size in scale.sizes:
            source, target = hosts()
            machine = Machine(source, f"profile-{title(size).replace(' ', '').lower()}", size)
            replica = Replica(hands, machine, target)
            try:
                replica.cycle(CopyMode.SEED)
                found += [profiled(replica, scale, busy=busy) for busy in (False, True)]
            finally:
                replica.remove()
                machine.remove()
    return found


def profiled(replica: Replica, scale: Scale, *, busy: bool) -> Figure:
    """Profile some cycles that bring the same change over, and draw the median one."""
    machine = replica.machine
    taken: list[tuple[float, list[Span]]] = []
    with writing(machine, scale) if busy else still():
        for number in range(CYCLES):
            if busy:
                time.sleep(BUSY_S)
            else:
                machine.change(scale.change("text", scattered=False), 300 + number)
            taken.append(recorded(replica))
    taken.sort(key=lambda one: one[0])
    wall_s, spans = taken[len(taken) // 2]
    guest = "busy" if busy else "idle"
    name = f"one cycle, {title(machine.size_bytes)}, {guest} guest"
    diagram = Path(f"bench-profile-{title(machine.size_bytes).replace(' ', '')}-{guest}.svg")
    diagram.write_text(draw(f"{name}: {wall_s:.2f} s", spans))
    print(f"{name}: {wall_s:.2f} s, drawn to {diagram}; its longest parts:")
    for span in sorted(spans, key=lambda one: -one.lasted_s)[:LISTED]:
        print(f"  {span.lasted_s * 1000:7.0f} ms  {span.lane}: {span.name}")
    return Figure(name, "s", tuple(one[0] for one in taken), note=f"drawn to {diagram}")


def recorded(replica: Replica) -> tuple[float, list[Span]]:
    """Return how long a cycle took, and every span of it."""
    spans = Spans()
    with spans.recording():
        began_s = time.monotonic()
        replica.cycle()
        ended_s = time.monotonic()
    found = [Span(CONTROLLER, "the cycle", began_s, ended_s), *spans.found]
    told = os.environ.get(PROGRAMS)
    if told:
        time.sleep(LATE_S)
        networks = {link_of(f"/proc/{node.first}/ns/net"): node.name
                    for node in (replica.machine.node, replica.target)}
        found += of_programs(Path(told), networks, began_s, ended_s)
    return ended_s - began_s, found


@contextmanager
def still() -> Iterator[None]:
    """Let the guest write nothing."""
    yield


@contextmanager
def writing(machine: Machine, scale: Scale) -> Iterator[None]:
    """Let the guest write all the time, a few megabytes at once, all over its disk."""
    done = threading.Event()
    piece = scale.change("text", scattered=True)

    def write() -> None:
        number = 0
        while not done.is_set():
            machine.change(piece, 10_000 + number)
            number += 1
    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
