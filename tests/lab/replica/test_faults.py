"""Faults of a guest or a host in the middle of a copy, and what must hold after each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import Refused, Unavailable
from controller.plan.actions.replica import CopyMode, DiskCopy
from tests.lab.lab import Lab, wait_until
from tests.lab.replica.guest import HOME, OTHER, RAW, SIZE, TO, VM, kept
from tests.lab.replica.replication import MIB, Replication, without_gap
from tests.lab.witness import IMAGES


@pytest.fixture(scope="module")
def ledger(converged: Lab) -> Iterator[Replication]:
    """A guest with a qcow2 disk and a raw one that has been copied once."""
    with kept(converged) as replication:
        assert "the replica has nothing of it yet" in replication.cycle()
        yield replication


def is_running(ledger: Replication) -> bool:
    """Say whether the guest runs and is not paused."""
    return ledger.lab.virsh(ledger.home, "domstate", VM).strip() == "running"


def free_again(lab: Lab, host: str) -> None:
    """Free a host's disk, and let go on what could not write to it meanwhile, all of its guests."""
    lab.mend("fill", host)
    lab.exec(host, "sh", "-c", "for one in $(virsh -q list --name --state-paused); do"
             " virsh -q resume $one; done")


def test_a_checkpoint_that_libvirt_forgot_costs_nothing(ledger: Replication) -> None:
    ledger.lab.virsh(HOME, "checkpoint-delete", VM, ledger.checkpoints()[-1], "--metadata")
    said = ledger.cycle()
    assert "changed" in said, said
    assert "tracking" not in said, said
    assert ledger.has_only_its_last_checkpoint()


def test_a_checkpoint_that_a_crash_left_behind_goes_with_the_next_copy(
        ledger: Replication) -> None:
    ledger.lab.virsh(HOME, "checkpoint-create-as", VM, "hotsite-999998", "--diskspec",
                     "vda,checkpoint=bitmap", "--diskspec", "vdb,checkpoint=no")
    ledger.cycle()
    ledger.leaves_nothing_behind()


def test_a_snapshot_by_hand_and_its_end_are_increments(
        ledger: Replication, tmp_path: Path) -> None:
    overlay = f"{IMAGES}/{VM}-snapshot.qcow2"
    ledger.lab.virsh(HOME, "snapshot-create-as", VM, "by-hand", "--disk-only", "--atomic",
                     "--no-metadata", "--diskspec", f"vda,file={overlay}", "--diskspec",
                     "vdb,snapshot=no")
    ledger.write(64, 1)
    assert "changed" in ledger.cycle()
    assert without_gap(ledger.point_numbers(tmp_path))
    ledger.lab.virsh(HOME, "blockcommit", VM, "vda", "--active", "--pivot", "--wait")
    ledger.write(65, 1)
    said = ledger.cycle()
    assert "changed" in said
    assert without_gap(ledger.point_numbers(tmp_path))
    ledger.lab.exec(HOME, "rm", overlay)


def test_a_guest_that_is_put_back_to_before_a_snapshot_is_compared_with_its_replica(
        ledger: Replication, tmp_path: Path) -> None:
    lab, overlay = ledger.lab, f"{IMAGES}/{VM}-snapshot.qcow2"
    definition = lab.virsh(HOME, "dumpxml", "--inactive", VM)
    lab.virsh(HOME, "snapshot-create-as", VM, "by-hand", "--disk-only", "--atomic",
              "--no-metadata", "--diskspec", f"vda,file={overlay}", "--diskspec",
              "vdb,snapshot=no")
    ledger.write(64, 2)
    assert "changed" in ledger.cycle()
    lab.virsh(HOME, "destroy", VM)
    lab.exec(HOME, "virsh", "-q", "define", "/dev/stdin", text=definition)
    lab.exec(HOME, "rm", overlay)
    ledger.boot()
    said = ledger.cycle()
    assert "that differed" in said, said
    assert without_gap(ledger.point_numbers(tmp_path))
    assert "all as it was sent" in ledger.verify()
    ledger.lab.virsh(HOME, "shutdown", VM)
    wait_until("the guest's end",
               lambda: "shut off" in lab.virsh(HOME, "domstate", VM))
    ledger.cycle()
    assert [disk for disk in ledger.disks if not ledger.identical(disk)] == []
    ledger.boot()
    ledger.leaves_nothing_behind()


def test_a_full_disk_of_the_target_leaves_the_last_point_and_says_what_to_do(
        ledger: Replication) -> None:
    ledger.write(64, 8)
    before = ledger.contents()
    ledger.lab.break_("fill", TO)
    try:
        with pytest.raises((Refused, Unavailable), match="full|No space|no room"):
            ledger.cycle()
        assert ledger.contents() == before
    finally:
        free_again(ledger.lab, TO)
    assert "changed" in ledger.cycle()
    ledger.leaves_nothing_behind()


