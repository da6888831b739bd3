"""New definitions, and patches that change what they name and nothing else."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.facts import DomainConfig, Ownership
from controller.plan.actions.desired import (
    AttachDisk,
    AttachNic,
    DesiredDisk,
    DesiredDomain,
    DesiredNic,
    DetachDisk,
    DetachNic,
    DomainChange,
    GrowDisk,
    SetCpus,
    SetMemory,
    SetOwnership,
    UpdateNic,
)
from controller.providers.libvirt.facts import parse_config, parse_ownership
from controller.providers.libvirt.xml.domain import (
    Machine,
    default_template,
    parse_machine,
    patch_domain,
    render_domain,
)
from controller.providers.libvirt.xml.xml import canonical, parse_xml, says_the_same

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests/transcripts/libvirt/host.json"
DOMAINS = {row["name"]: row for row in json.loads(json.loads(RECORDED.read_text())["domains"])}
MAIL = str(DOMAINS["mail"]["config_xml"])
MAIL_MAC = "52:54:00:0a:0a:01"
MIB = 1 << 20
FOREIGN = """
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>old</name><uuid>19f3663e-f80d-4c47-b56d-41f8b3985f25</uuid>
  <title>From the old house</title>
  <metadata><app:x xmlns:app='urn:x' y='1'><app:z/></app:x></metadata>
  <maxMemory slots='4' unit='GiB'>8</maxMemory>
  <memory unit='GiB'>2</memory><currentMemory unit='GiB'>1</currentMemory>
  <vcpu placement='static' current='2' cpuset='0-3'>4</vcpu>
  <vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/></vcpus>
  <cputune><shares>2048</shares></cputune>
  <cpu mode='host-passthrough'><topology sockets='1' dies='1' cores='2' threads='2'/></cpu>
  <devices>
    <disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sda' bus='sata'/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native'/>
      <source file='/old/disk.img'/><target dev='vda' bus='virtio'/><boot order='1'/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:0A:0B:0C'/><source bridge='br-old'/>
      <virtualport type='openvswitch'><parameters profileid='gold' interfaceid='u'/></virtualport>
      <model type='e1000'/><bandwidth><inbound average='1000'/></bandwidth><boot order='2'/>
    </interface>
    <graphics type='vnc' passwd='secret'/>
  </devices>
  <qemu:commandline><qemu:arg value='-S'/></qemu:commandline>
