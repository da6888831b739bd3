"""A point of a VM that is off equals its disks, whatever was done to them since the last one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mover.backup import backup_job, offline, origins
from mover.backup.virsh import Disk, Domain

from tests.mover.disks import MIB, needs_qemu, tool
from tests.mover.offline_machine import (
    NAME,
    OfflineVm,
    crash_while_open,
    put_back,
    qcow2,
    write,
)

pytestmark = needs_qemu
LOST, ELSEWHERE, PUT_BACK = (
    "its change tracking is lost", "it does not lie where it did at the last point",
    "its change tracking knows less than was sent since")


@pytest.fixture(autouse=True)
def calm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose files were last written to long ago by its clock."""
    monkeypatch.setattr(offline, "FOLDER", str(tmp_path))
    monkeypatch.setattr(origins, "FRESH_NS", 0)


@pytest.fixture
def vm(tmp_path: Path) -> OfflineVm:
    """A VM with one disk that was copied while it ran, and has been shut down."""
    made = OfflineVm(tmp_path, vda=qcow2(tmp_path, "vda"))
    made.ran()
    return made


def source(vm: OfflineVm, target: str = "vda") -> str:
    """Return the file of a disk."""
    return vm.disks[target].source


def test_what_a_guest_wrote_is_an_increment_and_then_nothing_is(vm: OfflineVm) -> None:
    write(source(vm), 1)
    assert vm.copy() == {"vda": "increment"}
    assert vm.since == NAME, "the next is built on it, too"
    assert vm.copy() == {"vda": "unchanged"}
    assert "socket" not in vm.disks_told["vda"], "it was not even opened"
    write(source(vm), 3)
    assert vm.copy() == {"vda": "increment"}
    assert vm.is_right()


def test_an_image_that_was_swapped_and_put_back_is_compared(vm: OfflineVm, tmp_path: Path) -> None:
    other = Path(qcow2(tmp_path, "b", "B").source)
    Path(source(vm)).rename(tmp_path / "kept")
    other.rename(source(vm))
    assert vm.copy()["vda"].startswith(ELSEWHERE)
    assert vm.is_right()
    assert vm.since == "", "nothing tells what comes to differ from it"
    (tmp_path / "kept").rename(source(vm))
    assert vm.copy() == {"vda": "scan"}
    assert vm.is_right()


@pytest.mark.parametrize("while_off", [1, 2])
def test_an_image_put_back_to_before_it_was_copied_is_compared(
        vm: OfflineVm, tmp_path: Path, while_off: int) -> None:
    shutil.copy(source(vm), tmp_path / "older")
    write(source(vm), 1)
    for _ in range(while_off):
        vm.copy()
    put_back(tmp_path / "older", source(vm))
    assert vm.copy()["vda"].startswith(PUT_BACK)
    assert vm.is_right()


def test_so_is_one_that_was_written_to_elsewhere_after_that(vm: OfflineVm, tmp_path: Path) -> None:
    shutil.copy(source(vm), tmp_path / "older")
    write(source(vm), 1)
    vm.copy()
    put_back(tmp_path / "older", source(vm))
    write(source(vm), 5)
    assert vm.copy()["vda"].startswith(PUT_BACK)
    assert vm.is_right()


def test_an_image_put_back_before_any_copy_of_it_is_right_by_its_own_record(
        vm: OfflineVm, tmp_path: Path) -> None:
    write(source(vm), 1)
    shutil.copy(source(vm), tmp_path / "older")
    write(source(vm), 2)
    put_back(tmp_path / "older", source(vm))
    assert vm.copy() == {"vda": "increment"}
    assert vm.is_right()


def snapshot(vm: OfflineVm) -> None:
    """Put an overlay on top as libvirt does, with the records that the file below has."""
    base = source(vm)
    write(base, 1)
    over = base.replace(".qcow2", ".snap1")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, over)
    tool("qemu-img", "bitmap", "--add", over, NAME)
    write(over, 3)
    vm.disks["vda"] = Disk(over, "qcow2", "file")


def forgotten(vm: OfflineVm) -> None:
    """Take the record out."""
    tool("qemu-img", "bitmap", "--remove", source(vm), NAME)
    write(source(vm), 2)


def stopped(vm: OfflineVm) -> None:
    """Have the record note nothing any more."""
    tool("qemu-img", "bitmap", "--disable", source(vm), NAME)
    write(source(vm), 2)


def renewed(vm: OfflineVm) -> None:
    """Put a copy in the place of the image, with all that is in it."""
    write(source(vm), 2)
    shutil.copy(source(vm), source(vm) + ".new")
    Path(source(vm) + ".new").rename(source(vm))


