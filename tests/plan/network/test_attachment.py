"""Attachments: a card is right where its host has its network, and only there is it ever put."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Absent, Known, NicFacts
from controller.plan.actions.desired import AttachNic, DesiredNic, UpdateNic
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    ReconfigureDomain,
    RestartDomain,
)
from controller.plan.actions.network import SetPortVlan
from tests.plan import builders as b
from tests.plan.reading import actions, plan_of, sentences

MAC = "52:54:00:0a:00:01"
LINUX = {"driver": "linuxbridge"}
SOMEWHERE = {"user": "user", "macvtap": "direct", "SR-IOV": "hostdev", "a socket": "vhostuser"}


def estate(vm: Any, *more: Any, paris: Any = None, milan: Any = None) -> Any:
    """One host per site, each with its own way of attaching networks."""
    lab = b.small(vm, b.document("Network", "lan", sites=["paris", "milan"]), *more,
                  hosts_per_site=1)
    hosts = dict(lab.hosts)
    for site, spec in (("paris", paris), ("milan", milan)):
        if spec is not None:
            hosts[f"{site}-1"] = b.document("Host", f"{site}-1", site=site, address=f"{site}-1",
                                            **spec)
    return replace(lab, hosts=hosts)


def machine(**nic: Any) -> Any:
    return b.vm("sql", nics=[{"mac": MAC} | nic], placement={"host": "paris-1"})


def seen_of(lab: Any, where: str = "paris-1", libvirt: str = "9.0.0", **card: Any) -> Any:
    """Everything as declared; with `card`, sql's card is another, in the guest and its XML."""
    observed = b.as_declared(lab, {"sql": where})
    config = b.config_of("sql", where, lab)
    config = replace(config, nics=(replace(config.nics[0], **card),))
    observed = b.with_domain(observed, where, "sql",
                             b.domain("sql", where, lab, live=config, config=config))
    for name, host in lab.hosts.items():
        facts = observed.nodes[name].value
        if host.spec.driver != "openvswitch":
            facts = replace(facts, bridges=Absent(b.NOW_S), versions={"libvirt": libvirt})
        observed = b.with_node(observed, name, Known(facts, b.NOW_S))
    return observed


def about_sql(plan: Any) -> list[Any]:
    return [one for one in actions(plan) if "sql" in one.target]


def reconfigurations(plan: Any) -> list[Any]:
    return [one for one in actions(plan) if isinstance(one, ReconfigureDomain)]


@pytest.mark.parametrize("paris", [
    LINUX, {},
    LINUX | {"attachments": [{"network": "lan", "bridge": "br7"}]},
    LINUX | {"attachments": [{"network": "lan", "bridge": "br0", "vlan": 7}]},
    {"attachments": [{"network": "lan", "bridge": "br7", "vlan": 7}]},
    LINUX | {"attachments": [{"network": "lan", "libvirtNetwork": "default"}]},
])
def test_a_card_that_sits_where_its_host_has_its_network_is_right(paris: Any) -> None:
    lab = estate(machine(network="lan"), paris=paris)
    assert about_sql(plan_of(lab, seen_of(lab))) == []


@pytest.mark.parametrize("live", [{}, {"bridge": ""}])
def test_by_which_of_libvirts_kinds_it_got_to_its_bridge_does_not_matter(live: Any) -> None:
    lab = estate(machine(network="lan"), paris=LINUX)
    plan = plan_of(lab, seen_of(lab, kind="network", network="host-bridge", **live))
    assert not reconfigurations(plan)
    assert ("left as it is" in sentences(plan)) is bool(live)   # without a bridge nobody can tell


def test_a_card_on_another_bridge_is_put_where_it_belongs_without_a_tag() -> None:
    lab = estate(machine(network="office"), paris=LINUX | {
        "attachments": [{"network": "office", "bridge": "br100"}]})
    [action] = reconfigurations(plan_of(lab, seen_of(lab, bridge="br0")))
    assert action.live
    assert action.changes == (UpdateNic(DesiredNic(MAC, "br100", None, "virtio", "linuxbridge")),)


@pytest.mark.parametrize(("libvirt", "expected"), [
    ("9.0.0", None), ("10.10.0", None), ("11.0.0", 100), ("12.1.0", 100), ("", None)])
def test_a_definition_holds_a_linux_bridges_tag_only_where_libvirt_takes_it(
        libvirt: str, expected: int | None) -> None:
    lab = estate(machine(network="office"), paris=LINUX)
    seen = seen_of(lab, libvirt=libvirt, bridge="br9")
    for action in reconfigurations(plan_of(lab, seen)):
        assert action.changes[0].nic.vlan == expected


def test_a_tag_that_would_keep_a_vm_from_starting_is_taken_out_of_its_definition() -> None:
    lab = estate(machine(network="office"), paris=LINUX)
    config = reconfigurations(plan_of(lab, seen_of(lab, vlan=100)))[-1]
    assert config.changes[0].nic.vlan is None
    assert not reconfigurations(plan_of(lab, seen_of(lab, libvirt="11.3.0", vlan=100)))


@pytest.mark.parametrize("kind", SOMEWHERE.values(), ids=SOMEWHERE)
def test_a_card_that_is_kept_is_never_touched_wherever_it_is(kind: str) -> None:
    lab = estate(machine(source="keep", model="vmxnet3"), paris=LINUX)
    plan = plan_of(lab, seen_of(lab, kind=kind))
    assert about_sql(plan) == []
    assert "sql" not in sentences(plan)


