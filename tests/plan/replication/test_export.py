"""Which restore point is exported: the newest sound one, or the one named."""

from dataclasses import replace

import pytest

from controller.errors import Refused
from controller.model.facts import Absent, Known, NodeFacts, Observed, Unknown
from controller.model.replica import PointFacts, ReplicaFacts
from controller.plan.replication.export import plan_export

PATH = "/pool/hotsite-replicas/u-sql"


def point(sequence: int, *, damaged: int = 0) -> PointFacts:
    """A point that was begun so many hundred seconds in."""
    return PointFacts(sequence, f"hotsite-{sequence:06d}", 100.0 * sequence, 100.0 * sequence + 9,
                      quiesced=False, stored_bytes=1, damaged_clusters=damaged)


def host(name: str, *points: PointFacts, unreadable: str = "") -> Known[NodeFacts]:
    """A host that holds a replica of sql with these points."""
    replica = ReplicaFacts("u-sql", "sql", PATH, points, {"vda": 1 << 30, "vdb": 1 << 30},
                           unreadable=unreadable)
    nothing = Absent(0.0)
    return Known(NodeFacts(name, "boot", 0.0, nothing, {}, nothing, nothing, nothing,
                           replicas=Known({"u-sql": replica} if points else {}, 0.0)), 0.0)


def seen(*hosts: Known[NodeFacts]) -> Observed:
    """These hosts, and one that is silent."""
    return Observed({one.value.name: one for one in hosts}
                    | {"milan-2": Unknown("it is silent", 0.0)})


def test_the_newest_sound_point_is_taken() -> None:
    action = plan_export(seen(host("milan-1", point(1), point(2), point(3, damaged=2))), "sql",
                         "/srv")
    assert (action.node, action.sequence, action.path) == ("milan-1", 2, PATH)
    assert "vda, vdb" in action.consequence


def test_of_two_replicas_the_fresher_one_speaks() -> None:
    action = plan_export(seen(host("milan-1", point(2)), host("paris-1", point(5))), "sql", "/srv")
    assert (action.node, action.sequence) == ("paris-1", 5)


def test_a_point_that_reads_wrong_is_taken_only_when_told_so() -> None:
    observed = seen(host("milan-1", point(1), point(2, damaged=3)))
    with pytest.raises(Refused, match="reads wrong in 3 clusters: .*--damaged"):
        plan_export(observed, "sql", "/srv", 2)
    assert plan_export(observed, "sql", "/srv", 2, damaged=True).sequence == 2


def test_a_point_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refused, match="no restore point 9: there are 1, 2"):
        plan_export(seen(host("milan-1", point(1), point(2))), "sql", "/srv", 9)


def test_silence_is_named_and_not_taken_for_absence() -> None:
    with pytest.raises(Refused, match="milan-2 cannot be seen now and may have it"):
        plan_export(seen(host("milan-1")), "sql", "/srv")


def test_a_replica_that_cannot_be_read_is_none() -> None:
    unreadable = host("milan-1", point(1), unreadable="state.json is torn")
    with pytest.raises(Refused, match="no host that answers holds a replica"):
        plan_export(seen(unreadable), "sql", "/srv")


def test_the_same_export_has_the_same_name() -> None:
    one = plan_export(seen(host("milan-1", point(1))), "sql", "/srv")
    assert one.id == replace(one, reason="again").id == "export-point:Replica/sql@milan-1/1:/srv"


def test_a_vm_that_was_renamed_is_found_under_the_name_that_its_replica_still_has() -> None:
    observed = seen(host("milan-1", point(2)))
    with pytest.raises(Refused, match="holds a replica of sql-prod"):
        plan_export(observed, "sql-prod", "/srv")
    action = plan_export(observed, "sql-prod", "/srv", formers=("sql",))
    assert (action.machine, action.sequence) == ("sql-prod", 2)
