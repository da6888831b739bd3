"""A drilled guest answers its prober on a real host, reaches nothing else, and leaves nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from controller.errors import ActionError
from controller.plan.actions.replica import DrilledMachine, DrillGateway, DrillReplica
from tests.lab.lab import Lab, wait_until
from tests.lab.replica.guest import HOME, MAC, TO, VLAN, VM, kept
from tests.lab.replica.replication import Replication

DRILL, ADDRESS, GATEWAY, WORLD = f"hotsite-drill-{VM}", "10.10.0.1", "10.10.0.254", "10.10.0.77"
MAKE_WORLD = f"""ovs-vsctl --may-exist add-port br0 world tag={VLAN} -- \
set interface world type=internal
ip address replace {WORLD}/24 dev world; ip link set world up"""
VIDEO = "<video><model type='vga'/></video><memballoon"


@pytest.fixture(name="ledger", scope="module")
def ledger_fixture(lab: Lab) -> Iterator[Replication]:
    """A guest with one point that has a display, and a machine of the world on both hosts."""
    with kept(lab, system=True) as replication:
        try:
            for host in (HOME, TO):
                lab.exec(host, "sh", "-ec", MAKE_WORLD)
            replication.cycle()
            definition = replication.folder / "meta/000001/domain.xml"
            definition.write_text(definition.read_text().replace("<memballoon", VIDEO))
            yield replication
        finally:
            for host in (HOME, TO):
                lab.ovs(host, "--if-exists", "del-port", "br0", "world")


def drill(ledger: Replication, **health: Any) -> str:
    """Hold a drill of its point."""
    return ledger.apply(DrillReplica(
        target=f"Drill/{VM}", node=TO, reason="a test wants it", estate="lab", limit_s=240,
        grow_bytes=1 << 30, by="a test", gateways=(DrillGateway(VLAN, f"{GATEWAY}/24"),),
        machines=(DrilledMachine(
            machine=VM, uuid=ledger.uuid, path=ledger.path, sequence=1, memory_bytes=128 << 20,
            content="", address=ADDRESS, mac=MAC, vlans=((MAC, VLAN),), **health),)))


def left(lab: Lab) -> list[str]:
    """Return what there is of a drill."""
    links = lab.exec(TO, "sh", "-c", "ls /sys/class/net").split()
    return [*(one for one in (*links, *lab.ovs(TO, "list-br").split()) if one.startswith("hsd")),
            *(one for one in lab.running(TO) if one == DRILL)]


@contextmanager
def drilling(ledger: Replication) -> Iterator[None]:
    """Hold a drill that lasts until it is cut off."""
    def hold() -> None:
        with suppress(ActionError):
            drill(ledger, ping=True, boots_s=3600)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        wait_until("its guest runs", lambda: DRILL in ledger.lab.running(TO))
        yield
    finally:
        with suppress(AssertionError):
            ledger.lab.virsh(TO, "destroy", DRILL)      # the drill ends with its guest
        thread.join()


def test_a_ping_proves_it_and_what_its_screen_showed_is_kept(ledger: Replication) -> None:
    said = drill(ledger, ping=True)
    assert f"is proven: it answers a ping at {ADDRESS}" in said
    path = said.partition("what its screen showed is in ")[2].split(";")[0]
    assert ledger.lab.exec(TO, "stat", "-c", "%a %U", path).split() == ["600", "root"]
    assert path.endswith(".png"), "by its content"
    assert left(ledger.lab) == []


def test_a_drilled_guest_reaches_its_prober_and_nothing_of_the_world(ledger: Replication) -> None:
    lab = ledger.lab
    assert lab.pings(HOME, VM, WORLD), "the world can be reached where it should"
    with drilling(ledger):
        wait_until("it has booted", lambda: lab.guest(TO, DRILL, "true").status == 0)
        wait_until("its gateway is played", lambda: lab.pings(TO, DRILL, GATEWAY))
        lab.guest(TO, DRILL, "ip", "route", "add", "default", "via", GATEWAY)
        for address in (WORLD, "10.77.0.1", "10.2.0.22"):
            assert not lab.pings(TO, DRILL, address), address
        [bridge] = [one for one in lab.ovs(TO, "list-br").split() if one.startswith("hsd")]
        ports = lab.ovs(TO, "list-ports", bridge).split()
        assert sorted(ports) == sorted([lab.guest_port(TO, DRILL), f"{bridge}pa"])
        assert lab.pings(HOME, VM, WORLD), "and production is as it was"
    wait_until("nothing of it is left", lambda: left(lab) == [])
