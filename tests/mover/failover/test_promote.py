"""A restore point becomes the VM: pinned, marked, over overlays of its own; nothing is copied."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mover.failover import promote as promoting
from mover.replica import retire as replica_retire
from mover.replica.replica import Replica, locked

from tests.mover.disks import needs_qemu, tool
from tests.mover.failover.promoting import MARK, UUID, Pool, cluster, definition
from tests.mover.replica.test_crashes import run_until
from tests.mover.replica.test_remove import asked
from tests.mover.replicas import identical, qemu_img
from tests.mover.transfers import ask, assert_every_point_reads_as_its_disk, start_mover

pytestmark = needs_qemu


@pytest.fixture(name="pool")
def pool_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A pool with a VM of two disks and three points."""
    return Pool(tmp_path, monkeypatch)


@contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Wait until a process says its first line; end it with the block."""
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def write(overlay: str, *writes: str) -> None:
    """Write to a disk as its guest would."""
    tool("qemu-io", "-f", "qcow2", *(word for one in writes for word in ("-c", one)), overlay)


def test_a_point_becomes_the_vm_and_its_files_stay_as_they_are(pool: Pool) -> None:
    before = pool.hashes()
    told = pool.promoted()
    assert told["overlays"] == {"vda": f"{pool.pool}/sql.fo-7.qcow2",
                                "vdb": f"{pool.pool}/sql-vdb.fo-7.qcow2"}
    for disk, overlay in told["overlays"].items():
        assert "No errors were found" in qemu_img("check", overlay)
        assert identical(Path(overlay), pool.machine.flats[3, disk])
        write(overlay, f"write -P 7 {cluster(3)} 64k", "read -P 7 196608 64k")
    assert pool.hashes() == before
    assert_every_point_reads_as_its_disk(pool.machine)
    state = Replica(str(pool.machine.root)).state
    assert (state.pins, state.facts["epoch"]) == ({"failover-7": 3}, 7)
    assert state.facts["promoted"] == {"epoch": 7, "sequence": 3, "machine": "sql"}
    assert not list(pool.pool.glob("*.part"))


def test_its_definition_is_that_of_the_point_over_the_whole_chain(pool: Pool) -> None:
    pool.define(2, definition(more="<memballoon model='virtio'/>"))
    domain = ET.fromstring(pool.promoted(2)["xml"])
    assert domain.findtext("uuid") == UUID
    assert domain.find("devices/memballoon") is not None
    assert domain.find("devices/interface/mac").attrib == {"address": "52:54:00:0a:02:15"}
    disk = domain.find("devices/disk")
    assert (disk.get("type"), disk.find("driver").attrib) == (
        "file", {"name": "qemu", "type": "qcow2", "cache": "none"})
    assert disk.find("source").attrib == {"file": f"{pool.pool}/sql.fo-7.qcow2"}
    chain, layer = [], disk.find("backingStore")
    while layer is not None and len(layer):
        chain.append((layer.find("format").get("type"), layer.find("source").get("file")))
        layer = layer.find("backingStore")
    root = pool.machine.root / "vda"
    assert chain == [("qcow2", f"{root}/rp-000002.qcow2"), ("raw", f"{root}/base-000001.raw")]
    mark = domain.find("metadata/{https://hotsite.invalid/domain/1}vm")
    assert (mark.get("role"), mark.get("epoch"), mark.get("estate")) == ("promoted", "7", "lab")


def test_what_a_guest_wrote_outlasts_a_second_promotion(pool: Pool) -> None:
    first = pool.promoted()
    write(first["overlays"]["vda"], "write -P 7 0 64k")
    held = Path(first["overlays"]["vda"]).read_bytes()
    assert pool.promoted() == first
    assert Path(first["overlays"]["vda"]).read_bytes() == held


def test_killed_at_any_write_it_goes_on(pool: Pool) -> None:
    kept, before, request = pool.folder / "kept", pool.hashes(), promoting.Request(
        str(pool.machine.root), 3, 7, UUID, "sql")
    shutil.copytree(pool.pool, kept)
    step, done = 1, False
    while not done:
        shutil.rmtree(pool.pool)
        shutil.copytree(kept, pool.pool)
        done = run_until(step, lambda: promoting.promote(request))
        overlays = sorted(pool.pool.glob("*.fo-7.qcow2"))
        if overlays:    # never before the commit, never half made
            assert Replica(str(pool.machine.root)).state.pins == {"failover-7": 3}
        for overlay in overlays:
            disk = "vdb" if "vdb" in overlay.name else "vda"
            assert identical(overlay, pool.machine.flats[3, disk])
        again = pool.promoted()
        assert all(Path(path).exists() for path in again["overlays"].values())
        assert pool.hashes() == before
        step += 3
    assert step > 15


def test_another_file_of_that_name_is_never_overwritten(pool: Pool) -> None:
    (pool.pool / "sql.fo-7.qcow2").write_bytes(b"mine")
    assert "has no qcow2 header" in pool.refusal()
    qemu_img("create", "-q", "-f", "qcow2", "-b", pool.machine.paths("vda", 2)[-1], "-F", "qcow2",
             pool.folder / "other")
    (pool.folder / "other").replace(pool.pool / "sql.fo-7.qcow2")
    assert "is never overwritten, so move it away" in pool.refusal()


@pytest.mark.parametrize(("first", "then", "why"), [
    ((3, 7), (2, 7), "restore point 3 has become the VM at epoch 7 already"),
    ((3, 7), (3, 6), "follows epoch 7 of its VM: its points become the VM only at a newer one"),
    ((3, 7), (9, 8), "there is no restore point 9")])
def test_one_epoch_is_one_copy(pool: Pool, first: tuple[int, int], then: tuple[int, int],
                               why: str) -> None:
    pool.promoted(*first)
    assert why in pool.refusal(*then)


def test_an_older_point_becomes_the_vm_at_a_newer_epoch(pool: Pool) -> None:
    pool.promoted(3, 7)
    assert pool.promoted(2, 8)["overlays"]["vda"].endswith("/sql.fo-8.qcow2")
    assert Replica(str(pool.machine.root)).state.pins == {"failover-7": 3, "failover-8": 2}


def test_a_damaged_point_never_becomes_the_vm(pool: Pool) -> None:
    (pool.machine.root / "vdb/rp-000003.qcow2").unlink()
    assert "damaged clusters: it never becomes the VM" in pool.refusal()
    assert Replica(str(pool.machine.root)).state.pins == {}
    assert "promoted" in pool.promote(2)


def test_a_point_without_a_disk_becomes_the_vm_only_if_that_is_accepted(pool: Pool) -> None:
    pool.define(3, definition(("vda", "vdb", "vdc")))
    assert "restore point 3 does not have disk vdc: it becomes the VM only if" in pool.refusal()
    assert Replica(str(pool.machine.root)).state.pins == {}
    domain = ET.fromstring(pool.promoted(without=["vdc"])["xml"])
    assert [disk.get("dev") for disk in domain.findall("devices/disk/target")] == ["vda", "vdb"]


def test_a_drive_whose_medium_is_not_here_is_empty(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "here.iso").touch()
    drive = "<disk type='file' device='cdrom'><source file='{}'/><target dev='{}'/></disk>"
    pool.define(3, definition(more=drive.format(tmp_path / "here.iso", "sda")
                              + drive.format("/paris/gone.iso", "sdb")))
    told = pool.promoted()
    assert told["ejected"] == ["/paris/gone.iso"]
    media = [disk for disk in ET.fromstring(told["xml"]).findall("devices/disk")
             if disk.get("device") == "cdrom"]
    assert [disk.find("source") is not None for disk in media] == [True, False]


@pytest.mark.parametrize("written", ["<nvram template='/x'>{}</nvram>",
                                     "<nvram type='file'><source file='{}'/></nvram>"])
def test_the_firmware_gets_the_variables_of_that_point(pool: Pool, tmp_path: Path, written: str
                                                       ) -> None:
    old = tmp_path / "nvram/sql_VARS.fd"
    pool.define(2, definition(nvram=written.format(old)), nvram=b"of point 2")
    told = pool.promoted(2)
    made = tmp_path / "nvram/sql_VARS.fo-7.fd"
    assert made.read_bytes() == b"of point 2"
    assert str(made) in told["xml"]
    made.write_bytes(b"the guest's")
    pool.promoted(2)
    assert made.read_bytes() == b"the guest's"
    assert not old.exists()


def test_missing_variables_are_told(pool: Pool, tmp_path: Path) -> None:
    pool.define(3, definition(nvram=f"<nvram>{tmp_path}/sql_VARS.fd</nvram>"))
    assert pool.promoted()["remarks"] == [
        "its NVRAM is not in the point (it had none): the firmware begins with its defaults"]


@pytest.mark.parametrize(("state", "epoch", "why"), [
    ("running", 0, "a copy of epoch 0 of it is running on this host: end that first"),
    ("paused", 6, "a copy of epoch 6 of it is paused on this host: end that first"),
    ("shut off", 8, "a copy of epoch 8 of it is on this host")])
def test_no_second_copy_is_made_beside_another(pool: Pool, state: str, epoch: int,
                                               why: str) -> None:
    pool.libvirt(domstate=state, dumpxml=definition(epoch=epoch))
    assert why in pool.refusal()
    assert Replica(str(pool.machine.root)).state.pins == {}


def test_a_copy_that_is_off_makes_room(pool: Pool) -> None:
    pool.libvirt(domstate="shut off", dumpxml=definition(epoch=6))
    assert pool.promoted()["runs"] is False


def test_one_that_runs_already_is_told(pool: Pool) -> None:
    pool.promoted()
    pool.libvirt(domstate="running", dumpxml=definition(epoch=7))
    assert pool.promoted()["runs"] is True


def test_a_silent_libvirt_is_not_taken_for_an_empty_one(pool: Pool) -> None:
    (pool.folder / "bin/virsh").write_text(
        "#!/bin/sh\necho 'error: failed to connect to the hypervisor' >&2\n"
        "echo \"$*\" | grep -oE '@@[0-9a-f]+@@'\n")
    assert "libvirt does not say whether the VM runs here" in pool.refusal()
    assert Replica(str(pool.machine.root)).state.pins == {}


def test_the_replica_of_another_vm_is_refused(pool: Pool) -> None:
    with locked(str(pool.machine.root)) as replica:
        replica.commit(replica.state._replace(vm="another"))
    assert "holds the replica of another" in pool.refusal()


def test_one_that_fails_holds_up_no_other(pool: Pool) -> None:
    usual = {"replica": str(pool.machine.root), "epoch": 7, "uuid": UUID, "machine": "sql"}
    status, told = ask("promote", {"machines": [
        {**usual, "replica": "/nowhere", "sequence": 3}, {**usual, "sequence": "three"},
        {**usual, "sequence": 3}]}, pool.folder)
    assert status == 0
    assert [list(one) for one in told["machines"]] == [["failed"], ["failed"], ["promoted"]]


def test_a_merge_that_was_cut_off_is_not_waited_for(pool: Pool) -> None:
    with locked(str(pool.machine.root)) as replica:
        replica.commit(replica_retire._without_oldest(replica.state))
    before = pool.hashes()
    told = pool.promoted(2)
    with locked(str(pool.machine.root)) as replica:
        assert replica_retire.finish(replica) == []
    assert identical(Path(told["overlays"]["vda"]), pool.machine.flats[2, "vda"])
    assert pool.hashes() == before


def test_a_mover_that_changes_the_replica_is_ended(pool: Pool) -> None:
    patient = pool.folder / "mover-patient.py"
    patient.write_text("import fcntl, sys, time\nfile = open(sys.argv[1], 'w')\n"
                       "fcntl.flock(file, fcntl.LOCK_EX)\nsys.stdout.write('held\\n')\n"
                       "sys.stdout.flush()\ntime.sleep(600)\n")
    with ended(subprocess.Popen([sys.executable, patient, pool.machine.root / "lock"],
                                stdout=subprocess.PIPE)) as holder:
        pool.promoted()
        assert holder.wait(10) == -signal.SIGTERM


def test_so_is_one_that_receives_for_it(pool: Pool) -> None:
    read, write_end = os.pipe()
    with ended(start_mover("receive", pool.machine.root,
                           stdin=Path(f"/proc/self/fd/{read}"))) as receiver:
        os.close(read)
        pool.promoted()
        assert receiver.wait(10) == -signal.SIGTERM
    os.close(write_end)


def test_qemu_may_pass_to_the_files_and_read_nothing_else(pool: Pool) -> None:
    root = pool.machine.root
    for folder in (root.parent, root, root / "vda", root / "meta"):
        folder.chmod(0o700)
    pool.promoted()
    modes = [stat.S_IMODE(folder.stat().st_mode)
             for folder in (root.parent, root, root / "vda", root / "meta")]
    assert modes == [0o711, 0o711, 0o711, 0o700]
    assert stat.S_IMODE((root / "secret").stat().st_mode) == 0o600


def test_a_promoted_replica_is_in_use_as_long_as_its_overlay_is_there(pool: Pool) -> None:
    pool.promoted()
    for request in ({"sequences": []}, {"sequences": [1]}):
        status, said = asked(pool.machine, "retire", epoch=7, **request)
        assert status == 1
        assert said["sentence"].endswith(
            f"is in use by {pool.pool}/sql-vdb.fo-7.qcow2, which lies over it: end that first")


def test_the_mark_of_the_caller_is_written(pool: Pool) -> None:
    pool.define(3, definition().replace(MARK.format(epoch=0, uuid=UUID), ""))
    told = pool.promoted(mark={"estate": "lab", "deletion": "keep"})
    mark = ET.fromstring(told["xml"]).find("metadata/{https://hotsite.invalid/domain/1}vm")
    assert mark.attrib == {"estate": "lab", "deletion": "keep", "name": "sql",
                           "role": "promoted", "epoch": "7", "uuid": UUID}
