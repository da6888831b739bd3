"""A disk that some points lack comes back: each point reads as its disks were."""

from pathlib import Path

import pytest
from mover.errors import TryAgain
from mover.replica import retire
from mover.replica.replica import Replica, locked
from mover.replica.scrub import Request, verify

from tests.mover.transfers import Machine, assert_every_point_reads_as_its_disk

MIB = 1 << 20


def test_a_disk_that_was_left_out_for_a_while_comes_back_whole(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 2 * MIB, "vdb": 2 * MIB})
    machine.cycle()
    machine.cycle(3)
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 2), "left")
    machine.publish(vda={"transfers": ["left"]})
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 2), "a")
    machine.open("vdb", "base")
    machine.send("vdb", machine.everything("vdb"), "b")
    machine.publish(vda={"transfers": ["a"]}, vdb={"transfers": ["b"]})
    machine.cycle(2)
    root = str(machine.root)
    assert [set(point.files) for point in Replica(root).state.points] == [
        {"vda", "vdb"}, {"vda", "vdb"}, {"vda"}, {"vda", "vdb"}, {"vda", "vdb"}]
    assert_every_point_reads_as_its_disk(machine)
    for gone in range(1, 5):
        with locked(root) as replica:
            retire.retire(replica, gone)
        assert_every_point_reads_as_its_disk(machine)
        assert verify(Request(root, restart=True))["found_clusters"] == 0
    with locked(root) as replica:
        assert [point.sequence for point in replica.state.points] == [5]


def test_the_last_point_of_a_disk_stays_while_that_is_left_out(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": 2 * MIB, "vdb": 2 * MIB})
    machine.cycle()
    machine.cycle(3)
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 2), "left")
    machine.publish(vda={"transfers": ["left"]})
    with locked(str(machine.root)) as replica:
        *older, newest = replica.state.points
        replica.commit(replica.state._replace(points=(
            *older, newest._replace(facts={"left_out": {"vdb": "it cannot be opened"}}))))
        retire.retire(replica, 1)
        with pytest.raises(TryAgain, match="point 2 is the last that has disk vdb"):
            retire.retire(replica, 2)
    assert_every_point_reads_as_its_disk(machine)
