"""If the newest point lacks a disk, its host reports why, and which point has the disk."""

from mover.replica.replica import locked

from tests.providers.linux.conftest import PlayedHost
from tests.providers.linux.test_replicas_script import Protected, machine, seen

__all__ = ["machine"]


def test_what_the_newest_point_has_not_is_told(host: PlayedHost, machine: Protected) -> None:
    assert seen(host).left_out == {}
    with locked(machine.root) as replica:
        point = replica.state.points[-1]._replace(facts={"left_out": {"vdz": "it is encrypted"}})
        replica.commit(replica.state._replace(points=(*replica.state.points[:-1], point)))
    assert seen(host).left_out == {"vdz": "it is encrypted"}
    assert seen(host).last_with == {}


def test_the_last_point_of_a_disk_that_the_newest_has_not_is_told(
        host: PlayedHost, machine: Protected) -> None:
    with locked(machine.root) as replica:
        *older, newest = replica.state.points
        disk = next(iter(newest.files))
        point = newest._replace(sequence=newest.sequence + 1, facts={"left_out": {disk: "torn"}},
                                files={})
        replica.commit(replica.state._replace(points=(*older, newest, point)))
    assert seen(host).last_with == {disk: newest.sequence}
