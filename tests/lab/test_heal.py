"""Changes made by hand or by accident are undone by the loop."""

from collections.abc import Iterator

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import Lab, is_one_life, wait_until
from tests.lab.witness import counts_on, last_number, written

pytestmark = pytest.mark.usefixtures("converged")


@pytest.fixture(scope="module")
def hotsite(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Hotsite:
    """Give the module's specs; its faults strike more often than quarantine bears."""
    assert converged.nodes()
    hotsite = Hotsite(tmp_path_factory.mktemp("heal"))
    hotsite.limit(quarantineRepairs=99)
    hotsite.edit("estate", "lab", "autonomy: restart", "autonomy: prune")
    return hotsite


@pytest.fixture(scope="module")
def loop(hotsite: Hotsite) -> Iterator[Loop]:
    """Keep the loop going for the whole module."""
    with hotsite.running() as loop:
        yield loop


def test_a_killed_vm_starts_again(lab: Lab, loop: Loop) -> None:
    last, since = last_number("paris-2", "mail"), loop.mark()
    lab.break_("vm", "paris-2", "mail")
    loop.wait_done("start:VirtualMachine/mail@paris-2", since)
    counts_on("paris-2", "mail", last)
    loop.wait_settled()
    assert loop.actions(since) == ["start:VirtualMachine/mail@paris-2"]


def test_a_vm_shut_off_by_hand_starts_again(lab: Lab, loop: Loop) -> None:
    last, since = last_number("milan-1", "proxy"), loop.mark()
    lab.virsh("milan-1", "shutdown", "proxy")
    loop.wait_done("start:VirtualMachine/proxy@milan-1", since)
    counts_on("milan-1", "proxy", last)


def test_an_undefined_vm_is_defined_again_on_its_own_disk(lab: Lab, loop: Loop) -> None:
    last, since = last_number("milan-2", "builder"), loop.mark()
    uuid = lab.virsh("milan-2", "domuuid", "builder")
    lab.exec("milan-2", "sh", "-c", "virsh -q destroy builder;"
             " virsh -q undefine --checkpoints-metadata builder")
    loop.wait_done("start:VirtualMachine/builder@milan-2", since)
    assert lab.virsh("milan-2", "domuuid", "builder") == uuid
    counts_on("milan-2", "builder", last)
    assert not [one for one in loop.actions(since) if one.startswith("create-disk")]


def test_a_vm_undefined_while_it_runs_is_defined_again_and_runs_on(lab: Lab, loop: Loop) -> None:
    number, since = lab.virsh("paris-1", "domid", "sql"), loop.mark()
    lab.virsh("paris-1", "undefine", "sql")
    loop.wait_done("define:VirtualMachine/sql@paris-1", since)
    assert "sql" in lab.virsh("paris-1", "list", "--persistent", "--name").split()
    assert lab.virsh("paris-1", "domid", "sql") == number
    loop.wait_settled()


def test_a_changed_vlan_tag_is_put_back(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    lab.break_("vlan-tag", "paris-1", "sql", "77")
    loop.wait_done("set-port-vlan:VirtualMachine/sql@paris-1", since)
    assert lab.vlan_of("paris-1", "sql") == 200


@pytest.mark.parametrize(("node", "port"), [("paris-sw", "tr0"), ("milan-sw", "h1"),
                                            ("paris-2", "up0")])
def test_a_vlan_dropped_from_a_trunk_or_added_to_it_is_put_back(
        lab: Lab, loop: Loop, node: str, port: str) -> None:
    for verb, vlan in (("drop", "200"), ("add", "999")):
        since = loop.mark()
        lab.break_("trunk-vlan", node, port, verb, vlan)
        loop.wait_heard("the trunk as declared", lambda one: one["outcome"] == "done" and
                        one["action_id"].startswith(("widen-trunk:", "narrow-trunk:")), since)
        assert lab.ovs(node, "get", "port", port, "trunks") == "[30, 40, 200]"


def test_wrong_memory_is_put_right_while_the_vm_runs(lab: Lab, loop: Loop) -> None:
    number, since = lab.virsh("milan-1", "domid", "files"), loop.mark()
    lab.virsh("milan-1", "setmem", "files", "98304", "--live")
    loop.wait_done("reconfigure:VirtualMachine/files@milan-1/live", since)
    wait_until("all of its memory", lambda: lab.domain("milan-1", "files").findtext(
        "currentMemory") == "131072")
    lab.virsh("milan-1", "setmem", "files", "98304", "--config")
    loop.wait_done("reconfigure:VirtualMachine/files@milan-1/config", since)
    loop.wait_settled()
    assert lab.virsh("milan-1", "domid", "files") == number


@pytest.mark.parametrize("undefine", [True, False])
def test_a_vm_migrated_by_hand_comes_back_live(lab: Lab, loop: Loop, undefine: bool) -> None:
    last, since = last_number("paris-1", "sql"), loop.mark()
    path = lab.disk("paris-1", "sql")
    lab.exec("paris-2", "sh", "-c", f"rm -f {path}; qemu-img create -q -f qcow2 {path} 256M")
    words = ["migrate", "--live", "--persistent", "--copy-storage-all"]
    words += ["--undefinesource"] if undefine else []
    lab.virsh("paris-1", *words, "sql", "qemu+ssh://paris-2/system", "tcp://10.78.0.12")
    loop.wait_done("migrate:VirtualMachine/sql@paris-2/paris-1", since)
    counts_on("paris-1", "sql", last)
    assert is_one_life(tuple(one for one in written("paris-1", "sql") if one.number >= last))
    loop.wait_settled()
    assert "sql" not in lab.virsh("paris-2", "list", "--all", "--name").split()
