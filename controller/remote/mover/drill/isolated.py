"""
The definition of a drilled guest: another name, UUID and network, and no device that leads out.

Devices are kept by a list of what is known to stay inside (KEPT): a passed-through card, a shared
folder, a socket of the host, or a command line for QEMU could all lead out of the drill, or write
to something that production uses. What is left out is said.

Each disk is the throw-away overlay, over what is served to it (serving.py); no file of the replica
is named in the definition, so that libvirt touches none.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import List, Mapping, Set

from mover.failover.definition import DISKS, MARK

PREFIX = "hotsite-drill-"       # of the name of a drill's domain
KEPT = {"emulator", "disk", "controller", "interface", "channel", "serial", "console", "video",
        "memballoon", "rng", "input", "watchdog", "panic", "memory", "iommu", "hub"}
SILENT = {"graphics", "sound", "audio", "parallel"}     # left out, and not worth a word
TOP_LEFT_OUT = {"resource", "seclabel", "keywrap", "launchSecurity", "idmap"}
QEMU_ONLY = "{http://libvirt.org/schemas/domain/qemu/1.0}"
OF_CARD = {"source", "target", "virtualport", "bandwidth", "filterref", "backend", "guest",
           "portOptions", "teaming", "port"}
OUTWARD_INPUT = {"passthrough", "evdev"}


def tag_cards(domain: ET.Element, vlans: Mapping[str, str]) -> None:
    """Tag the cards whose VLAN is declared and not in the definition: their bridge tagged them."""
    for card in domain.iterfind("devices/interface"):
        mac = card.find("mac")
        tag = vlans.get("" if mac is None else mac.get("address", "").lower(), "")
        if tag and not _tag_of(card):
            _remove(card, {"vlan"})
            ET.SubElement(ET.SubElement(card, "vlan"), "tag", id=tag)


def tags_of(domain: ET.Element) -> Set[str]:
    """Return the VLAN tags of a domain's cards, those of a trunk joined; empty: untagged."""
    return {_tag_of(card) for card in domain.iterfind("devices/interface")}


def _tag_of(card: ET.Element) -> str:
    return "+".join(tag.get("id", "") for tag in card.iterfind("vlan/tag"))


def isolate(domain: ET.Element, name: str, uuid: str, bridges: Mapping[str, str], *, ovs: bool
            ) -> List[str]:
    """Give a domain its drill's name, UUID and network; return what was left out of it."""
    _rename(domain, name, uuid)
    left = _strip_top(domain)
    devices = domain.find("devices")
    for device in [] if devices is None else list(devices):
        if devices is None or not isinstance(device.tag, str):      # a comment
            continue
        why = _leads_out(device)
        if why or device.tag in SILENT:
            devices.remove(device)
            left += [why] if why else []
        elif device.tag == "interface":
            _put_on_bridge(device, bridges[_tag_of(device)], ovs=ovs)
        elif device.tag in {"serial", "console"}:
            _end_at_a_terminal(device)
        elif device.tag == "channel":
            _remove(device, {"source"})
        elif device.tag == "watchdog":
            device.set("action", "none")
    return left


def put_on_served(domain: ET.Element, sockets: Mapping[str, str]) -> List[str]:
    """
    Let each disk's overlay lie over what is served on a socket, and on nothing else.

    Returns the media of drives, which are emptied: libvirt would give those to the guest, too.
    """
    ejected = []
    for disk in domain.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if disk.get("device", "disk") not in DISKS:
            if source is not None:
                ejected.append(source.get("file") or source.get("dev") or "another place")
            _remove(disk, {"source", "backingStore", "mirror"})
            disk.set("type", "file")
            continue
        for name in ("sgio", "rawio"):
            disk.attrib.pop(name, None)
        disk.set("device", "disk")
        _remove(disk, {"backingStore"})
        below = ET.SubElement(disk, "backingStore", type="network")
        ET.SubElement(below, "format", type="raw")
        served = ET.SubElement(below, "source", protocol="nbd")
        ET.SubElement(served, "host", transport="unix",
                      socket=sockets["" if target is None else target.get("dev", "")])
        ET.SubElement(below, "backingStore")
    return ejected


def _rename(domain: ET.Element, name: str, uuid: str) -> None:
    domain.attrib.pop("id", None)
    for tag, text in (("name", name), ("uuid", uuid)):
        found = domain.find(tag)
        (ET.SubElement(domain, tag) if found is None else found).text = text
    for system in domain.iterfind("sysinfo/system"):
        for entry in system.findall("entry"):
            if entry.get("name") == "uuid":     # libvirt refuses one that is not the domain's
                system.remove(entry)
    mark = domain.find("metadata/" + MARK)
    if mark is not None:        # a drill is no copy of an epoch
        mark.attrib.pop("epoch", None)
    for tag in ("on_poweroff", "on_crash"):
        found = domain.find(tag)
        if found is not None:
            found.text = "destroy"


def _strip_top(domain: ET.Element) -> List[str]:
    left = []
    for child in list(domain):
        if isinstance(child.tag, str) and child.tag.startswith(QEMU_ONLY):
            domain.remove(child)
            left.append("what its definition tells QEMU directly (%s)"
                        % child.tag.partition("}")[2])
    _remove(domain, TOP_LEFT_OUT)
    return left


def _leads_out(device: ET.Element) -> str:
    """Return what a device is called if it may lead out of a drill; empty where it stays inside."""
    tag, kind = str(device.tag), device.get("type", "")
    if tag in SILENT:
        return ""
    if tag not in KEPT:
        return "its %s" % tag
    if tag == "rng" and device.find("backend[@model='random']") is None:
        return "its rng, which asks somebody else"
    if tag == "memory" and device.get("model", "dimm") != "dimm":
        return "its memory of model %s" % device.get("model")
    if tag == "input" and kind in OUTWARD_INPUT:
        return "its input of type %s" % kind
    if tag == "channel":
        target = device.find("target")
        inside = kind == "unix" and target is not None and target.get("type") == "virtio"
        return "" if inside else "its channel of type %s" % kind
    return ""


def _put_on_bridge(card: ET.Element, bridge: str, *, ovs: bool) -> None:
    _remove(card, OF_CARD if ovs else {*OF_CARD, "vlan"})
    for driver in card.findall("driver"):
        if driver.get("name") == "vfio":
            card.remove(driver)
    card.set("type", "bridge")
    card.attrib.pop("managed", None)
    ET.SubElement(card, "source", bridge=bridge)
    if ovs:
        ET.SubElement(card, "virtualport", type="openvswitch")


def _end_at_a_terminal(device: ET.Element) -> None:
    """Let a serial port end at a terminal of its own: never in a file or socket of the host."""
    _remove(device, {"source", "log", "protocol"})
    device.set("type", "pty")
    device.attrib.pop("tty", None)


def _remove(element: ET.Element, tags: Set[str]) -> None:
    for child in list(element):
        if child.tag in tags:
            element.remove(child)
