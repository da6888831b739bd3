"""A guest's port goes back on its VLAN only while it is that guest's."""

import asyncio
import json

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.network import SetPortVlan
from controller.providers.openvswitch.hands import OpenVswitchHands
from controller.providers.openvswitch.ovs import describe_vlans, parse_complaint
from controller.transport.base import Reply
from tests.providers.fakes import Scripted, failed, said

MAC = "52:54:00:00:00:01"
ACTION = SetPortVlan(target="VirtualMachine/sql", node="h", reason="r", bridge="br0", port="vnet3",
                     mac=MAC.upper(), vlan=40, was=7)


def owner(mac: str | None) -> Reply:
    """What ovs-vsctl says of an interface that belongs to the card `mac`."""
    pairs = [["attached-mac", mac]] if mac else []
    return said(json.dumps({"headings": ["external_ids"], "data": [[["map", pairs]]]}))


def apply(*script: tuple[str, Reply | ActionError]) -> tuple[str, Scripted]:
    transport = Scripted(*script)
    return asyncio.run(OpenVswitchHands(transport).apply(ACTION)), transport


def test_the_port_becomes_an_access_port_of_its_vlan() -> None:
    told, transport = apply(("list Interface vnet3", owner(MAC)), ("set Port vnet3", said()))
    assert told == f"put vnet3 ({MAC.upper()}) on h on VLAN 40"
    assert transport.commands[-1][1].argv[-6:] == (
        "set", "Port", "vnet3", "tag=40", "vlan_mode=access", "trunks=[]")


@pytest.mark.parametrize(("mac", "whose"), [("52:54:00:00:00:99", "52:54:00:00:00:99"),
                                            (None, "no guest")])
def test_a_port_that_has_passed_to_another_guest_is_left_alone(
        mac: str | None, whose: str) -> None:
    with pytest.raises(Refused, match=f"it now belongs to {whose}"):
        apply(("list Interface", owner(mac)))


@pytest.mark.parametrize(("stderr", "error", "words"), [
    ('ovs-vsctl: no row "vnet3" in table Interface\n', Refused, "no such port any more"),
    (("ovs-vsctl: unix:/run/openvswitch/db.sock: database connection failed"
     " (No such file or directory)\n"), Unavailable, "does not run there"),
    ("2026-11-22T21:00:00Z|00002|fatal_signal|WARN|terminating with signal 14 (Alarm clock)\n",
     OutcomeUnknown, "did not confirm within 10 s"),
])
def test_each_failure_says_what_is_then_true(
        stderr: str, error: type[ActionError], words: str) -> None:
    with pytest.raises(error, match=words):
        apply(("list Interface", failed(stderr)))


def test_a_name_that_looks_like_an_option_is_not_run() -> None:
    action = SetPortVlan(target="x", node="h", reason="r", bridge="br0", port="--all", mac=MAC,
                         vlan=1, was=None)
    with pytest.raises(Refused, match="cannot be the name of a port"):
        asyncio.run(OpenVswitchHands(Scripted()).apply(action))


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(Refused, match="h has no program ovs-vsctl"):
        apply(("list Interface", failed("env: 'ovs-vsctl': No such file or directory\n", 127)))


def test_a_complaint_keeps_its_meaning_and_loses_its_noise() -> None:
    assert parse_complaint("ovs-vsctl: port up0 is in br1\n") == "port up0 is in br1"
    assert parse_complaint("") == "it gave no reason"


@pytest.mark.parametrize(("vlans", "words"), [
    ((), "no VLAN"), ((0,), "no VLAN"), ((30,), "VLAN 30"), ((200, 30), "VLANs 30, 200"),
    ((0, 30), "VLAN 30 and untagged frames")])
def test_vlans_are_said_for_people(vlans: tuple[int, ...], words: str) -> None:
    assert describe_vlans(vlans) == words
