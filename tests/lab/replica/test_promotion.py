"""A restore point becomes the VM at the other site: it boots, and its replica stays as it is."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.errors import Refused
from controller.plan.actions.promotion import PromoteReplica
from tests.lab.lab import STATE, Lab, parse_records, wait_until
from tests.lab.replica.guest import HOME, TO, VM, kept
from tests.lab.replica.replication import Replication
from tests.lab.witness import IMAGES

EPOCH = 7
GONE = f"""virsh -q destroy {VM}; virsh -q undefine --checkpoints-metadata --nvram {VM}
virsh -q undefine --checkpoints-metadata {VM}; rm -f {IMAGES}/{VM}*.fo-*"""


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
