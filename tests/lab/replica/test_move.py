"""A guest that writes moves with its memory: it never stops counting, or it stays where it is."""

import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from controller.errors import Refused
from controller.plan.actions.desired import DesiredNic
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain
from tests.lab.lab import STATE, Lab, Record, is_one_life, wait_until
from tests.lab.replica.guest import HOME, MAC, TO, VLAN, VM, kept
from tests.lab.replica.replication import OCTETS, Replication
from tests.lab.replica.test_promotion import clear
from tests.lab.witness import RECORD, last_number, written

EPOCH = 3
MISSING = DesiredNic(MAC, "br-nowhere", VLAN, "virtio")


@pytest.fixture(name="ledger")
def ledger_fixture(lab: Lab) -> Iterator[Replication]:
    """A guest that runs at home, with one point at the other site."""
    clear(lab)
    with kept(lab) as replication:
        try:
            replication.cycle()
            yield replication
        finally:
            clear(lab)
            with suppress(AssertionError):
                lab.virsh(HOME, "managedsave-remove", VM)


def move(ledger: Replication, *nics: DesiredNic, by_memory: bool = True) -> str:
    """Move it as the loop would."""
    ledger.published()
    target = f"VirtualMachine/{VM}"
    return ledger.apply(MoveDomain(
        target=target, node=HOME, reason="a test wants it", domain=VM, uuid=ledger.uuid,
        limit_s=60, by_memory=by_memory,
        copy=ReplicateDomain(
            target=f"Replica/{VM}", node=HOME, reason="a test wants it", domain=VM,
            uuid=ledger.uuid, to=TO, path=ledger.path, disks=tuple(ledger.disks.values()),
            replication_address=f"10.78.0.{OCTETS[HOME]}",
            to_replication_address=f"10.78.0.{OCTETS[TO]}", sequence=ledger.sequence + 1),
        promotion=PromoteReplica(
            target=target, node=TO, reason="a test wants it", uuid=ledger.uuid, path=ledger.path,
            sequence=0, epoch=EPOCH, estate="lab", nics=nics)))


def there() -> tuple[Record, ...]:
    """Return what it wrote after it was moved."""
    overlay = STATE / f"nodes/{TO}/disk/images/{VM}.fo-{EPOCH}.qcow2"
    found = RECORD.findall(overlay.read_bytes()) if overlay.exists() else []
    return tuple(sorted(Record(int(n), int(rtc), float(up)) for n, rtc, up in found))


def whole() -> tuple[Record, ...]:
    """Return what it wrote before and after it was moved."""
    return tuple(sorted({*written(HOME, VM), *there()}))


def has_no_gap(records: tuple[Record, ...]) -> bool:
    """Return whether each record has the number after that of the one before."""
    numbers = [one.number for one in records]
    return numbers == list(range(numbers[0], numbers[-1] + 1))


def is_saved(host: str) -> bool:
    """Return whether libvirt on a host would go on from what it saved."""
    return (STATE / f"nodes/{host}/libvirt/qemu/save/{VM}.save").exists()


def goes_on_at_home(ledger: Replication) -> None:
    """Hold that it runs where it was, in the same life, and is copied as before."""
    last = last_number(HOME, VM)
    wait_until("records at home", lambda: last_number(HOME, VM) > last + 1)
    assert is_one_life(written(HOME, VM))
    assert VM not in ledger.lab.virsh(TO, "list", "--all", "--name").split()
    assert not is_saved(TO)
    assert not list((STATE / f"nodes/{TO}/disk/images").glob(f"{VM}*.fo-*"))
    ledger.published()
    ledger.cycle()


def test_it_goes_on_at_the_other_site_in_the_same_life(ledger: Replication) -> None:
    said = move(ledger)
    assert re.search(r"its memory went along, and it stood still for [0-9.]+ s", said)
    wait_until("records at the other site", lambda: len(there()) > 2)
    wait_until("that none is missing", lambda: has_no_gap(whole()))   # it writes while we read
    assert is_one_life(whole())
    assert ledger.lab.virsh(HOME, "domstate", VM).strip() == "shut off"
    assert not is_saved(HOME)
    assert not is_saved(TO)


@pytest.mark.parametrize("by_memory", [True, False])
def test_what_cannot_start_there_runs_on_at_home_whole(ledger: Replication, *,
                                                       by_memory: bool) -> None:
    if by_memory:
        with pytest.raises(Refused, match="it runs on paris-1 as before"):
            move(ledger, MISSING)
        goes_on_at_home(ledger)
        return
    with pytest.raises(Refused, match="it runs on paris-1 as before"):
        move(ledger, MISSING, by_memory=False)
    last = last_number(HOME, VM)
    wait_until("records at home", lambda: last_number(HOME, VM) > last + 1)
    ledger.published()
    ledger.cycle()


def test_a_controller_that_dies_after_the_save_leaves_a_guest_that_any_start_resumes(
        ledger: Replication) -> None:
    ledger.lab.virsh(HOME, "managedsave", "--running", VM)
    ledger.lab.virsh(HOME, "start", VM)
    wait_until("records", lambda: last_number(HOME, VM) > 0)
    ledger.lab.virsh(HOME, "managedsave", "--running", VM)
    assert "its memory went along" in move(ledger)
    wait_until("records at the other site", lambda: len(there()) > 2)
    assert is_one_life(whole())