@pytest.mark.parametrize("deed", [
    snapshot, forgotten, stopped, renewed, lambda vm: crash_while_open(source(vm))])
def test_a_record_that_may_be_of_something_else_is_not_believed(
        vm: OfflineVm, deed: Callable[[OfflineVm], None]) -> None:
    deed(vm)
    assert vm.copy()["vda"].startswith((LOST, ELSEWHERE))
    assert vm.is_right()
    assert vm.since == ""


def test_a_disk_that_was_made_larger_is_right(vm: OfflineVm) -> None:
    write(source(vm), 1)
    tool("qemu-img", "resize", "-q", source(vm), "12M")
    write(source(vm), 11)
    vm.held["vda"].extend(bytes(4 * MIB))
    vm.copy()
    assert vm.is_right()


def test_a_disk_that_is_shown_by_another_format_is_compared(vm: OfflineVm) -> None:
    vm.copy()
    assert vm.copy() == {"vda": "unchanged"}
    image = vm.disks["vda"]
    for form in ("raw", "qcow2"):
        vm.disks["vda"] = image._replace(format=form)
        vm.held["vda"][:] = vm.held["vda"].ljust(len(vm.contents("vda")), b"\0")[
            :len(vm.contents("vda"))]
        assert vm.copy() != {"vda": "unchanged"}
        assert vm.is_right()


@pytest.mark.parametrize("then_written", [False, True])
def test_what_was_cut_off_a_disk_that_has_its_size_again_is_seen(
        vm: OfflineVm, then_written: bool) -> None:
    """QEMU's records of changes know nothing of what a disk lost by being made smaller."""
    tool("qemu-img", "resize", "-q", "--shrink", source(vm), "4M")
    tool("qemu-img", "resize", "-q", source(vm), "8M")
    if then_written:
        write(source(vm), 7)
    assert vm.copy() == {"vda": "increment"}
    assert vm.is_right()
    assert vm.since == NAME
    assert vm.copy() == {"vda": "unchanged"}


def test_disks_that_were_swapped_are_compared(tmp_path: Path) -> None:
    vm = OfflineVm(tmp_path, vda=qcow2(tmp_path, "vda"), vdb=qcow2(tmp_path, "vdb", "B"))
    vm.ran()
    one, other = vm.disks["vda"], vm.disks["vdb"]
    vm.disks.update(vda=other, vdb=one)
    found = vm.copy()
    assert all(why.startswith(ELSEWHERE) for why in found.values()), found
    assert vm.is_right()
    Path(one.source).rename(tmp_path / "kept")      # now by their names
    Path(other.source).rename(one.source)
    (tmp_path / "kept").rename(other.source)
    vm.copy()
    assert vm.is_right()


def test_one_disk_without_a_record_leaves_no_base(tmp_path: Path) -> None:
    vm = OfflineVm(tmp_path, vda=qcow2(tmp_path, "vda"), vdb=qcow2(tmp_path, "vdb", "B"))
    vm.ran()
    write(source(vm), 1)
    tool("qemu-img", "bitmap", "--remove", source(vm, "vdb"), NAME)
    assert vm.copy() == {"vda": "increment", "vdb": LOST}
    assert vm.since == ""


def test_a_file_below_that_changed_is_seen(tmp_path: Path) -> None:
    below = qcow2(tmp_path, "template", "T")
    over = tmp_path / "over.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "template.qcow2", over)
    vm = OfflineVm(tmp_path, vda=Disk(str(over), "qcow2", "file"))
    vm.ran()
    write(str(over), 1)
    assert vm.copy() == {"vda": "increment"}
    assert vm.copy() == {"vda": "unchanged"}
    write(below.source, 6)
    assert vm.copy()["vda"].startswith(ELSEWHERE)
    assert vm.is_right()


def test_contents_in_a_file_apart_are_compared_unless_that_is_untouched(tmp_path: Path) -> None:
    path, data = tmp_path / "meta.qcow2", tmp_path / "contents.raw"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on",
         path, "8M")
    vm = OfflineVm(tmp_path, vda=Disk(str(path), "qcow2", "file"))
    vm.ran()
    write(str(path), 1)
    vm.copy()
    assert vm.is_right()
    with data.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"by the host")
    assert vm.copy()["vda"] != "unchanged"
    assert vm.is_right()


