"""In the lab: a site or a host loses power, and its VMs start at the other site from replicas.

Its BMCs outlive it, and a person orders the failover as soon as it is suspected. The decision is
the moment at which every lost host is proven off. The last start has returned when the last VM was
let go; a guest answers when its system says a word on its channel, which is opened once and waited
on, so that asking costs nothing.

All hosts of the lab share the processors of one machine, and its guests are emulated. So each loss
is measured twice: with guests of a system of three kilobytes, whose starts cost what we and libvirt
cost, and with guests that boot, which answer. The table says whose the processor time was.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from controller.reconcile.manager import STORE_FILE
from tests.bench.failover.processors import Processors
from tests.bench.failover.words import first_words
from tests.bench.figure import Figure
from tests.bench.replication.bench_estate import VM, looping, newest_points
from tests.lab.hotsite import Hotsite
from tests.lab.lab import COMMAND, Lab, wait_until

POLICY = """kind: ProtectionPolicy
metadata: {name: gold}
spec: {rpo: 6h, keep: {last: 3}, failover: confirm}
"""
ANSWER_S = 400.0
STARTED_S = 300.0


class Loss(NamedTuple):
    """What is lost, and what was promised of it."""

    machines: int
    hosts: int
    """Of each site."""
    scope: str
    """`paris`, or the one of its hosts that all the VMs are on."""
    systems: bool
    """Whether the guests boot, and answer."""
    start_s: float
    answer_s: float

    @property
    def words(self) -> str:
        """Return it in words."""
        what = "site lost" if self.scope == "paris" else "host lost"
        guests = "" if self.systems else ", guests without a system"
        return f"{what}, {self.machines} VMs, {self.hosts} hosts a site{guests}"


LOSSES = (Loss(6, 2, "paris", False, 5.0, 20.0), Loss(6, 2, "paris", True, 5.0, 20.0),
          Loss(6, 2, "paris-1", False, 5.0, 20.0), Loss(6, 2, "paris-1", True, 5.0, 20.0),
          Loss(35, 6, "paris", False, 20.0, 120.0), Loss(35, 6, "paris", True, 20.0, 120.0))


class Times(NamedTuple):
    """What took how long, in seconds: to the decision since the order, all else since that."""

    decision: float
    asked: float
    """Until the first promotion was begun."""
    starts: tuple[float, ...]
    answers: tuple[float, ...]
    guests: float
    """Processor time of guests until the last start."""
    others: float
    """Processor time of everything else until then."""


def figures(losses: Iterable[Loss] = LOSSES) -> list[Figure]:
    """Return how soon all VMs run again, for each loss."""
    if os.geteuid() != 0 or not COMMAND.exists():
        return []
    found = []
    for loss in losses:
        lab = Lab()
        lab.down()
        lab.up("--hosts", str(loss.hosts))
        try:
            with TemporaryDirectory() as folder:
                found += shown(loss, lost(lab, Path(folder), loss))
        finally:
            lab.down()
    return found


def shown(loss: Loss, times: Times) -> list[Figure]:
    """Return the figures of one loss."""
    found = [
        Figure(f"{loss.words}: order to decision", "s", (times.decision,)),
        Figure(f"{loss.words}: decision to each start returned, the last", "s", times.starts,
               limit=loss.start_s, limit_at=1.0, note=(
                   f"first asked for after {times.asked:.1f} s; until the last start the guests had"
                   f" {times.guests:.1f} s of processor, all else {times.others:.1f} s"))]
    if times.answers:
        found.append(Figure(f"{loss.words}: decision to each guest's answer, the last", "s",
                            times.answers, limit=loss.answer_s, limit_at=1.0))
    return found


def declared(hotsite: Hotsite, *, machines: int, hosts: int, memory: str) -> list[str]:
    """Declare so many VMs at paris, all protected, on so many hosts of each site; return them."""
    specs = hotsite.specs
    for old in specs.glob("virtual_machine/*"):
        old.unlink()
    (specs / "protection_policy/gold.yaml").write_text(POLICY)
    hotsite.edit("estate", "lab", "autonomy: restart", "autonomy: failover")
    for site, octet in (("paris", 10), ("milan", 20)):
        host = (specs / f"host/{site}-1.yaml").read_text()
        for number in range(3, hosts + 1):
            (specs / f"host/{site}-{number}.yaml").write_text(host.replace(
                f"{site}-1", f"{site}-{number}").replace(f".{octet + 1}", f".{octet + number}"))
            with (specs / f"switch/{site}-sw.yaml").open("a") as file:
                file.write(f"    - {{name: h{number}, host: {site}-{number}}}\n")
    names = [f"vm-{number:02}" for number in range(machines)]
    for number, name in enumerate(names):
        text = VM.format(name=name, number=number, site="paris")
        (specs / f"virtual_machine/{name}.yaml").write_text(text.replace(
            "still.xml", "guest.xml").replace("memory: 64MiB", f"memory: {memory}"))
    return names


def lost(lab: Lab, folder: Path, loss: Loss) -> Times:
    """Lose it, order its failover, and return what took how long."""
    hotsite = Hotsite(folder, protected=True, systems=loss.systems)
    names = declared(hotsite, machines=loss.machines, hosts=loss.hosts,
                     memory="128MiB" if loss.systems else "64MiB")
    for name in names if loss.scope != "paris" else ():
        hotsite.pin(name, loss.scope)
    survivors = [f"milan-{number}" for number in range(1, loss.hosts + 1)]
    kind = "Site" if loss.scope == "paris" else "Host"
    with looping(folder), ExitStack() as stack:
        wait_until("a restore point of every VM",
                   lambda: len(newest_points()) == loss.machines, 900)
        for number in range(1, loss.hosts + 1) if kind == "Site" else (1,):
            lab.break_("power", f"paris-{number}")
        wait_until("it is suspected",
                   lambda: f"{kind}/{loss.scope} suspected" in hotsite.status_text())
        processors = stack.enter_context(Processors())
        waiting = Answers(names, survivors) if loss.systems else None
        reply = hotsite.ask("failover", loss.scope, "--why", "a measurement", "--no-wait")
        assert reply.status == 0, reply.complaint
        answered = {} if waiting is None else waiting.all()
        wait_until("every start", lambda: len(started(hotsite)) == loss.machines, STARTED_S)
    rows, starts = hotsite.events(), started(hotsite)
    ordered_at = next(float(row["at"]) for row in rows if row["kind"] == "ordered")
    decided_at = next(float(row["at"]) for row in rows if row["kind"] == "failover"
                      and row["sentence"].startswith(("gating", "promoting")))
    asked_at = min(float(row["at"]) for row in rows if row["kind"] == "intent"
                   and row["verb"] == "promote")
    guests_s, others_s = processors.between(decided_at, max(starts.values()))
    return Times(decided_at - ordered_at, asked_at - decided_at,
                 tuple(sorted(at - decided_at for at in starts.values())),
                 tuple(sorted(at - decided_at for at in answered.values())), guests_s, others_s)


def started(hotsite: Hotsite) -> dict[str, float]:
    """Return when the start of each VM had returned, as the journal says: read without a verb,
    which would take a second of processor."""
    path = hotsite.state / STORE_FILE
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as journal:
        return {str(target): float(at) for target, at in journal.execute(
            "SELECT target, at FROM events WHERE kind = 'outcome' AND verb = 'promote'"
            " AND outcome = 'done'")}


class Answers:
    """Waits beside everything else for each guest's first word."""

    def __init__(self, names: list[str], hosts: list[str]) -> None:
        self._names, self._found = names, dict[str, float]()
        self._thread = threading.Thread(
            target=lambda: self._found.update(first_words(names, hosts, ANSWER_S)))
        self._thread.start()

    def all(self) -> dict[str, float]:
        """Return when each guest first said a word."""
        self._thread.join()
        missing = set(self._names) - self._found.keys()
        assert not missing, f"no word of {sorted(missing)}"
        return self._found
