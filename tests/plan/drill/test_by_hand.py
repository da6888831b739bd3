"""What a drill by hand starts: which points, who with whom, and why somebody is left out."""

from dataclasses import replace
from typing import Any

import pytest

from controller.errors import Refused
from controller.model.desired import Desired
from controller.model.facts import Known, Observed
from controller.model.replica import PointFacts
from controller.plan.actions.replica import DrillReplica
from controller.plan.drill.by_hand import Drills, plan_drills
from controller.plan.promotion.point import Asked, parse_asked
from controller.plan.replication.groups import SAME_INSTANT_S
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.protected import lab, seen_with

SQL = "VirtualMachine/sql"


def refusal(seen: Observed, sequence: int | None = None, target: str = SQL,
            desired: Desired | None = None) -> str:
    """The sentence with which a drill is refused."""
    with pytest.raises(Refused) as error:
        plan_drills(desired or lab(), seen, target, Asked(sequence))
    return str(error.value)


def only(drills: Drills) -> DrillReplica:
    """The one drill that is planned."""
    (action,) = drills.actions
    assert drills.refusals == ()
    return action


def test_the_newest_whole_point_is_drilled_where_its_replica_is() -> None:
    points = (*r.series(11, 300), r.point(12, 20, damaged_clusters=2))
    desired = lab(health={"agent": True, "within": "3m", "boots": "10s"})
    action = only(plan_drills(desired, seen_with(lab(), points), SQL, by="ann"))
    (one,) = action.machines
    assert (action.node, one.sequence, action.target) == ("milan-1", 11, "Drill/sql")
    assert action.id == "drill:Drill/sql@milan-1"
    memory = desired.virtual_machines["sql"].spec.memory_bytes
    assert (action.limit_s, one.memory_bytes) == (190, memory)
    assert action.reason == "ann wants to see restore point 11 of sql boot"
    older = only(plan_drills(lab(), seen_with(lab(), points), SQL, Asked(10)))
    assert older.machines[0].sequence == 10


def test_what_can_not_be_drilled_is_refused_with_a_sentence() -> None:
    seen = seen_with(lab(), r.series(12, 20))
    assert refusal(seen, target="VirtualMachine/web") == "no VM web is declared: there are sql"
    assert refusal(seen, 99) == ("the replica of sql has no restore point 99: `hotsite replica show"
                                 " sql` lists them")
    assert "milan-1 cannot be seen now and may have it" in refusal(
        b.silenced(seen, "milan-1", 900))
    damaged = seen_with(lab(), (r.point(12, 20, damaged_clusters=2),))
    assert "reads wrong in 2 clusters" in refusal(damaged)
    assert "has become the VM" in refusal(seen_with(lab(), r.series(12, 20), promoted=11))
    tail = seen_with(lab(), (r.point(12, 20, diverged=True),))
    assert "an older copy of it held at its end" in refusal(tail)
    assert only(plan_drills(lab(), tail, SQL, Asked(12))).machines[0].sequence == 12
    with pytest.raises(Refused, match="or by the number of a point"):
        plan_drills(lab(), seen, SQL, parse_asked("yesterday, perhaps"))


def test_a_host_without_room_is_not_asked() -> None:
    said_no = refusal(with_memory(seen_with(lab(), r.series(12, 20)), 1 << 30))
    assert said_no.startswith("sql is not drilled on milan-1: it wants")


