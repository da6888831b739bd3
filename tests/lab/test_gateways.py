"""Gateways on real switches: held by one, mended when killed, told when the trunk is cut."""

import re
from collections.abc import Iterator

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import Lab, wait_until

pytestmark = pytest.mark.usefixtures("converged")
SWITCHES = ("paris-sw", "milan-sw")
SUBNET = "subnet: 10.2.0.0/24"
GATEWAY = (f"{SUBNET}, gateway: {{address: 10.2.0.254, vrid: 20, preferred: paris, switches:"
           " {paris-sw: 10.2.0.252, milan-sw: 10.2.0.253}}")
CONFIGURE = "configure-gateways:Switch/paris-sw@paris-sw"
KILL = "kill -STOP $(pgrep keepalived); kill -KILL $(pgrep keepalived)"
CLEAR = """kill $(pgrep keepalived); rm -f /etc/keepalived/*
ovs-vsctl --if-exists del-port br0 hotsite-gw-in -- --if-exists del-br hotsite-gw"""


@pytest.fixture(scope="module")
def loop(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Keep the loop going, with a gateway declared; afterwards nothing of it is left."""
    hotsite = Hotsite(tmp_path_factory.mktemp("gateways"))
    hotsite.edit("network", "office", SUBNET, GATEWAY)
    for switch in SWITCHES:
        converged.exec(switch, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    try:
        with hotsite.running() as running:
            running.wait_settled()
            yield running
    finally:
        for switch in SWITCHES:
            converged.exec(switch, "sh", "-c", f"{CLEAR}; true")


def holders(lab: Lab) -> list[str]:
    """Return the switches that have the address."""
    return [one for one in SWITCHES
            if re.search(r"\b10\.2\.0\.254/", lab.exec(one, "ip", "-br", "address"))]


def wait_told(loop: Loop, reason: str) -> None:
    """Wait until the condition of the network has a reason."""
    told = re.compile(rf"Network/office Gateway .*\({reason}\)")
    wait_until(f"the gateway is said to be {reason}",
               lambda: told.search(loop.hotsite.ask("status", "--all").output) is not None)


def test_the_preferred_switch_holds_it_and_the_other_hears_it(lab: Lab, loop: Loop) -> None:
    wait_told(loop, "Held")
    assert holders(lab) == ["paris-sw"]


def test_an_address_that_a_killed_keepalived_left_is_mended(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    lab.exec("paris-sw", "sh", "-c", KILL)
    loop.wait_done(CONFIGURE, since)
    wait_told(loop, "Held")
    assert holders(lab) == ["paris-sw"]


def test_a_cut_trunk_gives_each_site_its_own_which_is_told_and_ends(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    for trunk in ("tr0", "tr1"):
        lab.break_("trunk", trunk)
    try:
        wait_told(loop, "Double")
        assert holders(lab) == list(SWITCHES)
    finally:
        for trunk in ("tr0", "tr1"):
            lab.mend("trunk", trunk)
    wait_told(loop, "Held")
    assert holders(lab) == ["paris-sw"]
    assert [one for one in loop.actions(since) if "gateway" in one] == []
