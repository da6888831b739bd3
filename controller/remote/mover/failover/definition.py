"""
The definition of a VM as of a restore point, for the host that holds its replica.

Taken from the point's own copy of the domain's XML. What changes: each disk lies on its overlay,
with the whole chain below written out, so that no header is believed; the NVRAM is a file of this
epoch, made of the point's; the mark says which copy this is; and a drive whose medium this host
does not have is empty. UUID, MACs, addresses, firmware and all else stay.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import Dict, List, NamedTuple, Optional, Tuple

from mover.errors import Refused
from mover.failover.overlay import Layer

NAMESPACE = "https://hotsite.invalid/domain/1"
MARK = "{%s}vm" % NAMESPACE
DISKS = ("disk", "lun")
OF_ANOTHER_FILE = ("backingStore", "mirror", "encryption", "auth", "transient", "readonly")
"""What the XML says of the file that the disk had, and not of the disk."""
PREFIXES = {"hotsite": NAMESPACE, "qemu": "http://libvirt.org/schemas/domain/qemu/1.0",
            "libosinfo": "http://libosinfo.org/xmlns/libvirt/domain/1.0"}


class Place(NamedTuple):
    """Where a disk lies: its overlay, and the chain below it, uppermost first."""

    overlay: str
    below: List[Layer]


class Rendered(NamedTuple):
    """The definition, and the media that this host does not have."""

    xml: str
    ejected: List[str]


def parse_definition(text: str, where: str) -> ET.Element:
    """Return a domain's XML; Refused for anything else."""
    try:
        root = ET.fromstring(text, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
    except ET.ParseError as error:
        raise Refused("%s is no XML: %s" % (where, error)) from None
    if root.tag != "domain":
        raise Refused("%s is a <%s>, not a <domain>" % (where, root.tag))
    return root


def targets_of(domain: ET.Element) -> List[str]:
    """Return the targets of a domain's disks, removable media aside."""
    return [_target(disk) for disk in domain.iterfind("devices/disk")
            if disk.get("device", "disk") in DISKS]


def _target(disk: ET.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def nvram_of(domain: ET.Element, epoch: int) -> Optional[Tuple[str, str]]:
    """Return the path of a domain's NVRAM, and that of the one for an epoch; None: it has none."""
    nvram = domain.find("os/nvram")
    if nvram is None:
        return None
    source = nvram.find("source")
    path = (nvram.text or "").strip() if source is None else source.get("file", "")
    if not path.startswith("/"):
        return None
    stem, ending = os.path.splitext(path)
    return path, "%s.fo-%d%s" % (stem.partition(".fo-")[0], epoch, ending)


def render(domain: ET.Element, places: Dict[str, Place], nvram: str,
           mark: Dict[str, str]) -> Rendered:
    """Return a domain's definition with its disks, its NVRAM and its mark put right."""
    for prefix, address in PREFIXES.items():
        ET.register_namespace(prefix, address)
    devices, ejected = domain.find("devices"), []
    for disk in domain.findall("devices/disk"):
        if disk.get("device", "disk") not in DISKS:
            ejected += _ejected(disk)
        elif _target(disk) in places:
            _put_on(disk, places[_target(disk)])
        elif devices is not None:
            devices.remove(disk)
    if nvram:
        _put_nvram(domain, nvram)
    _put_mark(domain, mark)
    return Rendered(ET.tostring(domain, encoding="unicode") + "\n", ejected)


def _put_on(disk: ET.Element, place: Place) -> None:
    for tag in OF_ANOTHER_FILE:
        for child in disk.findall(tag):
            disk.remove(child)
    disk.set("type", "file")
    driver, source = disk.find("driver"), disk.find("source")
    driver = ET.SubElement(disk, "driver", name="qemu") if driver is None else driver
    driver.set("type", "qcow2")
    source = ET.SubElement(disk, "source") if source is None else source
    source.clear()
    source.set("file", place.overlay)
    into = disk
    for layer in place.below:
        into = ET.SubElement(into, "backingStore", type="file")
        ET.SubElement(into, "format", type=layer.format)
        ET.SubElement(into, "source", file=layer.path)
    ET.SubElement(into, "backingStore")     # empty: nothing lies below


def _ejected(disk: ET.Element) -> List[str]:
    """Empty a drive whose medium is not on this host; return the medium."""
    source = disk.find("source")
    medium = "" if source is None else source.get("file") or source.get("dev") or ""
    if source is None or not medium or os.path.exists(medium):
        return []
    disk.remove(source)
    return [medium]


def _put_nvram(domain: ET.Element, path: str) -> None:
    nvram = domain.find("os/nvram")
    assert nvram is not None, "nvram_of has found it"
    source = nvram.find("source")
    if source is None:
        nvram.text = path
    else:
        source.set("file", path)


def _put_mark(domain: ET.Element, words: Dict[str, str]) -> None:
    metadata = domain.find("metadata")
    metadata = ET.SubElement(domain, "metadata") if metadata is None else metadata
    mark = metadata.find(MARK)
    mark = ET.SubElement(metadata, MARK) if mark is None else mark
    mark.attrib.update(words)
