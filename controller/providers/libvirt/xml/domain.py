"""A domain's XML: made new from a desired and a template, and patched where it is managed.

Rule 1: only managed fields are changed; everything else in a domain stays.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final, assert_never

from controller.model.facts import Ownership
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
from controller.providers.libvirt.xml.device import (
    find_disk,
    find_nic,
    find_that_disk,
    patch_disk,
    patch_nic,
    place_nic,
    refuse_twins,
    render_disk,
    render_nic,
    source_of,
)
from controller.providers.libvirt.xml.instance import forget_instance
from controller.providers.libvirt.xml.xml import (
    NAMESPACE,
    find_or_add,
    parse_amount_bytes,
    parse_whole,
    parse_xml,
    remove_all,
    render_xml,
)

MACHINES: Final = {
    "x86_64": ("machine='q35'", ""),
    "aarch64": ("machine='virt'", " firmware='efi'"),
}
ROOT: Final = "<controller type='pci' index='0' model='pcie-root'/>"
SPARE_PORT: Final = "<controller type='pci' model='pcie-root-port'/>"
SPARE_PORTS: Final = 12


def kibibytes(size_bytes: int) -> int:
    """Return a memory size as libvirt keeps it, rounded up."""
    return -(-size_bytes // 1024)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a host can run: its architecture, and whether KVM works."""

    architecture: str
    kvm: bool


def parse_machine(capabilities: str, *, kvm: bool) -> Machine:
    """Return what `virsh domcapabilities` says of the host."""
    root = parse_xml(capabilities)
    arch = root.findtext("arch", "")
    return Machine(architecture=arch, kvm=kvm and root.findtext("domain") == "kvm")


def default_template(machine: Machine) -> str:
    """Return the template of a VM that declares none: virtio, a serial console, no screen.

    Its spare PCI ports are for cards and disks plugged in while it runs.
    """
    kind, firmware = MACHINES.get(machine.architecture, ("", ""))
    ports = ROOT + SPARE_PORT * SPARE_PORTS if kind else ""
    cpu = "<cpu mode='host-model'/>" if machine.kvm else ""
    return f"""
<domain type='{"kvm" if machine.kvm else "qemu"}'>
  <os{firmware}><type arch='{machine.architecture}' {kind}>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  {cpu}
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    {ports}
    <controller type='usb' model='none'/>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""


def render_domain(desired: DesiredDomain, template: str) -> str:
    """Return the definition of a new domain: the desired, and from `template` all else.

    Errors: ValueError when the template is no domain XML.
    """
    domain = parse_xml(template)
    if domain.tag != "domain":
        raise ValueError(f"the template is a <{domain.tag}>, not a <domain>")
    forget_instance(domain)
    for tag, text in (("uuid", desired.uuid), ("name", desired.name)):
        remove_all(domain, tag)
        element = ET.Element(tag)
        element.text = text
        domain.insert(0, element)
    memory = str(kibibytes(desired.memory_bytes))
    for tag in ("memory", "currentMemory"):
        set_amount(find_or_add(domain, tag), memory)
    vcpu = find_or_add(domain, "vcpu")
    vcpu.attrib.pop("current", None)
    vcpu.text = str(desired.cpus)
    remove_all(domain, "vcpus")
    fit_topology(domain, desired.cpus)
    fill_devices(domain, desired)
    set_ownership(domain, desired.ownership)
    return render_xml(domain)


def fill_devices(domain: ET.Element, desired: DesiredDomain) -> None:
    """Give a new domain exactly the desired's disks and cards.

    A disk or card that the template describes, by target or MAC, keeps what it says of it.

    Errors: ValueError where something else stands at a disk's target.
    """
    devices = find_or_add(domain, "devices")
    for disk in desired.disks:
        other = find_disk(domain, disk.target)
        if other is not None and other.get("device", "disk") != "disk":
            raise ValueError(f"the template has a {other.get('device')} at {disk.target}")
    disks = [(find_disk(domain, disk.target), disk) for disk in desired.disks]
    nics = [(find_nic(domain, nic.mac), nic) for nic in desired.nics]
    for element in devices.findall("disk"):
        if element.get("device", "disk") == "disk":
            devices.remove(element)
    remove_all(devices, "interface")
    for found, disk in disks:
        made = render_disk(disk) if found is None else found
        patch_disk(made, disk)
        add_disk(devices, made, disk)
    for found, nic in nics:
        made = render_nic(nic) if found is None else found
        if found is not None:
            patch_nic(made, nic, new=True)
        devices.append(made)


def add_disk(devices: ET.Element, element: ET.Element, disk: DesiredDisk) -> None:
    """Add a disk, and the modern controller that a first SCSI disk needs."""
    scsi = [c for c in devices.findall("controller") if c.get("type") == "scsi"]
    if disk.target.startswith("sd") and not scsi:
        ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    devices.append(element)


def patch_domain(text: str, changes: tuple[DomainChange, ...]) -> str:
    """Return a domain's XML with only `changes` made.

    Errors: ValueError with a sentence when a change does not fit the domain.
    """
    domain = parse_whole(text)
    for change in changes:
        patch(domain, change)
    return render_xml(domain)


def place_nics(text: str, nics: tuple[DesiredNic, ...]) -> str:
    """Return a domain's XML with its cards where its host has their networks.

    A card that it lacks is added. Errors: ValueError with a sentence.
    """
    domain = parse_whole(text)
    for nic in nics:
        refuse_twins(domain, nic.mac)
        found = find_nic(domain, nic.mac)
        if found is None:
            find_or_add(domain, "devices").append(render_nic(nic))
        else:
            place_nic(found, nic)
    return render_xml(domain)


def patch(domain: ET.Element, change: DomainChange) -> None:
    """Make one change, if it is not made already."""
    devices = find_or_add(domain, "devices")
    match change:
        case SetMemory(memory_bytes):
            set_memory(domain, memory_bytes)
        case SetCpus(cpus):
            set_cpus(domain, cpus)
        case AttachNic(nic) | UpdateNic(nic):
            put_nic(domain, devices, nic)
        case DetachNic(mac):
            refuse_twins(domain, mac)
            drop(devices, find_nic(domain, mac))
        case AttachDisk(disk):
            put_disk(domain, devices, disk)
        case DetachDisk(target, source):
            drop(devices, find_that_disk(domain, target, source))
        case GrowDisk():
            pass  # a size is in the file, not in the XML
        case SetOwnership(ownership):
            set_ownership(domain, ownership)
        case _:
            assert_never(change)


def drop(devices: ET.Element, element: ET.Element | None) -> None:
    """Take a device out, if it is there."""
    if element is not None:
        devices.remove(element)


def put_nic(domain: ET.Element, devices: ET.Element, nic: DesiredNic) -> None:
    """Bring the card of that MAC to the desired, or add it."""
    refuse_twins(domain, nic.mac)
    element = find_nic(domain, nic.mac)
    if element is None:
        devices.append(render_nic(nic))
    else:
        patch_nic(element, nic)


def put_disk(domain: ET.Element, devices: ET.Element, disk: DesiredDisk) -> None:
    """Add a disk; its target must be free."""
    element = find_disk(domain, disk.target)
    if element is None:
        add_disk(devices, render_disk(disk), disk)
    elif source_of(element) != disk.path:
        raise ValueError(f"{disk.target} is taken by {source_of(element) or 'another disk'}")


def set_amount(element: ET.Element, amount: str) -> None:
    """Write an amount in libvirt's own unit."""
    element.set("unit", "KiB")
    element.text = amount


