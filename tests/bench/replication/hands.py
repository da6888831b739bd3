"""Run the mover between two hosts by hand, for figures of the mover without the cycle."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from controller.providers.linux.archive import pack
from tests.bench.replication.node import Node, Took
from tests.bench.replication.peers import SSH

SOURCES = Path(__file__).parents[3] / "controller/remote/mover"
ARCHIVE = "/tmp/mover.pyz"
SECRET = "5ec2e7"
NAME = "an-attempt"
REPLICAS = "/var/lib/libvirt/images/hotsite-replicas"


def place(node: Node) -> None:
    """Put the mover on a host."""
    Path(node.path(ARCHIVE)).write_bytes(pack("mover"))


class Told(NamedTuple):
    """What a verb answered, and what it took."""

    answer: dict[str, Any]
    took: Took


def ask(node: Node, verb: str, request: dict[str, Any], *, held: bool = False) -> Told:
    """Run a verb of the mover on a host."""
    took = node.timed("python3", ARCHIVE, verb, text=json.dumps(request) + "\n", held=held)
    lines = [json.loads(line) for line in took.output.splitlines() if line.startswith("{")]
    return Told(lines[-1], took)


class Pair:
    """A replica of one disk, made by hand."""

    def __init__(self, source: Node, target: Node, name: str, size_bytes: int) -> None:
        """Make it, empty."""
        self.source, self.target, self.size_bytes = source, target, size_bytes
        self.root = f"{REPLICAS}/{name}"
        self.sequence = 0
        for node in (source, target):
            place(node)
        target.path(REPLICAS).mkdir(exist_ok=True)
        ask(target, "replica-make", {"replica": self.root, "vm": name, "secret": SECRET})

    def open(self, kind: str) -> None:
        """Say what will come."""
        ask(self.target, "incoming-open", {"replica": self.root, "attempt": NAME, "disks": {
            "vda": {"kind": kind, "size_bytes": self.size_bytes}}})

    def send(self, socket: str, *, streams: int = 1, ssh: str = "", **request: Any) -> Told:
        """Send from an export; `ssh` are words besides those of every connection."""
        argv = [*SSH.split(), *ssh.split(), f"root@{self.target.address}", "python3", ARCHIVE,
                "receive", self.root]
        asked = {"socket": socket, "export": "vda", "disk": "vda", "secret": SECRET,
                 "to": {"argv": argv, "count": streams},
                 "attempt": NAME, "transfer": f"t{self.sequence + 1}", **request}
        told = ask(self.source, "send", asked, held=True)
        return Told(told.answer["result"], told.took)

    def publish(self, reread: str = "disk") -> Told:
        """Make what came a restore point; the figure of one that is not read again is its own."""
        self.sequence += 1
        if reread == "no":
            ask(self.target, "incoming-settle", {
                "replica": self.root, "attempt": NAME, "disks": ["vda"], "reread": "no"})
        return ask(self.target, "publish", {
            "replica": self.root, "attempt": NAME, "sequence": self.sequence,
            "started_at": self.sequence,
            "disks": {"vda": {"transfers": [f"t{self.sequence}"]}}, "reread": reread})

    def manifest(self, place_on_source: str) -> int:
        """Bring the manifest of the newest point to the source; return how many bytes it took."""
        near = self.source.path(place_on_source)
        squeezed = near.with_suffix(".squeezed")
        asked = json.dumps({"replica": self.root, "disk": "vda"})
        self.target.run("sh", "-c", f"echo '{asked}' | python3 {ARCHIVE} manifest-out "
                                    ">/tmp/manifest.squeezed")
        squeezed.write_bytes(self.target.path("/tmp/manifest.squeezed").read_bytes())
        self.source.run("sh", "-c", f"python3 {ARCHIVE} manifest-in {place_on_source} "
                                    f"{1 << 40} <{Path(place_on_source).with_suffix('.squeezed')}")
        return squeezed.stat().st_size

    def remove(self) -> None:
        """Delete it."""
        self.target.remove(self.root)
