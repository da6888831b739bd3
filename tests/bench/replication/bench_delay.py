"""A long path: what several streams gain where one waits for its window."""

import shutil
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.replication.hands import Pair
from tests.bench.replication.machine import IMAGES, make_disk
from tests.bench.replication.node import Node
from tests.bench.replication.peers import exported, listens, serving
from tests.bench.replication.scale import Scale, hosts, title
from tests.lab.lab import wait_until

DISK = f"{IMAGES}/delay.qcow2"
ROUND_TRIP_S = 0.05
PORT = 2222


def figures(scale: Scale) -> list[Figure]:
    """Return how long one stream and four take over a path with a delay."""
    source, target = hosts()
    size = scale.delayed_bytes
    make_disk(source, DISK, size)
    shutil.copy(Path(__file__).with_name("relay.py"), source.path("/tmp/relay.py"))
    try:
        with exported(source, DISK) as socket, serving(
                source, "python3", "/tmp/relay.py", str(ROUND_TRIP_S / 2), str(PORT),
                target.address, "22"):
            wait_until("the relay", lambda: listens(source, PORT))
            turns = [(copy_s(source, target, socket, size, 1), copy_s(
                source, target, socket, size, 4)) for _ in range(scale.rounds)]
    finally:
        source.remove(DISK)
    return [Figure(
        f"{title(size // 2)} over a path with 50 ms of delay, four streams", "s",
        tuple(four for _, four in turns), peer="one stream",
        peer_samples=tuple(one for one, _ in turns), ratio_at_least=3.0)]


def copy_s(source: Node, target: Node, socket: str, size: int, streams: int) -> float:
    """Return how long a full copy takes over the relay, logins included."""
    pair = Pair(source, target, "delay", size)
    way = f"-p {PORT} -o HostName=127.0.0.1 -o HostKeyAlias={target.address}"
    try:
        pair.open("base")
        return pair.send(socket, streams=streams, ssh=way, codec="none").took.wall_s
    finally:
        pair.remove()
