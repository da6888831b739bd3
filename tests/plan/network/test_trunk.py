"""Bridges, trunks and ports that differ from the specs, and the actions for each."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.document import Rung
from controller.model.facts import Known, PortFacts
from controller.plan.actions.desired import PortVlans
from controller.plan.actions.network import NarrowTrunk, WidenTrunk
from controller.plan.steps.plan import Verdict
from tests.plan import builders as b
from tests.plan.reading import HOME, actions, ids, plan_of, sentences


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


@pytest.mark.parametrize(("port", "words"), [
    (PortFacts("up0", None, (100,), "trunk", True), "does not let 200 pass"),
    (PortFacts("up0", None, (0,), "trunk", True), "does not let 100, 200 pass"),
    (PortFacts("up0", 5, (5, 100), "native-untagged", True), "does not let 200 pass"),
    (PortFacts("up0", 5, (), None, True), "is an access port of VLAN 5"),
])
def test_what_lacks_on_an_uplink_is_added_and_nothing_taken(lab: Any, port: PortFacts,
                                                            words: str) -> None:
    plan = plan_of(lab, b.with_port(b.as_declared(lab, HOME), "paris-1", port, "up0"))
    [action] = actions(plan)
    assert isinstance(action, WidenTrunk)
    assert set(action.will_be.vlans) >= {100, 200, *port.trunks}
    assert action.will_be.tag == port.tag
    assert words in action.reason
    assert plan.steps[0].ruling.verdict is Verdict.ALLOWED


@pytest.mark.parametrize(("port", "words"), [
    (PortFacts("up0", None, (), None, True), "lets every VLAN pass and 100, 200 is declared"),
    (PortFacts("up0", None, (), "trunk", True), "declare `vlans: all`"),
    (PortFacts("up0", 5, (), "native-untagged", True), "lets every VLAN pass"),
    (PortFacts("up0", 5, (5, 100, 200), "native-tagged", True), "declare `nativeVlan: 5`"),
    (PortFacts("up0", None, (0, 100, 200), "trunk", True), "declare `nativeVlan: 0`"),
])
def test_untagged_frames_and_every_vlan_are_left_as_they_are_and_told(
        lab: Any, port: PortFacts, words: str) -> None:
    plan = plan_of(lab, b.with_port(b.as_declared(lab, HOME), "paris-1", port, "up0"))
    assert plan.steps == ()
    assert words in sentences(plan)


@pytest.mark.parametrize(("port", "words"), [
    (PortFacts("up0", 5, (100, 200), None, True), "of which only one counts"),
    (PortFacts("up0", 5, (), "dot1q-tunnel", True), "is a tunnel for tagged frames"),
    (PortFacts("up0", None, (100,), None, True, "52:54:00:00:00:99"), "is the port of the guest"),
    (PortFacts("up0", None, (100,), None, True, mirror=True), "is the output of a mirror"),
    (PortFacts("up0", None, (100,), None, True, kind="patch"), "kind `patch`"),
])
def test_a_port_that_is_no_trunk_waits_for_a_person_and_is_no_way_for_networks(
        lab: Any, port: PortFacts, words: str) -> None:
    plan = plan_of(lab, b.with_port(b.as_declared(lab, HOME), "paris-1", port, "up0"))
    assert plan.steps == ()
    assert words in sentences(plan)
    found = {(one.target, one.type.value): one.status.value for one in plan.conditions}
    assert found["Host/paris-1", "Stalled"] == "true"
    assert found["Network/office", "Connected"] == "false"


@pytest.mark.parametrize(("declared", "port", "after"), [
    ({"native_vlan": 5}, PortFacts("up0", None, (100, 200), "trunk", True),
     PortVlans((5, 100, 200), 5, "native-untagged")),
    ({"native_vlan": 5}, PortFacts("up0", 5, (), None, True),
     PortVlans((5, 100, 200), 5, "native-untagged")),
    ({"native_vlan": 0}, PortFacts("up0", None, (100, 200), None, True),
     PortVlans((0, 100, 200), None, None)),
    ({"vlans": "all"}, PortFacts("up0", None, (100, 200), "trunk", True),
     PortVlans((), None, "trunk")),
])
def test_what_is_declared_of_untagged_frames_and_of_every_vlan_is_added(
        declared: Any, port: PortFacts, after: PortVlans) -> None:
    lab = with_host(b.small(), "paris-1", **declared)
    [action] = actions(plan_of(lab, b.with_port(b.as_declared(lab, {}), "paris-1", port, "up0")))
    assert isinstance(action, WidenTrunk)
    assert action.will_be == after
    again = PortFacts("up0", after.tag, after.vlans, after.vlan_mode, True)
    plan = plan_of(lab, b.with_port(b.as_declared(lab, {}), "paris-1", again, "up0"))
    assert plan.steps == ()
    assert sentences(plan) == ""


@pytest.mark.parametrize(("native", "port", "lost"), [
    (5, PortFacts("up0", None, (0, 100, 200), "trunk", True), (0,)),
    (5, PortFacts("up0", 7, (7, 100, 200), "native-untagged", True), (7,)),
    (5, PortFacts("up0", None, (5, 100, 200), "trunk", True), (5,)),
    (5, PortFacts("up0", None, (), None, True), (0, 5)),
    (0, PortFacts("up0", 5, (5, 100, 200), "native-untagged", True), (5,)),
    (None, PortFacts("up0", 100, (100, 200), "native-untagged", True), (100,)),
    (None, PortFacts("up0", None, (100, 200, 300, 301), "trunk", True), (300, 301)),
])
def test_what_is_read_otherwise_or_passes_no_more_is_taken(
        native: int | None, port: PortFacts, lost: tuple[int, ...]) -> None:
    lab = with_host(b.small(), "paris-1", native_vlan=native)
    plan = plan_of(lab, b.with_port(b.as_declared(lab, {}), "paris-1", port, "up0"))
    action = actions(plan)[-1]
    assert isinstance(action, NarrowTrunk)
    assert action.lost == lost
    assert (action.rung, action.takes) == (Rung.PRUNE, True)
    after = action.will_be
    again = PortFacts("up0", after.tag, after.vlans, after.vlan_mode, True)
    assert plan_of(lab, b.with_port(b.as_declared(lab, {}), "paris-1", again, "up0")).steps == ()


def test_adding_comes_first_and_waits_for_nothing_that_takes() -> None:
    lab = b.small()
    port = PortFacts("up0", None, (100, 300), "trunk", True)
    plan = plan_of(lab, b.with_port(b.as_declared(lab, {}), "paris-1", port, "up0"))
    wide, narrow = actions(plan)
    assert isinstance(wide, WidenTrunk)
    assert isinstance(narrow, NarrowTrunk)
    assert wide.will_be.vlans == narrow.was.vlans == (100, 200, 300)
    assert narrow.will_be.vlans == (100, 200)
    assert wide.id in plan.steps[1].after


def with_host(desired: Any, name: str, **changes: Any) -> Any:
    host = desired.hosts[name]
    changed = host.model_copy(update={"spec": host.spec.model_copy(update=changes)})
    return replace(desired, hosts={**desired.hosts, name: changed})


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
    desired = b.small(b.document("Network", "local", vlan=300, sites=["paris"]),
                      b.vm("web", nics=[{"network": "local", "mac": "52:54:00:00:00:01"}]))
    seen = b.as_declared(desired, {"web": "paris-1"})
    seen = b.with_port(seen, "paris-sw", PortFacts("tr0", None, (100, 200, 300), "trunk", True),
                       "tr0")
    plan = plan_of(desired, seen)
    [action] = actions(plan)
    assert isinstance(action, NarrowTrunk)
    assert action.will_be.vlans == (100, 200)
    assert plan.steps[0].ruling.verdict is Verdict.ALLOWED  # web has all that it is declared to


def test_a_guests_port_goes_back_to_its_vlan(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    mac = lab.virtual_machines["sql"].spec.nics[0].mac
    seen = b.with_port(seen, "paris-1", PortFacts("vnet-sql", 7, (), None, True, mac), "vnet-sql")
    [action] = actions(plan_of(lab, seen))
    assert action.id == f"set-port-vlan:VirtualMachine/sql@paris-1/{mac}"
    assert (action.vlan, action.was) == (100, 7)


@pytest.mark.parametrize("port", [
    PortFacts("vnet-sql", None, (100, 300), None, True),
    PortFacts("vnet-sql", 7, (), "trunk", True),
    PortFacts("vnet-sql", 7, (7, 100), "native-untagged", True),
])
def test_a_guests_port_that_somebody_made_a_trunk_is_left_so_and_told(
        lab: Any, port: PortFacts) -> None:
    mac = lab.virtual_machines["sql"].spec.nics[0].mac
    seen = b.with_port(b.as_declared(lab, HOME), "paris-1", replace(port, attached_mac=mac),
                       "vnet-sql")
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "was made a trunk by hand" in sentences(plan)
