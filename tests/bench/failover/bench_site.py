"""In the lab: a site loses power, and its VMs start at the other one from their replicas.

Its BMCs outlive it, and a person orders the failover as soon as it is suspected. The decision is
the moment at which every lost host is proven off; the last start has returned when libvirt has
started the last VM; a guest answers when its system says a word on its channel.
"""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.figure import Figure
from tests.bench.replication.bench_estate import VM, looping, newest_points
from tests.lab.hotsite import Hotsite
from tests.lab.lab import COMMAND, Lab, wait_until

SIZES = {6: (2, 5.0, 20.0), 35: (6, 20.0, 120.0)}
"""VMs: hosts of each site, the most from decision to last start, and until all guests answer."""
POLICY = """kind: ProtectionPolicy
metadata: {name: gold}
spec: {rpo: 6h, keep: {last: 3}, failover: confirm}
"""
ANSWER_S = 400.0


def figures() -> list[Figure]:
    """Return how soon all VMs of a lost site run again, for both sizes."""
    if os.geteuid() != 0 or not COMMAND.exists():
        return []
    found = []
    for machines, (hosts, start_s, answer_s) in SIZES.items():
        lab = Lab()
        lab.down()
        lab.up("--hosts", str(hosts))
        try:
            with TemporaryDirectory() as folder:
                times = lost_and_back(lab, Hotsite(Path(folder), protected=True, systems=True),
                                      machines, hosts)
        finally:
            lab.down()
        found += [
            Figure(f"site lost, {machines} VMs on {hosts} hosts: order to decision", "s",
                   (times["decision"],)),
            Figure(f"site lost, {machines} VMs on {hosts} hosts: decision to last start", "s",
                   (times["started"],), limit=start_s),
            Figure(f"site lost, {machines} VMs on {hosts} hosts: decision to all guests answer",
                   "s", (times["answer"],), limit=answer_s)]
    return found


def declare(hotsite: Hotsite, machines: int, hosts: int) -> None:
    """Declare so many VMs at paris, all protected, on so many hosts of each site."""
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
    for number in range(machines):
        text = VM.format(name=f"vm-{number:02}", number=number, site="paris")
        (specs / f"virtual_machine/vm-{number:02}.yaml").write_text(
            text.replace("still.xml", "guest.xml").replace("memory: 64MiB", "memory: 128MiB"))


def lost_and_back(lab: Lab, hotsite: Hotsite, machines: int, hosts: int) -> dict[str, float]:
    """Lose paris, order its failover, and return what took how long after the decision."""
    declare(hotsite, machines, hosts)
    names = [f"vm-{number:02}" for number in range(machines)]
    with looping(hotsite.state.parent):
        wait_until("a restore point of every VM", lambda: len(newest_points()) == machines, 900)
        for number in range(1, hosts + 1):
            lab.break_("power", f"paris-{number}")
        wait_until("paris is suspected", lambda: "Site/paris suspected" in hotsite.status_text())
        ordered_at = time.time()
        reply = hotsite.ask("failover", "paris", "--why", "a measurement", "--no-wait")
        assert reply.status == 0, reply.complaint
        answered = answers(lab, names, [f"milan-{n}" for n in range(1, hosts + 1)])
        rows = hotsite.events()
    decided_at = next(float(row["at"]) for row in rows if row["kind"] == "failover"
                      and row["sentence"].startswith(("gating", "promoting")))
    starts = [float(row["at"]) for row in rows if row["kind"] == "outcome"
              and row["verb"] == "promote" and row["outcome"] == "done"]
    assert len(starts) == machines, f"{len(starts)} of {machines} were started"
    return {"decision": decided_at - ordered_at, "started": max(starts) - decided_at,
            "answer": max(answered.values()) - decided_at}


def answers(lab: Lab, names: Iterable[str], hosts: list[str]) -> dict[str, float]:
    """Return when each guest first said a word, wherever it runs by then."""
    found: dict[str, float] = {}

    def ask(name: str) -> None:
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            host = next((one for one in hosts if name in lab.running(one)), None)
            if host is not None and lab.guest(host, name, "echo", "alive").status == 0:
                found[name] = time.time()
                return
            time.sleep(0.5)

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missing = set(names) - found.keys()
    assert not missing, f"no word of {sorted(missing)}"
    return found
