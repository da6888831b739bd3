"""What the facts script reads in the headers that qemu-img writes."""

import json
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.providers.linux.conftest import PlayedHost

CRYPT_METHOD, LUKS = 32, b"\0\0\0\2"

def create(path: Path, *words: str, image_format: str = "qcow2", size: str = "1M") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", image_format, *words, str(path), size],
                   check=True)
    return path


def encrypted(path: Path) -> Path:
    """Make an image whose header says LUKS; qemu-img measures a key's cost, and fails under load.
    """
    create(path)
    with path.open("r+b") as file:
        file.seek(CRYPT_METHOD)
        file.write(LUKS)
    return path


def traits_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = import_module("mover.image.header").traits_of(str(path))
    return found


def over(path: Path, below: Path, form: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", below.name, "-F", form,
                    str(path), "1M"], check=True)
    return path


def test_an_ordinary_image_has_no_odd_traits(tmp_path: Path) -> None:
    assert traits_of(create(tmp_path / "q.qcow2")) == {}
    assert traits_of(create(tmp_path / "r.raw", image_format="raw")) == {}
    assert traits_of(tmp_path / "nowhere") == {}


def test_an_old_image_says_its_version(tmp_path: Path) -> None:
    assert traits_of(create(tmp_path / "q.qcow2", "-o", "compat=0.10")) == {"version": 2}


def test_a_data_file_is_seen(tmp_path: Path) -> None:
    image = create(tmp_path / "q.qcow2", "-o", f"data_file={tmp_path}/d.raw")
    assert traits_of(image) == {"data_file": True}


def test_what_lies_below_is_named_from_where_the_name_of_the_image_is(tmp_path: Path) -> None:
    """QEMU looks beside the link, not beside the file to which that leads."""
    base = create(tmp_path / "base.qcow2")
    real = over(tmp_path / "real.qcow2", base, "qcow2")
    (tmp_path / "elsewhere").mkdir()
    real.rename(tmp_path / "elsewhere/real.qcow2")
    link = tmp_path / "link.qcow2"
    link.symlink_to("elsewhere/real.qcow2")
    told = json.loads(subprocess.run(
        ["qemu-img", "info", "--output=json", str(link)], check=True, capture_output=True).stdout)
    assert traits_of(link)["layers"] == [told["full-backing-filename"]]


def test_a_name_that_no_path_can_be_is_no_file(tmp_path: Path) -> None:
    image = over(tmp_path / "q.qcow2", tmp_path / "ba\1se", "qcow2")
    image.write_bytes(image.read_bytes().replace(b"ba\1se", b"ba\0se"))
    assert traits_of(image)["backing"] == "ba\0se"


def test_snapshots_inside_are_counted(tmp_path: Path) -> None:
    image = create(tmp_path / "q.qcow2")
    for name in ("before", "after"):
        subprocess.run(["qemu-img", "snapshot", "-c", name, str(image)], check=True)
    assert traits_of(image) == {"snapshots": 2}


def test_encryption_is_seen_at_any_depth(tmp_path: Path) -> None:
    base = encrypted(tmp_path / "base.qcow2")
    assert traits_of(base) == {"encrypted": True}
    middle = over(tmp_path / "middle.qcow2", base, "qcow2")
    top = over(tmp_path / "top.qcow2", middle, "qcow2")
    assert traits_of(top) == {
        "encrypted": True, "backing": "middle.qcow2", "layers": [str(middle), str(base)]}


def test_a_luks_file_below_is_encryption_and_one_that_a_guest_made_is_not(tmp_path: Path) -> None:
    below = create(tmp_path / "below.luks", image_format="raw")
    assert traits_of(over(tmp_path / "a.qcow2", below, "luks"))["encrypted"] is True
    assert "encrypted" not in traits_of(over(tmp_path / "b.qcow2", below, "raw"))


def test_what_a_guest_wrote_into_a_raw_file_below_is_no_header(tmp_path: Path) -> None:
    forged = encrypted(tmp_path / "forged.raw")
    assert traits_of(over(tmp_path / "a.qcow2", forged, "raw")) == {
        "backing": "forged.raw", "layers": [str(forged)]}


def test_a_chain_that_goes_round_has_an_end(tmp_path: Path) -> None:
    one, two = tmp_path / "one.qcow2", tmp_path / "two.qcow2"
    over(two, one, "qcow2")
    over(one, two, "qcow2")
    assert traits_of(one) == {
        "backing": "two.qcow2", "layers": [str(two), str(one)]}


@pytest.mark.parametrize("length", [0, 5, 60, 103])
def test_a_file_that_is_cut_short_is_no_image(tmp_path: Path, length: int) -> None:
    whole = create(tmp_path / "q.qcow2", "-o", "compat=0.10").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:length])
    assert traits_of(tmp_path / "cut") == {}


def test_a_host_tells_of_odd_images_alone(host: PlayedHost, tmp_path: Path) -> None:
    image = create(tmp_path / "old.qcow2", "-o", "compat=0.10")
    mail = next(one for one in host.domains if one["name"] == "mail")
    mail["live_xml"] = mail["live_xml"].replace(
        "/var/lib/libvirt/images/mail-vda.qcow2", str(image))
    host.set_libvirt()
    rows = {row["name"]: row for row in json.loads(
        host.ask()["sections"]["domains"]["text"])}
    assert rows["mail"]["disk_traits"] == {str(image): {"version": 2}}
    assert "disk_traits" not in rows["files"]


def test_what_a_guest_writes_into_its_raw_disk_is_no_header(
        host: PlayedHost, tmp_path: Path) -> None:
    forged = encrypted(tmp_path / "forged.raw")
    mail = next(one for one in host.domains if one["name"] == "mail")
    for key in ("live_xml", "config_xml"):
        mail[key] = mail[key].replace("/var/lib/libvirt/images/mail-vda.qcow2", str(forged)
                                      ).replace("type='qcow2'", "type='raw'")
    host.set_libvirt()
    rows = {row["name"]: row for row in json.loads(host.ask()["sections"]["domains"]["text"])}
    assert rows["mail"]["disk_sizes"][str(forged)] == -(-forged.stat().st_size // 512) * 512
    assert "disk_traits" not in rows["mail"]
