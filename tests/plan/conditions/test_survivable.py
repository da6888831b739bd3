"""Survivable: whether each protected VM would come back on the host that holds its replica."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Hardware, Known, Observed
from controller.plan.compute import compute
from tests.plan import builders as b
from tests.plan import replicas as r

FRESH = r.series(12, 60)
ALONE = "1 of 1 protected VM of paris would not come back at milan without a person: "


def estate(*more: Any, **sql: Any) -> Any:
    """The VM sql, protected, at paris, and whatever else a test needs."""
    return b.small(b.vm("sql", protection="gold", **({"placement": {"site": "paris"}} | sql)),
                   *more)


def seen(desired: Any, where: dict[str, str], replicas: dict[str, str]) -> Observed:
    """What is seen with each VM on its host, and each replica, fresh, on its own."""
    found = r.asked(b.as_declared(desired, where), desired)
    for name, host in replicas.items():
        found = r.with_replica(found, host, r.replica(name, FRESH))
    return found


def with_hardware(observed: Observed, host: str, **changes: Any) -> Observed:
    fact = observed.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.hardware, Known)
    hardware: Hardware = replace(fact.value.hardware.value, **changes)
    return b.with_node(observed, host, Known(
        replace(fact.value, hardware=Known(hardware, b.NOW_S)), b.NOW_S))


def said(desired: Any, observed: Observed, site: str = "paris") -> tuple[str, str, str]:
    """What the condition says; the prediction says the same in numbers."""
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    answer = next((one.status.value, one.reason, one.message) for one in plan.conditions
                  if (one.target, one.type) == (f"Site/{site}", "Survivable"))
    prediction = next(one for one in plan.predictions if one.site == site)
    outcomes = {one.outcome.value for one in prediction.hindered}
    assert answer[0] == ("false" if "waits" in outcomes or prediction.twin is None else
                         "unknown" if "unknown" in outcomes else "true")
    assert prediction.returns == prediction.protected - len(prediction.hindered) >= 0
    return answer


def test_a_site_survives_where_every_replica_lies_on_a_host_with_room() -> None:
    desired = estate()
    answer = said(desired, seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"}))
    assert answer == ("true", "Fits", "1 protected VM of paris has room at milan, where its replica"
                      " lies")


def test_the_oldest_point_is_the_worst_loss() -> None:
    desired = estate(b.vm("web", protection="gold", placement={"site": "paris"}))
    observed = seen(desired, {"sql": "paris-1", "web": "paris-2"}, {"sql": "milan-1"})
    observed = r.with_replica(observed, "milan-1", r.replica("web", r.series(12, 61)))
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    paris = next(one for one in plan.predictions if one.site == "paris")
    newest = {name: r.replica(name, points).newest for name, points in (
        ("sql", FRESH), ("web", r.series(12, 61)))}
    oldest = min((point.started_at, name) for name, point in newest.items() if point is not None)
    assert (paris.twin, paris.protected, paris.returns) == ("milan", 2, 2)
    assert (paris.worst_at, paris.worst) == oldest


def test_memory_elsewhere_at_the_twin_helps_nobody() -> None:
    desired = estate()
    small = with_hardware(seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"}), "milan-1",
                          memory_bytes=b.GIB, memory_available_bytes=b.GIB // 2)
    assert said(desired, small) == (
        "false", "MemoryShort", ALONE + "sql: milan-1 has 512MiB of memory left and it needs 2GiB")


def test_what_comes_first_takes_the_room_of_what_comes_after() -> None:
    desired = estate(*(b.vm(name, protection="gold", memory="50GiB", startOrder=order,
                            placement={"site": "paris"})
                       for name, order in (("late", 200), ("early", 1))), memory="40GiB")
    at = dict.fromkeys(("sql", "late", "early"), "paris-1")
    observed = seen(desired, at, dict.fromkeys(at, "milan-1"))
    status, reason, message = said(desired, observed)
    assert (status, reason) == ("false", "MemoryShort")
    assert message.endswith("late: milan-1 has 37.5GiB of memory left and it needs 50GiB")


def test_the_cpus_that_are_given_out_are_counted() -> None:
    desired = estate(cpus=3)
    observed = with_hardware(seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"}), "milan-1",
                             cpus=1)
    wide = replace(desired, estate=b.estate(limits={"cpuRatio": 2.5}))
    assert said(wide, observed)[1:] == (
        "CpusShort", ALONE + "sql: 0 of the 2.5"
        " virtual CPUs that milan-1 may give are given out and it needs 3")


@pytest.mark.parametrize("resident", [True, False])
def test_one_host_takes_one_half_of_an_anti_affinity(resident: bool) -> None:
    apart = {"antiAffinity": ["front"]}
    site = "milan" if resident else "paris"
    desired = estate(b.vm("web", protection="gold", placement={"site": site, **apart}),
                     placement={"site": "paris", **apart})
    where = {"sql": "paris-1", "web": "milan-1" if resident else "paris-2"}
    replicas = {"sql": "milan-1"} | ({} if resident else {"web": "milan-1"})
    _, reason, message = said(desired, seen(desired, where, replicas))
    assert reason == "GroupShared"
    assert message.endswith("web: sql of the same group front is on milan-1, too" if not resident
                            else "sql: web of the same group front is on milan-1, too")


def test_a_vm_in_huge_pages_needs_huge_pages() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    config = replace(b.config_of("sql", "paris-1", desired), hugepages=True)
    observed = b.with_domain(observed, "paris-1", "sql", b.domain(
        "sql", "paris-1", desired, live=config, config=config, checkpoints=("hotsite-000012",)))
    assert said(desired, observed)[1:] == (
        "HugePagesShort", ALONE + "sql: milan-1"
        " has 0B of huge pages left and it needs 2GiB")
    assert said(desired, with_hardware(observed, "milan-1", huge_bytes=2 * b.GIB))[0] == "true"


def test_without_a_replica_or_a_sound_point_nothing_comes_back() -> None:
    desired = estate()
    none = seen(desired, {"sql": "paris-1"}, {})
    assert said(desired, none)[:2] == ("false", "NoReplica")
    damaged = r.with_replica(none, "milan-1", r.replica(
        "sql", tuple(replace(one, damaged_clusters=1) for one in FRESH), damaged_clusters=3))
    assert said(desired, damaged)[:2] == ("false", "NoPoint")


def test_a_host_in_maintenance_takes_nothing() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    hosts = dict(desired.hosts)
    hosts["milan-1"] = b.document("Host", "milan-1", site="milan", address="milan-1",
                                  maintenance=True)
    assert said(replace(desired, hosts=hosts), observed)[1:] == (
        "InMaintenance", ALONE + "sql: its"
        " replica is on milan-1, and milan-1 is in maintenance")


def test_a_silent_host_with_a_replica_is_unknown_and_one_without_says_nothing() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    assert said(desired, b.silenced(observed, "milan-1"))[:2] == ("unknown", "CannotBeSeen")
    assert said(desired, b.silenced(observed, "milan-2"))[0] == "true"


def test_what_is_sure_comes_before_what_cannot_be_seen() -> None:
    desired = estate(b.vm("web", protection="gold", placement={"site": "paris"}))
    observed = seen(desired, {"sql": "paris-1", "web": "paris-2"},
                    {"sql": "milan-1", "web": "milan-2"})
    observed = with_hardware(b.silenced(observed, "milan-1"), "milan-2",
                             memory_bytes=b.GIB, memory_available_bytes=b.GIB)
    status, reason, message = said(desired, observed)
    assert (status, reason) == ("false", "MemoryShort")
    assert message.startswith("1 of 2 protected VMs of paris would not come back at milan without"
                              " a person: web:")


def test_a_network_that_does_not_reach_the_twin_is_named() -> None:
    desired = b.small(
        b.document("Network", "local", vlan=300, sites=["paris"]),
        b.vm("sql", protection="gold", nics=[{"network": "local", "mac": "52:54:00:00:00:01"}]))
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    assert said(desired, observed)[:2] == ("false", "NetworkMissing")
    differs = next(one.message for one in
                   compute(desired, observed, b.APPLIED, b.NOW_S).conditions
                   if (one.target, one.type) == ("Site/paris", "TwinMatches"))
    assert differs == "network local is at paris alone"


def test_a_vm_that_moves_to_the_twin_anyway_is_counted_once() -> None:
    desired = estate(memory="90GiB", placement={"site": "milan", "host": "milan-1"})
    assert said(desired, seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"}))[0] == "true"


def test_a_site_without_protected_vms_has_nothing_to_lose() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    assert said(desired, observed, "milan")[:2] == ("true", "NothingProtected")
