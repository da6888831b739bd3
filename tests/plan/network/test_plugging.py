"""Ports of a bridge: none that may close a loop, and none that carries the node's address.
"""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import BridgeFacts, InterfaceFacts, Known, Observed, PortFacts, Unknown
from controller.plan.actions.network import AddUplink
from controller.plan.steps.plan import Plan, Ruling, Verdict
from tests.plan import builders as b
from tests.plan.reading import plan_of, sentences

SWITCHES = ("paris-sw", "milan-sw")


def with_bridge(seen: Observed, name: str, **changes: Any) -> Observed:
    fact = seen.nodes[name]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.bridges, Known)
    bridge: BridgeFacts = fact.value.bridges.value["br0"]
    return b.with_node(seen, name, Known(replace(fact.value, bridges=Known(
        {"br0": replace(bridge, **changes)}, b.NOW_S)), b.NOW_S))


def plugs(plan: Plan) -> dict[str, Ruling]:
    return {f"{step.action.node}/{step.action.port}": step.ruling for step in plan.steps
            if isinstance(step.action, AddUplink)}


def unplugged(seen: Observed, *ends: str) -> Observed:
    for end in ends:
        node, _, port = end.partition("/")
        seen = b.with_port(seen, node, None, port)
    return seen


@pytest.mark.parametrize(("off", "held"), [
    ((), set()), (SWITCHES, {"paris-sw/tr1", "milan-sw/tr1"}),
    (("milan-sw",), {"paris-sw/tr1", "milan-sw/tr1"}),
])
def test_a_second_member_is_plugged_only_where_both_ends_have_a_spanning_tree(
        off: tuple[str, ...], held: set[str]) -> None:
    lab = b.small()
    seen = unplugged(b.as_declared(lab, {}), "paris-sw/tr1", "milan-sw/tr1")
    for switch in off:
        seen = with_bridge(seen, switch, rstp_enabled=False)
    plan = plan_of(lab, seen)
    found = plugs(plan)
    assert {end for end, ruling in found.items() if ruling.rule == "loop"} == held
    assert {ruling.verdict for ruling in found.values()} == (
        {Verdict.REFUSED} if held else {Verdict.ALLOWED})
    for switch in off:
        assert f"the spanning tree of br0 on {switch} is off" in sentences(plan)


def test_the_older_spanning_tree_will_do() -> None:
    lab = b.small()
    seen = unplugged(b.as_declared(lab, {}), "paris-sw/tr1", "milan-sw/tr1")
    for switch in SWITCHES:
        seen = with_bridge(seen, switch, rstp_enabled=False, stp_enabled=True)
    plan = plan_of(lab, seen)
    assert {ruling.verdict for ruling in plugs(plan).values()} == {Verdict.ALLOWED}
    assert sentences(plan) == ""


def test_a_member_that_takes_no_part_in_the_tree_holds_the_second_one_back() -> None:
    lab = b.small()
    seen = unplugged(b.as_declared(lab, {}), "paris-sw/tr1", "milan-sw/tr1")
    apart = PortFacts("tr0", None, (100, 200), "trunk", True, in_tree=False)
    found = plugs(plan_of(lab, b.with_port(seen, "paris-sw", apart, "tr0")))
    assert {ruling.rule for ruling in found.values()} == {"loop"}
    assert "tr0 of paris-sw takes no part" in found["milan-sw/tr1"].sentence


def test_of_two_members_that_lack_the_first_needs_no_tree() -> None:
    lab = b.small()
    seen = unplugged(b.as_declared(lab, {}), *(f"{one}/{port}" for one in SWITCHES
                                               for port in ("tr0", "tr1")))
    for switch in SWITCHES:
        seen = with_bridge(seen, switch, rstp_enabled=False)
    found = plugs(plan_of(lab, seen))
    assert {end for end, one in found.items() if one.verdict is Verdict.ALLOWED} == {
        "paris-sw/tr0", "milan-sw/tr0"}