def with_memory(seen: Observed, free_bytes: int) -> Observed:
    """The same, with so much memory free on milan-1."""
    fact = seen.nodes["milan-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.hardware, Known)
    full = replace(fact.value.hardware.value, memory_available_bytes=free_bytes)
    return b.with_node(seen, "milan-1", Known(replace(
        fact.value, hardware=Known(full, b.NOW_S)), b.NOW_S))


WHERE = {"app": "milan-1", "db": "milan-1", "sql": "milan-1"}


def shop(where: dict[str, str] = WHERE, **points: tuple[PointFacts, ...]) -> tuple[
        Desired, Observed]:
    """app and db of one group, sql of none, and web that nobody protects, all in Paris."""
    desired = b.small(b.vm("app", protection="gold", group="shop", startOrder=20),
                      b.vm("db", protection="gold", group="shop", startOrder=10),
                      b.vm("sql", protection="gold"), b.vm("web"),
                      b.document("ProtectionPolicy", "gold", rpo="5m"))
    seen = r.asked(b.as_declared(desired, dict.fromkeys(("app", "db", "sql", "web"), "paris-1")),
                   desired)
    for name, host in where.items():
        seen = r.with_replica(seen, host, r.replica(name, points.get(name, r.series(12, 20))))
    return desired, seen


def started(action: DrillReplica) -> list[tuple[str, int]]:
    """Who is started, from which point, in this order."""
    return [(one.machine, one.sequence) for one in action.machines]


@pytest.mark.parametrize("target", ["Group/shop", "VirtualMachine/app"])
def test_a_group_is_drilled_together_from_points_of_one_instant(target: str) -> None:
    desired, seen = shop(app=r.series(12, 20), db=r.series(30, 262))
    action = only(plan_drills(desired, seen, target))
    assert started(action) == [("db", 30), ("app", 11)], "in the order in which they start"
    assert abs(262 - 260) < SAME_INSTANT_S
    assert (action.target, action.id) == ("Drill/db", "drill:Drill/db@milan-1/app")
    assert action.absent == ""


def test_points_of_no_common_instant_are_said() -> None:
    desired, seen = shop(app=r.series(12, 20), db=r.series(30, 140))
    action = only(plan_drills(desired, seen, "Group/shop"))
    assert started(action) == [("db", 30), ("app", 12)]
    assert action.absent == "points of one instant, which they do not have"


def test_a_group_on_several_hosts_is_drilled_by_each_with_what_it_has() -> None:
    desired, seen = shop({**WHERE, "db": "milan-2"})
    first, second = plan_drills(desired, seen, "Group/shop").actions
    assert (first.node, started(first), first.absent) == (
        "milan-1", [("app", 12)], "db, whose replica is on milan-2")
    assert (second.node, started(second), second.absent) == (
        "milan-2", [("db", 12)], "app, whose replica is on milan-1")


def test_what_a_group_lacks_is_said_and_the_rest_is_drilled() -> None:
    desired, seen = shop({"app": "milan-1"})
    action = only(plan_drills(desired, seen, "Group/shop"))
    assert started(action) == [("app", 12)]
    assert action.absent == ("db, which is not drilled: no host that answers holds a replica of db")


def test_a_point_of_one_vm_is_drilled_alone_and_never_for_a_group() -> None:
    desired, seen = shop()
    assert started(only(plan_drills(desired, seen, "VirtualMachine/app", Asked(11)))) == [
        ("app", 11)]
    assert refusal(seen, 11, "Group/shop", desired) == (
        "number 11 is a point of one VM, and shop is drilled together: ask for an instant")
    then = plan_drills(desired, seen, "Group/shop", Asked(until_at=b.NOW_S - 200))
    assert started(only(then)) == [("db", 11), ("app", 11)]


@pytest.mark.parametrize(("target", "expected"), [
    ("Estate/lab", [["db", "app"], ["sql"]]), ("Site/paris", [["db", "app"], ["sql"]])])
def test_all_that_is_protected_is_drilled_and_of_a_site_what_its_loss_would_leave(
        target: str, expected: Any) -> None:
    desired, seen = shop()
    drills = plan_drills(desired, seen, target)
    assert [[name for name, _ in started(one)] for one in drills.actions] == expected
    assert refusal(seen, None, "Site/milan", desired) == (
        "no VM of Site/milan is protected: there is nothing to drill")


def test_who_can_not_be_drilled_is_named_and_holds_nobody_else_up() -> None:
    desired, seen = shop({"app": "milan-1", "db": "milan-1"})
    drills = plan_drills(desired, seen, "Estate/lab")
    assert [started(one) for one in drills.actions] == [[("db", 12), ("app", 12)]]
    assert drills.refusals == ("no host that answers holds a replica of sql",)


def test_a_group_needs_room_for_all_of_it() -> None:
    desired, seen = shop()
    tight = with_memory(seen, desired.virtual_machines["app"].spec.memory_bytes + (1 << 30))
    assert refusal(tight, None, "Group/shop", desired).startswith(
        "db and app are not drilled on milan-1: it wants")
    assert [started(one) for one in plan_drills(desired, tight, "Estate/lab").actions] == [
        [("sql", 12)]]


@pytest.mark.parametrize(("network", "address"), [
    ({"vlan": 20, "subnet": "10.2.0.0/24", "gateway": {"address": "10.2.0.1", "vrid": 20}},
     "10.2.0.1/24"),
    ({"vlan": 20, "subnet": "10.2.0.0/24"}, "10.2.0.253/24"),
    ({"vlan": 20, "subnet": "fd00::/64"}, "fd00::ffff:ffff:ffff:fffe/64"),
    ({"vlan": 20, "subnet": "10.2.0.0/31"}, ""), ({"vlan": 20}, ""),
])
def test_the_gateway_is_played_by_its_address_or_by_one_that_nobody_has(
        network: dict[str, Any], address: str) -> None:
    card = {"network": "office", "mac": "52:54:00:0a:02:15", "address": "10.2.0.254"}
    desired = b.small(b.vm("sql", protection="gold", nics=[card]),
                      b.document("ProtectionPolicy", "gold", rpo="5m", health={"tcp": 5432}),
                      b.document("Network", "office", sites=["paris", "milan"], **network))
    action = only(plan_drills(desired, seen_with(lab(), r.series(12, 20)), SQL))
    (one,) = action.machines
    assert [(each.vlan, each.address) for each in action.gateways] == (
        [(20, address)] if address else [])
    assert (one.address, one.mac, one.vlans) == (
        "10.2.0.254", "52:54:00:0a:02:15", (("52:54:00:0a:02:15", 20),))