def set_memory(domain: ET.Element, memory_bytes: int) -> None:
    """Set what the guest gets at its next boot; the ceiling is raised when it is too low.

    An amount that is equal in another unit is left as it is written.
    """
    wanted = str(kibibytes(memory_bytes))
    ceiling, current = find_or_add(domain, "memory"), domain.find("currentMemory")
    if not ceiling.text or parse_amount_bytes(ceiling) < memory_bytes:
        if domain.find("cpu/numa") is not None:
            raise ValueError("its memory is laid out in NUMA cells, which are not managed:"
                             " change <memory> and the cells by hand")
        set_amount(ceiling, wanted)
    now = ceiling if current is None else current
    if kibibytes(parse_amount_bytes(now)) != int(wanted):
        set_amount(after(domain, "memory", "currentMemory") if current is None else current, wanted)


def after(parent: ET.Element, before: str, tag: str) -> ET.Element:
    """Return a new child `tag` of `parent`, right behind the child `before`."""
    made = ET.Element(tag)
    place = next((at for at, child in enumerate(parent) if child.tag == before), -1)
    parent.insert(place + 1, made)
    return made


def set_cpus(domain: ET.Element, cpus: int) -> None:
    """Set the CPUs of the next boot; the ceiling is raised when it is too low."""
    vcpu = find_or_add(domain, "vcpu")
    ceiling = int(vcpu.text or "0")
    if cpus == int(vcpu.get("current", ceiling)):
        return
    if cpus < ceiling:
        vcpu.set("current", str(cpus))
    else:
        vcpu.attrib.pop("current", None)
        vcpu.text = str(cpus)
    if cpus > ceiling:
        fit_topology(domain, cpus)
    # <vcpus> lists each CPU with its state, and would contradict the number
    remove_all(domain, "vcpus")


def fit_topology(domain: ET.Element, cpus: int) -> None:
    """Keep sockets x dies x cores x threads equal to the number of CPUs, as libvirt requires."""
    topology = domain.find("cpu/topology")
    if topology is None:
        return
    others = 1
    for level in ("dies", "clusters", "cores", "threads"):
        others *= int(topology.get(level, "1"))
    if cpus % others:
        others = 1
        for level in ("dies", "clusters", "cores", "threads"):
            if level in topology.attrib:
                topology.set(level, "1")
    topology.set("sockets", str(cpus // others))


def set_ownership(domain: ET.Element, ownership: Ownership) -> None:
    """Write our mark into the metadata; other programs' marks stay."""
    metadata = find_or_add(domain, "metadata")
    mark = find_or_add(metadata, f"{{{NAMESPACE}}}vm")
    mark.attrib.update(words_of(ownership))


def render_mark(ownership: Ownership) -> str:
    """Return our mark alone, as `virsh metadata` takes it."""
    return ET.tostring(ET.Element("vm", words_of(ownership)), encoding="unicode")


def words_of(ownership: Ownership) -> dict[str, str]:
    """Return the attributes of our mark."""
    return {"estate": ownership.estate, "deletion": ownership.deletion, "name": ownership.name,
            "role": ownership.role.value, "epoch": str(ownership.epoch),
            "uuid": ownership.uuid, "domain": ownership.domain}
