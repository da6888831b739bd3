"""Gateways on switches: the steps to them, by the roles of the sites, and what is never done."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.facts import InterfaceFacts, Known, NodeFacts, Observed, PortFacts, Unknown
from controller.model.failover.record import Record
from controller.model.linux.keepalived import (
    ConfigState,
    HeardRouter,
    KeepalivedFacts,
    VrrpInstance,
)
from controller.plan.actions.gateway import (
    BRIDGE,
    FAR,
    NEAR,
    AddGatewayPort,
    ConfigureGateways,
    DropGateways,
)
from controller.plan.steps.plan import Plan, Verdict
from tests.plan import builders as b
from tests.plan.reading import actions, ids, plan_of, sentences

OWN = {"paris-sw": "10.9.0.252", "milan-sw": "10.9.0.253"}
DECLARED: dict[str, Any] = {"address": "10.9.0.254", "vrid": 9, "preferred": "paris",
                            "switches": OWN}
FRESH = KeepalivedFacts("2.2.7")
PRIORITIES = {"paris-sw": 150, "milan-sw": 100}


def network(**gateway: Any) -> Any:
    declared = {**DECLARED, **gateway}
    return b.document("Network", "guests", vlan=900, sites=["paris", "milan"],
                      subnet="10.9.0.0/24", gateway=declared)


def estate(**gateway: Any) -> Any:
    return b.small(network(**gateway))


def instance(switch: str, **changes: Any) -> VrrpInstance:
    return replace(VrrpInstance("guests", 9, "gw900", "10.9.0.254/32", f"{OWN[switch]}/24",
                                PRIORITIES[switch]), **changes)


def running(switch: str, **changes: Any) -> KeepalivedFacts:
    return replace(KeepalivedFacts(
        "2.2.7", True, ConfigState.OURS, (instance(switch),), {"guests": "backup"},
        forwarding=True), **changes)


def seen(observed: Observed, switch: str, facts: KeepalivedFacts, *, port: bool = True,
         holds: bool = False) -> Observed:
    """The same, with what a switch has and its keepalived says."""
    node = known(observed, switch)
    bridges = node.bridges
    assert isinstance(bridges, Known)
    has = {name: one for name, one in bridges.value.items() if name != BRIDGE}
    devices = {}
    if port:
        main = has["br0"]
        has["br0"] = replace(main, ports={**main.ports, NEAR: PortFacts(
            NEAR, None, (900,), "trunk", True, kind="patch")})
        has[BRIDGE] = replace(main, name=BRIDGE, ports={
            FAR: PortFacts(FAR, None, (), None, True, kind="patch"),
            "gw900": PortFacts("gw900", 900, (), "access", True, kind="internal")})
        devices["gw900"] = InterfaceFacts("gw900", (
            f"{OWN[switch]}/24", *(("10.9.0.254/32",) if holds else ())), kind="tun")
    node = replace(node, bridges=Known(has, b.NOW_S), interfaces=Known(devices, b.NOW_S),
                   gateways=Known(facts, b.NOW_S))
    return b.with_node(observed, switch, Known(node, b.NOW_S))


def known(observed: Observed, name: str) -> NodeFacts:
    fact = observed.nodes[name]
    assert isinstance(fact, Known)
    return fact.value


def both(desired: Any, *, holder: str = "paris-sw", **changed: KeepalivedFacts) -> Observed:
    """Both switches as declared, but for what is changed (`paris=…`)."""
    observed = b.as_declared(desired)
    for switch in OWN:
        facts = changed.get(switch.partition("-")[0], running(switch))
        observed = seen(observed, switch, facts, holds=switch == holder)
    return observed


def gateway(plan: Plan) -> tuple[Status, str, str]:
    [one] = [one for one in plan.conditions if one.type is ConditionType.GATEWAY]
    assert one.target == "Network/guests"
    return one.status, one.reason, one.message


def test_a_new_gateway_gets_a_port_and_then_keepalived_on_each_switch() -> None:
    desired = estate()
    observed = b.as_declared(desired)
    for switch in OWN:
        observed = seen(observed, switch, FRESH, port=False)
    plan = plan_of(desired, observed)
    for switch, own in OWN.items():
        port, configured = (one for one in actions(plan) if one.node == switch)
        assert isinstance(port, AddGatewayPort)
        assert isinstance(configured, ConfigureGateways)
        assert (port.own, port.vlan) == (f"{own}/24", 900)
        assert configured.instances == (instance(switch),)
        assert configured.fresh == ("guests",)
        assert configured.switches == tuple(sorted(OWN.values()))
        [step] = [one for one in plan.steps if one.action is configured]
        assert step.after == (port.id,)
        assert step.ruling.verdict is Verdict.ALLOWED
    assert gateway(plan)[:2] == (Status.FALSE, "None")


def test_what_is_as_declared_is_held_and_needs_nothing() -> None:
    desired = estate()
    plan = plan_of(desired, both(desired))
    assert ids(plan) == []
    assert gateway(plan)[:2] == (Status.TRUE, "Held")


@pytest.mark.parametrize(("phase", "role"), [
    ("revoking", PRIORITIES), ("fencing", PRIORITIES),
    ("promoting", {"paris-sw": 100, "milan-sw": 200}),
    ("returning", {"paris-sw": 100, "milan-sw": 200}),
    ("protected-reversed", {"paris-sw": 100, "milan-sw": 200}), ("calm", PRIORITIES)])
def test_priorities_follow_the_vms_until_they_are_back(phase: str, role: dict[str, int]) -> None:
    desired = estate()
    observed = both(desired)
    record = Record("Site/paris", 7, phase=phase)
    observed = b.with_node(observed, "milan-1", Known(replace(
        known(observed, "milan-1"), records=Known({"Site/paris": record}, b.NOW_S)), b.NOW_S))
    told = {one.node: one.instances[0].priority for one in actions(plan_of(desired, observed))
            if isinstance(one, ConfigureGateways)}
    assert told == {switch: priority for switch, priority in role.items()
                    if priority != PRIORITIES[switch]}


def test_a_killed_keepalived_is_started_and_the_address_that_it_left_told() -> None:
    desired = estate()
    observed = both(desired, paris=running("paris-sw", running=False))
    observed = seen(observed, "milan-sw", running("milan-sw"), holds=True)
    plan = plan_of(desired, observed)
    assert [one.reason for one in actions(plan)] == ["keepalived of paris-sw does not run"]
    status, reason, words = gateway(plan)
    assert (status, reason) == (Status.FALSE, "Stale")
    assert "milan-sw has it too" in words


def test_two_that_have_it_are_told_and_neither_is_stopped() -> None:
    desired = estate()
    observed = seen(both(desired), "milan-sw", running("milan-sw"), holds=True)
    plan = plan_of(desired, observed)
    assert ids(plan) == []
    assert gateway(plan)[:2] == (Status.FALSE, "Double")


@pytest.mark.parametrize("switch", [None, "paris-sw"])
def test_one_that_nobody_has_is_none_only_if_every_switch_is_seen(switch: str | None) -> None:
    desired = estate()
    observed = both(desired, holder="")
    if switch is not None:
        observed = b.silenced(observed, switch)
    expected = (Status.FALSE, "None") if switch is None else (Status.UNKNOWN, "NotSeen")
    assert gateway(plan_of(desired, observed))[:2] == expected


def test_the_one_that_is_left_is_alone() -> None:
    desired = estate()
    plan = plan_of(desired, b.silenced(both(desired), "milan-sw"))
    assert gateway(plan)[:2] == (Status.TRUE, "Alone")


@pytest.mark.parametrize(("config", "rule"), [
    (ConfigState.FOREIGN, "adopt"), (ConfigState.EDITED, "takes"), (ConfigState.OUTDATED, None)])
def test_what_somebody_else_wrote_is_written_over_with_a_yes_only(
        config: ConfigState, rule: str | None) -> None:
    desired = estate()
    held = () if config is ConfigState.FOREIGN else (instance("paris-sw"),)
    plan = plan_of(desired, both(desired, paris=running("paris-sw", config=config,
                                                        instances=held)))
    [step] = plan.steps
    assert isinstance(step.action, ConfigureGateways)
    assert (step.ruling.verdict is Verdict.NEEDS_APPROVAL) == (rule is not None)
    assert (step.action.ask and step.action.ask.rule) == rule


def test_a_number_that_a_stranger_uses_is_not_taken() -> None:
    desired = estate()
    stranger = HeardRouter("gw900", 9, "10.9.0.1")
    observed = both(desired, holder="", paris=replace(FRESH, heard=(stranger,)),
                    milan=replace(FRESH, heard=(replace(stranger, source=OWN["paris-sw"]),)))
    plan = plan_of(desired, observed)
    assert {one.node for one in actions(plan)} == {"milan-sw"}
    assert "10.9.0.1 speaks VRRP with number 9" in sentences(plan)
    assert gateway(plan)[:2] == (Status.FALSE, "StrangerHeard")


@pytest.mark.parametrize(("version", "words"), [
    ("", "has no keepalived: install its package"),
    ("1.3.9", "has keepalived 1.3.9, and 2.0 is the oldest")])
def test_a_keepalived_that_cannot_do_it_is_told(version: str, words: str) -> None:
    desired = estate()
    plan = plan_of(desired, both(desired, paris=KeepalivedFacts(version), holder="milan-sw"))
    assert ids(plan) == []
    assert words in sentences(plan)
    assert words in gateway(plan)[2]


@pytest.mark.parametrize(("autonomy", "machines", "verdict", "rule"), [
    ("restart", (), Verdict.NEEDS_APPROVAL, "autonomy"), ("prune", (), Verdict.ALLOWED, ""),
    ("delete", ("user",), Verdict.NEEDS_APPROVAL, "takes")])
def test_what_is_declared_no_more_goes_on_the_rung_of_taking_away_and_if_used_with_a_yes(
        autonomy: str, machines: tuple[str, ...], verdict: Verdict, rule: str) -> None:
    users = [b.vm(name, nics=[{"network": "guests", "mac": "52:54:00:09:00:01"}])
             for name in machines]
    desired = b.small(network(mode="observed", switches={}), *users, autonomy=autonomy)
    steps = plan_of(desired, both(desired)).steps
    assert [one.action.node for one in steps] == ["milan-sw", "paris-sw"]
    for one in steps:
        assert isinstance(one.action, DropGateways)
        assert one.action.instances == ()
        assert (one.ruling.verdict, one.ruling.rule) == (verdict, rule)


@pytest.mark.parametrize("facts", [{"interfaces": Unknown("ip hangs", b.NOW_S)},
                                   {"gateways": Unknown("it hangs", b.NOW_S)},
                                   {"bridges": Unknown("it hangs", b.NOW_S)}])
def test_what_cannot_be_seen_is_not_changed(facts: Any) -> None:
    desired = estate()
    observed = both(desired)
    node = replace(known(observed, "paris-sw"), **facts)
    plan = plan_of(desired, b.with_node(observed, "paris-sw", Known(node, b.NOW_S)))
    assert [one for one in ids(plan) if "gateway" in one] == []


def test_a_switch_without_its_bridge_gets_that_first() -> None:
    desired = estate()
    observed = b.as_declared(desired)
    node = known(observed, "paris-sw")
    observed = seen(b.with_node(observed, "paris-sw", Known(replace(
        node, gateways=Known(FRESH, b.NOW_S)), b.NOW_S)), "milan-sw", running("milan-sw"))
    node = known(observed, "paris-sw")
    observed = b.with_node(observed, "paris-sw", Known(replace(
        node, bridges=Known({}, b.NOW_S), interfaces=Known({}, b.NOW_S)), b.NOW_S))
    assert [one for one in ids(plan_of(desired, observed)) if "gateway" in one] == []


@pytest.mark.parametrize(("holders", "expected"), [
    ((), None), (("milan-sw",), (Status.TRUE, "Observed")), (tuple(OWN), (Status.FALSE, "Double"))])
def test_a_gateway_of_others_is_judged_by_our_own_nodes_alone(
        holders: tuple[str, ...], expected: tuple[Status, str] | None) -> None:
    desired = estate(mode="observed", switches={})
    observed = b.as_declared(desired)
    for switch in OWN:
        observed = seen(observed, switch, FRESH, holds=switch in holders)
    plan = plan_of(desired, observed)
    assert ids(plan) == []
    found = [one for one in plan.conditions if one.type is ConditionType.GATEWAY]
    assert [(one.status, one.reason) for one in found] == ([expected] if expected else [])


def test_one_that_passes_nothing_on_is_told() -> None:
    desired = estate()
    plan = plan_of(desired, both(desired, paris=running("paris-sw", forwarding=False)))
    assert gateway(plan)[:2] == (Status.FALSE, "NotForwarding")


def test_what_goes_takes_nothing_along_that_the_same_plan_has_told() -> None:
    desired = estate()
    other = VrrpInstance("old", 7, "gw700", "10.7.0.254/32", "10.7.0.252/24", 150)
    now = (instance("paris-sw", priority=100), other)
    plan = plan_of(desired, both(desired, paris=running("paris-sw", instances=now)))
    configured, dropped = actions(plan)
    assert isinstance(configured, ConfigureGateways)
    assert isinstance(dropped, DropGateways)
    assert configured.instances == (instance("paris-sw"), other)
    assert dropped.instances == (instance("paris-sw"),)
    plan = plan_of(desired, both(desired, paris=running("paris-sw", instances=(other,))))
    assert [one.instances for one in actions(plan) if isinstance(one, DropGateways)] == [
        (instance("paris-sw"),)]


@pytest.mark.parametrize("in_bridge", [True, False])
def test_a_port_that_is_somebody_elses_is_not_used(in_bridge: bool) -> None:
    desired = estate()
    observed = seen(both(desired), "paris-sw", FRESH, port=False)
    node = known(observed, "paris-sw")
    bridges = node.bridges
    assert isinstance(bridges, Known)
    main = bridges.value["br0"]
    other = {"gw900": PortFacts("gw900", 5, (), "access", True)} if in_bridge else {}
    node = replace(node, bridges=Known({
        "br0": replace(main, ports={**main.ports, **other})}, b.NOW_S), interfaces=Known({
            "gw900": InterfaceFacts("gw900", ("10.9.0.252/24",), kind="vlan")}, b.NOW_S))
    plan = plan_of(desired, b.with_node(observed, "paris-sw", Known(node, b.NOW_S)))
    assert [one for one in ids(plan) if "gateway" in one] == []
    what = "a port of br0" if in_bridge else "no port of Open vSwitch"
    assert f"gw900 of paris-sw is {what}, and the gateway of guests" in sentences(plan)


@pytest.mark.parametrize("facts", [{"interfaces": Unknown("ip hangs", b.NOW_S)},
                                   {"bridges": Unknown("it hangs", b.NOW_S)}])
def test_a_gateway_is_not_set_up_on_a_port_that_cannot_be_seen(facts: Any) -> None:
    desired = estate()
    observed = both(desired, paris=FRESH)
    node = replace(known(observed, "paris-sw"), **facts)
    plan = plan_of(desired, b.with_node(observed, "paris-sw", Known(node, b.NOW_S)))
    assert [one for one in ids(plan) if "gateway" in one] == []


@pytest.mark.parametrize(("changes", "alone"), [
    ({"priority": 100}, True), ({}, False), (None, True)])
def test_what_is_held_does_not_wait_for_what_is_to_be_listened_for(
        changes: dict[str, Any] | None, alone: bool) -> None:
    second = b.document("Network", "more", vlan=901, sites=["paris", "milan"],
                        subnet="10.8.0.0/24", gateway={
                            "address": "10.8.0.254", "vrid": 8, "preferred": "paris",
                            "switches": {"paris-sw": "10.8.0.252"}})
    desired = b.small(network(), second)
    facts = running("paris-sw", running=changes is not None,
                    instances=(instance("paris-sw", **(changes or {})),))
    plan = plan_of(desired, both(desired, paris=facts))
    [step] = [one for one in plan.steps if isinstance(one.action, ConfigureGateways)]
    assert isinstance(step.action, ConfigureGateways)
    names = [one.network for one in step.action.instances]
    assert names == (["guests"] if alone else ["guests", "more"])
    assert step.action.fresh == (() if alone else ("more",))
    assert bool(step.after) == (not alone)
