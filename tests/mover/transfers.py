"""Streams as a source sends them, and a small VM whose disks are replicated by them."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mover.image.chain import Chain
from mover.image.hashing import CLUSTER_BYTES
from mover.replica import incoming, publish, receive
from mover.replica.replica import Replica, create, locked
from mover.replica.state import chain
from mover.transfer import wire
from mover.transfer.codec import RAW

from tests.mover.replicas import HASHER, Change, identical, qemu_img, write_flat

SECRET = b"a pair's secret"
ATTEMPT = "a-first-one"
REMOTE = Path(__file__).parents[2] / "controller" / "remote"


def write_stream(path: Path, disk: str, size_bytes: int, what: Iterable[Change],
                 transfer: str = "t", part: tuple[int, int] = (0, 1),
                 attempt: str = ATTEMPT) -> Path:
    """Write a whole transfer, or one stream of several, to a file."""
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    writer = wire.Writer(fd, HASHER)
    writer.hello(wire.Hello(transfer, disk, size_bytes, HASHER.algorithm, HASHER.secret_id,
                              *part, attempt=attempt))
    for cluster, data in what:
        if any(data):
            writer.data([(cluster * CLUSTER_BYTES, len(data))], HASHER.clusters(data), RAW,
                        data)
        else:
            writer.zero(cluster * CLUSTER_BYTES, len(data))
    writer.end()
    os.close(fd)
    return path


def feed(root: Path, path: Path) -> dict[str, object]:
    """Receive a stream that lies in a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return receive.receive(str(root), fd)
    finally:
        os.close(fd)


def start_mover(*words: object, stdin: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a verb in a process of its own."""
    with (stdin or Path(os.devnull)).open("rb") as source:
        return subprocess.Popen([sys.executable, "-m", "mover", *map(str, words)], stdin=source,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "PYTHONPATH": str(REMOTE)})


def status_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a mover to end and return its exit status."""
    process.communicate()
    return process.returncode


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Kill a mover that has not ended within some time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()


def ask(verb: str, request: dict[str, object], folder: Path) -> tuple[int, dict[str, object]]:
    """Run a verb with a request and return its exit status and answer."""
    (folder / "request.json").write_text(json.dumps(request) + "\n")
    process = start_mover(verb, stdin=folder / "request.json")
    out, err = process.communicate()
    return process.returncode, json.loads(out or err)


class Machine:
    """A VM with disks in memory and its replica: every cycle changes, sends and publishes."""

    def __init__(self, folder: Path, sizes: dict[str, int], seed: int = 0) -> None:
        self.folder, self.root = folder, folder / "replica"
        self.disks = {disk: bytearray(size) for disk, size in sizes.items()}
        self.dice = random.Random(seed)
        self.sequence = 0
        self.flats: dict[tuple[int, str], Path] = {}
        create(str(self.root), "a-vm", HASHER.algorithm, SECRET)

    def change(self, disk: str, number: int) -> list[Change]:
        """Change some clusters of a disk and return what must be sent."""
        data = self.disks[disk]
        clusters = -(-len(data) // CLUSTER_BYTES)
        touched = self.dice.sample(range(clusters), number)
        for cluster in touched:
            start, end = cluster * CLUSTER_BYTES, min(len(data), (cluster + 1) * CLUSTER_BYTES)
            size = end - start
            data[start:end] = bytes(size) if self.dice.random() < 0.2 else \
                self.dice.randbytes(size)
        return [self.at(disk, cluster) for cluster in touched]

    def at(self, disk: str, cluster: int) -> Change:
        """Return a cluster as it is now."""
        start = cluster * CLUSTER_BYTES
        return cluster, bytes(self.disks[disk][start:start + CLUSTER_BYTES])

    def everything(self, disk: str) -> list[Change]:
        """Return the whole disk."""
        return [self.at(disk, cluster)
                for cluster in range(-(-len(self.disks[disk]) // CLUSTER_BYTES))]

    def open(self, disk: str, kind: str, note: object = None) -> dict[str, object]:
        """Open what will come for a disk."""
        with locked(str(self.root)) as replica:
            return incoming.prepare(replica, disk, kind, len(self.disks[disk]), note, ATTEMPT)

    def send(self, disk: str, what: Iterable[Change], transfer: str = "t") -> None:
        """Send a transfer and receive it."""
        feed(self.root, write_stream(self.folder / "stream", disk, len(self.disks[disk]), what,
                                     transfer))

    def publish(self, **disks: dict[str, object]) -> dict[str, object]:
        """Publish what came and remember what the disks were like then."""
        self.sequence += 1
        done = publish.publish(publish.Request(
            str(self.root), self.sequence, disks, f"hotsite-{self.sequence:06d}-0a",
            self.sequence * 300,
            meta={"domain.xml": {"text": "<domain/>"}}, reread="memory", attempt=ATTEMPT))
        self.remember()
        return done

    def remember(self) -> None:
        """Keep every disk as it is now, to compare the newest point with."""
        for disk, data in self.disks.items():
            path = self.folder / f"{disk}-{self.sequence}.flat"
            write_flat(path, len(data), [(0, bytes(data))])
            self.flats[self.sequence, disk] = path

    def cycle(self, number: int = 20) -> None:
        """Seed every disk the first time, change and send increments after that."""
        for disk in self.disks:
            if self.sequence == 0:
                self.change(disk, number)
            self.open(disk, "overlay" if self.sequence else "base")
            self.send(disk, self.change(disk, number) if self.sequence else self.everything(disk),
                      f"t{self.sequence}")
        self.publish(**{disk: {"transfers": [f"t{self.sequence}"]} for disk in self.disks})

    def paths(self, disk: str, sequence: int) -> list[str]:
        """Return the files that a disk is read from at a point, base first."""
        return paths_of(Replica(str(self.root)), disk, sequence)


def paths_of(replica: Replica, disk: str, sequence: int) -> list[str]:
    """Return the files that a disk is read from at a point, base first."""
    return [replica.path(disk, file.name) for file in chain(replica.state, disk, sequence)]


def assert_every_point_reads_as_its_disk(machine: Machine, but: tuple[int, ...] = ()) -> None:
    """Compare every disk at every point that is left, by QEMU's reading and by ours."""
    replica = Replica(str(machine.root))
    for point in replica.state.points:
        for disk in point.files if point.sequence not in but else ():
            top = Path(paths_of(replica, disk, point.sequence)[-1])
            flat = machine.flats[point.sequence, disk]
            if top.suffix == ".qcow2":
                assert "No errors were found" in qemu_img("check", top)
            assert identical(top, flat)
            with Chain(paths_of(replica, disk, point.sequence)) as disk_chain:
                assert disk_chain.read(0, disk_chain.size_bytes) == flat.read_bytes()
