"""Sizes and counts of the benchmarks: full ones, and small ones for a try."""

from dataclasses import dataclass

from tests.bench.replication.content import GIB, KIB, MIB, Change
from tests.bench.replication.node import Node


@dataclass(frozen=True)
class Scale:
    """The sizes of a run."""

    sizes: tuple[int, int] = (2 * GIB, 16 * GIB)
    """Of the disks that are compared with each other; the figures of one disk are of the second."""
    rounds: int = 3
    copies: int = 2
    """How often a whole disk is copied by each way; that of the larger takes a minute and more."""
    pieces_bytes: int = 40 * MIB
    scattered_bytes: int = 10 * MIB
    retained_bytes: int = 256 * MIB
    delayed_bytes: int = 2 * GIB
    estate_machines: int = 35
    estate_rpo_s: int = 300
    estate_s: int = 1800

    def change(self, kind: str, *, scattered: bool) -> Change:
        """Return one of the two changes."""
        if scattered:
            return Change(kind, self.scattered_bytes, 4 * KIB)
        return Change(kind, self.pieces_bytes, 64 * KIB)


SMALL = Scale(sizes=(256 * MIB, 512 * MIB), rounds=2, pieces_bytes=4 * MIB,
              scattered_bytes=MIB, retained_bytes=32 * MIB, delayed_bytes=128 * MIB,
              estate_machines=8, estate_rpo_s=60, estate_s=150)
LARGE = Scale()


def title(size_bytes: int) -> str:
    """Return a size for a person."""
    return f"{size_bytes // GIB} GiB" if size_bytes % GIB == 0 else f"{size_bytes // MIB} MiB"


def hosts() -> tuple[Node, Node]:
    """Return the host that the VMs are on and the host that keeps their replicas."""
    return Node("paris-1", "10.78.0.11"), Node("milan-1", "10.78.0.21")
