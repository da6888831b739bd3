"""Retire restore points: how long merging an overlay into the base takes, sync included."""

from tests.bench.figure import Figure
from tests.bench.replication.content import STRETCH_BYTES
from tests.bench.replication.hands import Pair, ask
from tests.bench.replication.machine import IMAGES, make_disk
from tests.bench.replication.peers import exported
from tests.bench.replication.scale import Scale, hosts, title

DISK = f"{IMAGES}/retention.qcow2"


def figures(scale: Scale) -> list[Figure]:
    """Return how long the retirement of the oldest point takes when so much lies above it."""
    source, target = hosts()
    size = 2 * scale.retained_bytes
    make_disk(source, DISK, size)
    source.run("qemu-img", "bitmap", "--add", DISK, "since")
    pair = Pair(source, target, "retention", size)
    full = [[at, STRETCH_BYTES] for at in range(0, size, 2 * STRETCH_BYTES)]
    try:
        with exported(source, DISK, "since") as socket:
            pair.open("base")
            pair.send(socket)
            pair.publish()
            took = tuple(retired_s(pair, socket, full) for _ in range(max(3, scale.rounds)))
    finally:
        pair.remove()
        source.remove(DISK)
    return [Figure(f"retention: {title(scale.retained_bytes)} merged into the base", "s", took,
                   limit=2.0)]


def retired_s(pair: Pair, socket: str, ranges: list[list[int]]) -> float:
    """Add a point with so much in it and return how long it takes to let the one below go."""
    below = pair.sequence
    pair.open("overlay")
    pair.send(socket, mode="increment", bitmap="since", ranges=ranges)
    pair.publish()
    told = ask(pair.target, "retire", {"replica": pair.root, "sequences": [below]})
    merged = sum(part["data_bytes"] for part in told.answer["merged"])
    assert merged == sum(length for _, length in ranges), told.answer
    return told.took.wall_s
