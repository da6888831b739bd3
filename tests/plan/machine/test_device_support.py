"""The table of disks and devices: what is done with each kind, and what is said if nothing is."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import Status
from controller.model.desired import Desired
from controller.model.facts import DeviceFacts, DiskFacts, Observed
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.plan.compute import compute
from controller.plan.machine.device_support import (
    DEVICES,
    KINDS,
    copy_blocker,
    disk_move_blocker,
    left_out,
    resize_blocker,
    tracking_gap,
)
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r

PLAIN = DiskFacts("vdb", "/srv/x.qcow2", "qcow2", b.GIB, bus="virtio")


def disk(**traits: Any) -> DiskFacts:
    return replace(PLAIN, **traits)


ODD = {
    "encrypted": disk(encrypted=True),
    "lun": disk(type="block", device="lun", source="/dev/disk/by-id/w", format="raw"),
    "vhostuser": disk(type="vhostuser", source="/run/v.sock", format="raw"),
    "vhostvdpa": disk(type="vhostvdpa", source="/dev/vhost-vdpa-0", format="raw"),
    "nvme": disk(type="nvme", source="1", format="raw"),
    "rbd": disk(type="network", protocol="rbd", source="pool/x", format="raw"),
    "dir": disk(type="dir", source="/srv/folder", format="fat"),
    "new": disk(type="holographic"),
    "transient": disk(transient=True),
    "readonly": disk(readonly=True),
    "shareable": disk(shareable=True, format="raw"),
    "dmg": disk(format="dmg"),
}
"""None of these is ever copied; each for a reason of its own."""
COPIED = {
    "plain": PLAIN, "raw": disk(format="raw"), "vmdk": disk(format="vmdk"),
    "block": disk(type="block", source="/dev/vg/x", format="raw"),
    "volume": disk(type="volume", pool="default", source="x.qcow2"),
    "layered": disk(layered=True), "data file": disk(data_file=True),
    "mirrored": disk(mirrored=True), "old": disk(qcow2_version=2),
}


def declared(**spec: Any) -> Desired:
    return b.small(b.vm("win", protection="gold", **spec))


def seen(desired: Desired, *disks: DiskFacts, media: tuple[DiskFacts, ...] = (),
         devices: tuple[DeviceFacts, ...] = ()) -> Observed:
    """`win` on paris-1 with its disk, these besides, and nothing else out of place."""
    config = b.config_of("win", "paris-1", desired)
    taken = {each.target for each in (*disks, *media)}
    own = tuple(one for one in config.disks if one.target not in taken)
    config = replace(config, disks=(*own, *disks), media=media, devices=devices)
    observed = r.asked(b.as_declared(desired, {"win": "paris-1"}), desired)
    return b.with_domain(observed, "paris-1", "win",
                         b.domain("win", "paris-1", desired, live=config, config=config))


def copied(plan: Plan) -> dict[str, CopyMode]:
    [action] = [step.action for step in plan.steps if isinstance(step.action, ReplicateDomain)]
    return {one.target: one.mode for one in action.disks}


def said(desired: Desired, observed: Observed, kind: str = "Protected",
         target: str = "VirtualMachine/win") -> tuple[Status, str, str]:
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    [one] = [one for one in plan.conditions if one.target == target and one.type == kind]
    return one.status, one.reason, one.message


def with_point(observed: Observed, **disks: int) -> Observed:
    return r.with_replica(observed, "milan-1", r.replica(
        "win", r.series(3, 60), disks={"vda": 10 * b.GIB} | disks))


def remarks(desired: Desired, observed: Observed) -> str:
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    return "\n".join(one.sentence for one in plan.remarks)


@pytest.mark.parametrize("name", ODD)
def test_a_disk_that_cannot_be_copied_is_left_out_by_name_and_stops_no_other(name: str) -> None:
    desired = declared()
    observed = seen(desired, ODD[name])
    assert copied(compute(desired, observed, b.APPLIED, b.NOW_S)) == {"vda": CopyMode.SEED}
    [step] = [one for one in compute(desired, observed, b.APPLIED, b.NOW_S).steps
              if isinstance(one.action, ReplicateDomain)]
    for told in (remarks(desired, observed), step.action.consequence,
                 said(desired, with_point(observed))[2]):
        assert "vdb" in told
        assert copy_blocker(ODD[name]) in told


@pytest.mark.parametrize("name", COPIED)
def test_a_disk_that_can_be_copied_is(name: str) -> None:
    desired = declared()
    plan = compute(desired, seen(desired, COPIED[name]), b.APPLIED, b.NOW_S)
    assert set(copied(plan)) == {"vda", "vdb"}


@pytest.mark.parametrize("name", ODD)
def test_a_vm_of_which_a_disk_is_left_out_is_protected_only_if_that_is_declared(name: str) -> None:
    desired = declared()
    observed = with_point(seen(desired, ODD[name]))
    assert said(desired, observed)[:2] == (Status.FALSE, "DiskLeftOut")
    assert said(desired, observed, "Survivable", "Site/paris")[:2] == (
        Status.FALSE, "DiskLeftOut")
    meant = declared(disks=[{"name": "vda", "size": "10GiB"},
                            {"name": "vdb", "size": "1GiB", "replicate": False}])
    observed = with_point(seen(meant, ODD[name]))
    status, reason, message = said(meant, observed)
    assert (status, reason) == (Status.TRUE, "Replicated")
    assert "vdb" in message
    assert "as declared" in message
    assert said(meant, observed, "Survivable", "Site/paris")[:2] == (Status.TRUE, "Fits")
    assert "replicate: false" not in remarks(meant, observed)


def test_an_ordinary_disk_is_left_out_where_the_spec_says_so() -> None:
    desired = declared(disks=[{"name": "vda", "size": "10GiB"},
                              {"name": "vdb", "size": "1GiB", "replicate": False}])
    plan = compute(desired, seen(desired, PLAIN), b.APPLIED, b.NOW_S)
    assert set(copied(plan)) == {"vda"}


def test_a_disk_that_is_plugged_in_under_another_name_is_known_by_its_file() -> None:
    desired = declared(disks=[{"name": "vda", "size": "10GiB"},
                              {"name": "vdb", "size": "1GiB", "replicate": False}])
    own = replace(PLAIN, target="vdc", source="/var/lib/libvirt/images/win-vdb.qcow2")
    other = replace(PLAIN, source="/var/lib/libvirt/images/win-vda.qcow2")
    observed = seen(desired, own, other, replace(PLAIN, target="vda", source="/srv/strange.raw"))
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    assert set(copied(plan)) == {"vda", "vdb"}


def test_a_vm_whose_only_disk_cannot_be_copied_is_not_protected() -> None:
    desired = declared()
    observed = seen(desired, replace(ODD["encrypted"], target="vda", size_bytes=10 * b.GIB))
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    assert not [one for one in plan.steps if isinstance(one.action, ReplicateDomain)]
    status, reason, message = said(desired, observed)
    assert (status, reason) == (Status.FALSE, "NothingCopied")
    assert "it is encrypted" in message
    assert "it is encrypted" in remarks(desired, observed)


TPM = DeviceFacts("tpm", "tpm-crb emulator")
VARIABLES = DeviceFacts("nvram", "/var/lib/v.fd")
DEVICE = [DeviceFacts("tpm", "tpm-tis passthrough"), DeviceFacts("hostdev", "pci 0000:06:12.5"),
          DeviceFacts("filesystem", "/srv/share"), DeviceFacts("nvdimm", "/srv/n"),
          DeviceFacts("virtio-pmem", "/srv/p"), DeviceFacts("pstore", "/srv/e"),
          DeviceFacts("nvram", "iqn.2026:vars"), DeviceFacts("hologram", "of a newer libvirt")]


@pytest.mark.parametrize("device", DEVICE, ids=lambda device: device.kind)
def test_a_device_whose_state_stays_behind_is_named(device: DeviceFacts) -> None:
    desired = declared()
    observed = seen(desired, devices=(device,))
    status, reason, message = said(desired, with_point(observed))
    assert (status, reason) == (Status.TRUE, "InPart")
    assert device.name in message
    [step] = compute(desired, observed, b.APPLIED, b.NOW_S).steps
    assert device.name in step.action.consequence


def test_the_medium_in_a_drive_is_named_and_an_empty_drive_is_not() -> None:
    desired = declared()
    drive = DiskFacts("sda", "/srv/config.iso", "raw", None, device="cdrom", readonly=True)
    for medium, reason in ((drive, "InPart"), (replace(drive, source=""), "Replicated"),
                           (replace(drive, type="network", protocol="https"), "Replicated")):
        observed = with_point(seen(desired, media=(medium,)))
        assert said(desired, observed)[:2] == (Status.TRUE, reason)
    assert "/srv/config.iso" in said(desired, with_point(seen(desired, media=(drive,))))[2]


def test_what_a_point_has_is_not_named() -> None:
    desired = declared()
    for device in (DeviceFacts("nvram", "/var/lib/v.fd"), DeviceFacts("shmem", "ring"), TPM,
                   DeviceFacts("sgx-epc", ""), DeviceFacts("launchSecurity", "sev")):
        observed = with_point(seen(desired, devices=(device,)))
        assert said(desired, observed)[:2] == (Status.TRUE, "Replicated")


@pytest.mark.parametrize(("device", "parts", "missing", "named"), [
    (TPM, ("tpm",), {}, ""), (TPM, ("nvram",), {}, "TPM state (the newest point was made without"),
    (TPM, (), {"tpm": "it is encrypted"}, "TPM state (it is encrypted)"), (TPM, None, {}, ""),
    (VARIABLES, (), {"nvram": "it is too large"}, "NVRAM (it is too large)"),
    (VARIABLES, (), {}, "")])
def test_what_the_newest_point_lacks_besides_disks_is_named(
        device: DeviceFacts, parts: tuple[str, ...] | None, missing: dict[str, str],
        named: str) -> None:
    desired = declared()
    replica = r.replica("win", r.series(3, 60), parts=parts, missing=missing)
    observed = r.with_replica(seen(desired, devices=(device,)), "milan-1", replica)
    status, reason, message = said(desired, observed)
    assert (status, reason) == (Status.TRUE, "InPart" if named else "Replicated")
    assert named in message
    due = r.with_replica(seen(desired, devices=(device,)), "milan-1", replace(
        replica, points=r.series(3, 290)))
    [step] = compute(desired, due, b.APPLIED, b.NOW_S).steps
    assert isinstance(step.action, ReplicateDomain)
    assert step.action.without == ()    # the next point may well have it


def test_snapshots_inside_a_disk_are_named() -> None:
    desired = declared()
    observed = with_point(seen(desired, replace(PLAIN, snapshots=2)), vdb=b.GIB)
    status, reason, message = said(desired, observed)
    assert (status, reason) == (Status.TRUE, "InPart")
    assert "the 2 snapshots inside disk vdb /srv/x.qcow2" in message


def test_an_old_qcow2_is_compared_and_its_reason_says_how_to_amend_it() -> None:
    desired = declared()
    old = replace(PLAIN, target="vda", qcow2_version=2, size_bytes=10 * b.GIB)
    observed = r.with_replica(seen(desired, old), "milan-1", r.replica("win", r.series(3, 280)))
    [step] = compute(desired, observed, b.APPLIED, b.NOW_S).steps
    assert isinstance(step.action, ReplicateDomain)
    [one] = step.action.disks
    assert (one.mode, one.trackable) == (CopyMode.SCAN, False)
    assert "qemu-img amend -f qcow2 -o compat=1.1 /srv/x.qcow2" in step.action.reason
    assert step.action.cause == "routine"
    assert "qemu-img amend -f qcow2 -o compat=1.1 /srv/x.qcow2" in remarks(desired, observed)


def test_the_size_of_a_volume_is_that_of_its_file() -> None:
    desired = declared()
    volume = replace(COPIED["volume"], size_bytes=None, source="win-vda.qcow2")
    plan = compute(desired, seen(desired, volume), b.APPLIED, b.NOW_S)
    [action] = [step.action for step in plan.steps if isinstance(step.action, ReplicateDomain)]
    assert {one.target: one.size_bytes for one in action.disks}["vdb"] == 10 * b.GIB


def test_every_row_is_needed() -> None:
    """Each row forbids something that no other row would, for some disk of that kind."""
    for row in KINDS:
        alone = [one for one in (*ODD.values(), *COPIED.values()) if row.is_one(one)
                 and sum(kind.is_one(one) for kind in KINDS) == 1]
        found = alone or [one for one in (*ODD.values(), *COPIED.values()) if row.is_one(one)]
        assert found, row
        assert any((row.resize, row.move, row.move_shared, row.copy))


@pytest.mark.parametrize("column", [
    resize_blocker, copy_blocker, lambda disk: disk_move_blocker(disk, shared=False),
    lambda disk: disk_move_blocker(disk, shared=True)])
def test_nothing_is_forbidden_of_a_plain_file(column: Any) -> None:
    assert column(PLAIN) == ""
    assert column(disk(format="raw")) == ""


@pytest.mark.parametrize("name", [name for name in {**ODD, **COPIED} if name not in {
    "plain", "raw", "layered", "data file", "old", "vmdk"}])
def test_only_files_are_moved(name: str) -> None:
    assert disk_move_blocker({**ODD, **COPIED}[name], shared=False)


def test_tracking_is_for_new_qcow2_alone() -> None:
    assert tracking_gap(PLAIN) == ""
    assert all(tracking_gap(disk(format=form)) for form in ("raw", "vmdk"))
    assert tracking_gap(disk(qcow2_version=2))


def test_every_device_that_is_read_has_a_row() -> None:
    assert set(DEVICES) >= {"tpm", "nvram", "hostdev", "filesystem", "nvdimm", "virtio-pmem",
                            "pstore", "shmem"}


def test_nothing_is_left_out_of_what_was_not_seen() -> None:
    vm = declared().virtual_machines["win"]
    assert left_out(vm, None) == ()


def test_what_only_the_host_knows_of_a_disk_counts_by_the_points_own_word() -> None:
    desired = declared()
    observed = r.with_replica(seen(desired, PLAIN), "milan-1", r.replica(
        "win", r.series(3, 60), left_out={"vdb": "it is encrypted"}))
    status, reason, message = said(desired, observed)
    assert (status, reason) == (Status.FALSE, "DiskLeftOut")
    assert "disk vdb /srv/x.qcow2 (it is encrypted)" in message
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    assert not plan.steps       # it is not copied again and again for the sake of that disk
    late = r.with_replica(seen(desired, PLAIN), "milan-1", r.replica(
        "win", r.series(3, 290), left_out={"vdb": "it is encrypted"}))
    assert set(copied(compute(desired, late, b.APPLIED, b.NOW_S))) == {"vda", "vdb"}
