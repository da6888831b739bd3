"""The XML file that a new VM starts from: what is accepted as one, and what is not."""

from pathlib import Path

import pytest

from tests.source.check.sound import SOUND
from tests.source.check.test_check import problems_of


@pytest.mark.parametrize(("data", "expected"), [
    (b"<domain type='kvm'/>", None),
    (b"<network/>", "begins with <network>: a template is one <domain>"),
    (b"<domain>", "is not XML: line 1: no element found: correct it"),
    (b"", "is not XML: line 1: no element found: correct it"),
    (b"<!DOCTYPE d [<!ENTITY a 'b'>]><domain/>", "holds a DOCTYPE: remove it"),
    (b"<domain>\xff</domain>", "is not UTF-8: convert it"),
    (b"<domain>" + b" " * (1 << 20) + b"</domain>", "is larger than 1 MiB: that is no domain XML"),
])
def test_a_template_is_domain_xml(tmp_path: Path, data: bytes, expected: str | None) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/t.xml").write_bytes(data)
    found = problems_of(tmp_path, SOUND.replace("protection: gold", "template: t.xml"))
    assert found == ([] if expected is None else [f"a.yaml:59:13: template `t.xml` {expected}"])


def told_of(tmp_path: Path, devices: str, more: str = "") -> str:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/t.xml").write_text(
        f"<domain type='kvm'>{more}<devices>{devices}</devices></domain>")
    return " ".join(problems_of(tmp_path, SOUND.replace("protection: gold", "template: t.xml")))


DISK = "<disk type='file' device='disk'><source file='/old.qcow2'/>{}<target dev='vdz'/></disk>"


@pytest.mark.parametrize(("devices", "more", "sentence"), [
    ("", "<os><nvram template='/t.fd'>/nvram/old.fd</nvram></os>",
     "the firmware variables /nvram/old.fd of another machine: take <nvram> out of it"),
    ("", "<os><nvram type='file'><source file='/nvram/old.fd'/></nvram></os>",
     "the firmware variables /nvram/old.fd"),
    (DISK.format("<encryption format='luks'/>"), "", "the key of vdz"),
    ("<disk type='file'><source file='/x'><encryption format='luks'/></source>"
     "<target dev='vda'/></disk>", "", "the key of vda"),
    (DISK.format("<auth username='a'/>"), "", "the login of vdz"),
    ("<serial type='file'><source path='/var/log/old.log'/></serial>", "",
     "the serial /var/log/old.log, which another machine has open"),
    ("<channel type='unix'><source mode='bind' path='/srv/old.sock'/></channel>", "",
     "the channel /srv/old.sock, which another machine has open"),
    ("<graphics type='vnc' socket='/srv/old.vnc'/>", "", "the screen /srv/old.vnc"),
    ("<graphics type='spice'><listen type='socket' socket='/srv/old.spice'/></graphics>", "",
     "the screen /srv/old.spice"),
    ("<pstore backend='acpi-erst'><path>/old.erst</path></pstore>", "", "the crash log /old.erst"),
    ("<memory model='nvdimm'><source><path>/old.nvdimm</path></source></memory>", "",
     "the non-volatile memory /old.nvdimm"),
    ("<tpm><backend type='emulator'><source type='dir' path='/old.tpm'/></backend></tpm>", "",
     "the TPM's state /old.tpm"),
    ("", "<seclabel type='static' model='dac'><label>+7:+7</label></seclabel>",
     "the security label +7:+7"),
    ("<disk type='file' device='cdrom'><target dev='vda'/></disk>", "",
     "a cdrom at vda, where disk vda is declared"),
    ("<disk type='network' device='disk'><source protocol='rbd' name='p/i'/><target dev='vda'/>"
     "</disk>", "", "disk vda as libvirt's kind network, and the declared one is a file"),
])
def test_what_belongs_to_another_machine_is_refused_by_name(
        tmp_path: Path, devices: str, more: str, sentence: str) -> None:
    told = told_of(tmp_path, devices, more)
    assert "template `t.xml` has" in told
    assert sentence in told


@pytest.mark.parametrize("devices", [
    "<channel type='unix'><source mode='bind'"
    " path='/run/libvirt/qemu/channel/7-old/org.qemu.guest_agent.0'/></channel>",
    "<serial type='pty'><source path='/dev/pts/3'/></serial>",
    "<disk type='file' device='cdrom'><source file='/iso/a.iso'/><target dev='sda'/></disk>",
    DISK.format("<backingStore type='file'><source file='/golden.qcow2'/></backingStore>"),
    "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
    "<memory model='dimm'><target><size unit='MiB'>512</size></target></memory>",
])
def test_what_libvirt_makes_anew_and_what_many_may_share_is_taken(
        tmp_path: Path, devices: str) -> None:
    assert told_of(tmp_path, devices) == ""
