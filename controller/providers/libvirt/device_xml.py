"""Disks and cards as libvirt's XML: made new, found, and patched where they are managed."""

import xml.etree.ElementTree as ET
from typing import Final

from controller.plan.wishes import DiskWish, NicWish
from controller.providers.libvirt.xml import find_or_add, remove_all

BUSES: Final = {"vd": "virtio", "sd": "scsi", "hd": "ide"}


def render_disk(disk: DiskWish) -> ET.Element:
    """Return a new disk that gives freed blocks back to the host."""
    element = ET.Element("disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="qemu", type=disk.format, discard="unmap")
    ET.SubElement(element, "source", file=disk.path)
    ET.SubElement(element, "target", dev=disk.target, bus=BUSES[disk.target[:2]])
    return element


def patch_disk(element: ET.Element, disk: DiskWish) -> None:
    """Put an existing disk on the wish's file, and leave its bus, cache and order alone."""
    element.set("type", "file")
    find_or_add(element, "driver").set("type", disk.format)
    source = find_or_add(element, "source")
    source.attrib.clear()
    source.set("file", disk.path)


def render_nic(nic: NicWish) -> ET.Element:
    """Return a new card."""
    element = ET.Element("interface", type="bridge")
    ET.SubElement(element, "mac", address=nic.mac)
    patch_nic(element, nic)
    return element


def patch_nic(element: ET.Element, nic: NicWish) -> None:
    """Bring the managed fields of a card to the wish; what is right already is not touched."""
    source = find_or_add(element, "source")
    if element.get("type") != "bridge" or source.get("bridge") != nic.bridge:
        element.set("type", "bridge")
        source.attrib.clear()
        source.set("bridge", nic.bridge)
    patch_virtual_port(element, nic)
    tags = element.findall("vlan/tag")
    if [tag.get("id") for tag in tags] != [str(nic.vlan)]:
        remove_all(element, "vlan")
        ET.SubElement(ET.SubElement(element, "vlan"), "tag", id=str(nic.vlan))
    find_or_add(element, "model").set("type", nic.model)


def patch_virtual_port(element: ET.Element, nic: NicWish) -> None:
    """Say which kind of switch the card is plugged into."""
    port = element.find("virtualport")
    kind = None if port is None else port.get("type")
    wanted = "openvswitch" if nic.driver == "openvswitch" else None
    if kind == wanted:
        return
    remove_all(element, "virtualport")
    if wanted:
        ET.SubElement(element, "virtualport", type=wanted)


def find_nic(domain: ET.Element, mac: str) -> ET.Element | None:
    """Return the card of that MAC, None when the domain has none."""
    for element in domain.findall("devices/interface"):
        address = element.find("mac")
        if address is not None and address.get("address", "").lower() == mac.lower():
            return element
    return None


def find_disk(domain: ET.Element, target: str) -> ET.Element | None:
    """Return the disk that the guest sees as `target`, None when the domain has none."""
    for element in domain.findall("devices/disk"):
        place = element.find("target")
        if place is not None and place.get("dev") == target:
            return element
    return None


def source_of(disk: ET.Element) -> str:
    """Return the file of a disk, empty when it has none."""
    source = disk.find("source")
    return "" if source is None else source.get("file", "")
