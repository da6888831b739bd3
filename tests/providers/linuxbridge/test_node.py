"""On a kernel whose bridges look at tags: what is seen, changed, and undone by the machine."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from controller.errors import ActionError, Refused, Undone
from controller.model.facts import Known
from controller.model.linux.links import PassingVlans
from controller.plan.actions.network import NarrowTrunk, SetPortVlan, WidenTrunk
from controller.plan.network.port_vlans import port_vlans_of
from controller.plan.survey.networks.linux_bridges import linux_bridges
from controller.providers import commit_confirm
from controller.providers.linux.estate import LinuxEstate
from controller.transport.base import Command
from controller.transport.ssh import SshTransport
from tests.plan import builders as b
from tests.plan.linux import LINUX
from tests.providers.linuxbridge import node

T = TypeVar("T")
MAC = "52:54:00:0a:00:01"
TRIES = 12
pytestmark = [pytest.mark.lab,
              pytest.mark.skipif(bool(node.obstacle()), reason=node.obstacle() or "none")]


class Kvm1:
    """The machine as the controller sees it; one loop, as in the controller, for all that is asked.
    """

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.machine = node.start(folder)
        self.estate = LinuxEstate(SshTransport(), self.loop.time)
        lab = b.desired_of(
            b.estate(ssh={"user": "root", "port": self.machine.port,
                          "keyFile": self.machine.endpoint.key_file,
                          "knownHosts": self.machine.endpoint.known_hosts}),
            b.document("Site", "paris", twin="milan"), b.document("Site", "milan", twin="paris"),
            b.document("Host", "kvm1", site="paris", address="127.0.0.1", **LINUX))
        self.await_(self.estate.declare(lab))

    def await_(self, waited: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(waited)

    def seen(self) -> Any:
        """Its facts, once it answers."""
        for _ in range(TRIES):
            fact = self.await_(self.estate.observe("kvm1"))
            if isinstance(fact, Known):
                return fact.value
        raise AssertionError(f"{fact}\n{self.machine.console()[-2000:]}")

    def port(self, name: str) -> Any:
        facts = self.seen()
        bridges = linux_bridges("kvm1", facts.links.value, None)
        assert bridges is not None
        return bridges["br0"].ports[name]

    def vlans(self, name: str) -> PassingVlans:
        found: PassingVlans = self.seen().links.value.vlans[name]
        return found

    def apply(self, action: Any) -> str:
        return self.await_(self.estate.apply(action))

    def run(self, *argv: str) -> None:
        over = SshTransport()
        over.declare((self.machine.endpoint,))
        reply = self.await_(over.run("kvm1", Command(argv)))
        self.await_(over.close())
        assert reply.exit_status == 0, reply.stderr

    def end(self) -> None:
        self.await_(self.estate.close())
        self.machine.process.kill()
        self.machine.process.wait()
        self.loop.close()


@pytest.fixture(scope="module")
def kvm1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kvm1]:
    made = Kvm1(tmp_path_factory.mktemp("node"))
    made.seen()
    yield made
    made.end()


def trunk_of(kvm1: Kvm1, *vlans: int, lost: tuple[int, ...] = ()) -> Any:
    """The change of eth0 to these VLANs, from what is seen."""
    was = port_vlans_of(kvm1.port("eth0"))
    will_be = replace(was, vlans=tuple(sorted(vlans)), vlan_mode="native-untagged" if was.tag
                      in vlans else "trunk", tag=was.tag if was.tag in vlans else None)
    common = {"target": "Host/kvm1", "node": "kvm1", "reason": "r", "bridge": "br0",
              "port": "eth0", "was": was, "will_be": will_be, "wanted": vlans,
              "driver": "linuxbridge"}
    return NarrowTrunk(**common, lost=lost) if lost else WidenTrunk(**common)


def test_every_form_of_a_real_kernel_is_seen(kvm1: Kvm1) -> None:
    links = kvm1.seen().links.value
    assert links.vlans_unknown == ""
    br0, br300, over = (links.links[name] for name in ("br0", "br300", "bond0.300"))
    assert (br0.kind, br0.filtering, br0.pvid, br0.up) == ("bridge", True, 1, True)
    assert (br300.kind, br300.filtering) == ("bridge", False)
    assert (over.kind, over.vlan, over.parent, over.master) == ("vlan", 300, "bond0", "br300")
    assert (links.links["bond0"].kind, links.links["eth1"].master) == ("bond", "bond0")
    assert links.links["vnet3"].kind == "tun"
    assert links.vlans["eth0"].pvid == 1
    assert "10.0.2.15/24" in kvm1.seen().interfaces.value["br0"].addresses


def test_vlans_are_added_to_the_uplink_and_confirmed(kvm1: Kvm1) -> None:
    before = kvm1.vlans("eth0")
    told = kvm1.apply(trunk_of(kvm1, 1, 200, 201, 202, 300))
    assert "confirmed over a new connection" in told
    after = kvm1.vlans("eth0")
    assert after.tagged == {200, 201, 202, 300}
    assert (after.untagged, after.pvid) == (before.untagged, before.pvid)
    told = kvm1.apply(trunk_of(kvm1, 1, 200, lost=(201, 202, 300)))
    assert kvm1.vlans("eth0").tagged == {200}


def test_what_cuts_the_machine_off_is_undone_by_itself(
        kvm1: Kvm1, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm1.apply(trunk_of(kvm1, 1, 200))
    before = kvm1.vlans("eth0")
    monkeypatch.setattr(commit_confirm, "LIMIT_S", 6.0)
    with pytest.raises(Undone, match="undid it by itself"):
        kvm1.apply(trunk_of(kvm1, 200, lost=(1,)))
    assert kvm1.vlans("eth0") == before


def test_the_port_of_a_guest_gets_its_vlan(kvm1: Kvm1) -> None:
    action = SetPortVlan(target="VirtualMachine/a", node="kvm1", reason="r", bridge="br0",
                         port="vnet3", mac=MAC, vlan=200, was=1, driver="linuxbridge")
    assert kvm1.apply(action) == f"put vnet3 ({MAC}) on kvm1 on VLAN 200"
    assert kvm1.vlans("vnet3") == PassingVlans(frozenset(), frozenset({200}), 200)
    assert (kvm1.port("vnet3").tag, kvm1.port("vnet3").vlan_mode) == (200, "access")
    with pytest.raises(Refused, match="it now belongs to"):
        kvm1.apply(replace(action, mac="52:54:00:0a:00:02"))


@pytest.mark.parametrize("words", [("vlan", "del", "dev", "vnet3", "vid", "1-4094")])
def test_a_port_without_any_vlan_is_seen_as_such_and_gets_its_own(
        kvm1: Kvm1, words: tuple[str, ...]) -> None:
    kvm1.run("bridge", *words)
    assert kvm1.seen().links.value.vlans.get("vnet3", PassingVlans()) == PassingVlans()
    assert kvm1.port("vnet3").trunks == (4095,)
    kvm1.apply(SetPortVlan(target="VirtualMachine/a", node="kvm1", reason="r", bridge="br0",
                           port="vnet3", mac=MAC, vlan=7, was=None, driver="linuxbridge"))
    assert kvm1.vlans("vnet3").pvid == 7


def test_a_port_that_is_gone_refuses(kvm1: Kvm1) -> None:
    with pytest.raises(ActionError, match=r"does not exist|Cannot find"):
        kvm1.apply(SetPortVlan(target="VirtualMachine/a", node="kvm1", reason="r", bridge="br0",
                               port="vnet9", mac=MAC, vlan=7, was=None, driver="linuxbridge"))
