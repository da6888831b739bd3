"""Trunks of a real Open vSwitch: no VLAN in use is taken, and no loop is closed."""

from collections.abc import Iterator

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import Lab, wait_until

pytestmark = pytest.mark.usefixtures("converged")
STRANGER = """ip link add stranger type veth peer name guest-of-nobody
ip link set stranger up; ovs-vsctl add-port br0 stranger tag=300"""
NARROW = "narrow-trunk:Host/paris-1@paris-1/up0"
DECLARED = "[30, 40, 200]"


@pytest.fixture(scope="module")
def hotsite(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Hotsite:
    """Let the loop take what nobody uses."""
    assert converged.nodes()
    hotsite = Hotsite(tmp_path_factory.mktemp("trunks"))
    hotsite.edit("estate", "lab", "autonomy: restart", "autonomy: prune")
    return hotsite


@pytest.fixture(scope="module")
def loop(hotsite: Hotsite) -> Iterator[Loop]:
    """Keep the loop going for the whole module."""
    with hotsite.running() as loop:
        loop.wait_settled()
        yield loop


def wait_planned(loop: Loop, words: str) -> None:
    """Wait until the plan says why it does not do what differs."""
    wait_until(f"the plan says {words}",
               lambda: words in " ".join(loop.hotsite.plan().output.split()))


def test_a_vlan_that_somebody_uses_stays_until_they_have_left(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    lab.exec("paris-2", "sh", "-c", STRANGER)
    try:
        lab.break_("trunk-vlan", "paris-1", "up0", "add", "300")
        wait_planned(loop, "VLAN 300 on up0 of paris-1 may be used by port stranger on paris-2")
        assert lab.ovs("paris-1", "get", "port", "up0", "trunks") == "[30, 40, 200, 300]"
        assert not any(one.startswith(NARROW) for one in loop.actions(since))
    finally:
        lab.exec("paris-2", "sh", "-c", "ovs-vsctl del-port stranger; ip link del stranger")
    loop.wait_done(NARROW, since)
    assert lab.ovs("paris-1", "get", "port", "up0", "trunks") == DECLARED


def test_an_uplink_that_lets_every_vlan_pass_is_left_so_and_told(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    lab.ovs("paris-1", "clear", "port", "up0", "trunks")
    wait_planned(loop, "lets every VLAN pass")
    assert loop.actions(since) == []
    lab.ovs("paris-1", "set", "port", "up0", "trunks=30,40,200")


def test_a_second_member_is_not_plugged_while_the_spanning_tree_is_off(
        lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    lab.ovs("paris-sw", "del-port", "br0", "tr1", "--", "set", "bridge", "br0", "rstp_enable=false")
    try:
        wait_planned(loop, "tr1 of paris-sw may close a loop")
        assert "tr1" not in lab.ovs("paris-sw", "list-ports", "br0").split()
        assert not any(one.startswith("add-uplink") for one in loop.actions(since))
    finally:
        lab.ovs("paris-sw", "set", "bridge", "br0", "rstp_enable=true")
    loop.wait_done("add-uplink:Switch/paris-sw@paris-sw/tr1", since)
    assert lab.ovs("paris-sw", "get", "port", "tr1", "trunks") == DECLARED
    loop.wait_settled()
