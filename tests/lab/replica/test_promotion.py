"""A restore point becomes the VM at the other site: it boots, and its replica stays as it is."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.errors import Refused
from controller.plan.actions.promotion import AdoptDisks, PromoteReplica
from controller.plan.actions.replica import CopyMode, DiskCopy
from tests.lab.lab import STATE, Lab, parse_records, wait_until
from tests.lab.replica.guest import HOME, TO, VM, kept
from tests.lab.replica.replication import Replication
from tests.lab.witness import IMAGES

EPOCH = 7
GONE = f"""virsh -q destroy {VM}; virsh -q undefine --checkpoints-metadata --nvram {VM}
virsh -q undefine --checkpoints-metadata {VM}; rm -f {IMAGES}/{VM}*.fo-*"""


CONTENT = """qemu-img convert -U -f qcow2 -O raw "$1" /var/lib/libvirt/images/content.raw
sha256sum </var/lib/libvirt/images/content.raw
rm /var/lib/libvirt/images/content.raw"""


@pytest.fixture(name="ledger")
def ledger_fixture(lab: Lab) -> Iterator[Replication]:
    """A guest with three points whose host has been lost."""
    clear(lab)
    with kept(lab) as replication:
        try:
            for first_mib in (64, 70, 76):
                replication.write(first_mib, 2)
                replication.cycle()
            lab.virsh(HOME, "destroy", VM)
            yield replication
        finally:
            clear(lab)


def clear(lab: Lab) -> None:
    """Take what was promoted away."""
    with suppress(AssertionError):
        lab.exec(TO, "sh", "-c", GONE)


def promote(ledger: Replication, sequence: int = 3, epoch: int = EPOCH) -> str:
    """Make a point the VM, as the loop would."""
    return ledger.apply(PromoteReplica(
        target=f"VirtualMachine/{VM}", node=TO, reason="its site is lost", uuid=ledger.uuid,
        path=ledger.path, sequence=sequence, epoch=epoch, estate="lab"))


def last_of_promoted() -> int:
    """Return the number of the last record that the promoted guest wrote, 0 before its first."""
    overlay = STATE / f"nodes/{TO}/disk/images/{VM}.fo-{EPOCH}.qcow2"
    found = parse_records(overlay.read_bytes().replace(b"\0", b"\n").decode("ascii", "replace"))
    return found[-1].number if found else 0


def reversed_of(ledger: Replication) -> Replication:
    """Return the way back: from where it was promoted to where it was."""
    back = Replication(ledger.lab, VM, TO, HOME, ledger.size_bytes)
    back.disks = {target: DiskCopy(target, path, "qcow2", ledger.disks[target].size_bytes,
                                   CopyMode.SCAN)
                  for target, path in (("vda", f"{IMAGES}/{VM}.fo-{EPOCH}.qcow2"),
                                       ("vdb", f"{IMAGES}/{VM}-vdb.fo-{EPOCH}.qcow2"))}
    back.lab.exec(HOME, "rm", "-rf", back.path)
    return back


def content(ledger: Replication, host: str, image: str) -> str:
    """Return the hash of what QEMU reads from an image on a host, through its whole chain."""
    return ledger.lab.exec(host, "sh", "-ec", CONTENT, "sh", image)


def hashes(ledger: Replication) -> dict[str, str]:
    """Return the hash of each file that a point reads."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(ledger.folder.rglob("*")) if path.suffix in {".raw", ".qcow2"}}


def test_it_boots_over_its_replica_which_follows_the_older_copy_no_more(
        ledger: Replication, tmp_path: Path) -> None:
    before, known = hashes(ledger), ledger.point_numbers(tmp_path)[-1]
    assert "was promoted on milan-1 and started: restore point 3 is the VM" in promote(ledger)
    wait_until("records that go on from the point",
               lambda: last_of_promoted() > known + 2)
    definition = ledger.lab.virsh(TO, "dumpxml", "--inactive", VM)
    assert ledger.uuid in definition
    assert f'role="promoted" epoch="{EPOCH}"' in definition.replace("'", '"')
    assert "disable" in ledger.lab.virsh(TO, "dominfo", VM).partition("Autostart:")[2]
    assert "runs on milan-1 already" in promote(ledger)
    ledger.boot()       # a person starts the older copy
    with pytest.raises(Refused, match="follows epoch 7 of its VM, and this was asked for epoch 0"):
        ledger.cycle()
    ledger.lab.virsh(HOME, "destroy", VM)
    ledger.lab.virsh(TO, "destroy", VM)
    assert hashes(ledger) == before


def test_it_comes_back_onto_its_former_disks_with_what_differs(ledger: Replication) -> None:
    promote(ledger)
    wait_until("the promoted guest's first record", lambda: last_of_promoted() > 0)
    former = [STATE / f"nodes/{HOME}/disk/images/{name}"
              for name in (f"{VM}-vda.qcow2", f"{VM}-vdb.raw")]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in former]
    back = reversed_of(ledger)
    said = back.apply(AdoptDisks(
        target=f"Replica/{VM}", node=HOME, reason="its site is back", uuid=ledger.uuid,
        path=back.path, epoch=EPOCH, estate="lab", by="a test", promoted_on=TO,
        promoted_path=ledger.path, promoted_point=3))
    assert "of vda only what its bitmap names" in said
    back.published()
    back.write(90, 2)
    said = back.cycle()
    sent = re.search(r"vda: .* sent ([0-9.]+)MiB that differed", said)
    assert sent is not None, said
    assert float(sent[1]) < 4, "2 MiB, and some records here and there"
    assert "changed" in back.cycle(), "the overlay tracks its changes"
    ledger.lab.virsh(TO, "shutdown", VM)
    wait_until("its end", lambda: "shut off" in ledger.lab.virsh(TO, "domstate", VM), 60)
    back.cycle()
    for target, disk in back.disks.items():
        assert content(ledger, HOME, f"{back.path}/{target}/{back.newest(target).name}") == (
            content(ledger, TO, disk.source))
    ledger.lab.virsh(TO, "undefine", "--checkpoints-metadata", VM)
    said = back.apply(PromoteReplica(
        target=f"VirtualMachine/{VM}", node=HOME, reason="back home", uuid=ledger.uuid,
        path=back.path, sequence=back.sequence, epoch=EPOCH + 1, estate="lab"))
    assert f"is the VM, epoch {EPOCH + 1}" in said
    home = STATE / f"nodes/{HOME}/disk/images/{VM}.fo-{EPOCH + 1}.qcow2"
    wait_until("records at home", lambda: b"record " in home.read_bytes())
    ledger.lab.virsh(HOME, "destroy", VM)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in former] == before
