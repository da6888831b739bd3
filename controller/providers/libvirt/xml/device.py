"""Disks and cards in libvirt's XML: rendered, found, and their managed fields patched."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from controller.plan.actions.desired import DesiredDisk, DesiredNic
from controller.providers.libvirt.xml.xml import find_or_add, remove_all

OURS: Final = "openvswitch"
BUSES: Final = {"vd": "virtio", "sd": "scsi", "hd": "ide"}


def render_disk(disk: DesiredDisk) -> ET.Element:
    """Return a new disk, which passes discards on to the host."""
    element = ET.Element("disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="qemu", type=disk.format, discard="unmap")
    ET.SubElement(element, "source", file=disk.path)
    ET.SubElement(element, "target", dev=disk.target, bus=BUSES[disk.target[:2]])
    return element


def patch_disk(element: ET.Element, disk: DesiredDisk) -> None:
    """Put a template's disk on the desired's file, and leave its bus, cache and order alone.

    What the template says of its own file goes: what lay below it, how it is read, who may.
    """
    element.set("type", "file")
    find_or_add(element, "driver").set("type", disk.format)
    for tag in ("backingStore", "mirror", "encryption", "auth", "transient", "readonly"):
        remove_all(element, tag)
    source = find_or_add(element, "source")
    source.clear()
    source.set("file", disk.path)


def render_nic(nic: DesiredNic) -> ET.Element:
    """Return a new network card."""
    element = ET.Element("interface", type="bridge")
    ET.SubElement(element, "mac", address=nic.mac)
    ET.SubElement(element, "source", bridge=nic.bridge)
    if nic.driver == OURS:
        ET.SubElement(element, "virtualport", type=OURS)
    ET.SubElement(ET.SubElement(element, "vlan"), "tag", id=str(nic.vlan))
    ET.SubElement(element, "model", type=nic.model)
    return element


def patch_nic(element: ET.Element, nic: DesiredNic) -> None:
    """Bring the managed fields of a card to the desired; all else of it stays as it is.

    Errors: ValueError with a sentence for a card that is not an access card on a bridge.
    """
    refuse_other_card(element, nic.mac)
    find_or_add(element, "source").set("bridge", nic.bridge)
    if nic.driver == OURS and element.find("virtualport") is None:
        ET.SubElement(element, "virtualport", type=OURS)
    tag = find_or_add(find_or_add(element, "vlan"), "tag")
    tag.set("id", str(nic.vlan))
    model = element.find("model")
    if model is not None:  # without one the guest sees libvirt's own choice, and goes on seeing it
        model.set("type", nic.model)


def refuse_other_card(element: ET.Element, mac: str) -> None:
    """Raise ValueError for a card that is not managed: another kind, a trunk, another switch."""
    kind, port, vlan = element.get("type"), element.find("virtualport"), element.find("vlan")
    if kind != "bridge":
        raise ValueError(f"card {mac} is of libvirt's kind {kind}, which is left as it is")
    if port is not None and port.get("type") != OURS:
        raise ValueError(f"card {mac} is plugged in as {port.get('type')}, which is left as it is")
    if vlan is not None and (vlan.get("trunk") == "yes" or len(vlan.findall("tag")) > 1
                             or vlan.find("tag[@nativeMode]") is not None):
        raise ValueError(f"card {mac} carries several VLANs, or one without a tag, which is left"
                         " as it is")


def find_nic(domain: ET.Element, mac: str) -> ET.Element | None:
    """Return the card of that MAC, None when the domain has none."""
    return next(_cards(domain, mac), None)


def refuse_twins(domain: ET.Element, mac: str) -> None:
    """Raise ValueError if two cards have that MAC, which libvirt and QEMU allow."""
    if len(list(_cards(domain, mac))) > 1:
        raise ValueError(f"two of its cards have the MAC {mac}, and nobody can tell which is meant:"
                         " give one of them another by hand")


def _cards(domain: ET.Element, mac: str) -> Iterator[ET.Element]:
    for element in domain.findall("devices/interface"):
        address = element.find("mac")
        if address is not None and address.get("address", "").lower() == mac.lower():
            yield element


def find_disk(domain: ET.Element, target: str) -> ET.Element | None:
    """Return the disk that the guest sees as `target`, None when the domain has none."""
    for element in domain.findall("devices/disk"):
        place = element.find("target")
        if place is not None and place.get("dev") == target:
            return element
    return None


def find_that_disk(domain: ET.Element, target: str, source: str) -> ET.Element | None:
    """Return the disk at a target, None if there is none.

    Errors: ValueError when it has another file than `source` by now.
    """
    found = find_disk(domain, target)
    if found is not None and source and source_of(found) != source:
        raise ValueError(f"{target} is {source_of(found) or 'another'} by now, and not {source}:"
                         " it is left plugged in")
    return found


def source_of(disk: ET.Element) -> str:
    """Return the file of a disk, empty when it has none."""
    source = disk.find("source")
    return "" if source is None else source.get("file", "")
