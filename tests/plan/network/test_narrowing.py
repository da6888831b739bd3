"""Narrowing a trunk: only unused VLANs are taken, the first time after a person's approval."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import (
    BridgeFacts,
    DomainState,
    Fact,
    InterfaceFacts,
    Known,
    NicFacts,
    NodeFacts,
    Observed,
    PortFacts,
    Unknown,
)
from controller.plan.actions.machine import MigrateDomain
from controller.plan.actions.network import NarrowTrunk
from controller.plan.gates.grace import grace_keys
from controller.plan.steps.plan import Plan, Step, Verdict
from controller.plan.survey.context import Context
from tests.plan import builders as b
from tests.plan.reading import actions, plan_of

EXTRA = PortFacts("up0", None, (100, 200, 300), "trunk", True)
FOREIGN_MAC = "52:54:00:99:99:99"


def narrowing(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if isinstance(step.action, NarrowTrunk)]


def only(plan: Plan) -> Step:
    [step] = narrowing(plan)
    return step


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql", placement={"site": "paris"}))


def with_extra(lab: Any) -> Observed:
    """VLAN 300, which is not declared, passes on the uplink of paris-1."""
    return b.with_port(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", EXTRA, "up0")


def foreign(card: NicFacts, *, live: bool = True) -> Any:
    config = replace(b.config_of("sql", "paris-1", b.small(b.vm("sql"))), disks=(), nics=(card,))
    return b.DomainFacts("erp", "u-1", DomainState.RUNNING if live else DomainState.SHUT_OFF,
                         "booted", True, False, config if live else None, config)


def changed(seen: Observed, name: str, **parts: Any) -> Observed:
    fact = seen.nodes[name]
    assert isinstance(fact, Known)
    return b.with_node(seen, name, Known(replace(fact.value, **parts), b.NOW_S))


def with_bridge(seen: Observed, name: str, **changes: Any) -> Observed:
    fact = seen.nodes[name]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.bridges, Known)
    bridge: BridgeFacts = fact.value.bridges.value["br0"]
    return changed(seen, name, bridges=Known({"br0": replace(bridge, **changes)}, b.NOW_S))


def test_what_nobody_uses_is_taken(lab: Any) -> None:
    step = only(plan_of(lab, with_extra(lab)))
    assert step.action.will_be.vlans == (100, 200)
    assert step.ruling.verdict is Verdict.ALLOWED


def test_the_first_time_a_person_is_asked(lab: Any) -> None:
    step = only(plan_of(lab, with_extra(lab), Context()))
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.NEEDS_APPROVAL, "adopt")
    assert "lets VLAN 300 pass no more" in step.ruling.sentence
    known = Context(applied_revision="r1", adopted=frozenset({"Host/paris-1"}))
    assert only(plan_of(lab, with_extra(lab), known)).ruling.verdict is Verdict.ALLOWED
    new = Context(applied_revision="r1", adopted=frozenset({"Host/milan-1"}))
    assert only(plan_of(lab, with_extra(lab), new)).ruling.rule == "adopt"


@pytest.mark.parametrize("card", [
    NicFacts(FOREIGN_MAC, "br0", 300, "vnet9"),
    NicFacts(FOREIGN_MAC, "br0", None, "vnet9", trunks=(20, 300)),
    NicFacts(FOREIGN_MAC, "br0", None, "vnet9", trunks=(300, 301), native=301),
    NicFacts(FOREIGN_MAC, "", 300, "vnet9", kind="network"),
])
@pytest.mark.parametrize("host", ["paris-1", "paris-2"])
@pytest.mark.parametrize("live", [True, False])
def test_a_vlan_that_a_guest_of_somebody_uses_stays(
        lab: Any, card: NicFacts, host: str, live: bool) -> None:
    seen = b.with_domain(with_extra(lab), host, "erp", foreign(card, live=live))
    step = only(plan_of(lab, seen))
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.REFUSED, "in-use")
    assert f"VLAN 300 on up0 of paris-1 may be used by erp on {host}" in step.ruling.sentence
    assert "declare VLAN 300 as a Network" in step.ruling.clears


@pytest.mark.parametrize(("port", "words"), [
    (PortFacts("mgmt0", 300, (), None, True), "port mgmt0 on paris-2"),
    (PortFacts("eth7", None, (20, 300), "trunk", True), "port eth7 on paris-2"),
    (PortFacts("eth7", 300, (20,), "native-untagged", True), "port eth7 on paris-2"),
    (PortFacts("vnet9", None, (), None, True, FOREIGN_MAC), "lets every VLAN pass to whoever"),
    (PortFacts("to-br1", None, (), None, True, kind="patch"), "port to-br1 on paris-2, which lets"),
    (PortFacts("qinq", 300, (20,), "dot1q-tunnel", True), "port qinq on paris-2"),
    (PortFacts("dhcp0", 300, (), None, True, kind="internal"), "a network namespace may have"),
    (PortFacts("ns0", None, (), None, True, kind="internal"), "a network namespace may have"),
])
def test_a_vlan_that_any_other_port_may_carry_stays(lab: Any, port: PortFacts, words: str) -> None:
    step = only(plan_of(lab, b.with_port(with_extra(lab), "paris-2", port, port.name)))
    assert step.ruling.rule == "in-use"
    assert words in step.ruling.sentence


@pytest.mark.parametrize("port", [
    PortFacts("mgmt0", 20, (), None, True), PortFacts("eth7", None, (20, 21), "trunk", True),
    PortFacts("copy", None, (), None, True, mirror=True),
    PortFacts("br0", None, (), None, True, kind="internal"),
])
def test_a_port_that_does_not_carry_it_keeps_nothing(lab: Any, port: PortFacts) -> None:
    step = only(plan_of(lab, b.with_port(with_extra(lab), "paris-2", port, port.name)))
    assert step.ruling.verdict is Verdict.ALLOWED


def test_a_port_of_the_node_itself_may_get_its_address_at_any_time(lab: Any) -> None:
    seen = b.with_port(with_extra(lab), "paris-2",
                       PortFacts("dhcp0", 300, (), None, True, kind="internal"), "dhcp0")
    here = {"dhcp0": InterfaceFacts("dhcp0", (), master="ovs-system")}
    step = only(plan_of(lab, changed(seen, "paris-2", interfaces=Known(here, b.NOW_S))))
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.REFUSED, "in-use")
    assert "port dhcp0 on paris-2, which has no address now" in step.ruling.sentence


def test_a_vlan_that_a_mirror_writes_to_stays(lab: Any) -> None:
    step = only(plan_of(lab, with_bridge(with_extra(lab), "paris-sw", mirror_vlans=(300,))))
    assert "a mirror of br0 on paris-sw" in step.ruling.sentence


@pytest.mark.parametrize("who", ["paris-2", "paris-sw"])
def test_a_node_that_cannot_be_seen_may_use_it(lab: Any, who: str) -> None:
    step = only(plan_of(lab, b.silenced(with_extra(lab), who)))
    assert step.ruling.rule == "in-use"
    assert f"{who}, which does not answer" in step.ruling.sentence


def test_a_node_that_answered_too_long_ago_may_use_it_by_now(lab: Any) -> None:
    seen = with_extra(lab)
    fact = seen.nodes["paris-2"]
    assert isinstance(fact, Known)
    step = only(plan_of(lab, b.with_node(seen, "paris-2", Known(fact.value, b.NOW_S - 60))))
    assert step.ruling.rule == "in-use"
    assert "paris-2, which did not answer lately" in step.ruling.sentence


@pytest.mark.parametrize(("part", "words"), [
    ("domains", "the guests of paris-2"), ("bridges", "the ports of paris-2"),
    ("interfaces", "paris-2 itself"),
])
def test_a_part_of_a_node_that_cannot_be_seen_may_use_it(lab: Any, part: str, words: str) -> None:
    unknown: Fact[Any] = Unknown("it hangs", b.NOW_S)
    step = only(plan_of(lab, changed(with_extra(lab), "paris-2", **{part: unknown})))
    assert step.ruling.rule == "in-use"
    assert words in step.ruling.sentence


@pytest.mark.parametrize(("interface", "lost"), [
    (InterfaceFacts("br0", ("192.168.1.10/24",)), (0,)),
    (InterfaceFacts("br0.300", ("10.78.0.11/24",), 300, "br0"), (300,)),
    (InterfaceFacts("mgmt0", ("10.79.0.11/24",)), (301,)),
    (InterfaceFacts("up0.300", ("10.78.0.11/24",), 300, "up0"), (300,)),
])
def test_what_carries_a_nodes_own_address_is_refused_by_name(
        lab: Any, interface: InterfaceFacts, lost: tuple[int, ...]) -> None:
    host = lab.hosts["paris-1"]
    native = host.model_copy(update={"spec": host.spec.model_copy(update={"native_vlan": 9})})
    lab = replace(lab, hosts={**lab.hosts, "paris-1": native}) if 0 in lost else lab
    port = PortFacts("up0", None, (100, 200, *lost), "trunk", True)
    seen = b.with_port(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", port, "up0")
    seen = b.with_port(seen, "paris-1", PortFacts("mgmt0", 301, (), None, True, kind="internal"),
                       "mgmt0")
    seen = changed(seen, "paris-1", interfaces=Known({interface.name: interface}, b.NOW_S))
    step = narrowing(plan_of(lab, seen))[-1]
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.REFUSED, "own-address")
    assert interface.addresses[0] in step.ruling.sentence
    assert "declare" in step.ruling.clears


def test_an_address_of_another_card_keeps_nothing(lab: Any) -> None:
    seen = changed(with_extra(lab), "paris-1", interfaces=Known({
        "eth0": InterfaceFacts("eth0", ("10.77.0.11/24",)),
        "eth0.300": InterfaceFacts("eth0.300", ("10.1.0.11/24",), 300, "eth0")}, b.NOW_S))
    assert only(plan_of(lab, seen)).ruling.verdict is Verdict.ALLOWED


def test_a_network_that_leaves_the_specs_does_not_cut_the_vm_that_is_left_alone(lab: Any) -> None:
    before = b.small(b.vm("sql", placement={"site": "paris"}),
                     b.document("Network", "erp", vlan=300, sites=["paris", "milan"]),
                     b.vm("erp", nics=[{"network": "erp", "mac": FOREIGN_MAC}]))
    seen = b.as_declared(before, {"sql": "paris-1", "erp": "paris-2"})
    plan = plan_of(lab, seen, Context(applied_revision="r0", changed=frozenset({
        "Network/erp", "VirtualMachine/erp"})))
    assert len(narrowing(plan)) == 2 * (2 + 2 + 2)
    assert {step.ruling.rule for step in narrowing(plan)} == {"in-use"}


def test_what_joins_a_removal_that_waits_has_not_waited_yet(lab: Any) -> None:
    """A second network is missing for a moment, just before a first one is taken for good."""
    more = [b.document("Network", name, vlan=vlan, sites=["paris", "milan"])
            for name, vlan in (("erp", 300), ("dmz", 400))]
    seen = b.as_declared(b.small(*lab.virtual_machines.values(), *more), {"sql": "paris-1"})
    policy = Context(applied_revision="r0", changed=frozenset({"Network/erp", "Network/dmz"}),
                    adopted=frozenset({"Host/paris-1"}))
    first = plan_of(b.small(*lab.virtual_machines.values(), more[1]), seen, policy)
    step = next(one for one in narrowing(first) if one.action.node == "paris-1")
    (key,) = grace_keys(step.action)
    for age_s, rule in ((599, "grace"), (600, "")):
        old = replace(policy, waiting={key: b.NOW_S - age_s})
        found = plan_of(b.small(*lab.virtual_machines.values(), more[1]), seen, old)
        assert rulings(found, "paris-1") == {(300,): rule}
    assert rulings(plan_of(lab, seen, old), "paris-1") == {(300, 400): "grace"}


def rulings(plan: Plan, node: str) -> dict[tuple[int, ...], str]:
    return {step.action.lost: step.ruling.rule for step in narrowing(plan)
            if step.action.node == node}


@pytest.mark.parametrize("sites", [[], ["paris"]])
def test_a_network_whose_file_is_missing_for_a_moment_loses_nothing(lab: Any,
                                                                   sites: list[str]) -> None:
    cameras = b.document("Network", "cameras", vlan=300, sites=["paris", "milan"])
    seen = b.as_declared(b.small(b.vm("sql", placement={"site": "paris"}), cameras),
                         {"sql": "paris-1"})
    left = [b.document("Network", "cameras", vlan=300, sites=sites)] if sites else []
    after = b.small(b.vm("sql", placement={"site": "paris"}), *left)
    policy = Context(applied_revision="r0", changed=frozenset({"Network/cameras"}))
    plan = plan_of(after, seen, policy)
    assert {step.ruling.rule for step in narrowing(plan)} == {"grace"}
    waited = {key: b.NOW_S - 601 for step in narrowing(plan) for key in grace_keys(step.action)}
    later = plan_of(after, seen, replace(policy, waiting=waited))
    assert {step.ruling.verdict for step in narrowing(later)} == {Verdict.ALLOWED}


def with_vlan(vlan: int, autonomy: str, **vm: Any) -> Any:
    survey = [one for one in b.survey() if one.name != "office"]
    return b.desired_of(b.estate(autonomy=autonomy), *survey,
                        b.document("Network", "office", vlan=vlan, sites=["paris", "milan"]),
                        b.vm("sql", placement={"site": "paris"}, **vm))


@pytest.mark.parametrize("autonomy", ["network", "start", "delete"])
def test_a_vlan_that_changes_is_taken_once_the_last_card_has_left_it(autonomy: str) -> None:
    seen = b.as_declared(with_vlan(100, autonomy), {"sql": "paris-1"})
    after = with_vlan(101, autonomy)
    plan = plan_of(after, seen)
    retagging = {one.id for one in actions(plan) if one.target == "VirtualMachine/sql"}
    assert retagging
    assert narrowing(plan)
    for step in narrowing(plan):
        assert step.ruling.verdict is Verdict.WAITING
        assert retagging <= set(step.after)
    assert any(100 in port.action.lost for port in narrowing(plan))


def test_vlans_that_two_networks_swap_stay_while_either_is_used() -> None:
    nics = [{"network": "local", "mac": FOREIGN_MAC}]

    def lab(office: int, local: int) -> Any:
        survey = [one for one in b.survey() if one.name not in {"office", "storage"}]
        return b.desired_of(b.estate(), *survey,
                            b.document("Network", "office", vlan=office, sites=["paris", "milan"]),
                            b.document("Network", "local", vlan=local, sites=["paris"]),
                            b.vm("web", placement={"site": "milan"}), b.vm("erp", nics=nics))

    seen = b.as_declared(lab(100, 300), {"web": "milan-1", "erp": "paris-1"})
    plan = plan_of(lab(300, 100), seen)
    assert {step.action.lost for step in narrowing(plan)} == {(100,)}
    assert {step.ruling.verdict for step in narrowing(plan)} == {Verdict.WAITING}


def moved(memory: str) -> tuple[Any, Observed]:
    """Network `office` no longer spans milan, where sql runs."""
    survey = [one for one in b.survey() if one.name != "office"]
    office = b.document("Network", "office", vlan=100, sites=["paris"])
    after = b.desired_of(b.estate(), *survey, office, b.vm("sql", memory=memory))
    before = b.small(b.vm("sql", memory=memory))
    return after, b.as_declared(before, {"sql": "milan-1"})


def test_a_trunk_loses_a_vlan_only_after_its_last_vm_has_left() -> None:
    plan = plan_of(*moved("2GiB"))
    move = next(one.id for one in actions(plan) if isinstance(one, MigrateDomain))
    assert len(narrowing(plan)) == 2 + 2 + 2 + 2
    assert all(move in step.after for step in narrowing(plan))
    assert {step.ruling.verdict for step in narrowing(plan)} == {Verdict.WAITING}


def test_a_vm_that_has_left_for_where_its_network_is_declared_keeps_nothing_elsewhere() -> None:
    after, _ = moved("2GiB")
    seen = b.as_declared(b.small(b.vm("sql")), {"sql": "paris-1"})
    assert {step.ruling.verdict for step in narrowing(plan_of(after, seen))} == {Verdict.ALLOWED}


def test_a_vm_that_cannot_leave_keeps_its_vlan() -> None:
    plan = plan_of(*moved("200GiB"))
    assert not any(isinstance(one, MigrateDomain) for one in actions(plan))
    assert {step.ruling.rule for step in narrowing(plan)} == {"in-use"}
    assert Verdict.ALLOWED not in {step.ruling.verdict for step in narrowing(plan)}


def test_a_site_that_the_vlan_does_not_reach_keeps_nothing(lab: Any) -> None:
    card = NicFacts(FOREIGN_MAC, "br0", 300, "vnet9")
    seen = b.with_domain(with_extra(lab), "milan-1", "erp", foreign(card))
    assert only(plan_of(lab, seen)).ruling.verdict is Verdict.ALLOWED
    both = with_extra(lab)
    for switch in ("paris-sw", "milan-sw"):
        both = b.with_port(both, switch, replace(EXTRA, name="tr0"), "tr0")
    both = b.with_domain(both, "milan-1", "erp", foreign(card))
    assert {step.ruling.rule for step in narrowing(plan_of(lab, both))} == {"in-use"}


def test_a_removed_host_is_remembered_as_one_that_may_use_it(lab: Any) -> None:
    gone = b.node("paris-1", b.small(), {})
    assert isinstance(gone, Known)
    removed_hosts: Fact[NodeFacts] = Known(replace(gone.value, domains=Known({
        "erp": foreign(NicFacts(FOREIGN_MAC, "br0", 300, "vnet9"))}, b.NOW_S)), b.NOW_S)
    seen = b.with_node(with_extra(lab), "old-1", removed_hosts)
    assert "erp on old-1" in only(plan_of(lab, seen)).ruling.sentence


@pytest.mark.parametrize("vlan", [300, 200])
def test_a_renamed_vm_is_served_under_whatever_name_libvirt_has_for_it(vlan: int) -> None:
    """Its network leaves a site, or gets another VLAN: the old one goes as it would from others."""
    old = b.small(b.vm("sql"), b.document("Network", "erp", vlan=300, sites=["paris", "milan"]))
    cards = [{"network": "erp", "mac": FOREIGN_MAC}]
    was = b.small(b.vm("sql", nics=cards),
                  b.document("Network", "erp", vlan=300, sites=["paris", "milan"]))
    net = b.document("Network", "erp", vlan=300, sites=["paris"]) if vlan == 300 else (
        b.document("Network", "erp", vlan=400, sites=["paris", "milan"]))
    now = b.small(b.vm("shop", formerly="sql", nics=cards, placement={"host": "paris-1"}), net)
    mark = b.Ownership("lab", "keep", "shop", uuid=b.domain_uuid("lab", "sql"), domain="sql")
    seen = b.observed_of(old, {"paris-1": {"sql": b.domain("sql", "paris-1", was,
                                                           ownership=mark)}})
    plan = plan_of(now, seen, Context(applied_revision="r0", changed=frozenset({"Network/erp"})))
    steps = narrowing(plan)
    assert steps
    assert {step.ruling.rule for step in steps} == {"grace"} if vlan == 300 else {"in-use"}
    if vlan == 200:     # it waits for the card, and comes after it
        assert {step.ruling.verdict for step in steps} == {Verdict.WAITING}
        assert all("reconfigure:VirtualMachine/shop@paris-1/live" in step.after for step in steps)
