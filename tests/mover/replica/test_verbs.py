"""The mover's answers about a replica are the ones that the cycle reads."""

from pathlib import Path

from controller.replication.copy_plan import parse_replica
from tests.mover.transfers import Machine, ask


def test_the_conductor_reads_what_the_mover_answers_of_a_replica(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 4 << 20, "vdb": 2 << 20})
    request: dict[str, object] = {"replica": str(machine.root), "vm": "a-vm",
                                  "algorithm": "xxh3-128"}
    status, empty = ask("replica-make", request, tmp_path)
    assert (status, parse_replica(empty).newest) == (0, 0)
    machine.cycle()
    machine.open("vda", "overlay")
    status, made = ask("replica-make", request, tmp_path)
    assert status == 0
    read = parse_replica(made)
    assert read.newest == 1
    assert read.sizes == {"vda": 4 << 20, "vdb": 2 << 20}
    assert read.received.keys() == {"vda"}
    assert (read.scan, read.baseless, read.left_out) == (frozenset(), frozenset(), frozenset())
