"""The conductor as the loop runs it: in process, with its connections open already."""

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from controller.model.desired import Desired
from controller.model.replica import STORE
from controller.plan.actions.action import Action
from controller.plan.actions.replica import CopyMode, DiskCopy, ReplicateDomain, VerifyReplica
from controller.providers.base import Provider
from controller.reconcile.manager import linux_estate
from controller.source.load import load_folder
from tests.bench.replication.machine import IMAGES, Machine
from tests.bench.replication.node import Node
from tests.lab.lab import ROOT, STATE


class Cycle(NamedTuple):
    """What one action took, both hosts and this process told apart."""

    said: str
    wall_s: float
    hosts_cpu_s: float
    controller_cpu_s: float
    wire_bytes: int


class Conductor:
    """The real estate's hands, and a loop that never stops between two actions."""

    def __init__(self, desired: Desired) -> None:
        """Start the loop; `conductor` opens the connections."""
        self._desired = desired
        self._estate: Provider = linux_estate(desired, time.time)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Reach every host once."""
        self._do(self._estate.declare(self._desired))
        for name in self._desired.hosts:
            self._do(self._estate.observe(name))

    def close(self) -> None:
        """Let go of everything."""
        self._do(self._estate.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, doing: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result()

    def apply(self, action: Action, *ends: Node) -> Cycle:
        """Apply one action and count what it took at both ends."""
        cpu_s = sum(node.cpu_s() for node in ends)
        sent = sum(node.sent_bytes() for node in ends[:1])
        own_s, began = time.process_time(), time.perf_counter()
        said = str(self._do(self._estate.apply(action)))
        wall_s, own_s = time.perf_counter() - began, time.process_time() - own_s
        return Cycle(said, wall_s, sum(node.cpu_s() for node in ends) - cpu_s, own_s,
                     sum(node.sent_bytes() for node in ends[:1]) - sent)


@contextmanager
def conductor() -> Iterator[Conductor]:
    """Keep a conductor of the lab's hosts while the block lasts."""
    with TemporaryDirectory() as folder:
        found = Conductor(load_folder(specs_in(Path(folder))))
        found.open()
        try:
            yield found
        finally:
            found.close()


def specs_in(folder: Path) -> Path:
    """Copy the lab's specs, with the keys of the lab that the bench runs in."""
    specs = folder / "specs"
    shutil.copytree(ROOT / "specs", specs)
    for path in specs.rglob("*.yaml"):
        path.write_text(path.read_text().replace("/var/lib/hotsite-lab/", f"{STATE}/"))
    return specs


class Replica:
    """Our replica of a machine, point by point."""

    def __init__(self, hands: Conductor, machine: Machine, target: Node) -> None:
        """Name it; nothing is made yet."""
        self.hands, self.machine, self.target = hands, machine, target
        self.path = f"{IMAGES}/{STORE}/{machine.uuid}"
        self.sequence = 0

    def cycle(self, mode: CopyMode = CopyMode.INCREMENT, *, repair: bool = False) -> Cycle:
        """Make the next point."""
        self.sequence += 1
        machine = self.machine
        done = self.hands.apply(ReplicateDomain(
            target=f"Replica/{machine.name}", node=machine.node.name, reason="it is due",
            domain=machine.name, uuid=machine.uuid, to=self.target.name, path=self.path,
            disks=(DiskCopy("vda", machine.disk, "qcow2", machine.size_bytes, mode),),
            replication_address=machine.node.address,
            to_replication_address=self.target.address, sequence=self.sequence, repair=repair),
            machine.node, self.target)
        assert f"restore point {self.sequence} of" in done.said, done.said
        return done

    def verify(self) -> Cycle:
        """Read all of it against its hashes."""
        return self.hands.apply(VerifyReplica(
            target=f"Replica/{self.machine.name}", node=self.target.name, reason="it is due",
            path=self.path, budget_s=3600.0), self.target)

    def remove(self) -> None:
        """Delete it."""
        self.target.remove(self.path)
