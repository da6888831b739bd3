"""What a disk's XML and its file's header say, and which other devices are seen at all."""

from typing import Any

import pytest

from controller.model.facts import DeviceFacts, DiskFacts, DomainConfig
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.xml.xml import parse_xml

SMALLEST = ("<domain><name>x</name><memory>1024</memory><vcpu>1</vcpu><os>{os}</os>"
            "<devices>{devices}</devices></domain>")


def read(devices: str, os: str = "", traits: dict[str, Any] | None = None) -> DomainConfig:
    text = SMALLEST.format(os=os, devices=devices)
    return parse_config(parse_xml(text), {}, traits or {})


def disk(inner: str, kind: str = "file", words: str = "", driver: str = "qcow2", **traits: Any
         ) -> DiskFacts:
    [found] = read(
        f"<disk type='{kind}' {words}><driver name='qemu' type='{driver}'/>{inner}"
        "<target dev='vda' bus='virtio'/></disk>", traits={"/x": traits} if traits else None).disks
    return found


@pytest.mark.parametrize(("kind", "inner", "source", "told"), [
    ("file", "<source file='/x' startupPolicy='optional'/>", "/x", {"startup_policy": "optional"}),
    ("block", "<source dev='/dev/vg/x'/>", "/dev/vg/x", {}),
    ("volume", "<source pool='default' volume='x.qcow2'/>", "x.qcow2", {"pool": "default"}),
    ("network", "<source protocol='rbd' name='pool/x'><host name='m'/></source>", "pool/x",
     {"protocol": "rbd"}),
    ("dir", "<source dir='/srv'/>", "/srv", {}),
    ("vhostuser", "<source type='unix' path='/run/v.sock'/>", "/run/v.sock", {}),
    ("vhostvdpa", "<source dev='/dev/vhost-vdpa-0'/>", "/dev/vhost-vdpa-0", {}),
    ("nvme", "<source type='pci' managed='yes' namespace='1'><address domain='0x0000'/></source>",
     "1", {}),
])
def test_each_kind_of_disk_says_where_it_lies(
        kind: str, inner: str, source: str, told: dict[str, str]) -> None:
    assert disk(inner, kind) == DiskFacts("vda", source, "qcow2", None, type=kind, bus="virtio",
                                          **told)


@pytest.mark.parametrize(("inner", "flag"), [
    ("<readonly/>", "readonly"), ("<shareable/>", "shareable"), ("<transient/>", "transient"),
    ("<encryption format='luks'/>", "encrypted"),
    ("<source file='/x'><encryption format='luks'/></source>", "encrypted"),
    ("<backingStore type='file'><source file='/b'><encryption format='luks'/></source>"
     "</backingStore>", "encrypted"),
    ("<backingStore type='file'><format type='raw'/><source file='/b'/></backingStore>", "layered"),
    ("<mirror type='file' job='copy'><source file='/m'/></mirror>", "mirrored"),
    ("<source file='/x'><dataStore type='file'><format type='raw'/></dataStore></source>",
     "data_file"),
])
def test_each_flag_is_a_fact(inner: str, flag: str) -> None:
    assert getattr(disk(inner), flag) is True
    assert getattr(disk("<source file='/x'/><backingStore/>"), flag) is False


def test_the_header_of_a_qcow2_is_believed_and_that_of_a_raw_file_is_not() -> None:
    traits: dict[str, Any] = {"version": 2, "encrypted": True, "backing": "b", "data_file": True,
                              "snapshots": 4}
    seen = disk("<source file='/x'/>", **traits)
    assert (seen.qcow2_version, seen.encrypted, seen.layered, seen.data_file, seen.snapshots) == (
        2, True, True, True, 4)
    forged = disk("<source file='/x'/>", driver="raw", **traits)
    assert (forged.qcow2_version, forged.encrypted, forged.layered, forged.data_file,
            forged.snapshots) == (3, False, False, False, 0)


def test_a_lun_is_a_disk_and_media_are_not() -> None:
    config = read("<disk type='block' device='lun'><target dev='sda'/></disk>"
                  "<disk type='file' device='cdrom'><target dev='sdb'/><readonly/></disk>"
                  "<disk type='file' device='floppy'><target dev='fda'/></disk>")
    assert [(one.target, one.device) for one in config.disks] == [("sda", "lun")]
    assert [(one.target, one.device) for one in config.media] == [
        ("sdb", "cdrom"), ("fda", "floppy")]


@pytest.mark.parametrize(("element", "told"), [
    ("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
     DeviceFacts("tpm", "tpm-crb emulator")),
    ("<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' "
     "bus='0x06' slot='0x12' function='0x5'/></source></hostdev>",
     DeviceFacts("hostdev", "pci 0000:06:12.5")),
    ("<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product id='0x0825'/>"
     "</source></hostdev>", DeviceFacts("hostdev", "usb 046d:0825")),
    ("<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='c2177883'/>"
     "</source></hostdev>", DeviceFacts("hostdev", "mdev c2177883")),
    ("<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
     "<address bus='0' target='0' unit='0'/></source></hostdev>",
     DeviceFacts("hostdev", "scsi 0:0:0")),
    ("<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source><address type='pci' "
     "domain='0x0000' bus='0x07' slot='0x00' function='0x1'/></source></interface>",
     DeviceFacts("hostdev", "pci 0000:07:00.1")),
    ("<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv/share'/>"
     "<target dir='share'/></filesystem>", DeviceFacts("filesystem", "/srv/share")),
    ("<memory model='nvdimm'><source><path>/srv/n</path></source></memory>",
     DeviceFacts("nvdimm", "/srv/n")),
    ("<memory model='virtio-pmem'><source><path>/srv/p</path></source></memory>",
     DeviceFacts("virtio-pmem", "/srv/p")),
    ("<shmem name='ring'/>", DeviceFacts("shmem", "ring")),
    ("<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>",
     DeviceFacts("hostdev", "vdpa /dev/vhost-vdpa-0")),
    ("<memory model='sgx-epc'><target/></memory>", DeviceFacts("sgx-epc", "")),
])
def test_devices_that_hold_state_or_bind_to_a_host_are_seen(
        element: str, told: DeviceFacts) -> None:
    assert read(element).devices == (told,)


def test_ordinary_devices_hold_nothing() -> None:
    assert read("<memory model='dimm'><target/></memory><rng model='virtio'/>"
                "<interface type='bridge'/>").devices == ()


@pytest.mark.parametrize(("nvram", "name"), [
    ("<nvram template='/t'>/v.fd</nvram>", "/v.fd"),
    ("<nvram type='file'><source file='/v.fd'/></nvram>", "/v.fd"),
    ("<nvram type='network'><source protocol='iscsi' name='iqn'/></nvram>", "iqn"),
])
def test_nvram_is_seen_in_each_of_its_forms(nvram: str, name: str) -> None:
    assert read("", os=nvram).devices == (DeviceFacts("nvram", name),)
