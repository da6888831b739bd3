"""A site is cut off and alive: from controller, witness and other site's hosts, in all eight ways.

The guests have no operating system; each writes numbered records to its disk, and goes on from the
highest that it finds there. Whoever is started elsewhere gets a new file to write to. So the files
of both sites tell when each copy wrote: never may the old one be written to after the new one is
there. Nobody is asked: the guards end what has to end, and the loop starts what may be started.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Self

import pytest

from tests.lab.failover.test_failover import has_point
from tests.lab.failover.test_guard import WITNESS, Site, qemu_of, stays
from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import STATE, Lab, wait_until
from tests.lab.ready import rebuild
from tests.lab.witness import RECORD

pytestmark = pytest.mark.skipif(not os.environ.get("SOAK"), reason="it takes half an hour: SOAK=1")
MACHINES = ("mail", "sql", "web")
OLD, NEW = ("paris-1", "paris-2"), ("milan-1", "milan-2")
OTHERS = {"controller": ("controller",), "witness": ("witness",), "milan": NEW}
CUTS = tuple(chain.from_iterable(combinations(OTHERS, number) for number in range(4)))
MOVED = {("controller", "witness"), ("controller", "witness", "milan")}
"""Two places agree that the site is gone, and all that grant to it can be asked to refuse."""
ENDED = {("witness", "milan")}
"""Nobody grants, and the controller still hears the site: its guests end, and start nowhere."""
FAILOVER = f"""  failover:
    suspectAfter: 4s
    guard:
      keyFile: {STATE}/guard.key
      deadline: 4s
      kill: 2s
      watchdog: 3s
  limits:
"""
NOTHING_FOR_S = 30.0
"""Longer than from a cut to a promotion."""


class Watch:
    """Looks at both sites' files, and at the processes, until it is left."""

    def __init__(self) -> None:
        self.absent_at = dict.fromkeys(MACHINES, 0.0)
        """When the file of a new copy was not there yet, last."""
        self.twice: set[str] = set()
        self.before = {vm: new_files(vm) for vm in MACHINES}
        """The files that earlier copies at the other site wrote to."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for vm in MACHINES:
                now = time.time()
                if new_files(vm) == self.before[vm]:
                    self.absent_at[vm] = now
                if sum(vm in guests for guests in running()) > 1:
                    self.twice.add(vm)

    def holds(self, vm: str) -> bool:
        """Return whether the old copy had written its last before the new one had a file."""
        return vm not in self.twice and old_file(vm).stat().st_mtime <= self.absent_at[vm]


def running() -> Iterator[frozenset[str]]:
    """Yield the guests of each QEMU that runs on this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"guest=" in words:
            yield frozenset(found.decode() for found in re.findall(rb"guest=([^,\0]*),", words))


def images(hosts: tuple[str, ...], pattern: str) -> list[Path]:
    """Return the files of pools that are called so."""
    return sorted(path for host in hosts
                  for path in (STATE / f"nodes/{host}/disk/images").glob(pattern))


def old_file(vm: str) -> Path:
    """Return the file that the copy at the cut-off site writes to."""
    return max(images(OLD, f"{vm}*.qcow2"), key=lambda path: path.stat().st_mtime)


def new_files(vm: str) -> frozenset[Path]:
    """Return the files that copies at the other site write to, or wrote to."""
    return frozenset(images(NEW, f"{vm}*.qcow2"))


def numbers(path: Path) -> list[int]:
    """Return the numbers of the records in a file, sorted."""
    return sorted(int(found[0]) for found in RECORD.findall(path.read_bytes()))


@pytest.fixture(scope="module")
def estate(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotsite]:
    """Protect the VMs of paris, to fail over by themselves, and leave empty hosts behind."""
    rebuild(lab)
    hotsite = Hotsite(tmp_path_factory.mktemp("cuts"), protected=True)
    for path in sorted(hotsite.specs.glob("virtual_machine/*.yaml")):
        if path.stem not in MACHINES:
            path.unlink()
    hotsite.declare("witness", "witness", WITNESS)
    hotsite.edit("estate", "lab", "autonomy: restart", "autonomy: failover")
    hotsite.edit("estate", "lab", "  limits:\n", FAILOVER)
    hotsite.edit("protection_policy", "gold", "rpo: 5m", "rpo: 20s")
    hotsite.edit("protection_policy", "gold", "failover: confirm",
                 "failover: automatic\n  isolation: stop\n  maxAge: 1h")
    hotsite.apply()     # the first copies may be due before it ends
    yield hotsite
    rebuild(lab)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "+".join(cut) or "nobody")
def test_a_site_that_is_cut_off_never_runs_beside_its_copies(
        lab: Lab, estate: Hotsite, cut: tuple[str, ...]) -> None:
    with estate.running("--place", "office") as loop:
        for vm in MACHINES:
            wait_until(f"{vm} has a replica", partial(has_point, estate, vm))
        guards = Site(lab, estate)
        wait_until("both guards are granted", lambda: all(map(guards.content, OLD)))
        begun = {vm: numbers(old_file(vm))[-1] for vm in MACHINES}
        faults = [("bmc", host) for host in OLD] + [
            ("way", host, other, "any") for host in OLD
            for one in cut for other in OTHERS[one]]
        with Watch() as watch:
            for fault in faults:
                lab.break_(*fault)
            if cut in MOVED:
                loop.wait_sentence("failover Site/paris led-elsewhere", limit_s=240)
                for vm in MACHINES:
                    wait_until(f"{vm} writes at milan", partial(writes_anew, vm, watch))
            elif cut in ENDED:
                wait_until("its guards have ended all", lambda: not any(map(qemu_of, MACHINES)))
                assert stays(lambda: not any(map(qemu_of, MACHINES)), NOTHING_FOR_S)
            else:
                assert stays(lambda: all(map(qemu_of, MACHINES)), NOTHING_FOR_S)
        assert not watch.twice
        for vm in MACHINES:
            assert cut not in MOVED or watch.holds(vm)
            assert cut in MOVED or not new_records(vm, watch)
            if cut not in MOVED | ENDED:
                assert numbers(old_file(vm))[-1] > begun[vm]
        for fault in reversed(faults):
            lab.mend(*fault)
        come_home(estate, loop, moved=cut in MOVED)


def writes_anew(vm: str, watch: Watch) -> bool:
    """Return whether a copy at the other site has written a record."""
    return bool(new_records(vm, watch))


def new_records(vm: str, watch: Watch) -> list[int]:
    """Return the records of a copy that has come to the other site since the watch began."""
    return [number for path in new_files(vm) - watch.before[vm] for number in numbers(path)]


def come_home(estate: Hotsite, loop: Loop, *, moved: bool) -> None:
    """Have all of the site run there again."""
    if moved:
        loop.wait_sentence("failover Site/paris protected-reversed", limit_s=400)
        back = estate.ask("failback", "paris", "--name-again", "paris", "--why", "tests")
        assert back.status == 0, back.output + back.complaint
    wait_until("all run at paris", lambda: all(map(qemu_of, MACHINES)), 240)
    loop.wait_settled()
