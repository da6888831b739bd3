"""Which tail a person lets go: the only one, or the one named."""

from dataclasses import replace

import pytest

from controller.errors import Refused
from controller.model.facts import Known, NodeFacts, Observed
from controller.plan.replication.export import plan_export
from controller.plan.replication.release import plan_release
from tests.plan.replication.test_export import PATH, host, point


def keeping(name: str, *tails: int, epoch: int = 7, held: bool = True) -> Known[NodeFacts]:
    """A host with restore points 1 to 4, some of which are tails."""
    points = tuple(replace(point(number), diverged=number in tails,
                           kept_by="jo" if number in tails else "") for number in range(1, 5))
    seen = host(name, *points)
    [replica] = seen.value.replicas.value.values()
    pins = {f"tail-{number}": number for number in tails} if held else {}
    return Known(replace(seen.value, replicas=Known({"u-sql": replace(
        replica, pins=pins, epoch=epoch)}, 0.0)), 0.0)


def seen(*hosts: Known[NodeFacts]) -> Observed:
    """These hosts."""
    return Observed({one.value.name: one for one in hosts})


def test_the_only_tail_is_meant() -> None:
    action = plan_release(seen(keeping("milan-1"), keeping("paris-1", 2)), "sql")
    assert (action.node, action.path, action.sequence, action.epoch) == ("paris-1", PATH, 2, 7)
    assert "kept for jo as restore point 2" in action.reason


def test_of_several_one_is_named() -> None:
    observed = seen(keeping("milan-1", 3), keeping("paris-1", 2))
    with pytest.raises(Refused, match="several tails, restore points 3 on milan-1, 2 on paris-1:"):
        plan_release(observed, "sql")
    assert plan_release(observed, "sql", 3).node == "milan-1"


def test_what_is_no_tail_stays() -> None:
    with pytest.raises(Refused, match="keeps no tail that is restore point 1 of sql"):
        plan_release(seen(keeping("paris-1", 2)), "sql", 1)
    with pytest.raises(Refused, match="keeps no tail of sql"):
        plan_release(seen(keeping("paris-1", 2, held=False)), "sql")


def test_a_tail_is_exported_only_when_it_is_named() -> None:
    observed = seen(keeping("paris-1", 4))
    assert plan_export(observed, "sql", "/srv").sequence == 3
    assert plan_export(observed, "sql", "/srv", 4).sequence == 4
    alone = seen(keeping("paris-1", 1, 2, 3, 4))
    with pytest.raises(Refused, match="no restore point but 4, which is what an older copy"):
        plan_export(alone, "sql", "/srv")
