"""What a poll reports of a replica that has to do with a failover."""

from pathlib import Path

import pytest
from mover.replica.replica import locked
from mover.replica.state import DISK, File, Point

from tests.providers.linux.conftest import PlayedHost
from tests.providers.linux.test_replicas_script import SIZE, Protected, seen


@pytest.fixture
def machine(host: PlayedHost) -> Protected:
    """A VM with one disk and a replica with a point."""
    machine = Protected(host, {"vda": SIZE})
    machine.cycle(12)
    return machine


def test_the_epoch_and_the_point_that_is_the_vm_are_told(
        host: PlayedHost, machine: Protected) -> None:
    assert (seen(host).epoch, seen(host).promoted) == (0, None)
    with locked(str(machine.root)) as replica:
        replica.commit(replica.state._replace(facts={
            **replica.state.facts, "epoch": 7, "promoted": {"epoch": 7, "sequence": 1}}))
    assert (seen(host).epoch, seen(host).promoted) == (7, 1)


def tail_on(machine: Protected, former: Path) -> None:
    """Add a point that is what an older copy held at its end, on a disk of its own."""
    manifest = machine.root / "vda/disk-000002.man"
    data = (machine.root / "vda/base-000001.man").read_bytes()
    file = File(manifest.name, DISK, SIZE, len(data), f"qcow2:{former}")
    point = Point(2, "", 500.0, 500.0, False, {"vda": file},
                  facts={"diverged": {"epoch": 7, "by": "jo", "until": 900.0}})
    with locked(str(machine.root)) as replica:
        manifest.write_bytes(data)      # whoever takes the lock removes what is not named
        replica.commit(replica.state._replace(points=(*replica.state.points, point),
                                              pins={"tail-2": 2}))


def test_a_tail_is_told_with_its_owner(host: PlayedHost, machine: Protected,
                                       tmp_path: Path) -> None:
    former = tmp_path / "sql.qcow2"
    former.touch()
    tail_on(machine, former)
    facts = seen(host)
    assert facts.lost_files == ()
    assert [(p.diverged, p.kept_by, p.kept_until) for p in facts.points] == [
        (False, "", None), (True, "jo", 900.0)]
    assert facts.pins == {"tail-2": 2}


def test_a_former_disk_that_is_gone_is_a_lost_file(host: PlayedHost, machine: Protected,
                                                   tmp_path: Path) -> None:
    tail_on(machine, tmp_path / "gone.qcow2")
    facts = seen(host)
    assert facts.lost_files == ("vda/disk-000002.man",)
    assert [bool(point.damaged_clusters) for point in facts.points] == [False, True]
