"""Conditions of every object: true, false or unknown, and why."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import Condition
from controller.model.facts import Known, Observed, PortFacts
from controller.plan.compute import compute
from controller.plan.survey.context import Context, Suspension
from tests.plan import builders as b
from tests.plan import replicas as r

HOME = {"sql": "paris-1", "web": "milan-1"}


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql", protection="gold", placement={"site": "paris"}),
                   b.vm("web", placement={"site": "milan"}))


def said(desired: Any, seen: Observed, policy: Context = b.APPLIED) -> dict[str, Condition]:
    found = compute(desired, seen, policy, b.NOW_S).conditions
    names = {f"{one.target} {one.type}": one for one in found}
    assert len(names) == len(found)
    return names


def brief(conditions: dict[str, Condition], name: str) -> tuple[str, str]:
    return conditions[name].status.value, conditions[name].reason


def test_of_a_converged_estate_everything_is_true(lab: Any) -> None:
    seen = r.asked(b.as_declared(lab, HOME), lab)
    found = said(lab, r.with_replica(seen, "milan-1", r.replica("sql", r.series(12, 60))))
    assert {one.status for one in found.values()} == {"true"}
    assert {one.revision for one in found.values()} == {"r1"}
    assert {"VirtualMachine/sql Ready", "VirtualMachine/sql Placed", "VirtualMachine/sql Connected",
            "Host/paris-1 Ready", "Switch/milan-sw Ready", "InterSiteLink/metro Connected",
            "VirtualMachine/sql Protected", "VirtualMachine/sql Fresh",
            "VirtualMachine/sql Verified", "Network/office Connected", "Site/paris Survivable",
            "Site/milan TwinMatches"} <= found.keys()


def test_a_vm_that_is_off_is_not_ready_but_where_it_belongs(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    found = said(lab, seen)
    assert brief(found, "VirtualMachine/sql Ready") == ("false", "Off")
    assert brief(found, "VirtualMachine/sql Placed") == ("true", "WhereItBelongs")
    assert "VirtualMachine/sql Connected" not in found


def test_of_a_silent_hosts_vms_nothing_is_known(lab: Any) -> None:
    found = said(lab, b.silenced(b.as_declared(lab, HOME), "paris-1"))
    for name in ("Ready", "Placed", "Connected"):
        assert brief(found, f"VirtualMachine/sql {name}") == ("unknown", "CannotBeSeen")
    assert brief(found, "Host/paris-1 Ready") == ("unknown", "Silent")
    assert brief(found, "Network/office Connected") == ("unknown", "CannotBeSeen")


def test_a_vm_elsewhere_says_where_and_why(lab: Any) -> None:
    found = said(lab, b.as_declared(lab, {"sql": "milan-2", "web": "milan-1"}))
    assert found["VirtualMachine/sql Placed"].message == "it is on milan-2: it belongs at paris"


def test_a_wrong_vlan_cuts_the_vm_and_a_missing_one_the_network(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    mac = lab.virtual_machines["sql"].spec.nics[0].mac
    seen = b.with_port(seen, "paris-1", PortFacts("vnet-sql", 7, (), None, True, mac), "vnet-sql")
    seen = b.with_port(seen, "milan-sw", PortFacts("tr0", None, (100,), "trunk", True), "tr0")
    found = said(lab, seen)
    assert brief(found, "VirtualMachine/sql Connected") == ("false", "VlanDiffers")
    assert brief(found, "VirtualMachine/web Connected") == ("true", "OnItsNetworks")
    assert brief(found, "Network/storage Connected") == ("false", "VlanMissing")
    assert brief(found, "Network/office Connected") == ("true", "EverywhereDeclared")


@pytest.mark.parametrize(("down", "answer"), [
    ((), ("true", "AllMembersUp")), (("tr0",), ("true", "Degraded")),
    (("tr0", "tr1"), ("false", "TooFewMembers"))])
def test_a_link_is_connected_while_enough_members_are_up(
        lab: Any, down: tuple[str, ...], answer: tuple[str, str]) -> None:
    seen = b.as_declared(lab, HOME)
    for port in down:
        seen = b.with_port(seen, "paris-sw",
                           PortFacts(port, None, (100, 200), "trunk", False), port)
    found = said(lab, seen)
    assert brief(found, "InterSiteLink/metro Connected") == answer
    if len(down) == 2:
        assert brief(found, "Network/office Connected") == ("false", "LinkDown")


def test_a_link_with_a_silent_end_is_unknown(lab: Any) -> None:
    found = said(lab, b.silenced(b.as_declared(lab, HOME), "milan-sw"))
    assert brief(found, "InterSiteLink/metro Connected") == ("unknown", "MembersNotSeen")


def test_twins_that_differ_in_capacity_say_by_how_much(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    for host in ("milan-1", "milan-2"):
        fact = seen.nodes[host]
        assert isinstance(fact, Known)
        assert isinstance(fact.value.hardware, Known)
        half = replace(fact.value.hardware.value, memory_bytes=64 * b.GIB)
        seen = b.with_node(seen, host, Known(
            replace(fact.value, hardware=Known(half, b.NOW_S)), b.NOW_S))
    assert said(lab, seen)["Site/paris TwinMatches"].message == "milan has 50% less memory"


def test_suspended_and_stalled_are_said_while_true(lab: Any) -> None:
    pause = Suspension("Host/paris-2", "ada", "new memory", b.NOW_S + 60)
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-2", "sql",
                         b.domain("sql", "paris-2", lab))
    found = said(lab, seen, replace(b.APPLIED, suspensions=(pause,)))
    assert found["Host/paris-2 Suspended"].message == \
        "by ada until 1970-01-12 13:47:40 UTC: new memory"
    assert [name for name in found if name.endswith("Suspended")] == ["Host/paris-2 Suspended"]
    assert brief(found, "VirtualMachine/sql Stalled") == ("true", "TwoRunningCopies")
    assert brief(found, "VirtualMachine/sql Ready") == ("false", "TwoRunningCopies")


def test_a_quarantined_vm_is_stalled(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    repairs = {"VirtualMachine/sql": tuple(b.NOW_S - 100 * n for n in (5, 4, 3, 2, 1))}
    found = said(lab, seen, replace(b.APPLIED, repairs=repairs))
    assert brief(found, "VirtualMachine/sql Stalled") == ("true", "Quarantined")


def test_what_if_shows_the_lost_as_lost(lab: Any) -> None:
    policy = replace(b.APPLIED, assumed_down=frozenset({"Site/milan"}))
    plan = compute(lab, b.as_declared(lab, HOME), policy, b.NOW_S)
    assert plan.steps == ()
    lost = [one for one in plan.remarks if one.target == "VirtualMachine/web"]
    assert lost[0].sentence == ("web (2GiB) would be lost with milan-1 and not come back: no"
                                " protection policy gives it a replica")
    found = {f"{one.target} {one.type}": one for one in plan.conditions}
    assert brief(found, "VirtualMachine/web Ready") == ("false", "AssumedLost")
    assert brief(found, "Host/milan-1 Ready") == ("false", "AssumedDown")
