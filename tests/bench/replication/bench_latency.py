"""How a copy cycle slows a guest: the latency of its writes inside and outside of one.

QEMU itself keeps the histogram of what each write of the guest took.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from controller.plan.actions.replica import CopyMode
from tests.bench.figure import Figure
from tests.bench.replication.machine import IMAGES, Machine
from tests.bench.replication.node import Node
from tests.bench.replication.ours import Replica, conductor
from tests.bench.replication.scale import Scale, hosts
from tests.lab.lab import STATE, Lab, render_guest, wait_until

VM = "bench-latency"
SIZE = "1G"
DEVICE = "/machine/peripheral/virtio-disk0/virtio-backend"
BOUNDARIES_NS = [round(10 ** (4 + step / 20)) for step in range(121)]
"""From 10 µs to 10 s, each 12 % more than the one before."""
WRITES = 600
"""Of the guest, that each sample needs on either side."""
WRITER = ("(while :; do dd if=/bin/busybox of=/dev/vda bs=4096 count=2 conv=notrunc oflag=direct"
          " seek=$((65536 + RANDOM * 4)); usleep 5000; done) >/dev/null 2>&1 &")
JOB = f"""<domainbackup mode='pull'><server transport='unix' socket='{IMAGES}/{VM}.sock'/><disks>
<disk name='vda' backup='yes' type='file'><scratch file='{IMAGES}/{VM}-scratch.qcow2'/></disk>
</disks></domainbackup>
"""
FILL = ("i=0; while [ $i -lt 16 ]; do dd if=/bin/busybox of=/dev/vda bs=65536 count=28"
        " conv=notrunc seek=$((1024 + i * 28)) 2>/dev/null; i=$((i + 1)); done; sync")


class Latency(NamedTuple):
    """A histogram of writes: how many took up to each boundary."""

    bins: tuple[int, ...]

    def plus(self, other: "Latency") -> "Latency":
        """Return both together."""
        return Latency(tuple(a + b for a, b in zip(self.bins, other.bins, strict=True)))

    def quantile_ms(self, share: float) -> float:
        """Return what `share` of the writes did not exceed, at most 12 % too much."""
        left = share * sum(self.bins)
        for boundary, count in zip([*BOUNDARIES_NS, BOUNDARIES_NS[-1]], self.bins, strict=True):
            left -= count
            if left <= 0:
                return boundary / 1e6
        return BOUNDARIES_NS[-1] / 1e6


EMPTY = Latency((0,) * (len(BOUNDARIES_NS) + 1))


class Guest(Machine):
    """A guest of the lab with a system, that writes all the time."""

    def __init__(self, node: Node) -> None:
        """Define, boot, and let it begin to write."""
        self.node, self.name, self.size_bytes = node, VM, 1 << 30
        self.disk = f"{IMAGES}/{VM}-vda.qcow2"
        node.run("qemu-img", "create", "-q", "-f", "qcow2", self.disk, SIZE)
        self.start()

    def start(self) -> None:
        """Boot it and wait for its system to answer."""
        xml = render_guest(VM, "52:54:00:02:00:77", 200, self.disk, "qcow2")
        self.node.path(f"/tmp/{VM}.xml").write_text(
            xml.replace("/var/lib/hotsite-lab/", f"{STATE}/"))
        self.node.virsh("define", f"/tmp/{VM}.xml")
        self.node.virsh("start", self.name)
        wait_until(f"{VM} answers", lambda: self.ask("true") == 0, 120)

    def ask(self, command: str) -> int:
        """Run a command in the guest and return its exit status."""
        return Lab().ask("guest", self.node.name, VM, command).status

    def bear_a_job(self) -> float:
        """Begin a backup job as libvirt has it, end it a second later, and return how long."""
        began = time.perf_counter()
        self.node.path(f"/tmp/{VM}-job.xml").write_text(JOB)
        self.node.virsh("backup-begin", VM, f"/tmp/{VM}-job.xml")
        time.sleep(1.0)
        self.node.virsh("domjobabort", VM)
        took_s = time.perf_counter() - began
        wait_until("the job is gone", lambda: "None" in self.node.virsh("domjobinfo", VM))
        self.node.path(f"{IMAGES}/{VM}-scratch.qcow2").unlink(missing_ok=True)
        return took_s

    def begin_to_count(self) -> None:
        """Forget what writes took so far."""
        self.node.qmp(VM, "block-latency-histogram-set", id=DEVICE,
                      **{"boundaries-write": BOUNDARIES_NS})

    def counted(self) -> Latency:
        """Return what writes took since."""
        stats = self.node.qmp(VM, "query-blockstats")[0]["stats"]
        return Latency(tuple(stats["wr_latency_histogram"]["bins"]))


def figures(scale: Scale) -> list[Figure]:
    """Return the slow tail of the guest's writes inside cycles, as a share of that outside."""
    source, target = hosts()
    with conductor() as hands:
        guest = Guest(source)
        replica = Replica(hands, guest, target)
        try:
            replica.cycle(CopyMode.SEED)
            assert guest.ask(WRITER) == 0
            bare = [compared(guest, guest.bear_a_job) for _ in range(scale.rounds)]
            turns = [compared(guest, lambda: replica.cycle().wall_s)
                     for _ in range(scale.rounds)]
        finally:
            replica.remove()
            guest.remove()
    outside = ", ".join(f"{without:.2g}" for _, without in turns)
    return [Figure("guest's writes at the 99th percentile inside a cycle, of those outside", "x",
                   tuple(inside / without for inside, without in turns), limit=2.0,
                   peer="inside a backup job that nobody reads",
                   peer_samples=tuple(inside / without for inside, without in bare),
                   note=f"outside {outside} ms")]


def compared(guest: Guest, trouble: Callable[[], float]) -> tuple[float, float]:
    """Return the 99th percentile of enough writes inside some trouble, and of as many outside.

    `trouble` returns how many seconds it lasted.
    """
    inside = outside = EMPTY
    while sum(inside.bins) < WRITES or sum(outside.bins) < WRITES:
        assert guest.ask(FILL) == 0
        time.sleep(0.5)
        guest.begin_to_count()
        took_s = trouble()
        inside = inside.plus(guest.counted())
        time.sleep(0.5)
        guest.begin_to_count()
        time.sleep(took_s)
        outside = outside.plus(guest.counted())
    return inside.quantile_ms(0.99), outside.quantile_ms(0.99)