def test_a_full_disk_of_the_source_ends_the_copy_and_the_guest_goes_on(
        ledger: Replication) -> None:
    ledger.write(64, 48)
    ledger.cycle()
    ledger.write(64, 48)
    with ledger.reading(rate_bytes=2 * MIB) as outcome:
        ledger.lab.break_("fill", HOME)
        try:
            ledger.write(64, 4, "-P 0")    # its old content must go to the scratch first
            wait_until("the end of the copy", lambda: bool(outcome))
        finally:
            free_again(ledger.lab, HOME)
    assert isinstance(outcome[0], Unavailable), outcome
    assert is_running(ledger)
    assert "changed" in ledger.cycle()
    ledger.leaves_nothing_behind()


def test_a_move_waits_for_the_copy_and_the_next_copy_follows_it(
        ledger: Replication, tmp_path: Path) -> None:
    lab, disk = ledger.lab, ledger.disks["vda"].source
    lab.exec(OTHER, "sh", "-ec", f"qemu-img create -q -f qcow2 {disk} {SIZE};"
             f" qemu-img create -q -f raw {RAW.source} {RAW.size_bytes}")
    move = ("virsh", "-q", "migrate", "--live", "--persistent", "--copy-storage-all", VM,
            "--undefinesource", f"qemu+ssh://{OTHER}/system", "tcp://10.78.0.12")
    ledger.write(64, 48)
    with ledger.reading(rate_bytes=4 * MIB) as outcome:
        lab.exec(HOME, *move)   # libvirt lets it wait for the end of the job
    assert not isinstance(outcome[0], Exception), outcome
    ledger.home = OTHER
    ledger.write(70, 1)
    said = ledger.cycle()
    assert "differed" in said or "changed" in said
    assert without_gap(ledger.point_numbers(tmp_path))
    ledger.leaves_nothing_behind()


def test_a_disk_that_grew_and_one_that_came_are_in_the_next_point(ledger: Replication) -> None:
    lab, home = ledger.lab, ledger.home
    added = DiskCopy("vdc", f"{IMAGES}/{VM}-vdc.qcow2", "qcow2", 16 * MIB, CopyMode.INCREMENT)
    lab.virsh(home, "blockresize", VM, "vda", f"{SIZE // MIB + 16}M")
    lab.exec(home, "qemu-img", "create", "-q", "-f", "qcow2", added.source, str(added.size_bytes))
    lab.exec(home, "qemu-io", "-c", "write -P 7 1M 1M", added.source)
    lab.virsh(home, "attach-disk", VM, added.source, "vdc", "--subdriver", "qcow2", "--live",
              "--config")
    ledger.disks["vdc"] = added
    said = ledger.cycle()
    assert "its size changed" in said, said
    assert set(ledger.state()["points"][-1]["files"]) == {"vda", "vdb", "vdc"}
    assert "changed" in ledger.cycle()
    assert "all as it was sent" in ledger.verify()


def test_a_guest_that_ends_in_a_copy_is_copied_at_rest_every_disk_identical(
        ledger: Replication) -> None:
    ledger.write(64, 48)
    before = ledger.contents()
    with ledger.reading(rate_bytes=4 * MIB) as outcome:
        ledger.lab.virsh(ledger.home, "destroy", VM)
    assert isinstance(outcome[0], Unavailable), outcome
    assert ledger.contents() == before
    assert "was not shut down" in ledger.cycle()
    assert [disk for disk in ledger.disks if not ledger.identical(disk)] == []


def test_a_stopped_guest_can_be_started_in_the_middle_of_its_copy(ledger: Replication) -> None:
    lab, disk = ledger.lab, ledger.disks["vda"].source
    if is_running(ledger):
        lab.virsh(ledger.home, "destroy", VM)
    lab.exec(ledger.home, "sh", "-ec",
             "dd if=/dev/urandom of=/tmp/noise bs=1M count=48 status=none;"
             f' qemu-io -c "write -s /tmp/noise 64M 48M" {disk}; rm /tmp/noise')
    with ledger.reading(rate_bytes=4 * MIB) as outcome:
        lab.virsh(ledger.home, "start", VM)
    assert is_running(ledger)
    assert isinstance(outcome[0], Unavailable), outcome
    assert "was started while" in str(outcome[0])
    ledger.cycle()
    assert "all as it was sent" in ledger.verify()
    ledger.leaves_nothing_behind()
