"""Replicate a guest of the lab as the loop would, one action at a time, and read the result."""

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controller.errors import ActionError
from controller.plan.actions.action import Action
from controller.plan.actions.replica import (
    CopyMode,
    DiskCopy,
    RateLimit,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.replication.provider import ReplicaHands
from controller.replication.report import Progress
from controller.replication.ssh_route import KeySource
from controller.transport.base import Endpoint
from controller.transport.keys import one_time_key, pinned_keys
from controller.transport.ssh import SshTransport
from tests.lab.lab import STATE, Lab, parse_records, render_guest, wait_until, wait_until_empty
from tests.lab.witness import IMAGES, RECORD, last_number

OCTETS = {"paris-1": 11, "paris-2": 12, "milan-1": 21, "milan-2": 22}
MIB = 1 << 20


def endpoints() -> tuple[Endpoint, ...]:
    """Return how the hosts of the lab are reached."""
    return tuple(Endpoint(name, f"10.77.0.{octet}", 22, "root", str(STATE / "id_ed25519"),
                          str(STATE / "known_hosts")) for name, octet in OCTETS.items())


class Replication:
    """One guest, its host, and the host of its replica."""

    def __init__(self, lab: Lab, vm: str, home: str, to: str, size_bytes: int) -> None:
        self.lab, self.vm, self.home, self.to = lab, vm, home, to
        self.size_bytes = size_bytes
        self.uuid = lab.virsh(home, "domuuid", vm).strip()
        self.path = f"{IMAGES}/hotsite-replicas/{self.uuid}"
        self.folder = STATE / f"nodes/{to}/disk/images/hotsite-replicas/{self.uuid}"
        self.disks = {"vda": DiskCopy("vda", f"{IMAGES}/{vm}-vda.qcow2", "qcow2", size_bytes,
                                      CopyMode.INCREMENT)}
        self.sequence = 0
        self.progress: list[Progress] = []

    # --- acting

    def apply(self, action: Action, scratch_bytes: int | None = None) -> str:
        """Do one action as the program would, over connections of its own."""
        return asyncio.run(self._apply(action, scratch_bytes))

    async def _apply(self, action: Action, scratch_bytes: int | None) -> str:
        transport = SshTransport()
        transport.declare(endpoints())
        hands = ReplicaHands(transport, KeySource(one_time_key, pinned_keys), time.time,
                             self.progress.append, scratch_bytes=scratch_bytes)
        hands.declare("lab", endpoints())
        try:
            return await hands.apply(action)
        finally:
            await transport.close()

    def cycle(self, *, rate_bytes: float | None = None, scratch_bytes: int | None = None,
              budget_s: float = 300, repair: bool = False, quiesce: bool = False,
              to_address: str = "", compare: str = "") -> str:
        """Make the next point."""
        limits = () if rate_bytes is None else (RateLimit("Host/any", round(8 * rate_bytes)),)
        said = self.apply(ReplicateDomain(
            target=f"Replica/{self.vm}", node=self.home, reason="a test wants it",
            domain=self.vm, uuid=self.uuid, to=self.to, path=self.path,
            disks=tuple(self.disks.values()), quiesce=quiesce,
            replication_address=f"10.78.0.{OCTETS[self.home]}",
            to_replication_address=to_address or f"10.78.0.{OCTETS[self.to]}",
            sequence=self.sequence + 1, limits=limits, budget_s=budget_s,
            repair=repair, compare=compare), scratch_bytes)
        self.sequence += 1
        return said

    def verify(self) -> str:
        """Read the replica against its hashes."""
        return self.apply(VerifyReplica(target=f"Replica/{self.vm}", node=self.to, reason="test",
                                        path=self.path, budget_s=60))

    def retire(self, *sequences: int) -> str:
        """Let points go."""
        return self.apply(RetirePoints(target=f"Replica/{self.vm}", node=self.to, reason="test",
                                       path=self.path, sequences=sequences))

    @contextmanager
    def cycling(self, **how: Any) -> Iterator[list[str | Exception]]:
        """Make the next point meanwhile, from when it is being sent on."""
        with self.under_way(**how) as outcome:
            wait_until("a sender at work", lambda: bool(self.movers("send")))
            yield outcome

    @contextmanager
    def reading(self, **how: Any) -> Iterator[list[str | Exception]]:
        """Make the next point meanwhile, from when its disks are open; to stay so they want 48 MiB.

        So much more is to be sent than may wait for a receiver.
        """
        with self.cycling(**how) as outcome:
            wait_until("an open copy", lambda: self.has_job() or self.is_served_at_rest())
            yield outcome

    @contextmanager
    def under_way(self, **how: Any) -> Iterator[list[str | Exception]]:
        """Make the next point meanwhile; what came of it is in the list afterwards."""
        outcome: list[str | Exception] = []

        def work() -> None:
            try:
                outcome.append(self.cycle(**how))
            except (ActionError, AssertionError) as error:
                outcome.append(error)
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield outcome
        finally:
            thread.join()

    def published(self) -> list[int]:
        """Return the points that are there, and go on from the newest."""
        sequences = [int(point["sequence"]) for point in self.state()["points"]]
        self.sequence = sequences[-1]
        return sequences

    # --- the guest

    def write(self, first_mib: int, mib: int, content: str = "") -> None:
        """Let the guest write, unless told otherwise bytes that do not compress."""
        self.lab.write(self.home, self.vm, first_mib, mib, content)

    def boot(self) -> None:
        """Start the guest and wait for its next record."""
        last = last_number(self.home, self.vm)
        self.lab.virsh(self.home, "start", self.vm)
        wait_until("a new record", lambda: last_number(self.home, self.vm) > last)

    def boot_point(self) -> list[int]:
        """Start a guest on the newest point, over an overlay; return the numbers it then has."""
        name, folder = f"{self.vm}-point", f"{self.path}/vda"
        top = self.newest()
        overlay = STATE / f"nodes/{self.to}/disk/images/{name}-vda.qcow2"
        self.lab.exec(self.to, "qemu-img", "create", "-q", "-f", "qcow2", "-F", form_of(top), "-b",
                      f"{folder}/{top.name}", f"{IMAGES}/{overlay.name}")
        definition = render_guest(name, "52:54:00:99:99:01", 999, f"{IMAGES}/{overlay.name}",
                                  "qcow2", system=False)
        self.lab.exec(self.to, "sh", "-c", "cat >/tmp/point.xml", text=definition)
        self.lab.virsh(self.to, "create", "/tmp/point.xml")
        try:
            wait_until("two records by the guest on the point",
                       lambda: len(RECORD.findall(overlay.read_bytes())) >= 2)
            return [int(found[0]) for found in RECORD.findall(overlay.read_bytes())]
        finally:
            self.lab.virsh(self.to, "destroy", name)
            overlay.unlink()

    def forget_checkpoints(self) -> None:
        """Let the guest have no checkpoint, also of those whose bitmaps died with a QEMU."""
        for name in self.checkpoints():
            self.lab.exec(self.home, "sh", "-c", 'virsh -q checkpoint-delete "$1" "$2" ||'
                          ' virsh -q checkpoint-delete "$1" "$2" --metadata', "sh", self.vm, name)

    # --- looking

    def movers(self, verb: str) -> list[int]:
        """Return the movers that do a verb on the guest's host, by their ids there."""
        script = 'pgrep -f "[m]over-[0-9a-f]*.pyz $1" || true'
        return [int(pid) for pid in
                self.lab.exec(self.home, "sh", "-c", script, "sh", verb).split()]

    def newest(self, disk: str = "vda") -> Path:
        """Return the topmost file of the newest point."""
        return self.top(self.published()[-1], disk)

    def top(self, sequence: int, disk: str = "vda") -> Path:
        """Return the topmost file of a point, as the replica itself says."""
        told = self.state()
        files = [point["files"][disk] for point in told["points"]
                 if int(point["sequence"]) <= sequence and point["files"].get(disk)]
        return self.folder / disk / (files or [told["floor"][disk]])[-1]["name"]

    def state(self) -> dict[str, Any]:
        """Return what the replica says of itself."""
        told: dict[str, Any] = json.loads((self.folder / "state.json").read_text())["state"]
        return told

    def contents(self) -> dict[str, bytes]:
        """Return all that is published, byte for byte."""
        names = [*self.folder.glob("vda/rp-*"), *self.folder.glob("vda/base-*"),
                 self.folder / "state.json"]
        return {path.name: path.read_bytes() for path in names}

    def point_numbers(self, into: Path) -> list[int]:
        """Return the numbers of the records that the newest point holds, as QEMU reads it."""
        top = self.newest()
        if form_of(top) == "qcow2":
            said = tool("qemu-img", "check", top)
            assert "No errors were found" in said, said
        raw = into / "point.raw"
        tool("qemu-img", "convert", "-f", form_of(top), "-O", "raw", top, raw)
        return [record.number for record in parse_records(
            raw.read_bytes()[:16 * MIB].replace(b"\0", b"").decode("ascii", "replace"))]

    def identical(self, disk: str = "vda") -> bool:
        """Say whether QEMU reads the same from the replica and from the guest's disk."""
        top, of = self.newest(disk), self.disks[disk]
        source = STATE / f"nodes/{self.home}/disk/images" / Path(of.source).name
        return "identical" in tool("qemu-img", "compare", "-U", "-f", form_of(top), "-F", of.format,
                                   top, source)

    def checkpoints(self) -> list[str]:
        """Return the names of the guest's checkpoints."""
        return self.lab.virsh(self.home, "checkpoint-list", self.vm, "--name").split()

    def has_only_its_last_checkpoint(self) -> bool:
        """Say whether the guest has the checkpoint of its newest point, and no other of ours."""
        begins = f"hotsite-{self.sequence:06d}"
        return [name[:len(begins)] for name in self.checkpoints()] == [begins]

    def has_job(self) -> bool:
        """Say whether libvirt is at work on the guest."""
        if "running" not in self.lab.virsh(self.home, "domstate", self.vm):
            return False
        return "None" not in self.lab.virsh(self.home, "domjobinfo", self.vm)

    def is_served_at_rest(self) -> bool:
        """Say whether disks of guests that are off are open for a copy."""
        return bool(self.lab.exec(self.home, "sh", "-c", "ls /run/hotsite/cold-* 2>/dev/null||:"))

    def leaves_nothing_behind(self, after: str = "") -> None:
        """Hold that all of ours goes, once the sessions that are just ending have ended."""
        wait_until_empty(self.left_behind, after)

    def left_behind(self) -> list[str]:
        """Return all of ours that an idle replication must not leave."""
        script = ("ls /var/lib/libvirt/images/hotsite-scratch/* /var/lib/hotsite/known/*"
                  " /run/hotsite/cold-* /var/lib/libvirt/qemu/domain-*/hotsite.sock 2>/dev/null;"
                  " grep -o 'hotsite-transfer.*' /root/.ssh/authorized_keys;"
                  " pgrep -af '[m]over-[0-9a-f]*.pyz' | cut -d' ' -f2-; true")
        at_home = (' virsh -q checkpoint-list "$1" --name | grep . | head -n -1;'
                   ' virsh -q domjobinfo "$1" 2>&1 | grep Backup; true')
        found = [*self.lab.exec(self.to, "sh", "-c", script).splitlines(),
                 *self.lab.exec(self.home, "sh", "-c", script + ";" + at_home, "sh",
                                self.vm).splitlines()]
        return [line for line in found if line.strip()]


def without_gap(numbers: list[int]) -> bool:
    """Say whether numbers follow one on the other."""
    return numbers == list(range(numbers[0], numbers[-1] + 1))


def form_of(top: Path) -> str:
    """Return the format of a file of a replica."""
    return "raw" if top.suffix == ".raw" else "qcow2"


def tool(*argv: str | Path) -> str:
    """Return what a program prints, whether it is content or not."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
