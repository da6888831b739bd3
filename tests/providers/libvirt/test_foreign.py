"""Domains of others, one file for each kind of thing that libvirt knows: read, changed, planned.

Each is valid by libvirt's own schema (`virsh define --validate`).
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.model.facts import DomainConfig, DomainState, Ownership
from controller.plan.actions.desired import (
    AttachDisk,
    AttachNic,
    DesiredDisk,
    DesiredNic,
    DetachDisk,
    DetachNic,
    DomainChange,
    SetCpus,
    SetMemory,
    SetOwnership,
    UpdateNic,
)
from controller.plan.compute import compute
from controller.providers.libvirt.facts import parse_config, parse_domains, parse_ownership
from controller.providers.libvirt.xml.domain import patch_domain
from controller.providers.libvirt.xml.xml import canonical, parse_whole, parse_xml
from tests.plan import builders as b

MIB = 1 << 20
FOREIGN = sorted(Path(__file__).with_name("foreign").glob("*.xml"))
MARK = "{https://hotsite.invalid/domain/1}vm"
NEW_MAC, MAC = "52:54:00:00:00:99", "52:54:00:00:00:01"
NEW_DISK = DesiredDisk("vdq", "default", "/p/new.qcow2", "qcow2", MIB)
CELLS = ("memory-max-slots", "device-nvdimm")
every = pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
Strip = Callable[[ET.Element], None]


def seen(text: str) -> DomainConfig:
    """What is seen of a domain's XML."""
    return parse_config(parse_xml(text), {})


def without(*places: str) -> Strip:
    """Take elements out, so that the rest can be compared."""
    def strip(root: ET.Element) -> None:
        for place in places:
            parent_place, _, tag = place.rpartition("/")
            for parent in root.findall(parent_place) if parent_place else [root]:
                for element in parent.findall(tag):
                    parent.remove(element)
    return strip


def mark(root: ET.Element) -> None:
    """Take our mark out, and what holds nothing but it."""
    for metadata in root.findall("metadata"):
        for element in metadata.findall(MARK):
            metadata.remove(element)
        if not len(metadata):
            root.remove(metadata)


def amounts(root: ET.Element) -> None:
    """Take what says how much memory out."""
    without("memory", "currentMemory")(root)


def processors(root: ET.Element) -> None:
    """Take what says how many CPUs out."""
    without("vcpus")(root)
    for element in (*root.findall("vcpu"), *root.findall("cpu/topology")):
        element.attrib.pop("current", None)
        element.attrib.pop("sockets", None)
        element.text = None


def rest(text: str, strip: Strip) -> str:
    """All of a domain but what a change is about, comments included."""
    root = parse_whole(text)
    strip(root)
    return ET.canonicalize(ET.tostring(root, encoding="unicode"), strip_text=True,
                           with_comments=True)


@every
def test_it_is_read(path: Path) -> None:
    text = path.read_text()
    row = {"name": path.stem, "uuid": "u", "state": "running", "reason": "booted",
           "persistent": True, "autostart": False, "job": None, "live_xml": text,
           "config_xml": text, "disk_sizes": {}}
    [domain] = parse_domains(json.dumps([row])).values()
    assert (domain.unknown, domain.state) == ("", DomainState.RUNNING)
    assert domain.live == domain.config == seen(text)
    assert seen(text).memory_bytes > 0
    assert "vda" in {disk.target for disk in seen(text).disks}


@every
def test_what_it_says_already_is_not_written(path: Path) -> None:
    text = path.read_text()
    config = seen(text)
    same = (SetMemory(config.memory_bytes), SetCpus(config.cpus), DetachNic(NEW_MAC),
            DetachDisk("vdq"))
    assert canonical(patch_domain(text, same)) == canonical(text)


CHANGES: dict[str, tuple[DomainChange, Strip]] = {
    "less memory": (SetMemory(256 * MIB), amounts),
    "more memory": (SetMemory(8192 * MIB), amounts),
    "one CPU": (SetCpus(1), processors),
    "more CPUs": (SetCpus(8), processors),
    "a mark": (SetOwnership(Ownership("lab", "keep")), mark),
    "a new card": (AttachNic(DesiredNic(NEW_MAC, "br0", 5, "virtio")), without()),
    "a new disk": (AttachDisk(NEW_DISK), without()),
}


@every
@pytest.mark.parametrize("what", CHANGES)
def test_an_edit_changes_its_own_field_only(path: Path, what: str) -> None:
    text = path.read_text()
    change, strip = CHANGES[what]
    if what == "more memory" and path.stem in CELLS:
        with pytest.raises(ValueError, match="NUMA cells"):
            patch_domain(text, (change,))
        return
    patched = patch_domain(text, (change,))
    undone = patched
    if what == "a new card":
        undone = patch_domain(patched, (DetachNic(NEW_MAC),))
    elif what == "a new disk":
        undone = patch_domain(patched, (DetachDisk("vdq"),))
    assert rest(undone, strip) == rest(text, strip)
    assert patch_domain(patched, (change,)) == patched
    before, after = seen(text), seen(patched)
    match change:
        case SetMemory(memory_bytes):
            assert after.memory_bytes == memory_bytes
            assert replace(after, memory_bytes=0, memory_max_bytes=0) == replace(
                before, memory_bytes=0, memory_max_bytes=0)
        case SetCpus(cpus):
            assert after.cpus == cpus
            assert replace(after, cpus=0, cpus_max=0) == replace(before, cpus=0, cpus_max=0)
        case SetOwnership(ownership):
            assert parse_ownership(parse_xml(patched)) == ownership
            assert after == before
        case AttachNic(nic):
            assert after.nics[:-1] == before.nics
            assert after.nics[-1].mac == nic.mac
        case AttachDisk(disk):
            assert after.disks[:-1] == before.disks
            assert after.disks[-1].source == disk.path


@every
def test_a_cards_vlan_changes_alone_or_not_at_all(path: Path) -> None:
    text = path.read_text()
    for card in seen(text).nics:
        change = UpdateNic(DesiredNic(card.mac, "br7", 77, card.model or "virtio"))
        try:
            patched = patch_domain(text, (change,))
        except ValueError:
            assert card.kind != "bridge" or card.trunks or card.port_type not in {"openvswitch", ""}
            continue
        others = [one for one in seen(text).nics if one.mac != card.mac]
        [changed] = [one for one in seen(patched).nics if one.mac == card.mac]
        assert [one for one in seen(patched).nics if one.mac != card.mac] == others
        assert (changed.bridge, changed.vlan) == ("br7", 77)
        back = patch_domain(patched, (UpdateNic(DesiredNic(
            card.mac, card.bridge, card.vlan or 77, card.model or "virtio")),))
        if card.vlan is not None and card.port_type:
            assert canonical(back) == canonical(text)


@every
def test_it_is_planned_and_nothing_of_it_goes_without_a_yes(path: Path) -> None:
    text = path.read_text()
    config = seen(text)
    lab = b.small(b.vm("sql", memory="1GiB", cpus=2,
                       nics=[{"network": "office", "mac": MAC}]))
    domain = replace(b.domain("sql", "paris-1", lab), live=config, config=config, ownership=None)
    plan = compute(lab, b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "sql",
                                      domain), b.APPLIED, b.NOW_S)
    assert [step.action.verb for step in plan.steps if step.action.takes
            and step.ruling.verdict == "allowed"] == []
