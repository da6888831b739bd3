"""What a repair sends: what differs after a lost bitmap, the damaged clusters after damage."""

import os
import random
from pathlib import Path

from controller.model.replica import CHECKPOINT
from controller.plan.actions.replica import CopyMode
from tests.bench.figure import Figure
from tests.bench.replication.content import STRETCH_BYTES
from tests.bench.replication.machine import Machine
from tests.bench.replication.ours import Cycle, Replica, conductor
from tests.bench.replication.scale import Scale, hosts, title

CLUSTER_BYTES = 1 << 16
DAMAGED = 160


def figures(scale: Scale) -> list[Figure]:
    """Return what is sent for each byte that had to be, and how long it takes."""
    source, target = hosts()
    size = scale.sizes[0]
    with conductor() as hands:
        machine = Machine(source, "bench-mend", size)
        replica = Replica(hands, machine, target)
        try:
            replica.cycle(CopyMode.SEED)
            quiet_s = sorted(replica.cycle().wall_s for _ in range(3))[1]
            mended = [damage(replica, clusters) for clusters in noisy_clusters(size, scale.rounds)]
            lost = [lost_bitmap(replica, scale, number) for number in range(scale.rounds)]
        finally:
            replica.remove()
            machine.remove()
    needed = DAMAGED * CLUSTER_BYTES
    return [
        Figure(f"lost bitmap, {title(size)}: on the wire for each byte that differs", "B",
               tuple(cycle.wire_bytes / dirty for dirty, cycle in lost), limit=1.01,
               note=f"all of it read and compared in {lost[0][1].wall_s:.1f} s"),
        Figure(f"repair of {DAMAGED} clusters: on the wire for each byte of them", "B",
               tuple(cycle.wire_bytes / needed for cycle in mended), limit=1.01),
        Figure(f"repair of {DAMAGED} clusters: time", "s",
               tuple(cycle.wall_s for cycle in mended), note=f"{quiet_s:.2f} s without any"),
    ]


def lost_bitmap(replica: Replica, scale: Scale, number: int) -> tuple[int, Cycle]:
    """Change noise, lose the checkpoint, and return what differs and the cycle that finds it."""
    machine = replica.machine
    dirty = machine.change(scale.change("noise", scattered=False), number)
    machine.node.virsh("checkpoint-delete", machine.name,
                       f"{CHECKPOINT}{replica.sequence:06d}")
    done = replica.cycle(CopyMode.SCAN)
    assert "differed" in done.said, done.said
    return dirty, done


def damage(replica: Replica, clusters: list[int]) -> Cycle:
    """Flip bytes of the base, find them, and return the cycle that mends them."""
    base = next(replica.target.path(replica.path).rglob("base-*.raw"))
    flip(base, clusters)
    found = replica.verify().said
    assert "clusters were damaged" in found, found
    return replica.cycle(repair=True)


def noisy_clusters(size_bytes: int, rounds: int) -> list[list[int]]:
    """Return for each round clusters that do not compress, none of them twice."""
    each = STRETCH_BYTES // CLUSTER_BYTES
    slots = range(each * (size_bytes // (4 * STRETCH_BYTES)))
    drawn = random.Random(1).sample(slots, rounds * DAMAGED)
    places = [(4 * (slot // each) + 2) * each + slot % each for slot in drawn]
    return [sorted(places[number::rounds]) for number in range(rounds)]


def flip(path: Path, clusters: list[int]) -> None:
    """Turn one bit of each of these clusters over, as a tired disk does."""
    fd = os.open(path, os.O_RDWR)
    try:
        for cluster in clusters:
            at = cluster * CLUSTER_BYTES + 1234
            os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 1]), at)
        os.fsync(fd)
    finally:
        os.close(fd)
