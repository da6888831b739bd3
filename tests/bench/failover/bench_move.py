"""In the lab: a VM that is well is moved to its other site, and how long its guest is off for that.

Once it is shut down and boots there, once its memory goes along. Measured twice: by us, from the
last round of copies until libvirt has started it there, and by the guest, whose records on its disk
say when it wrote the last one here and the first one there.
"""

import os
import re
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.failover.bench_site import declared
from tests.bench.figure import Figure
from tests.bench.replication.bench_estate import looping, newest_points
from tests.lab.hotsite import Hotsite
from tests.lab.lab import COMMAND, Lab, Record, wait_until

WAYS = ("shutdown", "memory")
PAUSE_S = 10.0
SAID = re.compile(r"(?:it was off|it stood still) for ([0-9.]+) s")
OLD, NEW = ("paris-1", "paris-2"), ("milan-1", "milan-2")
VM = "vm-00"
BEFORE = 5
"""So many records are written before it is moved."""


def figures() -> list[Figure]:
    """Return how long a guest was off, for both ways."""
    if os.geteuid() != 0 or not COMMAND.exists():
        return []
    found = []
    lab = Lab()
    lab.down()
    for by in WAYS:
        lab.up("--hosts", "2")
        try:
            with TemporaryDirectory() as folder:
                told_s, silent_s = moved(lab, Path(folder), by)
        finally:
            lab.down()
        found += [Figure(f"planned move by {by}: off, or standing still, as is told", "s",
                         (told_s,), limit=PAUSE_S),
                  Figure(f"planned move by {by}: between two records of the guest", "s",
                         (silent_s,), note="with its boot" if by == "shutdown" else "")]
    return found


def moved(lab: Lab, folder: Path, by: str) -> tuple[float, float]:
    """Move one VM, and return how long it was off, as is told and as it wrote itself."""
    hotsite = Hotsite(folder, protected=True, systems=True)
    declared(hotsite, machines=1, hosts=2, memory="128MiB")
    hotsite.edit("protection_policy", "gold", "failover: confirm",
                 f"failover: confirm, move: {{by: {by}, pause: {PAUSE_S:g}s}}")
    with looping(folder):
        wait_until("a restore point", lambda: bool(newest_points()), 300)
        wait_until("it writes", lambda: len(written(lab, OLD)) > BEFORE, 300)
        reply = hotsite.ask("failover", VM, "--planned", "--name-again", VM, "--why",
                            "a measurement")
        assert reply.status == 0, reply.output + reply.complaint
        last = written(lab, OLD, running=False)[-1]
        wait_until("it writes there", partial(wrote_on, lab, last), 300)
        there = next(one for one in written(lab, NEW) if one.number > last.number)
        said = [found for row in hotsite.events() if row["kind"] == "outcome"
                and (found := SAID.search(row["sentence"]))]
    return float(said[-1].group(1)), float(there.rtc_s - last.rtc_s)


def wrote_on(lab: Lab, last: Record) -> bool:
    """Return whether the guest has written a newer record where it went."""
    found = written(lab, NEW)
    return bool(found) and found[-1].number > last.number


def written(lab: Lab, hosts: tuple[str, ...], *, running: bool = True) -> tuple[Record, ...]:
    """Return the records of the VM on whichever of the hosts it runs, or is defined."""
    for host in hosts:
        names = (lab.running(host) if running
                 else lab.virsh(host, "list", "--all", "--name").split())
        if VM in names:
            return lab.records(host, VM)
    return ()
