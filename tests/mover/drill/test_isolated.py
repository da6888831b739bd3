"""What a drilled guest gets of the host: nothing that leads out of its drill."""

import xml.etree.ElementTree as ET

import pytest
from mover.drill.bridges import bridges_of
from mover.drill.isolated import isolate, put_on_served, tag_cards, tags_of
from mover.drill.serving import USER, image_of
from mover.failover.overlay import Layer

CARD = "<interface type='{kind}'><mac address='52:54:00:00:00:01'/>{more}</interface>"


def domain(devices: str, top: str = "") -> ET.Element:
    """Return a domain with devices."""
    return ET.fromstring(f"<domain type='kvm'><name>sql</name><uuid>u</uuid>{top}"
                         f"<devices>{devices}</devices></domain>")


def isolated(made: ET.Element, *, ovs: bool = True) -> list[str]:
    """Isolate a domain and return what was left out."""
    return isolate(made, "hotsite-drill-sql", "d", bridges_of("hsd0", tags_of(made), ovs=ovs),
                   ovs=ovs)


@pytest.mark.parametrize(("device", "word"), [
    ("<hostdev mode='subsystem' type='pci'/>", "its hostdev"),
    ("<filesystem type='mount'><source dir='/srv'/></filesystem>", "its filesystem"),
    ("<redirdev bus='usb' type='tcp'/>", "its redirdev"),
    ("<shmem name='x'/>", "its shmem"), ("<vsock model='virtio'/>", "its vsock"),
    ("<tpm model='tpm-crb'/>", "its tpm"), ("<smartcard mode='host'/>", "its smartcard"),
    ("<rng model='virtio'><backend model='egd' type='udp'/></rng>",
     "its rng, which asks somebody else"),
    ("<memory model='nvdimm'/>", "its memory of model nvdimm"),
    ("<input type='evdev'/>", "its input of type evdev"),
    ("<channel type='spicevmc'><target type='virtio'/></channel>", "its channel of type spicevmc"),
    ("<something-of-tomorrow/>", "its something-of-tomorrow"),
])
def test_what_may_lead_out_is_left_out_and_said(device: str, word: str) -> None:
    made = domain(device + "<memballoon model='virtio'/>")
    assert isolated(made) == [word]
    assert [one.tag for one in made.iterfind("devices/*")] == ["memballoon"]


def test_a_command_line_for_qemu_is_left_out_and_said() -> None:
    made = domain("", "<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'/>")
    assert isolated(made) == ["what its definition tells QEMU directly (commandline)"]
    assert made.find("{http://libvirt.org/schemas/domain/qemu/1.0}commandline") is None


@pytest.mark.parametrize("kind", ["bridge", "network", "direct", "hostdev", "ethernet", "user",
                                  "vhostuser", "udp", "vdpa"])
@pytest.mark.parametrize("ovs", [True, False])
def test_every_card_is_on_the_drills_bridge_whatever_it_was_on(kind: str, ovs: bool) -> None:
    made = domain(CARD.format(kind=kind, more=(
        "<source bridge='br0' network='prod' dev='eth0'/><virtualport type='openvswitch'/>"
        "<driver name='vfio'/><vlan><tag id='7'/></vlan><target dev='vnet3'/>")))
    assert isolated(made, ovs=ovs) == []
    card = made.find("devices/interface")
    assert card is not None
    assert card.get("type") == "bridge"
    assert [one.attrib for one in card.iterfind("source")] == [
        {"bridge": "hsd0" if ovs else "hsd0a"}]
    assert [one.tag for one in card] == (
        ["mac", "vlan", "source", "virtualport"] if ovs else ["mac", "source"])


def test_linux_bridges_keep_vlans_apart() -> None:
    made = domain("".join(CARD.format(kind="bridge", more=more) for more in (
        "", "<vlan><tag id='7'/></vlan>", "<vlan><tag id='8'/></vlan>",
        "<vlan trunk='yes'><tag id='7'/><tag id='8'/></vlan>")))
    found = bridges_of("hsd01234567", tags_of(made), ovs=False)
    assert sorted(found) == ["", "7", "7+8", "8"]
    assert len({*found.values()}) == 4
    assert all(len(name) <= 15 for name in found.values())


def test_cards_that_a_bridge_tagged_are_kept_apart_by_their_declared_vlans() -> None:
    made = domain(CARD.format(kind="bridge", more="<source bridge='br20'/>"))
    tag_cards(made, {"52:54:00:00:00:01": "20"})
    assert tags_of(made) == {"20"}
    tag_cards(made, {"52:54:00:00:00:01": "21"})
    assert tags_of(made) == {"20"}, "what the definition says holds"
    assert isolated(made) == []
    assert made.find("devices/interface/vlan/tag[@id='20']") is not None


def test_drives_are_emptied_and_disks_lie_over_what_is_served() -> None:
    made = domain(
        "<disk type='block' device='lun' sgio='filtered'><driver name='qemu' type='qcow2'/>"
        "<source file='/o.qcow2'/><backingStore/><target dev='sda' bus='scsi'/></disk>"
        "<disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sdb'/></disk>")
    assert put_on_served(made, {"sda": "/run/s"}) == ["/iso/x.iso"]
    disk, drive = made.findall("devices/disk")
    assert (disk.get("device"), disk.get("sgio")) == ("disk", None)
    host = disk.find("backingStore[@type='network']/source[@protocol='nbd']/host")
    assert host is not None
    assert host.attrib == {"transport": "unix", "socket": "/run/s"}
    assert drive.find("source") is None


def test_a_watchdog_never_resets_and_a_crash_ends_the_drill() -> None:
    made = domain("<watchdog model='i6300esb' action='reset'/>",
                  "<on_crash>restart</on_crash><on_reboot>restart</on_reboot>")
    isolated(made)
    watchdog = made.find("devices/watchdog")
    assert watchdog is not None
    assert watchdog.get("action") == "none"
    assert (made.findtext("on_crash"), made.findtext("on_reboot")) == ("destroy", "restart")


def test_the_chain_is_written_out_so_that_no_header_is_believed() -> None:
    assert image_of([Layer("/r/rp-2.qcow2", "qcow2"), Layer("/r/base.qcow2", "qcow2")]) == (
        'json:{"driver": "qcow2", "read-only": true, "file": {"driver": "file", "filename":'
        ' "/r/rp-2.qcow2", "read-only": true}, "backing": {"driver": "qcow2", "read-only": true,'
        ' "file": {"driver": "file", "filename": "/r/base.qcow2", "read-only": true},'
        ' "backing": null}}')


def test_the_user_of_guests_is_that_of_the_dac_model() -> None:
    found = USER.search("<secmodel><model>apparmor</model><doi>0</doi></secmodel><secmodel>"
                        "<model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+108<")
    assert found is not None
    assert found.groups() == ("64055", "108")