def test_a_second_member_waits_until_the_bridge_at_its_other_end_is_seen() -> None:
    lab = b.small()
    seen = unplugged(b.as_declared(lab, {}), "paris-sw/tr1")
    fact = seen.nodes["milan-sw"]
    assert isinstance(fact, Known)
    bare = b.with_node(seen, "milan-sw", Known(
        replace(fact.value, bridges=Known({}, b.NOW_S)), b.NOW_S))
    assert plugs(plan_of(lab, bare))["paris-sw/tr1"].verdict is Verdict.WAITING
    silent = plugs(plan_of(lab, b.silenced(seen, "milan-sw")))["paris-sw/tr1"]
    assert (silent.verdict, silent.rule) == (Verdict.REFUSED, "loop")


def test_both_members_plugged_in_without_a_spanning_tree_wait_for_a_person() -> None:
    lab = b.small()
    seen = with_bridge(b.as_declared(lab, {}), "paris-sw", rstp_enabled=False)
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "frames may go in circles now" in sentences(plan)
    found = {(one.target, one.type.value): one.status.value for one in plan.conditions}
    assert found["Switch/paris-sw", "Ready"] == "false"
    assert found["Switch/paris-sw", "Stalled"] == "true"


def two_uplinks(*switches: bool) -> Any:
    survey = [one for one in b.survey(1, uplinks=["up0", "up1"])
              if any(switches) or type(one).__name__ != "Switch"]
    return b.desired_of(b.estate(), *survey)


@pytest.mark.parametrize(("tree", "verdict"), [(False, Verdict.REFUSED), (True, Verdict.REFUSED)])
def test_a_second_uplink_to_a_switch_that_nobody_can_ask_is_refused(
        tree: bool, verdict: Verdict) -> None:
    lab = two_uplinks(False)
    seen = with_bridge(b.as_declared(lab, {}), "paris-1", rstp_enabled=tree)
    ruling = plugs(plan_of(lab, unplugged(seen, "paris-1/up1")))["paris-1/up1"]
    assert (ruling.verdict, ruling.rule) == (verdict, "loop")
    assert "up0 of paris-1 is a way already" in ruling.sentence
    assert "bond" in ruling.clears


def test_an_uplink_in_a_bond_is_left_there_and_the_bond_is_the_trunk() -> None:
    lab = b.small()
    bond = PortFacts("bond0", None, (100,), "trunk", True, members=("up0", "up1"))
    seen = b.with_port(b.as_declared(lab, {}), "paris-1", bond, "up0")
    plan = plan_of(lab, seen)
    assert plugs(plan) == {}
    assert [step.action.id for step in plan.steps] == ["widen-trunk:Host/paris-1@paris-1/bond0"]
    assert "declare bond0 in its place" in sentences(plan)


@pytest.mark.parametrize(("interfaces", "words"), [
    ([InterfaceFacts("up0", ("192.168.1.10/24",))], "own address 192.168.1.10/24"),
    ([InterfaceFacts("up0", ()), InterfaceFacts("up0.9", ("10.9.0.1/24",), 9, "up0")],
     "own address 10.9.0.1/24"),
    ([InterfaceFacts("up0", (), master="bond0")], "belongs to bond0 already"),
    ([InterfaceFacts("up0", (), master="virbr0")], "belongs to virbr0 already"),
    (None, "cannot be seen"),
])
def test_an_uplink_that_carries_the_hosts_own_address_is_refused_by_name(
        interfaces: list[InterfaceFacts] | None, words: str) -> None:
    lab = b.small()
    seen = unplugged(b.as_declared(lab, {}), "paris-1/up0")
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    told: Any = Unknown("no `ip`", b.NOW_S) if interfaces is None else Known(
        {one.name: one for one in interfaces}, b.NOW_S)
    seen = b.with_node(seen, "paris-1", Known(replace(fact.value, interfaces=told), b.NOW_S))
    ruling = plugs(plan_of(lab, seen))["paris-1/up0"]
    assert (ruling.verdict, ruling.rule) == (Verdict.REFUSED, "own-address")
    assert words in ruling.sentence
