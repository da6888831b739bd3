"""Removes from a template what libvirt makes anew for each machine: IDs, aliases, socket paths."""

import xml.etree.ElementTree as ET
from typing import Final

from controller.providers.libvirt.xml.xml import remove_all

CHANNELS: Final = ("/run/libvirt/", "/var/run/libvirt/", "/var/lib/libvirt/qemu/")
"""Where libvirt puts the sockets of a machine's channels."""


def forget_instance(domain: ET.Element) -> None:
    """Remove everything that identifies one machine and that nobody declared."""
    domain.attrib.pop("id", None)
    for label in domain.findall("seclabel"):
        if label.get("type", "dynamic") == "dynamic":
            domain.remove(label)
    for genid in domain.findall("genid"):
        genid.text = None
    for system in domain.findall("sysinfo/system"):
        for entry in system.findall("entry[@name='uuid']"):
            system.remove(entry)
    for device in domain.findall("devices/*"):
        _forget_device(device)


def _forget_device(device: ET.Element) -> None:
    for alias in device.findall("alias"):
        if not alias.get("name", "").startswith("ua-"):     # those are people's own
            device.remove(alias)
    for tag in ("backingStore", "mirror"):
        remove_all(device, tag)
    for port in device.findall("virtualport/parameters"):
        port.attrib.pop("interfaceid", None)
    source, target = device.find("source"), device.find("target")
    if (device.tag == "interface" and target is not None
            and target.get("dev", "").startswith("vnet")):
        device.remove(target)
    if (device.tag == "channel" and device.get("type") == "unix" and source is not None
            and source.get("path", "").startswith(CHANNELS)):
        device.remove(source)
