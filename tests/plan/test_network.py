"""What is seen of bridges, trunks and ports against what is declared, and the actions it gives."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, PortFacts
from controller.plan.actions import MigrateDomain, SetTrunk
from tests.plan import builders as b
from tests.plan.reading import HOME, actions, ids, plan_of


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


@pytest.mark.parametrize(("port", "words"), [
    (PortFacts("up0", None, (100,), "trunk", True), "does not let 200 pass"),
    (PortFacts("up0", None, (100, 200, 300), "trunk", True), "lets 300 pass, which is not"),
    (PortFacts("up0", None, (), None, True), "lets every VLAN pass and only 100, 200 is declared"),
    (PortFacts("up0", 5, (), None, True), "is an access port"),
])
def test_an_uplink_carries_exactly_the_declared_vlans(lab: Any, port: PortFacts,
                                                      words: str) -> None:
    plan = plan_of(lab, b.with_port(b.as_declared(lab, HOME), "paris-1", port, "up0"))
    [action] = actions(plan)
    assert isinstance(action, SetTrunk)
    assert action.vlans == (100, 200)
    assert words in action.reason


def test_an_uplink_that_is_not_plugged_in_is_added(lab: Any) -> None:
    plan = plan_of(lab, b.with_port(b.as_declared(lab, HOME), "paris-1", None, "up0"))
    assert ids(plan) == ["add-uplink:Host/paris-1@paris-1/up0"]


def test_a_missing_bridge_comes_before_its_ports(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    fact = seen.nodes["paris-sw"]
    assert isinstance(fact, Known)
    bare = Known(replace(fact.value, bridges=Known({}, b.NOW_S)), b.NOW_S)
    plan = plan_of(lab, b.with_node(seen, "paris-sw", bare))
    assert ids(plan)[0] == "create-bridge:Switch/paris-sw@paris-sw"
    assert all(step.after == (ids(plan)[0],) for step in plan.steps[1:])
    assert len(plan.steps) == 5


def test_a_link_carries_only_networks_that_span_both_sites() -> None:
    desired = b.small(b.document("Network", "local", vlan=300, sites=["paris"]))
    seen = b.as_declared(desired, {})
    seen = b.with_port(seen, "paris-sw", PortFacts("tr0", None, (100, 200, 300), "trunk", True),
                       "tr0")
    [action] = actions(plan_of(desired, seen))
    assert action.vlans == (100, 200)


def test_a_guests_port_goes_back_to_its_vlan(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    mac = lab.virtual_machines["sql"].spec.nics[0].mac
    seen = b.with_port(seen, "paris-1", PortFacts("vnet-sql", 7, (), None, True, mac), "vnet-sql")
    [action] = actions(plan_of(lab, seen))
    assert action.id == f"set-port-vlan:VirtualMachine/sql@paris-1/{mac}"
    assert (action.vlan, action.was) == (100, 7)


def test_a_trunk_loses_a_vlan_only_after_its_last_vm_has_left() -> None:
    nic = [{"network": "local", "mac": "52:54:00:00:00:01"}]
    before = b.small(b.document("Network", "local", vlan=300, sites=["paris", "milan"]),
                     b.vm("sql", nics=nic))
    after = b.small(b.document("Network", "local", vlan=300, sites=["paris"]),
                    b.vm("sql", nics=nic))
    plan = plan_of(after, b.as_declared(before, {"sql": "milan-1"}))
    move = next(one.id for one in actions(plan) if isinstance(one, MigrateDomain))
    trunks = [step for step in plan.steps if isinstance(step.action, SetTrunk)]
    assert len(trunks) == 2 + 2 + 2 + 2
    assert all(move in step.after for step in trunks)
