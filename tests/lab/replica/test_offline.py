"""A guest that is off: its points equal its disks, whatever was done to the disk files."""

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab, wait_until
from tests.lab.replica.guest import HOME, RAW, VM, kept
from tests.lab.replica.replication import Replication
from tests.lab.witness import IMAGES

IMAGE = f"{IMAGES}/{VM}-vda.qcow2"


@pytest.fixture(scope="module")
def ledger(converged: Lab) -> Iterator[Replication]:
    """A guest that was copied while it ran."""
    with kept(converged) as replication:
        replication.cycle()
        yield replication


def state(ledger: Replication) -> str:
    """Return the guest's state with its reason."""
    return ledger.lab.virsh(HOME, "domstate", "--reason", VM).strip()


def at_home(ledger: Replication, script: str) -> None:
    """Do something to the files of a guest that is off, as somebody on its host would."""
    ledger.lab.exec(HOME, "sh", "-ec", script)


def switch_off(ledger: Replication) -> None:
    """Have the guest off, whatever the last test left."""
    if state(ledger).startswith("running"):
        ledger.lab.virsh(HOME, "destroy", VM)


def copied(ledger: Replication) -> str:
    """Make a point and hold it equal to the disks; return what was said of it."""
    said = ledger.cycle()
    assert [disk for disk in ledger.disks if not ledger.identical(disk)] == [], said
    return said


def is_quiesced(ledger: Replication) -> bool:
    """Say whether the newest point is noted so."""
    return bool(ledger.state()["points"][-1]["quiesced"])


def test_a_guest_that_is_saved_or_killed_is_not_at_rest(ledger: Replication) -> None:
    ledger.lab.virsh(HOME, "managedsave", VM)
    assert state(ledger) == "shut off (saved)"
    said = copied(ledger)
    assert "lies in a managed save and is not in the point" in said
    assert not is_quiesced(ledger)
    ledger.boot()
    ledger.lab.virsh(HOME, "destroy", VM)
    assert "(destroyed)" in copied(ledger)
    assert not is_quiesced(ledger)
    ledger.boot()
    ledger.lab.virsh(HOME, "shutdown", VM)
    wait_until("the guest's end", lambda: state(ledger) == "shut off (shutdown)", 60)
    assert "at rest" in copied(ledger)
    assert is_quiesced(ledger)


def test_an_image_that_is_swapped_put_back_or_overlaid_is_in_no_point_wrongly(
        ledger: Replication) -> None:
    ledger.boot()
    ledger.write(64, 2)
    assert "changed" in ledger.cycle()
    ledger.lab.virsh(HOME, "shutdown", VM)
    wait_until("the guest's end", lambda: state(ledger) == "shut off (shutdown)", 60)
    at_home(ledger, f"cp {IMAGE} {IMAGE}.older")
    at_home(ledger, f"qemu-io -f qcow2 -c 'write -P 7 90M 1M' {IMAGE}")
    assert "changed" in copied(ledger)
    at_home(ledger, f"cat {IMAGE}.older >{IMAGE}")      # the same file with an earlier record
    assert "that differed" in copied(ledger)
    at_home(ledger, f"mv {IMAGE} {IMAGE}.kept; cp {IMAGE}.older {IMAGE}")
    at_home(ledger, f"qemu-io -f qcow2 -c 'write -P 8 70M 1M' {IMAGE}")
    assert "that differed" in copied(ledger)
    at_home(ledger, f"mv {IMAGE}.kept {IMAGE}")
    assert "that differed" in copied(ledger)
    ledger.boot()
    ledger.cycle()
    assert "changed" in ledger.cycle(), "a running guest is tracked again"


def test_a_snapshot_that_is_committed_while_the_guest_is_off_is_in_the_point(
        ledger: Replication) -> None:
    definition = ledger.lab.virsh(HOME, "dumpxml", "--inactive", VM)
    ledger.lab.virsh(HOME, "snapshot-create-as", VM, "by-hand", "--disk-only", "--atomic",
                     "--no-metadata", "--diskspec", f"vda,file={IMAGE}.snap", "--diskspec",
                     "vdb,snapshot=no")
    ledger.write(66, 1)
    ledger.lab.virsh(HOME, "destroy", VM)
    at_home(ledger, f"qemu-img commit -q {IMAGE}.snap; rm {IMAGE}.snap")
    ledger.lab.exec(HOME, "virsh", "-q", "define", "/dev/stdin", text=definition)
    copied(ledger)
    ledger.leaves_nothing_behind()


def test_a_point_whose_header_was_damaged_is_found_and_the_next_copy_heals_it(
        ledger: Replication) -> None:
    switch_off(ledger)
    copied(ledger)
    at_home(ledger, f"qemu-io -f qcow2 -c 'write -P 9 80M 1M' {IMAGE}")
    copied(ledger)
    top = ledger.newest()
    with top.open("r+b") as file:
        file.seek(47)           # where the table of tables lies: of no cluster's contents
        byte = file.read(1)[0]
        file.seek(47)
        file.write(bytes([byte ^ 0x10]))
    assert "the next copy brings what the newest lacks" in ledger.verify()
    assert "a file of its replica is lost" in copied(ledger)
    newest = ledger.state()["points"][-1]["sequence"]
    assert str(newest) not in ledger.verify().partition("read wrong")[0].rpartition("points")[2]


def test_a_disk_that_cannot_be_opened_is_left_out_by_name_and_comes_back_whole(
        ledger: Replication) -> None:
    switch_off(ledger)
    at_home(ledger, f"mv {RAW.source} {RAW.source}.away")
    try:
        said = ledger.cycle()
    finally:
        at_home(ledger, f"mv {RAW.source}.away {RAW.source}")
    assert "it is without disk vdb (nothing is behind " in said
    assert set(ledger.state()["points"][-1]["files"]) == {"vda"}
    assert "vdb: the replica has nothing of it yet" in copied(ledger)
    ledger.leaves_nothing_behind()