def test_a_kept_card_that_is_missing_is_told_and_not_made() -> None:
    lab = estate(machine(source="keep"), paris=LINUX)
    config = replace(b.config_of("sql", "paris-1", lab), nics=())
    seen = b.with_domain(seen_of(lab), "paris-1", "sql", b.domain(
        "sql", "paris-1", lab, live=config, config=config))
    plan = plan_of(lab, seen)
    assert about_sql(plan) == []
    assert "`source: keep` is never made" in sentences(plan)


def test_any_model_stays_and_only_a_known_one_is_made() -> None:
    lab = estate(machine(network="lan", model="xyz-9"), paris=LINUX)
    assert not reconfigurations(plan_of(lab, seen_of(lab)))
    config = replace(b.config_of("sql", "paris-1", lab), nics=())
    gone = b.with_domain(seen_of(lab), "paris-1", "sql", b.domain(
        "sql", "paris-1", lab, live=config, config=config))
    plan = plan_of(lab, gone)
    assert not reconfigurations(plan)
    assert "no new card of model `xyz-9` is made" in sentences(plan)
    new = plan_of(lab, b.with_domain(gone, "paris-1", "sql", None))
    assert not [one for one in actions(new) if isinstance(one, DefineDomain)]


def test_a_host_with_no_driver_is_neither_judged_nor_changed() -> None:
    lab = estate(machine(network="lan"), paris={"driver": "none"})
    plan = plan_of(lab, seen_of(lab, bridge="elsewhere", vlan=9))
    assert about_sql(plan) == []
    assert "sql" not in sentences(plan)


def test_a_changed_driver_leaves_no_port_of_the_old_switch_behind() -> None:
    lab = estate(machine(network="office"), paris=LINUX)
    seen = seen_of(lab, vlan=100, port_type="openvswitch")
    done = actions(plan_of(lab, seen))
    [config] = [one for one in done if isinstance(one, ReconfigureDomain)]
    assert not config.live
    assert config.changes[0].nic.driver == "linuxbridge"
    [restart] = [one for one in done if isinstance(one, RestartDomain)]
    assert "a port of Open vSwitch" in restart.reason
    back = estate(machine(network="office"), paris={})
    [config] = reconfigurations(plan_of(back, seen_of(back, port_type="")))
    assert config.changes[0].nic.driver == "openvswitch"


NAT = {"network": "lan", "libvirtNetwork": "default"}


@pytest.mark.parametrize(("milan", "expected"), [
    ({}, DesiredNic(MAC, "br0", None, "virtio")),
    (LINUX | {"attachments": [NAT]},
     DesiredNic(MAC, "", None, "virtio", "linuxbridge", "default")),
    (LINUX | {"attachments": [{"network": "lan", "bridge": "br7"}]},
     DesiredNic(MAC, "br7", None, "virtio", "linuxbridge")),
    (LINUX, None),
])
def test_a_new_vm_and_a_live_move_land_where_the_target_has_the_network(
        milan: Any, expected: DesiredNic | None) -> None:
    vm = b.vm("sql", nics=[{"mac": MAC, "network": "lan"}], placement={"host": "milan-1"})
    lab = estate(vm, paris=LINUX, milan=milan)
    [move] = [one for one in actions(plan_of(lab, seen_of(lab)))
              if isinstance(one, MigrateDomain)]
    assert move.nics == (() if expected is None else (expected,))
    nobody = seen_of(lab)
    for name in lab.hosts:
        bare = b.node(name, lab).value
        nobody = b.with_node(nobody, name, Known(replace(
            bare, bridges=nobody.nodes[name].value.bridges), b.NOW_S))
    [define] = [one for one in actions(plan_of(lab, nobody, b.Context())) if
                isinstance(one, DefineDomain)]
    assert define.node == "milan-1"
    assert define.desired.nics == (
        expected or DesiredNic(MAC, "br0", None, "virtio", "linuxbridge"),)


def test_a_kept_card_moves_as_it_is() -> None:
    vm = b.vm("sql", nics=[{"mac": MAC, "source": "keep"}], placement={"host": "milan-1"})
    lab = estate(vm, paris=LINUX, milan={})
    for action in actions(plan_of(lab, seen_of(lab))):
        assert not isinstance(action, MigrateDomain) or action.nics == ()


def test_a_port_of_open_vswitch_on_an_untagged_network_is_put_back_without_a_tag() -> None:
    lab = estate(machine(network="lan"), paris={})
    seen = b.with_port(seen_of(lab), "paris-1", replace(
        seen_of(lab).nodes["paris-1"].value.bridges.value["br0"].ports["vnet-sql"], tag=7),
        "vnet-sql")
    [action] = [one for one in actions(plan_of(lab, seen)) if isinstance(one, SetPortVlan)]
    assert (action.vlan, action.was) == (None, 7)


def test_trunks_let_untagged_frames_pass_for_a_network_without_a_tag() -> None:
    lab = estate(machine(network="lan"), paris={})
    done = [one for one in actions(plan_of(lab, seen_of(lab))) if one.verb == "widen-trunk"]
    assert {one.node for one in done} == {"paris-1", "milan-1", "paris-sw", "milan-sw"}
    assert all(one.will_be.vlans == (0, 100, 200) for one in done)


def test_an_attachment_of_a_new_card_is_used() -> None:
    lab = estate(machine(network="lan"), paris=LINUX | {"attachments": [NAT]})
    config = replace(b.config_of("sql", "paris-1", lab), nics=())
    seen = b.with_domain(seen_of(lab), "paris-1", "sql", b.domain(
        "sql", "paris-1", lab, live=config, config=config))
    assert {one.changes for one in reconfigurations(plan_of(lab, seen))} == {(AttachNic(
        DesiredNic(MAC, "", None, "virtio", "linuxbridge", "default")),)}
    assert NicFacts(MAC, "", None, None).network == ""
