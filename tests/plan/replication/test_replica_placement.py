"""Placement of replicas: where the VM could start, too; the data first where it could not."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.document import Rung
from controller.model.facts import Known, Observed
from controller.model.failover.capabilities import Capabilities
from controller.model.replica import IncomingFacts
from controller.plan.actions.replica import ReplicateDomain
from controller.plan.compute import compute
from controller.plan.survey.context import Context, InFlight
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.conditions.test_survivable import with_hardware

APART = {"antiAffinity": ["front"]}


def estate(*more: Any, **sql: Any) -> Any:
    return b.small(b.vm("sql", protection="gold", **({"placement": {"site": "paris"}} | sql)),
                   *more)


def placed(desired: Any, observed: Observed, context: Context = b.APPLIED) -> dict[str, str]:
    """The host of every first copy that is planned."""
    plan = compute(desired, observed, context, b.NOW_S)
    return {step.action.target.partition("/")[2]: step.action.to for step in plan.steps
            if isinstance(step.action, ReplicateDomain)}


def seen(desired: Any, where: dict[str, str]) -> Observed:
    return r.asked(b.as_declared(desired, where), desired)


def test_a_host_without_memory_for_the_vm_comes_after_one_with() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"})
    assert placed(desired, observed) == {"sql": "milan-1"}
    small = with_hardware(observed, "milan-1", memory_bytes=b.GIB, memory_available_bytes=b.GIB)
    assert placed(desired, small) == {"sql": "milan-2"}


def test_both_halves_of_an_anti_affinity_lie_apart() -> None:
    desired = estate(b.vm("web", protection="gold", placement={"site": "paris", **APART}),
                     placement={"site": "paris", **APART})
    observed = seen(desired, {"sql": "paris-1", "web": "paris-2"})
    assert placed(desired, observed) == {"sql": "milan-1", "web": "milan-2"}


def test_one_half_comes_where_no_other_runs() -> None:
    desired = estate(b.vm("web", placement={"site": "milan", **APART}),
                     placement={"site": "paris", **APART})
    observed = seen(desired, {"sql": "paris-1", "web": "milan-1"})
    assert placed(desired, observed) == {"sql": "milan-2"}


def test_what_comes_to_a_host_with_older_replicas_is_counted() -> None:
    desired = estate(b.vm("big", protection="gold", memory="127GiB", placement={"site": "paris"}))
    observed = seen(desired, {"sql": "paris-1", "big": "paris-2"})
    observed = r.with_replica(observed, "milan-1", r.replica("big", r.series(3, 60),
                                                             stored_bytes=0))
    assert placed(desired, observed) == {"sql": "milan-2"}


def test_what_is_placed_in_one_plan_is_counted() -> None:
    desired = estate(*(b.vm(name, protection="gold", memory="70GiB", placement={"site": "paris"},
                            disks=[{"name": "vda", "size": size}])
                       for name, size in (("a", "1GiB"), ("b", "300GiB"))), memory="70GiB",
                     disks=[{"name": "vda", "size": "1GiB"}])
    hosts = dict(desired.hosts)
    for name in ("milan-3", "milan-4"):
        hosts[name] = b.document("Host", name, site="milan", address=name)
    desired = replace(desired, hosts=hosts)
    where = dict(zip(("a", "b", "sql"), ("paris-1", "paris-2", "paris-1"), strict=True))
    assert sorted(placed(desired, seen(desired, where)).values()) == [
        "milan-1", "milan-2", "milan-3"]


def copying(*machines: tuple[str, str]) -> Context:
    """Copies of VMs to hosts are under way."""
    return replace(b.APPLIED, in_flight=tuple(InFlight(
        f"replicate:Replica/{name}@paris-1/{to}", f"Replica/{name}", ("paris-1", to),
        Rung.REPLICATE) for name, to in machines))


def four(**more: Any) -> tuple[Any, Observed]:
    desired = estate(*(b.vm(name, protection="gold", placement={"site": "paris"}, **more)
                       for name in ("a", "b", "c")), **more)
    return desired, seen(desired, dict.fromkeys(("a", "b", "c", "sql"), "paris-1"))


@pytest.mark.parametrize("to", ["milan-1", "milan-2"])
def test_first_copies_under_way_count_as_what_they_will_have_become(to: str) -> None:
    desired, observed = four()
    (other,) = {"milan-1", "milan-2"} - {to}
    found = placed(desired, observed, copying(("a", to)))
    assert found["a"] == to             # it stays where it goes
    assert found["b"] == other
    assert sorted(found.values()) == ["milan-1", "milan-1", "milan-2", "milan-2"]


def test_upkeep_of_what_goes_is_no_first_copy() -> None:
    desired, observed = four()
    (flight,) = copying(("a", "milan-2")).in_flight
    removing = replace(b.APPLIED, in_flight=(replace(
        flight, action_id="remove-replica:Replica/a@milan-2"),))
    assert placed(desired, observed, removing) == placed(desired, observed)


def test_what_has_arrived_of_a_first_copy_says_nothing_of_its_size() -> None:
    desired, observed = four()
    observed = r.with_replica(observed, "milan-1", r.replica(
        "a", incoming=(IncomingFacts("vda", 10 * b.GIB, 1 << 20),), stored_bytes=1 << 20))
    for context in (copying(("a", "milan-1")), b.APPLIED):     # begun, or cut off
        found = placed(desired, observed, context)
        assert found["a"] == "milan-1"
        assert found["b"] == "milan-2"
        assert sorted(found.values()) == ["milan-1", "milan-1", "milan-2", "milan-2"]


def test_a_host_is_full_of_what_is_still_to_come() -> None:
    desired, observed = four(memory="40GiB")
    found = placed(desired, observed, copying(("a", "milan-2"), ("b", "milan-2"),
                                              ("c", "milan-2")))
    assert found["sql"] == "milan-1"


def test_a_host_has_no_room_for_more_vms_than_come_to_it() -> None:
    desired = estate(b.vm("a", protection="gold", memory="100GiB", placement={"site": "paris"},
                          disks=[{"name": "vda", "size": "1MiB"}]),
                     b.vm("b", protection="gold", placement={"site": "milan"}), memory="100GiB")
    observed = r.with_replica(seen(desired, {"a": "paris-1", "sql": "paris-1", "b": "milan-2"}),
                              "milan-2", r.replica("other", r.series(3, 60), stored_bytes=b.GIB))
    assert placed(desired, observed, copying(("a", "milan-1")))["sql"] == "milan-2"


@pytest.mark.parametrize("memory", ["120GiB", "2GiB"])
def test_where_it_could_start_nowhere_the_data_comes_first_and_the_plan_says_so(
        memory: str) -> None:
    desired = estate(memory=memory)
    observed = seen(desired, {"sql": "paris-1"})
    for host in ("milan-1", "milan-2"):
        observed = with_hardware(observed, host, memory_bytes=b.GIB,
                                 memory_available_bytes=b.GIB)
    assert placed(desired, observed) == {"sql": "milan-1"}
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    assert [one.sentence for one in plan.remarks if one.target == "Replica/sql"] == [
        "the replica of sql goes to milan-1, where the data is safe and the VM could not be"
        " started, since no host of milan with space for it could: milan-1 has 512MiB of memory"
        f" left and it needs {memory}; milan-2 has 512MiB of memory left and it needs {memory}"]


def test_a_replica_that_lies_badly_stays() -> None:
    desired = estate()
    observed = r.with_replica(seen(desired, {"sql": "paris-1"}), "milan-1",
                              r.replica("sql", r.series(3, 60)))
    small = with_hardware(observed, "milan-1", memory_bytes=b.GIB, memory_available_bytes=b.GIB)
    assert placed(desired, small) == {}


def test_a_host_that_cannot_run_the_vm_comes_after_one_that_can() -> None:
    desired = estate()
    observed = seen(desired, {"sql": "paris-1"})
    config = replace(b.config_of("sql", "paris-1", desired), machine="pc-q35-10.0")
    observed = b.with_domain(observed, "paris-1", "sql", b.domain(
        "sql", "paris-1", desired, live=config, config=config))
    fact = observed.nodes["milan-1"]
    assert isinstance(fact, Known)
    observed = b.with_node(observed, "milan-1", Known(replace(fact.value, capabilities=Known(
        Capabilities(("pc-q35-7.2",), ()), b.NOW_S)), b.NOW_S))
    assert placed(desired, observed) == {"sql": "milan-2"}
