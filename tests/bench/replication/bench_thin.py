"""A thin line: what an office's VM changes in a quarter of an hour, over 20 Mbit/s and 40 ms.

What it changes is a model, half of it text and half noise: 16 MiB in 4 KiB all over the disk (mail,
a database, the profile of who works there) and 8 MiB in 64 KiB (documents, logs). The line is a
relay in user space, beside ssh's own queues. 35 such VMs share the line: each may take a 35th of
900 s.
"""

import shutil
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.replication.content import KIB, MIB, Change
from tests.bench.replication.hands import Pair
from tests.bench.replication.machine import IMAGES, make_disk
from tests.bench.replication.node import Node
from tests.bench.replication.peers import exported, listens, serving
from tests.bench.replication.scale import Scale, hosts, title
from tests.lab.lab import wait_until

DISK = f"{IMAGES}/thin.qcow2"
BITMAP = "since"
RATE_BPS = 20e6
ROUND_TRIP_S = 0.04
PORT = 2223
MACHINES, RPO_S = 35, 900
CHANGES = tuple(Change(kind, size, piece) for kind in ("text", "noise")
                for size, piece in ((8 * MIB, 4 * KIB), (4 * MIB, 64 * KIB)))
WRITTEN_BYTES = sum(change.total_bytes for change in CHANGES)


def figures(scale: Scale) -> list[Figure]:
    """Return how long such a copy takes, and what crosses the line, beside whole clusters."""
    source, target = hosts()
    size = scale.sizes[0]
    make_disk(source, DISK, size)
    shutil.copy(Path(__file__).with_name("relay.py"), source.path("/tmp/relay.py"))
    pair = Pair(source, target, "thin", size)
    try:
        with serving(source, "python3", "/tmp/relay.py", str(ROUND_TRIP_S / 2), str(PORT),
                     target.address, "22", str(RATE_BPS)):
            wait_until("the relay", lambda: listens(source, PORT))
            seed(pair)
            turns = [(copied(pair, 2 * number, blocks=True), copied(
                pair, 2 * number + 1, blocks=False)) for number in range(scale.rounds)]
    finally:
        pair.remove()
        source.remove(DISK)
    name = f"{title(WRITTEN_BYTES)} written in 15 min, 20 Mbit/s and 40 ms"
    return [
        Figure(f"{name}: a copy", "s", tuple(ours for (ours, _), _ in turns),
               limit=RPO_S / MACHINES, peer="whole clusters",
               peer_samples=tuple(whole for _, (whole, _) in turns),
               note=f"{MACHINES} such VMs within {RPO_S} s"),
        Figure(f"{name}: on the wire for each byte written", "B",
               tuple(wire / WRITTEN_BYTES for (_, wire), _ in turns), peer="whole clusters",
               peer_samples=tuple(wire / WRITTEN_BYTES for _, (_, wire) in turns))]


def seed(pair: Pair) -> None:
    """Make the first point, past the relay."""
    pair.open("base")
    with exported(pair.source, DISK) as socket:
        pair.send(socket)
    pair.publish()


def copied(pair: Pair, number: int, *, blocks: bool) -> tuple[float, int]:
    """Change the disk, bring the change over the line; return how long and how much that was."""
    change(pair.source, pair.size_bytes, number)
    pair.open("overlay")
    way = f"-p {PORT} -o HostName=127.0.0.1 -o HostKeyAlias={pair.target.address}"
    with exported(pair.source, DISK, BITMAP) as socket:
        told = pair.send(socket, ssh=way, mode="increment", bitmap=BITMAP, blocks=blocks,
                         compress="auto")
    pair.publish()
    print(f"  blocks {blocks}: {told.answer['asked_bytes'] >> 20} MiB compared,"
          f" {told.answer['block_bytes'] >> 20} MiB of them sent"
          f" {told.answer['whole_because']}", flush=True)
    return told.took.wall_s, int(told.answer["wire_bytes"])


def change(node: Node, size_bytes: int, number: int) -> None:
    """Write what a VM writes in a quarter of an hour, with a bitmap of it alone."""
    if number:
        node.run("qemu-img", "bitmap", "--remove", DISK, BITMAP)
    node.run("qemu-img", "bitmap", "--add", DISK, BITMAP)
    folder = node.path("/tmp/thin-pieces")
    folder.mkdir(exist_ok=True)
    commands = []
    for one in CHANGES:
        for offset, data in one.pieces(size_bytes, number):
            place = f"/tmp/{folder.name}/{len(commands)}"
            node.path(place).write_bytes(data)
            commands.append(f"write -q -s {place} {offset} {one.piece_bytes}")
    said = node.run("qemu-io", "-f", "qcow2", DISK, text="\n".join(commands) + "\n")
    assert "failed" not in said.lower(), said
    shutil.rmtree(folder)
