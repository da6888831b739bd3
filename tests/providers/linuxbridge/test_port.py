"""The VLANs of ports of Linux bridges: changed at run time, and undone unless that is confirmed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused, Undone
from controller.plan.actions.desired import PortVlans
from controller.plan.actions.network import NarrowTrunk, SetPortVlan, WidenTrunk
from controller.providers import commit_confirm
from controller.providers.linuxbridge.hands import LinuxBridgeHands
from controller.providers.linuxbridge.port import columns_of
from tests.providers.linuxbridge.fake_iproute2 import kept
from tests.providers.openvswitch.test_commit_confirm import PROGRAM, Line
from tests.waiting import wait_until

FAKE = Path(__file__).with_name("fake_iproute2.py")
MAC = "52:54:00:0a:00:01"


class Machine:
    """A machine with one bridge that looks at tags, its uplink and the port of a guest."""

    def __init__(self, folder: Path) -> None:
        self.state, self.run_folder = folder / "state.json", folder / "hotsite"
        (folder / "bin").mkdir()
        for name in ("ip", "bridge"):
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {FAKE} "$@"\n')
            program.chmod(0o755)
        self.environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "FAKE_STATE": str(self.state),
                            "HOTSITE_RUN": str(self.run_folder)}
        pvid = {"PVID": True, "Egress Untagged": True}
        self.state.write_text(json.dumps({"asked": [], "gone": [], "broken": "", "ports": {
            "eno1": {"master": "br0", "address": "02:00:00:00:00:01",
                     "vlans": {"1": pvid, "200": {}, "201": {}}},
            "vnet3": {"master": "br0", "address": "fe:54:00:0a:00:01", "vlans": {"1": pvid}}}}))

    def change(self, **changes: Any) -> None:
        with kept(self.state) as state:
            state.update(changes)

    def port(self, name: str, **changes: Any) -> None:
        with kept(self.state) as state:
            state["ports"][name].update(changes)

    def vlans(self, name: str = "eno1") -> dict[int, str]:
        found = json.loads(self.state.read_text())["ports"][name]["vlans"]
        return {int(number): ("p" if "PVID" in vlan else "") + (
            "u" if "Egress Untagged" in vlan else "") for number, vlan in found.items()}

    def arm(self, vlans: str, limit_s: float, before: str = "1pu 200-201") -> dict[str, str]:
        question = {"token": "t", "bridge": "br0", "port": "eno1", "limit_s": limit_s,
                    "driver": "linuxbridge", "columns": {"vlans": vlans},
                    "before": {"vlans": before}}
        done = subprocess.run([sys.executable, str(PROGRAM), "apply", json.dumps(question)],
                              env=self.environment, capture_output=True, text=True, check=True)
        answer: dict[str, str] = json.loads(done.stdout)
        return answer


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


WAS = PortVlans((1, 200, 201), 1, "native-untagged")
BEFORE = {1: "pu", 200: "", 201: ""}


def widen(*vlans: int) -> WidenTrunk:
    return WidenTrunk(target="Host/h", node="h", reason="r", bridge="br0", port="eno1", was=WAS,
                      will_be=PortVlans((1, *vlans), 1, "native-untagged"), wanted=vlans,
                      driver="linuxbridge")


def narrow(*vlans: int) -> NarrowTrunk:
    return NarrowTrunk(target="Host/h", node="h", reason="r", bridge="br0", port="eno1", was=WAS,
                       will_be=PortVlans((1, *vlans), 1, "native-untagged"), wanted=vlans,
                       lost=(201,), driver="linuxbridge")


def apply(machine: Machine, action: Any, *, reachable: bool = True) -> str:
    line = Line(machine.environment)
    line.new_connections = reachable
    return asyncio.run(LinuxBridgeHands(line).apply(action))


def test_a_confirmed_change_adds_and_takes_what_it_says(machine: Machine) -> None:
    told = apply(machine, widen(200, 201, 202, 300))
    assert machine.vlans() == BEFORE | {202: "", 300: ""}
    assert "until its next reboot" in told
    assert "carries 200-202, 300, untagged frames as VLAN 1 already" in apply(
        machine, widen(200, 201, 202, 300))


def test_what_a_port_gets_comes_before_what_it_loses(machine: Machine) -> None:
    apply(machine, narrow(200, 202))
    assert machine.vlans() == {1: "pu", 200: "", 202: ""}


def test_what_nobody_can_confirm_is_undone_by_the_machine(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_confirm, "LIMIT_S", 1.0)
    monkeypatch.setattr(commit_confirm, "AFTERWARDS_S", 0.1)
    with pytest.raises(Undone, match="undid it by itself"):
        apply(machine, narrow(200), reachable=False)
    wait_until(lambda: machine.vlans() == BEFORE)


@pytest.mark.parametrize("vlans", ["", "1pu", "7pu 200", "2-4094 1pu"])
def test_every_change_is_undone_to_the_last_flag(machine: Machine, vlans: str) -> None:
    assert machine.arm(vlans, limit_s=0.3)["state"] == "armed"
    wait_until(lambda: machine.vlans() == BEFORE)


def test_a_guard_keeps_trying_while_the_machine_refuses(machine: Machine) -> None:
    machine.arm("1pu", limit_s=1.0)
    machine.change(broken="RTNETLINK answers: Operation not permitted")
    wait_until(lambda: json.loads(machine.state.read_text())["asked"][-1][0] == "-json")
    machine.change(broken="")
    wait_until(lambda: machine.vlans() == BEFORE)


def test_a_port_that_is_gone_is_not_waited_for(machine: Machine) -> None:
    machine.arm("1pu", limit_s=0.3)
    machine.change(gone=["eno1"])
    wait_until((machine.run_folder / "unconfirmed-eno1.json.undone").exists)


@pytest.mark.parametrize("change", [{"vlans": {}}, {"master": None}, {"master": "br7"}])
def test_a_port_that_is_another_by_now_is_left_as_it_is(machine: Machine, change: Any) -> None:
    machine.port("eno1", **change)
    now = machine.vlans()
    with pytest.raises(Refused):
        apply(machine, widen(200, 201, 202))
    assert machine.vlans() == now


def guest(vlan: int = 200) -> SetPortVlan:
    return SetPortVlan(target="VirtualMachine/a", node="h", reason="r", bridge="br0", port="vnet3",
                       mac=MAC, vlan=vlan, was=1, driver="linuxbridge")


def test_the_port_of_a_guest_becomes_an_access_port_of_its_vlan(machine: Machine) -> None:
    assert apply(machine, guest()) == f"put vnet3 ({MAC}) on h on VLAN 200"
    assert machine.vlans("vnet3") == {200: "pu"}
    apply(machine, guest())
    assert machine.vlans("vnet3") == {200: "pu"}


@pytest.mark.parametrize("change", [
    {"address": "fe:54:00:0a:00:02"}, {"master": "br7"}, {"master": None}])
def test_a_port_that_is_another_guests_by_now_is_left_alone(machine: Machine,
                                                            change: Any) -> None:
    machine.port("vnet3", **change)
    with pytest.raises(Refused, match="any more|now belongs to"):
        apply(machine, guest())
    assert machine.vlans("vnet3") == {1: "pu"}


def test_a_port_that_is_gone_is_told_as_such(machine: Machine) -> None:
    machine.change(gone=["vnet3"])
    with pytest.raises(Refused, match="does not exist"):
        apply(machine, guest())


@pytest.mark.parametrize(("passing", "words"), [
    (PortVlans((), 7, "access"), "7pu"), (PortVlans((), 7), "7pu"),
    (PortVlans((4095,), None, "trunk"), ""), (PortVlans((), None, "trunk"), "1-4094"),
    (PortVlans((1, 2, 3, 7), 3, "native-untagged"), "1-2 3pu 7"),
    (PortVlans((), 1, "native-untagged"), "1pu 2-4094"),
    (PortVlans((0, 200), None, "trunk"), "200")])
def test_vlans_are_written_as_the_machines_end_reads_them(passing: PortVlans, words: str) -> None:
    assert columns_of(passing) == {"vlans": words}
