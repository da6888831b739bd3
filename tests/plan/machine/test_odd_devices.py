"""The table of disks and devices in use: what moves, what grows, what never moves with a VM."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.desired import Desired
from controller.model.facts import DeviceFacts, DiskFacts
from controller.plan.actions.desired import GrowDisk
from controller.plan.actions.machine import MigrateDomain, ReconfigureDomain
from controller.plan.actions.storage import CreateDisk
from controller.plan.compute import compute
from controller.plan.machine.device_support import disk_move_blocker, resize_blocker
from controller.plan.machine.removal import own_disks
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b
from tests.plan.machine.test_device_support import COPIED, DEVICE, ODD, PLAIN, declared, disk, seen


def moving(desired: Desired, *disks: DiskFacts, **more: Any) -> tuple[MigrateDomain | None, str]:
    """Return the move of `win` off paris-1, which it is to leave, and what is remarked."""
    plan = compute(desired, seen(desired, *disks, **more), b.APPLIED, b.NOW_S)
    found = [step.action for step in plan.steps if isinstance(step.action, MigrateDomain)]
    said = " ".join(one.sentence for one in plan.remarks if one.target == "VirtualMachine/win")
    return (found[0] if found else None), said


def test_a_disk_keeps_its_name_where_it_moves_whatever_its_place_in_the_domain() -> None:
    """The two were swapped by hand: each file goes on being what the specs say of it."""
    lab = b.small(b.vm("sql", disks=TWO, placement={"host": "milan-1"}))
    good = b.config_of("sql", "paris-1", lab)
    one, two = good.disks
    for disks, moved in (
            ((replace(two, target="vda"), replace(one, target="vdb")),
             {"vdb": ("sql-vda.qcow2", one.size_bytes), "vda": ("sql-vdb.qcow2", two.size_bytes)}),
            ((replace(one, target="sda"), two),
             {"sda": ("sql-vda.qcow2", one.size_bytes), "vdb": ("sql-vdb.qcow2", two.size_bytes)})):
        odd = replace(good, disks=disks)
        seen_ = b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "sql", b.domain(
            "sql", "paris-1", lab, live=odd, config=odd))
        (move,) = [step.action for step in compute(lab, seen_, b.APPLIED, b.NOW_S).steps
                   if isinstance(step.action, MigrateDomain)]
        assert {disk.target: (disk.path.rpartition("/")[2], disk.size_bytes)
                for disk in move.disks} == moved


TWO = [{"name": "vda", "size": "10GiB"}, {"name": "vdb", "size": "1GiB"}]


def leaving(*, shared: bool = False) -> Desired:
    """`win` with two disks, which belongs on paris-2; `shared`: all hosts share one pool."""
    pools = [{"name": "default", "path": "/var/lib/libvirt/images", "shared": shared}]
    return b.desired_of(b.estate(), *b.survey(2, pools=pools),
                        b.vm("win", disks=TWO, placement={"host": "paris-2"}))


@pytest.mark.parametrize("name", {**ODD, **COPIED})
def test_a_vm_moves_with_files_alone_and_else_the_plan_says_what_holds_it(name: str) -> None:
    disk = {**ODD, **COPIED}[name]
    move, said = moving(leaving(), disk)
    if disk_move_blocker(disk, shared=False):
        assert move is None
        assert "vdb" in said
        assert disk_move_blocker(disk, shared=False) in said
    else:
        assert move is not None
        assert [one.target for one in move.copied] == ["vda", "vdb"]


@pytest.mark.parametrize("name", {**ODD, **COPIED})
def test_what_both_hosts_are_declared_to_share_stays_where_it_is(name: str) -> None:
    disk = {**ODD, **COPIED}[name]
    move, said = moving(leaving(shared=True), disk)
    if disk_move_blocker(disk, shared=True):
        assert move is None
        assert disk_move_blocker(disk, shared=True) in said
    else:
        assert move is not None
        assert move.copied == ()
        assert {one.target: one.path for one in move.disks}["vdb"] == disk.source


def test_of_two_disks_the_one_that_is_not_shared_is_copied() -> None:
    pools = [{"name": "default", "path": "/var/lib/libvirt/images"},
             {"name": "san", "path": "/san", "shared": True}]
    disks = [TWO[0], TWO[1] | {"pool": "san"}]
    desired = b.desired_of(b.estate(), *b.survey(2, pools=pools),
                           b.vm("win", disks=disks, placement={"host": "paris-2"}))
    move, _ = moving(desired, disk(type="block", source="/dev/san/win", format="raw"))
    assert move is not None
    assert [one.target for one in move.copied] == ["vda"]
    assert "10 GiB of disks to copy" in move.consequence


def test_a_disk_that_is_not_declared_holds_its_vm() -> None:
    move, said = moving(leaving(), PLAIN, replace(PLAIN, target="vdc", source="/srv/own.qcow2"))
    assert move is None
    assert "vdc /srv/own.qcow2 is not declared" in said


@pytest.mark.parametrize(("device", "moves"), [
    (DeviceFacts("tpm", "tpm-crb emulator"), True), (DeviceFacts("nvram", "/v.fd"), True),
    (DeviceFacts("tpm", "tpm-tis passthrough"), False),
    *((one, False) for one in DEVICE if one.kind not in {"tpm", "nvram"}),
    *((DeviceFacts(kind, "x"), False) for kind in ("shmem", "sgx-epc", "launchSecurity"))],
    ids=str)
def test_a_device_of_its_host_holds_a_vm(device: DeviceFacts, moves: bool) -> None:
    move, said = moving(leaving(), PLAIN, devices=(device,))
    assert (move is not None) is moves
    assert moves or device.name in said


def test_a_medium_must_be_at_the_destination_too() -> None:
    there = DiskFacts("sda", "/srv/config.iso", "raw", None, device="cdrom", readonly=True)
    move, _ = moving(leaving(), PLAIN, media=(there,))
    assert move is not None
    assert move.media == ("/srv/config.iso",)
    in_pool = replace(there, source="/var/lib/libvirt/images/config.iso", size_bytes=1 << 20)
    move, _ = moving(leaving(), PLAIN, media=(in_pool,))
    assert move is not None     # it is small enough to be brought
    in_pool = replace(in_pool, size_bytes=5 * b.GIB)
    move, said = moving(leaving(), PLAIN, media=(in_pool,))
    assert move is None
    assert "paris-2 has no /var/lib/libvirt/images/config.iso" in said
    move, said = moving(leaving(), PLAIN, media=(replace(there, type="block", source="/dev/sr0"),))
    assert move is None
    assert "/dev/sr0" in said
    move, _ = moving(leaving(), PLAIN, media=(replace(there, source=""),))
    assert move is not None
    assert move.media == ()


def grown(*disks: DiskFacts, **more: Any) -> tuple[list[Any], str]:
    """Return the changes of `win`, whose second disk is declared twice as large, and remarks."""
    desired = b.small(b.vm("win", disks=[TWO[0], {"name": "vdb", "size": "2GiB"}]))
    plan = compute(desired, seen(desired, *disks, **more), b.APPLIED, b.NOW_S)
    changes = [change for step in plan.steps if isinstance(step.action, ReconfigureDomain)
               for change in step.action.changes]
    changes += [step.action for step in plan.steps if isinstance(step.action, CreateDisk)]
    return changes, " ".join(one.sentence for one in plan.remarks)


@pytest.mark.parametrize("name", {**ODD, **COPIED})
def test_a_disk_grows_where_it_can_and_else_the_plan_says_why_not(name: str) -> None:
    disk = {**ODD, **COPIED}[name]
    changes, said = grown(replace(disk, size_bytes=b.GIB))
    if resize_blocker(disk):
        assert changes == []
        assert resize_blocker(disk) in said
    else:
        assert changes == [GrowDisk("vdb", disk.source, 2 * b.GIB)]


def test_how_a_block_device_is_made_larger_is_said() -> None:
    _, said = grown(replace(COPIED["block"], size_bytes=b.GIB))
    assert "/dev/vg/x larger there, as with `lvextend`" in said
    assert "`virsh blockresize win vdb" in said


def test_a_drive_in_the_place_of_a_declared_disk_is_named() -> None:
    drive = DiskFacts("vdb", "/srv/config.iso", "raw", None, device="cdrom", readonly=True)
    changes, said = grown(media=(drive,))
    assert changes == []
    assert "CD-ROM vdb /srv/config.iso has that place" in said
    changes, _ = grown(media=(replace(drive, target="sda"),))
    assert changes == []


@pytest.mark.parametrize("trait", ["readonly", "shareable"])
def test_what_a_vm_does_not_write_alone_never_goes_with_it(trait: str) -> None:
    desired = declared()
    folder = "/var/lib/libvirt/images"
    theirs = replace(PLAIN, source=f"{folder}/theirs.raw", **{trait: True})
    observed = seen(desired, theirs, media=(replace(PLAIN, target="sda", device="cdrom",
                                                    source=f"{folder}/config.iso"),))
    survey = take_survey(desired, observed, b.APPLIED, b.NOW_S)
    win = survey.domains["paris-1"]["win"]
    assert own_disks("paris-1", win, survey) == (f"{folder}/win-vda.qcow2",)
    other = b.config_of("win", "paris-1", desired)
    reads = replace(other, disks=(), media=(other.disks[0],))
    held = b.with_domain(observed, "paris-1", "other", replace(
        win, name="other", uuid="o", live=reads, config=reads))
    assert own_disks("paris-1", win, take_survey(desired, held, b.APPLIED, b.NOW_S)) == ()
