"""Parses a domain's disks, and its other devices that hold state, into facts."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from controller.model.facts import DeviceFacts, DiskFacts

SOURCES: Final = ("file", "dev", "volume", "name", "dir", "path", "namespace")
ADDRESS: Final = ("domain", "bus", "slot", "function")
LASTING: Final = frozenset({"nvdimm", "virtio-pmem", "sgx-epc"})
"""Memory devices that keep data, or bind the domain to its host."""


def parse_disk(disk: ET.Element, sizes: Mapping[str, int | None],
               odd: Mapping[str, Mapping[str, Any]]) -> DiskFacts:
    """Return one disk; `sizes` and the header's traits (`odd`) are by path, as the host read them.

    Only a qcow2's header is believed: into a raw file the guest writes what it likes.
    """
    target, source, driver = disk.find("target"), disk.find("source"), disk.find("driver")
    found = {} if source is None else source.attrib
    place = next((found[key] for key in SOURCES if key in found), "")
    image_format = "raw" if driver is None else driver.get("type", "raw")
    traits = odd.get(place, {}) if image_format == "qcow2" else {}
    backing = disk.find("backingStore")
    return DiskFacts(
        target="" if target is None else target.get("dev", ""),
        source=place,
        format=image_format,
        size_bytes=sizes.get(place),
        type=disk.get("type", "file"),
        device=disk.get("device", "disk"),
        bus="" if target is None else target.get("bus", ""),
        protocol=found.get("protocol", ""),
        pool=found.get("pool", ""),
        readonly=disk.find("readonly") is not None,
        shareable=disk.find("shareable") is not None,
        transient=disk.find("transient") is not None,
        encrypted=next(disk.iter("encryption"), None) is not None or "encrypted" in traits,
        layered="backing" in traits or (backing is not None and len(backing) > 0),
        mirrored=disk.find("mirror") is not None,
        data_file="data_file" in traits or next(disk.iter("dataStore"), None) is not None,
        startup_policy=found.get("startupPolicy", ""),
        snapshot=disk.get("snapshot", ""),
        qcow2_version=traits.get("version", 3),
        snapshots=traits.get("snapshots", 0),
    )


def parse_devices(domain: ET.Element) -> tuple[DeviceFacts, ...]:
    """Return the devices besides disks that hold state or bind the domain to its host."""
    return tuple(_devices(domain))


def _devices(domain: ET.Element) -> Iterator[DeviceFacts]:
    for tag, of in KINDS.items():
        for element in domain.iterfind(tag):
            found = of(element)
            if found is not None:
                yield found


def _nvram(nvram: ET.Element) -> DeviceFacts:
    source = nvram.find("source")
    if source is None:
        return DeviceFacts("nvram", (nvram.text or "").strip())
    return DeviceFacts("nvram", next((source.get(key, "") for key in SOURCES if source.get(key)),
                                     ""))


def _tpm(tpm: ET.Element) -> DeviceFacts:
    backend = tpm.find("backend")
    words = (tpm.get("model", ""), "" if backend is None else backend.get("type", ""))
    return DeviceFacts("tpm", " ".join(word for word in words if word))


def _hostdev(device: ET.Element) -> DeviceFacts | None:
    if device.get("type") == "vdpa":
        source = device.find("source")
        return DeviceFacts("hostdev", "vdpa " + ("" if source is None else source.get("dev", "")))
    if device.tag == "interface" and device.get("type") != "hostdev":
        return None
    return DeviceFacts("hostdev", _host_device(device))


def _filesystem(share: ET.Element) -> DeviceFacts:
    ends = (share.find("source"), share.find("target"))
    return DeviceFacts("filesystem", next((
        name for end in ends if end is not None for name in end.attrib.values()), ""))


def _memory(memory: ET.Element) -> DeviceFacts | None:
    model = memory.get("model", "")
    if model not in LASTING:
        return None
    return DeviceFacts(model, memory.findtext("source/path", ""))


KINDS: Final[Mapping[str, Callable[[ET.Element], DeviceFacts | None]]] = {
    "os/nvram": _nvram,
    "devices/tpm": _tpm,
    "devices/hostdev": _hostdev,
    "devices/interface": _hostdev,
    "devices/filesystem": _filesystem,
    "devices/memory": _memory,
    "launchSecurity": lambda sealed: DeviceFacts("launchSecurity", sealed.get("type", "")),
    "devices/pstore": lambda store: DeviceFacts("pstore", store.findtext("path", "")),
    "devices/shmem": lambda shared: DeviceFacts("shmem", shared.get("name", "")),
}


def _host_device(device: ET.Element) -> str:
    """Return a host device's usual name: `pci 0000:06:12.5`, `usb 046d:0825`, `scsi …`."""
    kind = device.get("type", "pci")
    source = device.find("source")
    if source is None:
        return kind
    address, vendor, product = (source.find(tag) for tag in ("address", "vendor", "product"))
    if vendor is not None and product is not None:
        name = f"{vendor.get('id', '')}:{product.get('id', '')}".replace("0x", "")
    elif address is not None and "slot" in address.attrib:
        domain, bus, slot, function = (address.get(key, "0x0").removeprefix("0x")
                                       for key in ADDRESS)
        name = f"{domain}:{bus}:{slot}.{function}"
    elif address is not None:
        name = ":".join(address.attrib.values())
    else:
        adapter = source.find("adapter")
        name = source.get("name", "") if adapter is None else adapter.get("name", "")
    return f"{'pci' if device.tag == 'interface' else kind} {name}".strip()
