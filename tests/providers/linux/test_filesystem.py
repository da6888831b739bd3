"""Which file system a folder is on, by the kernel's own tables, played and real."""

from pathlib import Path

import filesystem
import pytest

TABLE = r"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:25 / /srv rw - nfs4 store.example:/vms rw
31 22 8:17 / /var/lib/libvirt/images rw,relatime shared:1 - xfs {device} rw
32 22 8:17 /sub /srv/with\040blank rw - btrfs {device} rw
33 30 0:31 / /srv/set rw - zfs tank/vms rw
"""


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose tables are files; the UUID of a device is told by a name for it."""
    (tmp_path / "mounts").write_text(TABLE.format(device="/dev/null"))
    (tmp_path / "by-uuid").mkdir()
    (tmp_path / "by-uuid/1234-abcd").symlink_to("/dev/null")
    (tmp_path / "fstab").write_text(
        "# /dev/sdb1 /never xfs defaults 0 0\n/dev/sda1 / ext4 defaults 0 1\n"
        "UUID=9 /var/lib/libvirt xfs nofail 0 2\nUUID=8 /mnt/away xfs noauto 0 2\n"
        "UUID=7 none swap sw 0 0\n")
    (tmp_path / "vms.mount").write_text("[Mount]\nWhat=/dev/sdc1\nWhere=/vms\n")
    for name, value in (("MOUNTS", "mounts"), ("BY_UUID", "by-uuid"), ("UNITS", "*.mount")):
        monkeypatch.setattr(filesystem, name, str(tmp_path / value))
    monkeypatch.setattr(filesystem, "TABLES", (str(tmp_path / "fstab"), str(tmp_path / "no")))
    return tmp_path


@pytest.mark.parametrize(("path", "identity", "unmounted"), [
    ("/opt/images", "ext4 /dev/sda1", ""),
    ("/srv/vms", "nfs4 store.example:/vms", ""),
    ("/srv/set/images", "zfs tank/vms", ""),
    ("/srv/settled", "nfs4 store.example:/vms", ""),
    ("/srv/with blank/images", "btrfs 1234-abcd /sub", ""),
    ("/var/lib/libvirt/images", "xfs 1234-abcd", ""),
    ("/var/lib/libvirt/other", "ext4 /dev/sda1", "/var/lib/libvirt"),
    ("/mnt/away/images", "ext4 /dev/sda1", "/mnt/away"),
    ("/vms", "ext4 /dev/sda1", "/vms"),
])
def test_a_folder_lies_on_what_is_mounted_nearest_above_it(
        host: Path, path: str, identity: str, unmounted: str) -> None:
    assert (host / "mounts").exists()
    assert filesystem.filesystem_of(path) == {"identity": identity, "unmounted": unmounted}


def test_a_device_that_has_another_name_after_a_boot_is_the_same_file_system(host: Path) -> None:
    before = filesystem.filesystem_of("/var/lib/libvirt/images")
    (host / "sdz").symlink_to("/dev/null")
    (host / "mounts").write_text(TABLE.format(device=host / "sdz"))
    assert filesystem.filesystem_of("/var/lib/libvirt/images") == before


def test_what_lies_over_a_mount_point_counts(host: Path) -> None:
    with (host / "mounts").open("a") as table:
        table.write("40 31 0:40 / /var/lib/libvirt/images rw - tmpfs tmpfs rw\n")
    assert filesystem.filesystem_of("/var/lib/libvirt/images")["identity"] == "tmpfs tmpfs"


def test_where_no_table_can_be_read_nothing_is_told(host: Path) -> None:
    (host / "mounts").unlink()
    assert filesystem.filesystem_of("/srv") == {"identity": "", "unmounted": ""}


def test_this_machine_says_what_its_own_folders_lie_on() -> None:
    assert filesystem.filesystem_of("/proc")["identity"].startswith("proc ")
    assert filesystem.filesystem_of(str(Path.home()))["identity"]
