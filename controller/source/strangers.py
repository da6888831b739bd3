"""What in a template belongs to another machine: to use it twice would mix up two machines' data.

Rule 1: what libvirt writes into a running machine's XML, and makes anew, is dropped when a machine
        is made of the template; what a person may have meant is refused here, by name.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Final

MADE_BY_LIBVIRT: Final = ("/run/libvirt/", "/var/run/libvirt/", "/var/lib/libvirt/qemu/channel/",
                          "/var/lib/libvirt/qemu/domain-")
"""Where libvirt puts sockets of its own, each machine's anew."""
CHARACTER_DEVICES: Final = ("serial", "parallel", "console", "channel", "smartcard", "redirdev")
OWN_STATE: Final = {
    "os/nvram": "the firmware variables", "devices/pstore/path": "the crash log",
    "devices/tpm/backend/source": "the TPM's state",
    "devices/memory/source/path": "the non-volatile memory",
}


def strangers_in(domain: ET.Element) -> Iterator[str]:
    """Yield what a template has that only one machine can have, each with what to do."""
    for place, what in OWN_STATE.items():
        for element in domain.iterfind(place):
            path = path_of(element)
            if path:
                yield f"{what} {path} of another machine: take <{element.tag}> out of it"
    yield from _devices(domain)
    for element in domain.iterfind("devices/disk"):
        name = _target(element) or "a disk"
        for tag, what in (("encryption", "the key"), ("auth", "the login")):
            if next(element.iter(tag), None) is not None:
                yield f"{what} of {name}: take <{tag}> out; new disks are plain files"
    label = domain.find("seclabel[@type='static']")
    if label is not None:
        yield (f"the security label {label.findtext('label', '')} of another machine: take"
               " <seclabel> out")


def _devices(domain: ET.Element) -> Iterator[str]:
    for tag in CHARACTER_DEVICES:
        for element in domain.iterfind(f"devices/{tag}"):
            source = element.find("source")
            path = "" if source is None else path_of(source)
            if path and element.get("type") in {"file", "unix", "pipe"} and (
                    not path.startswith(MADE_BY_LIBVIRT)):
                yield f"the {tag} {path}, which another machine has open: take its <source> out"
    for element in domain.iterfind("devices/graphics"):
        for holder in (element, *element.iterfind("listen")):
            path = holder.get("socket", "")
            if path and not path.startswith(MADE_BY_LIBVIRT):
                yield f"the screen {path}, which another machine has open: take the socket out"


def clashes_with(domain: ET.Element, disks: Iterable[str]) -> Iterator[str]:
    """Yield what stands in a template where a declared disk is to be."""
    declared = set(disks)
    for element in domain.iterfind("devices/disk"):
        name, kind = _target(element), element.get("device", "disk")
        if name in declared and kind != "disk":
            yield (f"a {kind} at {name}, where disk {name} is declared: give one of them another"
                   " target")
        elif name in declared and element.get("type", "file") != "file":
            yield (f"disk {name} as libvirt's kind {element.get('type')}, and the declared one is a"
                   " file: take it out")


def _target(disk: ET.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def path_of(element: ET.Element) -> str:
    """Return the path that an element names, in its text or its source."""
    source = element if element.find("source") is None else element.find("source")
    assert source is not None
    named = next((source.get(key, "") for key in ("path", "file", "dir", "dev")
                  if source.get(key)), "")
    return named or (element.text or "").strip()
