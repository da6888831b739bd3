"""Edits of the specs while the loop runs: each is applied at once, live where possible."""

from collections.abc import Iterator

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import Lab, is_one_life, wait_until
from tests.lab.ready import HOMES, PORTS
from tests.lab.witness import counts_on, last_number, written

pytestmark = pytest.mark.usefixtures("converged")
NETWORK = """kind: Network
metadata: {name: guests}
spec: {vlan: 50, sites: [paris, milan], subnet: 10.5.0.0/24}
"""


@pytest.fixture(scope="module")
def hotsite(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Hotsite:
    """Give the module's specs."""
    assert converged.nodes()
    return Hotsite(tmp_path_factory.mktemp("edits"))


@pytest.fixture(scope="module")
def loop(hotsite: Hotsite) -> Iterator[Loop]:
    """Keep the loop going for the whole module."""
    with hotsite.running() as loop:
        yield loop


def memory_of(hotsite: Hotsite) -> str:
    """Return the line that declares proxy's memory now."""
    lines = hotsite.path("virtual_machine", "proxy").read_text().splitlines()
    return next(line.strip() for line in lines if line.strip().startswith("memory:"))


def say_yes(hotsite: Hotsite, action_id: str) -> None:
    """Let a person say yes to what takes something away, once the loop asks for it."""
    wait_until(f"{action_id} to be asked about",
               lambda: hotsite.ask("approve", action_id).status == 0)


def places(lab: Lab) -> dict[str, str]:
    """Return where every VM runs."""
    return {vm: host for host in sorted(set(HOMES.values())) for vm in lab.running(host)}


def declare_fresh(hotsite: Hotsite, loop: Loop) -> None:
    """Declare a network and a VM on it, unless that was done before."""
    if hotsite.path("virtual_machine", "fresh").exists():
        return
    builder = hotsite.path("virtual_machine", "builder").read_text()
    hotsite.declare("virtual_machine", "fresh", builder.replace("name: builder", "name: fresh")
                    .replace("network: build", "network: guests").replace("04:00:15", "05:00:15")
                    .replace("placement: {site: milan}", "placement: {host: milan-2}"))
    hotsite.declare("network", "guests", NETWORK)
    loop.wait_settled()


def bring(lab: Lab, hotsite: Hotsite, loop: Loop, goal: str) -> None:
    """Pin builder to a host, and return when it runs there."""
    hotsite.pin("builder", goal)
    wait_until(f"builder on {goal}", lambda: places(lab).get("builder") == goal)
    loop.wait_settled()


def test_a_new_network_is_carried_everywhere_and_a_new_vm_runs_on_it(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    declare_fresh(hotsite, loop)
    for node, port in (("paris-1", "up0"), ("milan-sw", "h2"), ("paris-sw", "tr1")):
        assert lab.ovs(node, "get", "port", port, "trunks") == "[30, 40, 50, 200]"
    counts_on("milan-2", "fresh", 0)
    assert lab.vlan_of("milan-2", "fresh") == 50


def test_a_vm_that_is_no_longer_declared_is_left_alone(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    declare_fresh(hotsite, loop)
    since = loop.mark()
    hotsite.path("virtual_machine", "fresh").unlink()
    wait_until("the new revision", lambda: any(
        one["kind"] == "source" for one in loop.heard(since)))
    loop.wait_settled()
    assert "fresh" in lab.running("milan-2")
    assert loop.actions(since) == []
    hotsite.path("network", "guests").unlink()
    lab.exec("milan-2", "sh", "-c", "virsh -q destroy fresh; virsh -q undefine fresh;"
             " rm /var/lib/libvirt/images/fresh-vda.qcow2")
    for node, port in PORTS:
        kind = "Switch" if node.endswith("-sw") else "Host"
        say_yes(hotsite, f"narrow-trunk:{kind}/{node}@{node}/{port}")
    loop.wait_done("narrow-trunk:Host/paris-1@paris-1", since)
    loop.wait_settled()
    assert lab.ovs("paris-1", "get", "port", "up0", "trunks") == "[30, 40, 200]"


@pytest.mark.parametrize("goal", ["milan-1", "paris-2", "milan-2"])
def test_a_vm_moves_live_to_the_other_host_and_to_the_other_site(
        lab: Lab, hotsite: Hotsite, loop: Loop, goal: str) -> None:
    if places(lab)["builder"] == goal:
        bring(lab, hotsite, loop, "paris-1")
    source, since = places(lab)["builder"], loop.mark()
    last = last_number(source, "builder")
    hotsite.pin("builder", goal)
    loop.wait_done(f"migrate:VirtualMachine/builder@{source}/{goal}", since)
    counts_on(goal, "builder", last)
    assert is_one_life(tuple(one for one in written(goal, "builder") if one.number >= last))
    loop.wait_settled()
    assert places(lab)["builder"] == goal
    assert "builder" not in lab.virsh(source, "list", "--all", "--name").split()


def test_a_drained_host_is_emptied_live_and_takes_nothing(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    bring(lab, hotsite, loop, "milan-2")
    since, last = loop.mark(), last_number("milan-2", "builder")
    drained = "  site: milan\n  maintenance: true\n"
    with (hotsite.edited("virtual_machine", "builder", "{host: milan-2}", "{site: milan}"),
          hotsite.edited("host", "milan-2", "  site: milan\n", drained)):
        loop.wait_done("migrate:VirtualMachine/builder@milan-2/milan-1", since)
        counts_on("milan-1", "builder", last)
        loop.wait_settled(well=False)  # while it is drained, milan cannot stand in for paris
        assert lab.running("milan-2") == frozenset()
    loop.wait_done("migrate:VirtualMachine/builder@milan-1/milan-2", since)
    loop.wait_settled()


def test_memory_is_given_live_where_it_fits_and_by_an_announced_restart_where_not(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    number, since = lab.virsh("milan-1", "domid", "proxy"), loop.mark()
    hotsite.edit("virtual_machine", "proxy", memory_of(hotsite), "memory: 112MiB")
    say_yes(hotsite, "prune:VirtualMachine/proxy@milan-1/live")
    loop.wait_done("prune:VirtualMachine/proxy@milan-1/live", since)
    loop.wait_settled()
    since = loop.mark()
    hotsite.edit("virtual_machine", "proxy", memory_of(hotsite), "memory: 120MiB")
    loop.wait_done("reconfigure:VirtualMachine/proxy@milan-1/live", since)
    loop.wait_settled()
    assert lab.virsh("milan-1", "domid", "proxy") == number
    hotsite.edit("estate", "lab", "  autonomy: restart\n", "  autonomy: migrate\n")
    more = int(lab.domain("milan-1", "proxy").findtext("memory") or 0) + 16384
    hotsite.edit("virtual_machine", "proxy", memory_of(hotsite), f"memory: {more}KiB")
    wait_until("the announcement", lambda: "cold restart" in hotsite.plan().output)
    assert lab.virsh("milan-1", "domid", "proxy") == number
    since = loop.mark()
    hotsite.edit("estate", "lab", "  autonomy: migrate\n", "  autonomy: restart\n")
    loop.wait_done("restart:VirtualMachine/proxy@milan-1", since)
    loop.wait_settled()
    assert lab.domain("milan-1", "proxy").findtext("memory") == str(more)
    hotsite.edit("virtual_machine", "proxy", memory_of(hotsite), "memory: 128MiB")
    say_yes(hotsite, "prune:VirtualMachine/proxy@milan-1/live")
    loop.wait_settled()


def test_broken_yaml_leaves_the_last_good_specs_in_force_and_status_says_so(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    since, before = loop.mark(), places(lab)
    with hotsite.edited("virtual_machine", "web", "spec:", "spec: ]\n"):
        loop.wait_sentence("the new specs are wrong", "web.yaml:5:", "stays in force")
        lab.break_("vlan-tag", "paris-1", "web", "77")
        loop.wait_done("set-port-vlan:VirtualMachine/web@paris-1", since)
    loop.wait_sentence("the specs are readable again")
    assert places(lab) == before


def test_an_emptied_folder_deletes_nothing_and_status_says_so(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    since, before = loop.mark(), places(lab)
    away = hotsite.specs.parent / "away"
    away.mkdir()
    kinds = sorted(hotsite.specs.iterdir())
    for kind in kinds[:2]:
        kind.rename(away / kind.name)
    loop.wait_sentence("the new specs are wrong", "stays in force")
    for kind in kinds[2:]:
        kind.rename(away / kind.name)
    loop.wait_sentence("stays in force")
    assert loop.actions(since) == []
    assert places(lab) == before
    for kind in kinds:
        (away / kind.name).rename(kind)
    loop.wait_sentence("the specs are readable again")
    assert loop.actions(since) == []