def test_a_raw_disk_with_the_header_of_another_image_is_copied_as_it_is(tmp_path: Path) -> None:
    path, secret = tmp_path / "a.raw", tmp_path / "secret"
    secret.write_bytes(b"S" * (8 * MIB))
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, path, "64M")
    os.truncate(path, 8 * MIB)
    vm = OfflineVm(tmp_path, vda=Disk(str(path), "raw", "file"))
    for how in ("scan", "unchanged"):
        assert vm.copy() == {"vda": how}
        assert vm.disks_told["vda"]["size_bytes"] == 8 * MIB, how
        assert vm.is_right()
    assert b"S" * 512 not in vm.held["vda"]


def test_a_raw_file_is_unchanged_only_while_nobody_wrote_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"A" * (2 * MIB + 1000))       # QEMU reads whole sectors of it
    vm = OfflineVm(tmp_path, vda=Disk(str(path), "raw", "file"))
    vm.held["vda"][:] = bytes(2 * MIB + 1024)
    assert vm.copy() == {"vda": "scan"}
    size = vm.disks_told["vda"]["size_bytes"]
    assert vm.copy() == {"vda": "unchanged"}
    assert vm.disks_told["vda"]["size_bytes"] == size == 2 * MIB + 1024
    kept = path.stat()
    with path.open("r+b") as file:
        file.write(b"B")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert vm.copy() == {"vda": "scan"}
    assert vm.is_right()


def test_what_was_written_an_instant_ago_is_not_taken_for_unchanged(
        vm: OfflineVm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "FRESH_NS", 60_000_000_000)
    write(source(vm), 1)
    vm.copy()
    assert vm.facts["fingerprints"] == {}
    assert vm.copy() == {"vda": "increment"}


@pytest.fixture
def device(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A block device, and the file below it."""
    below = tmp_path / "below"
    below.write_bytes(b"A" * (2 * MIB))
    done = subprocess.run(["losetup", "--show", "-f", below], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        pytest.skip(f"no block device can be had here: {done.stderr.strip()}")
    yield done.stdout.strip(), below
    tool("losetup", "-d", done.stdout.strip())


def test_a_device_at_rest_is_compared_whatever_wrote_to_it(
        tmp_path: Path, device: tuple[str, Path]) -> None:
    node, below = device
    vm = OfflineVm(tmp_path, vda=Disk(node, "raw", "block"))
    vm.held["vda"][:] = bytes(2 * MIB)
    assert vm.copy() == {"vda": "scan"}
    assert vm.copy() == {"vda": "scan"}, "nothing says that it is unchanged"
    with below.open("r+b") as file:     # as a merged snapshot, DRBD or a SAN would
        file.seek(MIB)
        file.write(b"below the node")
    tool("blockdev", "--flushbufs", node)
    assert vm.copy() == {"vda": "scan"}
    assert vm.is_right()


def test_a_write_to_a_device_while_it_is_read_is_seen(device: tuple[str, Path]) -> None:
    node, _ = device
    domain = Domain("u", "sql", "", {"vda": Disk(node, "raw", "block")}, "", agent=False)
    before = offline.traces(domain, {"vda": origins.origin_of(domain.disks["vda"])})
    with Path(node).open("r+b") as file:
        file.write(b"by the host")
        os.fsync(file.fileno())
    after = offline.traces(domain, {"vda": origins.origin_of(domain.disks["vda"])})
    assert before != after


def test_a_device_tells_nothing_of_its_writes(tmp_path: Path) -> None:
    device = Disk("/dev/null", "raw", "block")
    assert origins.fingerprint_of(origins.origin_of(device)) is None
    assert not origins.origin_of(Disk(str(tmp_path), "raw", "file")).whole
    assert not origins.origin_of(Disk("", "raw", "network")).whole


@pytest.mark.parametrize("reason", ["saved", "failed", "destroyed", "crashed", "unknown", ""])
def test_only_a_clean_shutdown_is_quiesced_and_may_be_unchanged(
        tmp_path: Path, reason: str) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"A" * MIB)
    vm = OfflineVm(tmp_path, vda=Disk(str(path), "raw", "file"))
    vm.copy()
    vm.reason = reason
    with vm.opened() as told:
        assert told["quiesced"] is False
        assert ("managed save" if reason == "saved" else "not shut down") in told[
            "unquiesced_because"]
        assert not told["disks"]["vda"]["tracked"]
    vm.reason = "shutdown"
    with vm.opened() as told:
        assert (told["quiesced"], told["unquiesced_because"]) == (True, "")


def test_a_name_without_a_nonce_is_still_one_of_ours() -> None:
    assert backup_job.OURS.match("hotsite-000001.2")
    assert backup_job.OURS.match(f"{NAME}.2")
    assert not backup_job.OURS.match("hotsite-000001-mine")
