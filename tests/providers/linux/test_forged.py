"""A guest cannot forge facts: the content of its raw disk is never read as a header."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from controller.providers.libvirt.facts import parse_domain
from tests.providers.linux.test_images import create, over

DOMAIN = """<domain id='4'><name>sql</name><uuid>u</uuid><memory unit='KiB'>4</memory>
<vcpu>1</vcpu><devices>
<disk type='file' device='disk'><driver name='qemu'{form} cache='none'/>
<source file='{path}' index='1'/>{below}<target dev='vda'/></disk>
<serial type='file'><source path='/log'/></serial></devices></domain>"""
BELOW = "<backingStore type='file' index='2'><format type='{}'/><source file='{}'/></backingStore>"
BYTES = 1 << 20


def facts_of(path: Path, form: str, below: str = "") -> Any:
    """Return what is seen of a domain with one disk."""
    domains = import_module("domains")
    declared = f" type='{form}'" if form else ""
    xml = DOMAIN.format(form=declared, path=path, below=below)
    told = domains.DomainDetails(["running (booted)", xml, xml, "", "Job type: None"], False)
    looks = domains.probes_of(set(told.paths().items()))
    files = {disk: what for look in looks.values() for disk, what in look().items()}
    return parse_domain({"name": "sql", "uuid": "u", "persistent": True, "autostart": False,
                         **told.row(True, files)})


def forged(folder: Path) -> Path:
    """Return a raw disk of 2 MiB into which its guest wrote the header of an image of 64 MiB."""
    secret = create(folder / "secret", image_format="raw")
    disk = over(folder / "forged", secret, "raw")
    os.truncate(disk, 2 * BYTES)
    with disk.open("r+b") as file:
        file.seek(24)
        file.write((64 * BYTES).to_bytes(8))
    return disk


@pytest.mark.parametrize("form", ["raw", ""])
def test_a_raw_disk_is_as_large_as_its_file_and_names_no_other(tmp_path: Path, form: str) -> None:
    disk = forged(tmp_path)
    facts = facts_of(disk, form)
    assert facts.live.disks[0].size_bytes == 2 * BYTES
    assert not facts.live.disks[0].layered
    assert [use.path for use in facts.files] == [str(disk)]


def test_so_it_is_of_one_that_lies_below_another(tmp_path: Path) -> None:
    disk = forged(tmp_path)
    top = over(tmp_path / "top.qcow2", disk, "raw")
    facts = facts_of(top, "qcow2", BELOW.format("raw", disk))
    assert facts.live.disks[0].size_bytes == BYTES
    assert {use.path for use in facts.files} == {str(top), str(disk)}


def test_what_is_declared_to_be_qcow2_and_is_none_has_no_size(tmp_path: Path) -> None:
    torn = tmp_path / "torn.qcow2"
    torn.write_bytes(bytes(BYTES))
    assert facts_of(torn, "qcow2").live.disks[0].size_bytes is None


@pytest.mark.parametrize("place", ["fifo", "/dev/null", "folder"])
def test_what_is_no_disk_is_not_even_opened(
        tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / place
    if place == "fifo":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    images = import_module("mover.image.header")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("a watchdog would run now"))
    assert images.head_of(str(path)) == b""
    assert images.virtual_size(str(path), "raw") is None
