"""From an empty lab to the declared estate, in the three commands that a new user types."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import Lab, wait_until
from tests.lab.ready import HOMES, list_trunks
from tests.lab.witness import last_number


@pytest.fixture(scope="module")
def applied(fresh_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Apply the specs to empty hosts, between two looks at what there is to do."""
    hotsite = Hotsite(tmp_path_factory.mktemp("nothing"), protected=True, systems=True)
    list_trunks(fresh_lab)
    before = hotsite.plan()
    assert before.status == 2, before.output + before.complaint
    assert "sql is declared and defined on no host" in before.output
    assert not fresh_lab.running("paris-1")
    done = hotsite.apply()
    assert done.status == 0, done.output + done.complaint
    after = hotsite.plan()
    assert (after.status, after.output.splitlines()) == (
        0, [line for line in after.output.splitlines() if line.startswith("No change: ")])
    return fresh_lab


def test_an_empty_lab_becomes_the_declared_estate_and_then_nothing_is_left(applied: Lab) -> None:
    for host in sorted(set(HOMES.values())):
        assert applied.running(host) == {vm for vm, home in HOMES.items() if home == host}
    wait_until("a record of every guest",
               lambda: all(last_number(host, vm) for vm, host in HOMES.items()))


def test_every_trunk_and_uplink_carries_the_declared_vlans_and_no_others(applied: Lab) -> None:
    for node, ports in (("paris-sw", "tr0 tr1 h1 h2"), ("milan-sw", "tr0 tr1 h1 h2"),
                        ("paris-1", "up0"), ("milan-2", "up0")):
        for port in ports.split():
            assert applied.ovs(node, "get", "port", port, "trunks") == "[30, 40, 200]"


def test_guests_of_one_vlan_reach_each_other_across_sites(applied: Lab) -> None:
    for host, vm, address in (("paris-1", "sql", "10.2.0.23"), ("paris-1", "web", "10.3.0.22")):
        wait_until(f"{vm} reaches {address}", partial(applied.pings, host, vm, address))


def test_guests_of_different_vlans_do_not_reach_each_other_even_in_one_subnet(
        applied: Lab) -> None:
    for host, vm, address in (("paris-1", "sql", "10.99.0.1"), ("milan-1", "files", "10.99.0.2"),
                              ("paris-1", "web", "10.99.0.3"), ("milan-1", "proxy", "10.99.0.4")):
        applied.guest(host, vm, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
    wait_until("within office", lambda: applied.pings("paris-1", "sql", "10.99.0.2"))
    wait_until("within dmz", lambda: applied.pings("paris-1", "web", "10.99.0.4"))
    for stranger in ("10.99.0.3", "10.99.0.4"):
        assert not applied.pings("paris-1", "sql", stranger)
    assert not applied.pings("milan-1", "proxy", "10.99.0.2")


@pytest.fixture(scope="module")
def loop(applied: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Keep the loop going, on specs without replicas."""
    assert applied.nodes()
    with Hotsite(tmp_path_factory.mktemp("loop"), systems=True).running() as loop:
        yield loop


@pytest.mark.parametrize("trunk", ["tr0", "tr1"])
def test_a_cut_trunk_member_is_a_degraded_link_and_no_more_to_guests(
        applied: Lab, loop: Loop, trunk: str) -> None:
    since = loop.mark()
    wait_until("sql reaches files", lambda: applied.pings("paris-1", "sql", "10.2.0.23"))
    applied.break_("trunk", trunk)
    try:
        wait_until("sql reaches files", lambda: applied.pings("paris-1", "sql", "10.2.0.23"))
        loop.wait_sentence("InterSiteLink/metro Connected true", "degraded: 1 of 2 members up")
    finally:
        applied.mend("trunk", trunk)
    loop.wait_settled()
    assert loop.actions(since) == []