</domain>
"""
OLD_MAC = "52:54:00:0a:0b:0c"


def disk(target: str = "vda", file_format: str = "qcow2") -> DesiredDisk:
    return DesiredDisk(target, "default", f"/pool/sql-{target}.{file_format}", file_format,
                       64 * MIB)


def nic(mac: str = "52:54:00:00:00:01", vlan: int = 40, model: str = "virtio") -> DesiredNic:
    return DesiredNic(mac, "br0", vlan, model)


def wanted(template: str | None = None,
           disks: tuple[DesiredDisk, ...] = (disk(),)) -> DesiredDomain:
    return DesiredDomain("sql", "6b7c5d1e-0000-4000-8000-000000000001", 512 * MIB, 2, disks,
                         (nic(),),
                      Ownership("lab", "keep"), template)


def config_of(text: str) -> DomainConfig:
    return parse_config(parse_xml(text), {})


def unmanaged(text: str) -> str:
    """Everything of a domain that no change may touch, in one canonical text."""
    root = parse_xml(text)
    for tag in ("memory", "currentMemory", "vcpu", "vcpus"):
        for element in root.findall(tag):
            root.remove(element)
    for topology in root.findall("cpu/topology"):
        topology.attrib.clear()
    devices = root.find("devices")
    assert devices is not None
    for interface in devices.findall("interface"):
        interface.attrib.clear()
        for tag in ("source", "vlan", "virtualport", "model"):
            for element in interface.findall(tag):
                interface.remove(element)
    for metadata in root.findall("metadata"):
        for mark in metadata.findall("{https://hotsite.invalid/domain/1}vm"):
            metadata.remove(mark)
        if not len(metadata):
            root.remove(metadata)
    return canonical(ET.tostring(root, encoding="unicode"))


@pytest.mark.parametrize("template", [
    (ROOT / "specs/templates/guest.xml").read_text(),
    default_template(Machine("x86_64", kvm=True)),
    default_template(Machine("aarch64", kvm=False)),
    default_template(Machine("riscv64", kvm=False)),
    FOREIGN,
])
def test_a_new_domain_is_exactly_as_desired_whatever_the_template(template: str) -> None:
    text = render_domain(wanted(), template)
    root, config = parse_xml(text), config_of(text)
    assert (root.findtext("name"), root.findtext("uuid")) == ("sql", wanted().uuid)
    assert (config.memory_bytes, config.memory_max_bytes) == (512 * MIB, 512 * MIB)
    assert (config.cpus, config.cpus_max) == (2, 2)
    assert [(d.target, d.source, d.format) for d in config.disks] == [
        ("vda", "/pool/sql-vda.qcow2", "qcow2")]
    assert [(n.mac, n.bridge, n.vlan, n.model) for n in config.nics] == [
        ("52:54:00:00:00:01", "br0", 40, "virtio")]
    assert parse_ownership(root) == Ownership("lab", "keep")
    port = root.find("devices/interface/virtualport")
    assert port is not None
    assert port.get("type") == "openvswitch"


def test_the_template_brings_what_is_not_managed() -> None:
    text = render_domain(wanted(), FOREIGN)
    for kept in ("/dev/sr0", "<shares>2048", "host-passthrough", "qemu:arg", 'cache="none"',
                 'passwd="secret"', "From the old house"):
        assert kept in text


def test_a_machine_without_a_template_has_no_screen_and_room_for_more_devices() -> None:
    root = parse_xml(render_domain(wanted(), default_template(Machine("x86_64", kvm=True))))
    assert root.find("devices/graphics") is None
    assert root.find("devices/serial") is not None
    assert len(root.findall("devices/controller[@model='pcie-root-port']")) >= 8


@pytest.mark.parametrize(("kvm", "kind"), [(True, "kvm"), (False, "qemu")])
def test_the_kernel_helps_where_its_device_opens(kvm: bool, kind: str) -> None:
    text = "<domainCapabilities><domain>kvm</domain><arch>x86_64</arch></domainCapabilities>"
    assert f"<domain type='{kind}'" in default_template(parse_machine(text, kvm=kvm))


def test_a_first_scsi_disk_brings_the_controller_it_needs() -> None:
    root = parse_xml(render_domain(wanted(disks=(disk("sda"), disk("sdb"))), "<domain/>"))
    assert [c.get("model") for c in root.findall("devices/controller[@type='scsi']")] == [
        "virtio-scsi"]


def test_a_template_that_is_no_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="not a <domain>"):
        render_domain(wanted(), "<network/>")


OLD = """<domain type='qemu' id='7'><name>old</name>
<uuid>aaaaaaaa-0000-4000-8000-000000000001</uuid>
<genid>bbbbbbbb-0000-4000-8000-000000000001</genid><memory>1</memory><vcpu>1</vcpu>
<sysinfo type='smbios'><system><entry name='uuid'>aaaaaaaa-0000-4000-8000-000000000001</entry>
<entry name='manufacturer'>ACME</entry></system></sysinfo>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>
<source file='/p/old.qcow2' index='1'><seclabel model='dac' relabel='no'/></source>
<backingStore type='file' index='2'><source file='/p/golden.qcow2'/></backingStore>
<mirror type='file' job='copy'><source file='/p/copy.qcow2'/></mirror>
<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/><boot order='1'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br-old'/>
<virtualport type='openvswitch'><parameters interfaceid='cccccccc-0000' profileid='gold'/>
</virtualport><target dev='vnet9'/><alias name='net0'/><model type='e1000'/></interface>
<channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/7-old/agent'/>
<target type='virtio' name='org.qemu.guest_agent.0'/><alias name='ua-agent'/></channel></devices>
<seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+64055</label></seclabel>
</domain>"""


def test_of_a_running_machines_xml_nothing_of_that_machine_gets_into_a_new_one() -> None:
    text = render_domain(wanted(), OLD)
    for word in ('id="7"', "/p/", ">old<", "7-old", "aaaaaaaa", "bbbbbbbb", "cccccccc",
                 "vnet9", "virtio-disk0", "net0", "64055", "index=", "br-old", "seclabel"):
        assert word not in text
    for kept in ('cache="none"', "ACME", 'profileid="gold"', '<boot order="1"',
                 "org.qemu.guest_agent.0", "ua-agent", "<genid"):
        assert kept in text


def test_a_cdrom_never_becomes_a_disk() -> None:
    cdrom = "<disk type='file' device='cdrom'><target dev='vda'/></disk>"
    with pytest.raises(ValueError, match="the template has a cdrom at vda"):
        render_domain(wanted(), f"<domain><devices>{cdrom}</devices></domain>")


CHANGES = st.one_of(
    st.builds(SetMemory, st.integers(1, 4096).map(lambda mib: mib * MIB)),
    st.builds(SetCpus, st.integers(1, 64)),
    st.builds(UpdateNic, st.builds(nic, st.sampled_from([MAIL_MAC, OLD_MAC]),
                                   st.integers(1, 4094), st.sampled_from(["virtio", "e1000"]))),
    st.builds(SetOwnership, st.builds(Ownership, st.sampled_from(["lab", "a<b&'\""]),
                                      st.sampled_from(["keep", "delete"]))),
    st.builds(GrowDisk, st.just("vda"), st.just("/pool/x"), st.integers(1)),
)


@pytest.mark.parametrize(("text", "mac"), [(MAIL, MAIL_MAC), (FOREIGN, OLD_MAC)])
@given(changes=st.lists(CHANGES, max_size=4))
def test_a_patch_changes_nothing_else(text: str, mac: str, changes: list[DomainChange]) -> None:
    # a card of another MAC would be added: that is another test's concern
    fitting = tuple(c for c in changes if not isinstance(c, UpdateNic) or c.nic.mac == mac)
    patched = patch_domain(text, fitting)
    assert unmanaged(patched) == unmanaged(text)


@pytest.mark.parametrize("text", [MAIL, FOREIGN])
@given(change=CHANGES)
def test_a_patch_that_is_made_twice_is_made_once(text: str, change: DomainChange) -> None:
    once = patch_domain(text, (change,))
    assert patch_domain(once, (change,)) == once


@pytest.mark.parametrize("text", [MAIL, FOREIGN])
def test_no_change_changes_nothing(text: str) -> None:
    assert says_the_same(patch_domain(text, ()), text)


@pytest.mark.parametrize(("size", "current", "ceiling"), [
    (64, 64, 128), (128, 128, 128), (256, 256, 256)])
def test_memory_grows_its_ceiling_only_when_it_must(size: int, current: int, ceiling: int) -> None:
    config = config_of(patch_domain(MAIL, (SetMemory(size * MIB),)))
    assert (config.memory_bytes, config.memory_max_bytes) == (current * MIB, ceiling * MIB)


def test_memory_in_numa_cells_is_left_to_people() -> None:
    text = MAIL.replace("<os>", "<cpu><numa><cell id='0' memory='1'/></numa></cpu><os>", 1)
    with pytest.raises(ValueError, match="NUMA"):
        patch_domain(text, (SetMemory(1 << 40),))


@pytest.mark.parametrize(("cpus", "now", "ceiling", "sockets", "cores"), [
    (1, 1, 4, "1", "2"), (4, 4, 4, "1", "2"), (8, 8, 8, "2", "2"), (6, 6, 6, "6", "1")])
def test_cpus_and_topology_never_contradict_each_other(
        cpus: int, now: int, ceiling: int, sockets: str, cores: str) -> None:
    text = patch_domain(FOREIGN, (SetCpus(cpus),))
    config, topology = config_of(text), parse_xml(text).find("cpu/topology")
    assert (config.cpus, config.cpus_max) == (now, ceiling)
    assert topology is not None
    assert (topology.get("sockets"), topology.get("cores")) == (sockets, cores)


def test_a_card_that_changes_its_vlan_keeps_all_else_that_somebody_said_of_it() -> None:
    root = parse_xml(patch_domain(FOREIGN, (UpdateNic(nic(OLD_MAC, 30, "virtio")),)))
    interface = root.find("devices/interface")
    assert interface is not None
    assert ET.canonicalize(ET.tostring(interface, encoding="unicode"), strip_text=True) == (
        '<interface type="bridge"><mac address="52:54:00:0A:0B:0C"></mac>'
        '<source bridge="br0"></source><virtualport type="openvswitch">'
        '<parameters interfaceid="u" profileid="gold"></parameters></virtualport>'
        '<model type="virtio"></model><bandwidth><inbound average="1000"></inbound></bandwidth>'
        '<boot order="2"></boot><vlan><tag id="30"></tag></vlan></interface>')


def test_a_card_without_a_model_goes_on_without_one() -> None:
    text = FOREIGN.replace("<model type='e1000'/>", "")
    assert config_of(patch_domain(text, (UpdateNic(nic(OLD_MAC, 30)),))).nics[0].model is None


@pytest.mark.parametrize(("before", "after"), [
    ("interface type='bridge'", f"interface type='{kind}'") for kind in (
        "network", "direct", "hostdev", "udp", "ethernet", "vhostuser", "user", "vdpa")
] + [
    ("virtualport type='openvswitch'", "virtualport type='802.1Qbg'"),
    ("<boot order='2'/>", "<vlan><tag id='5'/><tag id='6'/></vlan><boot order='2'/>"),
    ("<boot order='2'/>", "<vlan trunk='yes'><tag id='5'/></vlan><boot order='2'/>"),
    ("<boot order='2'/>", "<vlan><tag id='5' nativeMode='untagged'/></vlan><boot order='2'/>"),
])
def test_a_card_that_is_no_access_card_on_a_bridge_of_ours_is_left_as_it_is(
        before: str, after: str) -> None:
    text = FOREIGN.replace(before, after)
    assert text != FOREIGN
    with pytest.raises(ValueError, match="left as it is"):
        patch_domain(text, (UpdateNic(nic(OLD_MAC, 30)),))


def test_devices_come_and_go_by_name() -> None:
    grown = patch_domain(MAIL, (AttachNic(nic()), AttachDisk(disk("vdb"))))
    assert [n.mac for n in config_of(grown).nics] == [MAIL_MAC, "52:54:00:00:00:01"]
    assert [d.target for d in config_of(grown).disks] == ["vda", "vdb"]
    back = patch_domain(grown, (DetachNic("52:54:00:00:00:01"), DetachDisk("vdb")))
    assert says_the_same(back, MAIL)


def test_a_disk_is_its_file_and_not_what_has_its_place_by_now() -> None:
    grown = patch_domain(MAIL, (AttachDisk(disk("vdb")),))
    (there,) = [d.source for d in config_of(grown).disks if d.target == "vdb"]
    assert says_the_same(patch_domain(grown, (DetachDisk("vdb", there),)), MAIL)
    with pytest.raises(ValueError, match=f"vdb is {there} by now, and not /srv/other.qcow2"):
        patch_domain(grown, (DetachDisk("vdb", "/srv/other.qcow2"),))


def test_a_place_that_is_taken_by_another_file_is_not_taken_again() -> None:
    with pytest.raises(ValueError, match="vda is taken"):
        patch_domain(MAIL, (AttachDisk(disk("vda")),))
