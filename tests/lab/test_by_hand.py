"""Cases that only a person decides: a report-only estate, two copies of a VM, a failing journal."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab, wait_until
from tests.lab.witness import IMAGES, counts_on, disk_of, last_number, started

pytestmark = pytest.mark.usefixtures("converged")
DRIFT = {
    "a killed VM": "start VirtualMachine/mail on paris-2",
    "a VM shut off by hand": "start VirtualMachine/proxy on milan-1",
    "an undefined VM": "define VirtualMachine/builder on milan-2",
    "a changed VLAN tag": "set-port-vlan VirtualMachine/web on paris-1",
    "a VLAN dropped": "widen-trunk Switch/paris-sw on paris-sw",
    "a VLAN added": "narrow-trunk Host/paris-2 on paris-2",
    "wrong memory": "reconfigure VirtualMachine/files on milan-1",
    "a hand-migrated VM": "migrate VirtualMachine/sql on paris-2",
}


@pytest.fixture
def hotsite(tmp_path: Path) -> Hotsite:
    """Give specs and a state folder of its own to each test."""
    return Hotsite(tmp_path)


def drift(lab: Lab) -> None:
    """Change one of everything by hand."""
    lab.break_("vm", "paris-2", "mail")
    lab.virsh("milan-1", "destroy", "proxy")
    lab.exec("milan-2", "sh", "-c", "virsh -q destroy builder;"
             " virsh -q undefine --checkpoints-metadata builder")
    lab.break_("vlan-tag", "paris-1", "web", "77")
    lab.break_("trunk-vlan", "paris-sw", "tr0", "drop", "200")
    lab.break_("trunk-vlan", "paris-2", "up0", "add", "999")
    lab.virsh("milan-1", "setmem", "files", "98304", "--live")
    path = f"{IMAGES}/sql-vda.qcow2"
    lab.exec("paris-2", "sh", "-c", f"rm -f {path}; qemu-img create -q -f qcow2 {path} 256M")
    lab.virsh("paris-1", "migrate", "--live", "--persistent", "--copy-storage-all", "sql",
              "--undefinesource", "qemu+ssh://paris-2/system", "tcp://10.78.0.12")


def test_where_only_reports_are_wanted_all_drift_is_shown_and_none_touched(
        lab: Lab, hotsite: Hotsite) -> None:
    with hotsite.running() as loop:
        hotsite.edit("estate", "lab", "autonomy: restart", "autonomy: report")
        loop.wait_settled()     # it has read that by now
        since = loop.mark()
        drift(lab)

        def shown() -> set[str]:
            status = hotsite.status()
            assert status is not None
            return {f"{step['verb']} {step['target']} on {step['nodes'][0]}"
                    for step in status.steps if step["ruling"]["verdict"] == "needs approval"}

        try:
            wait_until("every drift is shown", lambda: set(DRIFT.values()) <= shown())
        except AssertionError as error:
            raise AssertionError(f"{error}: not {set(DRIFT.values()) - shown()}") from error
        assert loop.actions(since) == []
        assert "mail" not in lab.running("paris-2")
        assert lab.vlan_of("paris-1", "web") == 77
        assert "builder" not in lab.virsh("milan-2", "list", "--all", "--name").split()
        assert lab.ovs("paris-2", "get", "port", "up0", "trunks") == "[30, 40, 200, 999]"
        hotsite.edit("estate", "lab", "autonomy: report", "autonomy: prune")
        loop.wait_settled()
        assert lab.running("paris-1") == {"sql", "web"}


@pytest.fixture
def copy(lab: Lab) -> Iterator[str]:
    """Run a second copy of a VM on the other host of its site, on a disk of its own."""
    xml = lab.virsh("paris-1", "dumpxml", "web").replace(
        f"{IMAGES}/web-vda.qcow2", f"{IMAGES}/copy.qcow2")
    lab.exec("paris-2", "qemu-img", "create", "-q", "-f", "qcow2", f"{IMAGES}/copy.qcow2", "64M")
    lab.exec("paris-2", "virsh", "-q", "define", "/dev/stdin", text=xml)
    lab.virsh("paris-2", "start", "web")
    yield "paris-2"
    lab.exec("paris-2", "sh", "-c", f"virsh -q destroy web; virsh -q undefine web;"
             f" rm -f {IMAGES}/copy.qcow2")


def test_two_running_copies_are_said_aloud_and_nothing_automatic_is_done(
        lab: Lab, hotsite: Hotsite, copy: str) -> None:
    plan = hotsite.plan()
    text = " ".join(plan.output.split())
    assert "TWO RUNNING COPIES of web, on paris-1 and paris-2" in text, text
    log = hotsite.state.parent / "run.log"
    with log.open("w") as out:
        process = subprocess.Popen(hotsite.command("run", str(hotsite.specs)), stdout=out)
    try:
        wait_until("the loud condition", lambda: "Stalled" in (said := hotsite.status_text())
                   and "TWO RUNNING COPIES of web" in said)
        lab.break_("vlan-tag", "paris-1", "sql", "77")  # everything else goes on
        wait_until("its VLAN", lambda: lab.vlan_of("paris-1", "sql") == 200)
        done = [one["action_id"] for one in hotsite.events() if one["kind"] == "intent"]
        assert [one for one in done if "/web@" in one] == []
    finally:
        process.terminate()
        assert process.wait(120) == 0
    assert "web" in lab.running("paris-1") & lab.running(copy)


@pytest.fixture
def tiny(hotsite: Hotsite) -> Iterator[Path]:
    """Give the program a state folder on a file system of one megabyte."""
    hotsite.state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", hotsite.state],
                   check=True)
    yield hotsite.state
    subprocess.run(["umount", "-l", hotsite.state], check=True)


def test_a_full_disk_under_the_journal_stops_all_action_and_says_why(
        lab: Lab, hotsite: Hotsite, tiny: Path) -> None:
    last, before = last_number("paris-2", "mail"), started(lab, "paris-2", "mail")
    with hotsite.running() as loop:
        since = loop.mark()
        fill = ("dd", "if=/dev/zero", f"of={tiny / 'fill'}", "bs=4096")
        assert "No space left" in subprocess.run(fill, capture_output=True, text=True,
                                                 check=False).stderr
        lab.break_("vm", "paris-2", "mail")
        loop.wait_heard("why it stops", lambda one: one["kind"] == "journal"
                        and "the disk is full" in one["sentence"], since)
        assert loop.actions(since) == []
        assert "mail" not in lab.running("paris-2")
        (tiny / "fill").unlink()
        loop.wait_done("start:VirtualMachine/mail@paris-2", since)
        loop.wait_settled()
    counts_on("paris-2", "mail", last)
    assert started(lab, "paris-2", "mail") == before + 1


def test_without_a_journal_that_can_be_written_apply_does_nothing(
        lab: Lab, hotsite: Hotsite, tiny: Path) -> None:
    hotsite.converge()
    lab.break_("vm", "paris-2", "mail")
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    reply = hotsite.apply()
    assert reply.status == 1
    assert "Read-only file system" in reply.complaint
    assert "mail" not in lab.running("paris-2")
    subprocess.run(["mount", "-o", "remount,rw", tiny], check=True)
    hotsite.converge()
    assert "mail" in lab.running("paris-2")
    assert disk_of("paris-2", "mail").exists()
