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
    element = ET.Element("interface")
    ET.SubElement(element, "mac", address=nic.mac)
    plug(element, nic)
    ET.SubElement(element, "model", type=nic.model)
    return element


def plug(element: ET.Element, nic: DesiredNic) -> None:
    """Write where a card is plugged in: a bridge of its kind and its tag, or a libvirt network."""
    kind = "network" if nic.network else "bridge"
    other = element.get("type") != kind
    element.set("type", kind)
    source = find_or_add(element, "source")
    if other or nic.network:
        source.attrib.clear()
    source.set(kind, nic.network or nic.bridge)
    on_openvswitch = nic.driver == OURS and not nic.network
    if not on_openvswitch:
        remove_all(element, "virtualport")
    elif element.find("virtualport") is None:
        ET.SubElement(element, "virtualport", type=OURS)
    if nic.vlan is None:
        remove_all(element, "vlan")
    else:
        find_or_add(find_or_add(element, "vlan"), "tag").set("id", str(nic.vlan))


def patch_nic(element: ET.Element, nic: DesiredNic, *, new: bool = False) -> None:
    """Bring the managed fields of a card to the desired; all else of it stays as it is.

    `new`: it is a template's, which does not know where each host has its network.
    Errors: ValueError with a sentence for a card that is not an access card on a bridge.
    """
    if not (new and element.get("type") == "network"):
        refuse_other_card(element, nic.mac)
    plug(element, nic)
    model = element.find("model")
    if model is not None:  # without one the guest sees libvirt's own choice, and goes on seeing it
        model.set("type", nic.model)


def place_nic(element: ET.Element, nic: DesiredNic) -> bool:
    """Put a card where its next host has its network; return whether that changed anything.

    A card that is plugged into neither a bridge nor a libvirt network, or carries several VLANs,
    stays as it is.
    """
    if element.get("type") not in {"bridge", "network"} or is_odd(element):
        return False
    before = ET.tostring(element)
    plug(element, nic)
    return ET.tostring(element) != before


def is_access(element: ET.Element) -> bool:
    """Return whether a card is plugged into a bridge and carries one VLAN at the most."""
    return element.get("type") == "bridge" and not is_odd(element)


def is_odd(element: ET.Element) -> bool:
    """Return whether a card carries several VLANs, or is a port of another kind of switch."""
    vlan, port = element.find("vlan"), element.find("virtualport")
    return (port is not None and port.get("type") != OURS) or (vlan is not None and (
        vlan.get("trunk") == "yes" or len(vlan.findall("tag")) > 1
        or vlan.find("tag[@nativeMode]") is not None))


def refuse_other_card(element: ET.Element, mac: str) -> None:
    """Raise ValueError for a card that is not managed: another kind, a trunk, another switch."""
    kind, port = element.get("type"), element.find("virtualport")
    if kind != "bridge":
        raise ValueError(f"card {mac} is of libvirt's kind {kind}, which is left as it is")
    if port is not None and port.get("type") != OURS:
        raise ValueError(f"card {mac} is plugged in as {port.get('type')}, which is left as it is")
    if is_odd(element):
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
