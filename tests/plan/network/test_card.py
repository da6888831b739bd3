"""Network cards: which are changed, and which are left as they are and reported."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Absent, InterfaceFacts, Known, NicFacts
from controller.plan.actions.desired import UpdateNic
from controller.plan.actions.machine import ReconfigureDomain
from tests.plan import builders as b
from tests.plan.reading import actions, plan_of, sentences


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql", placement={"host": "paris-1"}))


def with_card(lab: Any, **changes: Any) -> Any:
    """What is seen when sql's card is another than declared, in the guest and its definition."""
    config = b.config_of("sql", "paris-1", lab)
    card = replace(config.nics[0], **changes)
    config = replace(config, nics=(card, *config.nics[1:]))
    return b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=config, config=config))


@pytest.mark.parametrize(("changes", "words"), [
    *(({"kind": kind, "bridge": "", "vlan": None}, f"is of libvirt's kind `{kind}`")
      for kind in ("network", "direct", "hostdev", "udp", "ethernet", "vhostuser", "user")),
    ({"vlan": None, "trunks": (10, 20)}, "carries VLANs 10, 20"),
    ({"vlan": None, "trunks": (10, 20), "native": 10}, "10 of them without a tag"),
    ({"vlan": 7, "port_type": "802.1Qbg"}, "is plugged in as `802.1Qbg`"),
])
def test_a_card_that_is_not_ours_to_change_is_left_alone_and_told(
        lab: Any, changes: Any, words: str) -> None:
    plan = plan_of(lab, with_card(lab, **changes))
    assert plan.steps == ()
    assert words in sentences(plan)
    assert "left as it is" in sentences(plan)


def test_an_undeclared_card_of_another_kind_is_not_pulled(lab: Any) -> None:
    config = b.config_of("sql", "paris-1", lab)
    config = replace(config, nics=(*config.nics, NicFacts(
        "52:54:00:00:00:99", "", None, None, kind="hostdev")))
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=config, config=config))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "52:54:00:00:00:99 that is not declared" in sentences(plan)


def test_a_card_that_open_vswitch_does_not_hold_is_so_for_the_next_boot_only(lab: Any) -> None:
    [action] = actions(plan_of(lab, with_card(lab, port_type="")))
    assert isinstance(action, ReconfigureDomain)
    assert not action.live
    assert isinstance(action.changes[0], UpdateNic)
    assert "not plugged in as a port of Open vSwitch" in action.reason


@pytest.mark.parametrize("why", ["no Open vSwitch", "a Linux bridge"])
def test_the_cards_of_a_host_without_open_vswitch_are_left_as_they_are(lab: Any, why: str) -> None:
    seen = with_card(lab, vlan=7)
    fact = seen.nodes["paris-1"]
    bridges = Absent(b.NOW_S) if why == "no Open vSwitch" else Known({}, b.NOW_S)
    linux = Known({"br0": InterfaceFacts("br0", ("10.1.1.1/24",), kind="bridge")}, b.NOW_S)
    seen = b.with_node(seen, "paris-1", Known(
        replace(fact.value, bridges=bridges, interfaces=linux), b.NOW_S))
    plan = plan_of(lab, seen)
    assert not [one for one in actions(plan) if isinstance(one, ReconfigureDomain)]
    assert "sql's cards are left as they are" in sentences(plan)


@pytest.mark.parametrize("why", ["no Open vSwitch", "a Linux bridge"])
def test_a_host_without_open_vswitch_is_given_nothing_and_said_to_be_so(why: str) -> None:
    lab = b.small(b.vm("new"), hosts_per_site=1)
    seen = b.as_declared(lab, {})
    for name in ("paris-1", "milan-1"):
        fact = seen.nodes[name]
        assert isinstance(fact, Known)
        bridges = Absent(b.NOW_S) if why == "no Open vSwitch" else Known({}, b.NOW_S)
        linux = Known({"br0": InterfaceFacts("br0", ("10.1.1.1/24",), kind="bridge")}, b.NOW_S)
        seen = b.with_node(seen, name, Known(
            replace(fact.value, bridges=bridges, interfaces=linux), b.NOW_S))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert {one.target for one in plan.waits} >= {"Host/paris-1", "Host/milan-1"}
    assert "nothing is placed there" in sentences(plan)
    found = {(one.target, one.type.value): one.status.value for one in plan.conditions}
    assert found["Network/office", "Connected"] == "false"


def test_a_warning_beside_a_good_answer_is_a_remark() -> None:
    lab = b.small()
    seen = b.as_declared(lab, {})
    for name in ("paris-1", "paris-sw"):
        fact = seen.nodes[name]
        assert isinstance(fact, Known)
        seen = b.with_node(seen, name, Known(replace(fact.value, warnings={
            "bridges": "Interface table lacks mtu_request column"}), b.NOW_S))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "Open vSwitch on paris-sw answers well and warns: Interface" in sentences(plan)
    assert not any(remark.unknown for remark in plan.remarks)
