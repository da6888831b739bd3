"""Disk files by the real qemu-img: created whole or not at all, never overwritten or shrunk."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from controller.errors import ActionError, Refused, Unavailable
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.storage import CreateDisk
from controller.providers.libvirt.disk import find_image, grow_file
from controller.providers.libvirt.hands import LibvirtHands
from controller.providers.libvirt.migration.disks import is_empty, rename_stale
from controller.providers.node import Node
from controller.transport.base import Reply
from tests.providers.fakes import Local, Scripted, failed

MIB = 1 << 20
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="there is no qemu-img")


def here() -> Local:
    return Local(dict(os.environ))


def desired_disk(folder: Path, size_mib: int = 8, file_format: str = "qcow2",
         image: Path | None = None) -> DesiredDisk:
    return DesiredDisk("vda", "default", str(folder / f"sql-vda.{file_format}"), file_format,
                    size_mib * MIB, None if image is None else str(image))


def create(disk: DesiredDisk) -> str:
    action = CreateDisk(target="VirtualMachine/sql", node="h", reason="r", disk=disk)
    return asyncio.run(LibvirtHands(here()).apply(action))


def image_of(folder: Path, size_mib: int = 4) -> Path:
    """An image with something in it."""
    image = folder / "debian.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, f"{size_mib}M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", image], check=True,
                   stdout=subprocess.DEVNULL)
    return image


@pytest.mark.parametrize("file_format", ["qcow2", "raw"])
def test_a_disk_is_created_with_its_size_and_for_root_alone(
        tmp_path: Path, file_format: str) -> None:
    disk = desired_disk(tmp_path, file_format=file_format)
    assert create(disk) == f"created {disk.path} (8MiB, {file_format}) on h"
    found = asyncio.run(find_image(Node(here(), "h"), disk.path, file_format))
    assert found is not None
    assert found.size_bytes == 8 * MIB
    assert Path(disk.path).stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [Path(disk.path).name]


def test_a_disk_that_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    disk = desired_disk(tmp_path, image=image_of(tmp_path))
    create(disk)
    before = Path(disk.path).read_bytes()
    assert create(desired_disk(tmp_path)).endswith("is on h already and was left as it is")
    assert Path(disk.path).read_bytes() == before


def test_a_file_that_is_something_else_is_never_overwritten(tmp_path: Path) -> None:
    create(desired_disk(tmp_path))
    with pytest.raises(Refused, match="instead of 16MiB: it is never overwritten"):
        create(desired_disk(tmp_path, 16))
    (tmp_path / "sql-vda.qcow2").write_text("a letter")
    with pytest.raises(Refused, match="is not a qcow2 that can be read"):
        create(desired_disk(tmp_path))
    assert (tmp_path / "sql-vda.qcow2").read_text() == "a letter"


def test_a_copy_of_an_image_is_as_large_as_was_asked(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    disk = desired_disk(tmp_path, 16, "raw", image)
    assert create(disk).endswith(f"from {image}")
    content = Path(disk.path).read_bytes()
    assert len(content) == 16 * MIB
    assert content[:MIB] == b"\x07" * MIB


def test_an_image_that_does_not_fit_or_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds 32MiB and does not fit into 8MiB"):
        create(desired_disk(tmp_path, image=image_of(tmp_path, 32)))
    with pytest.raises(Refused, match="h has no image"):
        create(desired_disk(tmp_path, image=tmp_path / "nothing"))


def test_an_image_that_names_other_files_is_refused_and_they_are_not_read(tmp_path: Path) -> None:
    secret, forged = tmp_path / "secret", tmp_path / "forged"
    secret.write_bytes(b"s" * MIB)
    for how in (("-b", secret, "-F", "raw"), ("-o", f"data_file={tmp_path / 'apart'}")):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *how, forged, "4M"], check=True)
        with pytest.raises(Refused, match="does not stand alone, and the files that it names"):
            create(desired_disk(tmp_path, image=forged))
    assert not (tmp_path / "sql-vda.qcow2").exists()


@pytest.mark.parametrize("file_format", ["vmdk", "vdi", "vhdx", "vpc"])
def test_an_image_of_a_kind_that_no_disk_here_has_is_refused(
        tmp_path: Path, file_format: str) -> None:
    image = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", file_format, image, "4M"], check=True)
    with pytest.raises(Refused, match="make a qcow2 of it"):
        create(desired_disk(tmp_path, image=image))


def test_an_image_that_is_raw_is_copied_as_it_is(tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"r" * MIB)
    disk = desired_disk(tmp_path, 2, "raw", image)
    create(disk)
    assert Path(disk.path).read_bytes() == b"r" * MIB + bytes(MIB)


def test_what_an_attempt_that_was_cut_off_left_is_no_hindrance(tmp_path: Path) -> None:
    disk = desired_disk(tmp_path)
    Path(disk.path + ".part").write_bytes(b"half a disk" * 100)
    create(disk)
    assert not Path(disk.path + ".part").exists()


def test_an_attempt_that_is_still_at_work_is_not_disturbed(tmp_path: Path) -> None:
    disk = desired_disk(tmp_path)
    part = disk.path + ".part"
    with subprocess.Popen(["flock", part, "sh", "-c", "echo ready; read x"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(Unavailable, match="an earlier attempt is still at work"):
            create(disk)
        assert not Path(disk.path).exists()
        holder.stdin.close()


@pytest.mark.parametrize(("reply", "error", "words"), [
    (failed("qemu-img: error while writing at byte 0: No space left on device\n"), Refused,
     "pool default is full"),
    (failed("ln: failed to create hard link '/p/sql-vda.qcow2': File exists\n"), Refused,
     "never overwritten"),
    (failed("", 75), Unavailable, "still at work"),
])
def test_each_failure_says_what_is_then_true(
        reply: Reply, error: type[ActionError], words: str) -> None:
    absent = failed("qemu-img: Could not open '/p/x': No such file or directory\n")
    transport = Scripted(("qemu-img info", absent), ("sh -c", reply))
    action = CreateDisk(target="t", node="h", reason="r", disk=desired_disk(Path("/p")))
    with pytest.raises(error, match=words):
        asyncio.run(LibvirtHands(transport).apply(action))


def test_a_disk_grows_and_never_shrinks(tmp_path: Path) -> None:
    disk = desired_disk(tmp_path)
    create(disk)
    node = Node(here(), "h")
    assert asyncio.run(grow_file(node, disk.path, "qcow2", 16 * MIB)).endswith("16MiB now")
    assert asyncio.run(grow_file(node, disk.path, "qcow2", 4 * MIB)).endswith("has 16MiB already")
    found = asyncio.run(find_image(node, disk.path, disk.format))
    assert found is not None
    assert found.size_bytes == 16 * MIB


def test_an_empty_disk_is_told_from_one_that_holds_anything(tmp_path: Path) -> None:
    disk = desired_disk(tmp_path)
    create(disk)
    node = Node(here(), "h")
    assert asyncio.run(is_empty(node, disk))
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 4M 512", disk.path], check=True,
                   stdout=subprocess.DEVNULL)
    assert not asyncio.run(is_empty(node, disk))


def test_a_stale_disk_is_put_aside_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "sql-vda.raw"
    for content in ("first", "second"):
        path.write_text(content)
        asyncio.run(rename_stale(Node(here(), "h"), str(path), "sql was not moved"))
    assert not path.exists()
    assert (tmp_path / "sql-vda.raw.stale-1").read_text() == "first"
    assert (tmp_path / "sql-vda.raw.stale-2").read_text() == "second"
