"""A whole disk: copied beside nbdcopy, verified, and audited from end to end."""

from typing import Any

from tests.bench.figure import Figure
from tests.bench.replication.hands import Pair, ask
from tests.bench.replication.machine import IMAGES, make_disk
from tests.bench.replication.node import Node
from tests.bench.replication.peers import exported, nbdcopy
from tests.bench.replication.scale import Scale, hosts, title

DISK = f"{IMAGES}/copy.qcow2"
BEST: dict[str, Any] = {"codec": "none", "streams": 2}
"""What a path as fast as the disks asks for; the cycle's figures are taken with its own choice."""


def figures(scale: Scale) -> list[Figure]:
    """Return the figures of the larger disk and the copies of both."""
    found: list[Figure] = []
    for size in scale.sizes:
        source, target = hosts()
        make_disk(source, DISK, size)
        try:
            found += of_disk(source, target, size, scale.copies)
        finally:
            source.remove(DISK)
    return found


def of_disk(source: Node, target: Node, size: int, rounds: int) -> list[Figure]:
    """Copy a disk by every way in turn, then look at our copy."""
    ours, squeezed, plain, tunnel = [], [], [], []
    for _ in range(rounds):
        plain.append(nbdcopy(source, DISK, target, through_ssh=False).wall_s)
        tunnel.append(nbdcopy(source, DISK, target, through_ssh=True).wall_s)
        squeezed.append(copy_s(source, target, size, streams=1, codec="zstd"))
        ours.append(copy_s(source, target, size, **BEST))
    name = f"full copy of {title(size)}, half full, to its disk"
    return [
        Figure(name, "s", tuple(ours), peer="nbdcopy to qemu-nbd over plain TCP",
               peer_samples=tuple(plain), ratio_at_least=1.0),
        Figure(f"{name}, as safe on the way", "s", tuple(ours), peer="the same through ssh",
               peer_samples=tuple(tunnel), ratio_at_least=1.0),
        Figure(f"{name}, squeezed for a slower path", "s", tuple(squeezed)),
        *checks(source, target, size, rounds),
    ]


def copy_s(source: Node, target: Node, size: int, **request: Any) -> float:
    """Return how long a copy takes until every byte of it is on the target's disk."""
    pair = Pair(source, target, "copy", size)
    try:
        pair.open("base")
        with exported(source, DISK) as socket:
            sent = pair.send(socket, **request)
        return sent.took.wall_s + pair.publish("no").took.wall_s
    finally:
        pair.remove()


def checks(source: Node, target: Node, size: int, rounds: int) -> list[Figure]:
    """Verify a replica, then compare it with the disk that it is of."""
    pair = Pair(source, target, "copy", size)
    try:
        pair.open("base")
        with exported(source, DISK) as socket:
            pair.send(socket, **BEST)
            reread_s = pair.publish("disk").took.wall_s
            read = [verified(pair) for _ in range(rounds)]
            told_bytes = pair.manifest("/tmp/known.man")
            pair.open("overlay")
            clean = pair.send(socket, mode="scan", known="/tmp/known.man")
        assert clean.answer["data_bytes"] == clean.answer["zero_bytes"] == 0, clean.answer
    finally:
        pair.remove()
    told = f"{title(size)}, half full"
    return [
        Figure(f"publish with a second look at the disk, {told}", "s", (reread_s,)),
        Figure(f"verify, {told}, per core", "GB/s", tuple(read), at_least=1.5),
        Figure(f"clean scan, {told}, sent of the disk", "%", (100 * told_bytes / size,),
               limit=0.1, note=f"{told_bytes} bytes, {clean.took.wall_s:.1f} s"),
    ]


def verified(pair: Pair) -> float:
    """Return how many GB a second of processor time a verify reads, from memory."""
    told = ask(pair.target, "verify", {"replica": pair.root, "cold": False, "restart": True})
    assert told.answer["complete"], told.answer
    assert told.answer["found_clusters"] == 0, told.answer
    return float(told.answer["read_bytes"]) / 1e9 / told.took.cpu_s
