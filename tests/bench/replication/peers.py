"""The tools in use today, each by its manual, between the same hosts and on the same disk."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.replication.machine import IMAGES, Machine
from tests.bench.replication.node import Node, Took
from tests.lab.lab import wait_until

SSH = "ssh -c aes128-gcm@openssh.com -o Compression=no"
SCRATCH = "/var/lib/hotsite"
PORT = 10809


def rsync(machine: Machine, to: Node) -> Took:
    """Bring a copy of the disk's file up to date; freezing and thawing are not counted."""
    with machine.frozen() as disk:
        return machine.node.timed(
            "rsync", "-I", "--inplace", "--no-whole-file", "--stats", "-e", SSH, disk,
            f"root@{to.address}:{IMAGES}/{machine.name}-rsync.qcow2")


def rsync_wire_bytes(said: str) -> int:
    """Return what rsync says it sent and received."""
    rows = [row.split(":")[1] for row in said.splitlines() if row.startswith("Total bytes ")]
    return sum(int(row.replace(",", "")) for row in rows)


def virtnbdbackup(machine: Machine, level: str) -> Took:
    """Back the domain up to a folder of its own host: full or inc."""
    return machine.node.timed(
        "virtnbdbackup", "-n", "-d", machine.name, "-l", level, "-o",
        f"{SCRATCH}/{machine.name}-virtnbdbackup", "-S", SCRATCH, "-f", f"/tmp/{machine.name}.nbd")


@contextmanager
def exported(node: Node, disk: str, *bitmap: str) -> Iterator[str]:
    """Serve a disk read-only, without its lock, on a socket of its host while the block lasts."""
    socket = f"/tmp/export-{time.monotonic_ns()}.sock"
    source = f"driver=qcow2,file.driver=file,file.filename={disk},file.locking=off"
    with serving(node, "qemu-nbd", "--read-only", "--persistent", "--shared=8", "-k", socket,
                 "-x", "vda", *(f"--bitmap={name}" for name in bitmap), "--image-opts", source):
        wait_until(socket, node.path(socket).exists)
        yield socket
    node.path(socket).unlink(missing_ok=True)


def nbdcopy(node: Node, disk: str, to: Node, *, through_ssh: bool) -> Took:
    """Copy a disk to a new qcow2 disk on another host, as fast as nbdcopy can."""
    target, socket = f"{IMAGES}/nbdcopy.qcow2", "/tmp/nbdcopy.sock"
    to.run("qemu-img", "create", "-q", "-f", "qcow2", target, str(virtual_size(node, disk)))
    where = ("-k", socket) if through_ssh else ("-b", to.address, "-p", str(PORT))
    words = ("nbdcopy", "--flush", "--destination-is-zero")
    with exported(node, disk) as source, serving(
            to, "qemu-nbd", "--shared=8", "--discard=unmap", "--detect-zeroes=unmap",
            "--persistent", "-f", "qcow2", *where, target):
        uri = f"nbd+unix:///vda?socket={source}"
        if through_ssh:
            wait_until(socket, to.path(socket).exists)
            with forwarded(node, to, socket) as near:
                took = node.timed(*words, uri, f"nbd+unix:///?socket={near}")
        else:
            wait_until(f"port {PORT}", lambda: listens(to, PORT))
            took = node.timed(*words, uri, f"nbd://{to.address}:{PORT}")
    to.remove(target, socket)
    return took


@contextmanager
def forwarded(node: Node, to: Node, socket: str) -> Iterator[str]:
    """Bring a socket of another host near by ssh."""
    near = "/tmp/forwarded.sock"
    node.path(near).unlink(missing_ok=True)
    with serving(node, *SSH.split(), "-N", "-L", f"{near}:{socket}", f"root@{to.address}"):
        wait_until(near, node.path(near).exists)
        yield near


@contextmanager
def serving(node: Node, *argv: str) -> Iterator[None]:
    """Keep a program running while the block lasts."""
    server = node.start(*argv)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def listens(node: Node, port: int) -> bool:
    """Say whether something accepts connections on a port of a host."""
    rows = Path(f"/proc/{node.first}/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


def virtual_size(node: Node, disk: str) -> int:
    """Return how large a qcow2 disk is to its guest."""
    with node.path(disk).open("rb") as file:
        return int.from_bytes(file.read(32)[24:], "big")
