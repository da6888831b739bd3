"""Hosts with Linux bridges: what is seen of their networks, and the little that is changed."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.facts import Absent, Known, Unknown
from controller.model.linux.links import LibvirtNetwork, LinkFacts, PassingVlans
from controller.plan.actions.machine import DefineDomain, MigrateDomain, ReconfigureDomain
from controller.plan.actions.network import (
    AddUplink,
    CreateBridge,
    NarrowTrunk,
    SetPortVlan,
    WidenTrunk,
)
from controller.plan.steps.plan import Verdict
from tests.plan import builders as b
from tests.plan.linux import (
    LINUX,
    access,
    aware,
    estate,
    link,
    links,
    machine,
    per_vlan,
    plain,
    seen_of,
    trunk,
)
from tests.plan.reading import actions, plan_of, sentences

AT = {"attachments": [{"network": "lan", "bridge": "br200"}]}
NAT = LINUX | {"attachments": [{"network": "lan", "libvirtNetwork": "default"}]}


def connected(plan: Any, target: str = "Network/lan") -> Any:
    return next(one for one in plan.conditions if one.target == target
                and one.type is ConditionType.CONNECTED)


FORMS = {
    "one untagged bridge": (plain(), {}, {"lan": None}),
    "one whose wire is a VLAN": (plain(), {"attachments": [{"network": "lan", "bridge": "br0"}]},
                                 {"lan": 200}),
    "a bridge for each VLAN": (per_vlan(200, 210), AT, {"lan": 200}),
    "that over a bond": (per_vlan(200, below="bond0", kind="bond"), AT, {"lan": 200}),
    "a bridge that looks at tags": (aware(trunk(200), access(200)), {}, {"lan": 200}),
    "one whose default VLAN it is": (aware(trunk(300), access(1)), {}, {"lan": None}),
    "a libvirt network": (links(), NAT, {"lan": None}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_network_is_connected_in_each_form_and_nothing_is_planned(form: str) -> None:
    found, paris, networks = FORMS[form]
    lab = estate(machine(), LINUX | paris, LINUX | paris, **networks)
    plan = plan_of(lab, seen_of(lab, found))
    assert [one for one in actions(plan) if not isinstance(one, NarrowTrunk)] == []
    assert connected(plan).status is Status.TRUE
    assert "no switch is declared, so what lies between them is not checked" in (
        connected(plan).message)
    assert connected(plan, "VirtualMachine/sql").status is Status.TRUE


BROKEN = {
    "no bridge": (links(), {}, None, "NoBridge", "no Linux bridge is ever made from outside"),
    "another switch": (links(link("br0", "openvswitch")), {}, None, "NotLinuxBridge",
                       "is a bridge of Open vSwitch"),
    "no bridge at all": (links(link("br0", "vlan")), {}, None, "NotLinuxBridge", "of kind vlan"),
    "switched off": (links(link("br0", "bridge", up=False)), {}, None, "BridgeDown", "off"),
    "no filter": (plain(), {}, 200, "NotFiltering", "does not look at tags"),
    "no uplink": (links(link("br0", "bridge"), LinkFacts("vnet0", "tun", master="br0")), {}, None,
                  "NoUplink", "nothing leads from br0"),
    "no link": (links(link("br0", "bridge"), link("eno1", master="br0", link_up=False)), {},
                   None, "NoLink", "eno1 of paris-1 has no link"),
    "no link below": (links(link("eno1", link_up=False), link("br200", "bridge"), link(
        "eno1.200", "vlan", master="br200", parent="eno1", vlan=200, link_up=False)), AT, 200,
        "NoLink", "eno1.200 over eno1 of paris-1 has no link"),
    "another VLAN": (links(link("eno1"), link("br200", "bridge"), link(
        "eno1.210", "vlan", master="br200", parent="eno1", vlan=210)), AT, 200, "OtherVlan",
        "br200 of paris-1 is on VLAN 210 (eno1.210), and network lan is VLAN 200"),
    "no VLAN for ports": (aware(trunk(200, pvid=None), pvid=0), {}, None, "NoVlan",
                          "gives new ports no VLAN"),
    "no libvirt network": (replace(links(), networks={}), NAT, None, "NoLibvirtNetwork",
                           "libvirt on paris-1 has no network default"),
    "a libvirt network that is off": (
        replace(links(), networks={"default": LibvirtNetwork("default", "", "nat", False)}), NAT,
        None, "LibvirtNetworkOff", "virsh net-start default"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_told_with_what_to_do_and_nothing_is_done(what: str) -> None:
    found, paris, vlan, reason, words = BROKEN[what]
    lab = estate(machine(), LINUX | paris, LINUX | paris, lan=vlan)
    plan = plan_of(lab, seen_of(lab, found))
    assert actions(plan) == []
    assert (connected(plan).status, connected(plan).reason) == (Status.FALSE, reason)
    assert words in sentences(plan)
    assert words in connected(plan, "VirtualMachine/sql").message
    assert "Host/paris-1" in {one.target for one in plan.conditions
                              if one.type is ConditionType.STALLED}


UNSEEN = {
    "no answer": Unknown("`ip` did not answer", b.NOW_S),
    "without `bridge`": Known(replace(aware(trunk(200)), vlans={}, vlans_unknown="no bridge"),
                              b.NOW_S),
}


@pytest.mark.parametrize("what", UNSEEN)
def test_what_cannot_be_seen_is_unknown_and_changes_nothing(what: str) -> None:
    lab = estate(machine(), lan=200)
    seen = seen_of(lab, aware(trunk(200), access(200)))
    seen = b.with_node(seen, "paris-1", Known(replace(
        seen.nodes["paris-1"].value, links=UNSEEN[what]), b.NOW_S))
    plan = plan_of(lab, seen)
    assert [one for one in actions(plan) if one.node == "paris-1"] == []
    assert connected(plan).status is Status.UNKNOWN


def test_nothing_is_placed_where_no_device_was_ever_shown() -> None:
    lab = estate(machine(), lan=None)
    seen = seen_of(lab, plain())
    seen = b.with_node(seen, "paris-1", Known(replace(
        seen.nodes["paris-1"].value, links=Absent(b.NOW_S)), b.NOW_S))
    assert "install iproute2" in sentences(plan_of(lab, seen))


def test_libvirts_networks_alone_may_be_unknown() -> None:
    lab = estate(machine(), NAT, NAT, lan=None)
    plan = plan_of(lab, seen_of(lab, replace(
        links(), networks={}, networks_unknown="libvirt did not answer")))
    assert connected(plan).status is Status.UNKNOWN
    assert plan.steps == ()


def test_an_uplink_that_lacks_a_vlan_gets_it_and_loses_nothing() -> None:
    lab = estate(machine(), lan=200)
    plan = plan_of(lab, seen_of(lab, aware(trunk(300), access(200)), aware(trunk(200))))
    [action] = [one for one in actions(plan) if isinstance(one, WidenTrunk)]
    assert action.driver == "linuxbridge"
    assert set(action.will_be.vlans) == {1, 200, 300}
    assert action.will_be.tag == 1
    assert connected(plan).status is Status.FALSE
    assert not [one for one in actions(plan) if isinstance(one, CreateBridge | AddUplink)]


def test_a_vlan_that_is_not_declared_is_taken_away_only_with_a_yes() -> None:
    lab = estate(machine(), lan=200)
    plan = plan_of(lab, seen_of(lab, aware(trunk(200, 300), access(200)), aware(trunk(200))),
                   b.Context())
    [step] = [one for one in plan.steps if isinstance(one.action, NarrowTrunk)]
    assert step.action.lost == (300,)
    assert step.action.ask is not None
    assert step.ruling.verdict is not Verdict.ALLOWED


@pytest.mark.parametrize(("interface", "vlan", "parent"), [("br0", None, None),
                                                           ("br0.300", 300, "br0")])
def test_an_uplink_that_carries_the_hosts_own_address_is_refused_by_name(
        interface: str, vlan: int | None, parent: str | None) -> None:
    lab = estate(machine(), LINUX | {"nativeVlan": 200}, lan=200)
    seen = seen_of(lab, aware(trunk(200, 300), access(200)), aware(trunk(200)))
    facts = seen.nodes["paris-1"].value
    own = replace(facts.interfaces.value["br0"], name=interface, vlan=vlan, parent=parent)
    seen = b.with_node(seen, "paris-1", Known(replace(
        facts, interfaces=Known({interface: own}, b.NOW_S)), b.NOW_S))
    plan = plan_of(lab, seen, b.saying_yes(plan_of(lab, seen)))
    refused = [one.ruling for one in plan.steps if isinstance(one.action, NarrowTrunk)
               and one.action.node == "paris-1"]
    assert [one.rule for one in refused] == ["own-address"]
    assert f"its address 10.0.0.5/24 on {interface}" in refused[0].sentence


def test_an_uplink_that_passes_every_vlan_stays_so() -> None:
    lab = estate(machine(), lan=200)
    every = PassingVlans(frozenset(range(2, 4095)), frozenset({1}), 1)
    plan = plan_of(lab, seen_of(lab, aware(every, access(200))))
    assert plan.steps == ()
    assert "eno1 of paris-1 lets every VLAN pass" in sentences(plan)
    assert "ovs-vsctl" not in sentences(plan)


def test_a_port_whose_vlans_have_no_other_words_is_left_alone() -> None:
    lab = estate(machine(), lan=200)
    odd = PassingVlans(frozenset({300}), frozenset({1, 7}), 1)
    plan = plan_of(lab, seen_of(lab, aware(odd, access(200)), aware(trunk(200))))
    assert plan.steps == ()
    assert "sends several VLANs" in sentences(plan)


@pytest.mark.parametrize(("tap", "was"), [
    (access(1), 1), (PassingVlans(), None), (access(300), 300)])
def test_the_port_of_a_guest_gets_its_vlan_after_each_start(tap: Any, was: int | None) -> None:
    lab = estate(machine(), lan=200)
    plan = plan_of(lab, seen_of(lab, aware(trunk(200), tap), aware(trunk(200))))
    [action] = actions(plan)
    assert isinstance(action, SetPortVlan)
    assert (action.driver, action.port, action.vlan, action.was) == (
        "linuxbridge", "vnet-sql", 200, was)


def test_a_port_that_a_person_made_a_trunk_is_left_with_the_words_to_put_it_back() -> None:
    lab = estate(machine(), lan=200)
    plan = plan_of(lab, seen_of(lab, aware(trunk(200), trunk(7, 8)), aware(trunk(200))))
    assert plan.steps == ()
    assert "bridge vlan add dev vnet-sql vid 200 pvid untagged" in sentences(plan)


@pytest.mark.parametrize("libvirt", ["9.0.0", "11.3.0"])
def test_a_vm_is_neither_made_nor_moved_where_its_network_is_not(libvirt: str) -> None:
    lab = estate(machine(where="milan-1"), lan=200)
    seen = seen_of(lab, aware(trunk(200), access(200)), plain(), libvirt=libvirt)
    plan = plan_of(lab, seen)
    assert not [one for one in actions(plan) if isinstance(one, MigrateDomain)]
    assert "does not look at tags" in sentences(plan)
    nobody = seen
    for name in lab.hosts:
        nobody = b.with_node(nobody, name, Known(replace(
            b.node(name, lab).value, bridges=Absent(b.NOW_S),
            links=seen.nodes[name].value.links), b.NOW_S))
    assert not [one for one in actions(plan_of(lab, nobody, b.Context()))
                if isinstance(one, DefineDomain)]


def test_mixed_drivers_move_a_vm_between_them() -> None:
    lab = estate(machine(where="milan-1"), LINUX | AT, {"driver": "openvswitch"}, lan=200)
    seen = seen_of(lab, per_vlan(200))
    facts = b.node("milan-1", lab).value
    seen = b.with_node(seen, "milan-1", Known(facts, b.NOW_S))
    plan = plan_of(lab, seen)
    [move] = [one for one in actions(plan) if isinstance(one, MigrateDomain)]
    assert [(nic.bridge, nic.vlan, nic.driver) for nic in move.nics] == [
        ("br0", 200, "openvswitch")]
    assert not [one for one in actions(plan) if isinstance(one, ReconfigureDomain)]


def persistence(plan: Any) -> Any:
    return next(one for one in plan.conditions if one.target == "Host/paris-1"
                and one.type is ConditionType.PERSISTENT)


TOOLS = {
    "ifupdown2": "add `200` to `bridge-vids` below `iface br0`",
    "ifupdown": "`post-up bridge vlan add dev eno1 vid 200` below `iface br0`",
    "systemd-networkd": "in the .network file of eno1 write `[BridgeVLAN] VLAN=200`",
    "netplan": "/etc/systemd/network/10-netplan-eno1.network.d/vlans.conf",
    "NetworkManager": "+bridge-port.vlans '200'",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_reboot_would_undo_is_told_with_the_words_to_add(tool: str) -> None:
    lab = estate(machine(), lan=200)

    def with_tool(kept: tuple[int, ...] | None) -> Any:
        found = aware(trunk(200), access(200))
        return persistence(plan_of(lab, seen_of(lab, replace(found, tools=(tool,), links={
            name: replace(one, tool=tool, kept=kept if name == "eno1" else ())
            for name, one in found.links.items()}))))

    assert with_tool(()).status is Status.FALSE
    assert TOOLS[tool] in with_tool(()).message
    assert with_tool(None).status is Status.UNKNOWN
    assert with_tool((200,)).status is Status.TRUE


@pytest.mark.parametrize("tools", [("netplan",), ("ifupdown",), ("systemd-networkd",),
                                   ("NetworkManager",), ()])
def test_a_bridge_made_by_hand_is_told_to_be_gone_after_a_reboot(tools: tuple[str, ...]) -> None:
    lab = estate(machine(), lan=None)
    found = replace(plain(), tools=tools)
    found = replace(found, links={name: replace(one, tool="") for name, one in found.links.items()})
    answer = persistence(plan_of(lab, seen_of(lab, found)))
    assert answer.status is (Status.FALSE if tools else Status.UNKNOWN)
    assert ("br0 of paris-1 was set up by hand" in answer.message) is bool(tools)
