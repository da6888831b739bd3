"""Hands for changes of an existing domain: in the running guest, and in its definition."""

import asyncio
import copy
import xml.etree.ElementTree as ET
from typing import Final

from controller.errors import OutcomeUnknown, Refused
from controller.model.units import is_memory_of, render_size, render_sizes
from controller.plan.actions.desired import (
    AttachDisk,
    AttachNic,
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
from controller.plan.actions.machine import PruneDomain, ReconfigureDomain
from controller.providers.libvirt.disk import grow_file
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.precondition import virsh_if_files, written_file
from controller.providers.libvirt.virsh import OFF, STDIN, find_state, find_xml, virsh
from controller.providers.libvirt.xml.device import (
    find_disk,
    find_nic,
    find_that_disk,
    patch_nic,
    refuse_twins,
    render_disk,
    render_nic,
    source_of,
)
from controller.providers.libvirt.xml.domain import kibibytes, patch_domain, render_mark
from controller.providers.libvirt.xml.xml import NAMESPACE, parse_xml, render_xml, says_the_same
from controller.providers.node import Node

RELEASE_LOOKS: Final = 20
RELEASE_PAUSE_S: Final = 0.5
DEVICE_TIMEOUT_S: Final = 60.0


async def reconfigure(node: Node, action: ReconfigureDomain | PruneDomain) -> str:
    """Make every change, in the running guest if asked to, then in the definition."""
    domain = action.domain
    state = await find_state(node, domain)
    if state is None:
        raise Refused(f"{domain} was not changed: {node.name} does not know it")
    running = state not in OFF
    done = [await grow(node, domain, change, running=running)
            for change in action.changes if isinstance(change, GrowDisk)]
    live = action.live and running
    if live:
        done += [await change_live(node, domain, change) for change in action.changes
                 if not isinstance(change, GrowDisk)]
    done.append(await change_definition(node, action, live=live))
    return f"{domain} on {node.name}: " + "; ".join(sentence for sentence in done if sentence)


async def change_definition(node: Node, action: ReconfigureDomain | PruneDomain, *,
                            live: bool) -> str:
    """Patch the definition that the next boot uses.

    Errors: Refused for a domain without one.
    """
    text = await find_xml(node, action.domain, inactive=True)
    if text is None:
        raise Refused(f"{action.domain} has no definition on {node.name} any more")
    try:
        patched = patch_domain(text, action.changes)
    except ValueError as error:
        raise Refused(f"{action.domain} on {node.name} was not changed: {error}") from error
    if says_the_same(patched, text):
        return "" if live else "its definition says so already"
    files = tuple(change.disk.path for change in action.changes if isinstance(change, AttachDisk))
    await virsh_if_files(node, files, "define", STDIN, text=patched,
                         failed=f"the definition of {action.domain} on {node.name} was not changed")
    return "its definition says so too" if live else "its definition says so: at next boot"


async def grow(node: Node, domain: str, change: GrowDisk, *, running: bool) -> str:
    """Make a disk larger: through QEMU while the domain runs, in the file while it is off."""
    text = await find_xml(node, domain, inactive=not running)
    disk = None if text is None else find_disk(parse_xml(text), change.target)
    if disk is None or source_of(disk) != change.path:
        raise Refused(f"{domain} on {node.name} has no disk {change.target} in {change.path}:"
                      " nothing grew")
    if not running:
        driver = disk.find("driver")
        image_format = "raw" if driver is None else driver.get("type", "raw")
        return await grow_file(node, change.path, image_format, change.size_bytes)
    failed = f"disk {change.target} of {domain} on {node.name} did not grow"
    # blockresize would also shrink a disk
    info = await virsh(node, "domblkinfo", "--", domain, change.target, failed=failed)
    size = render_size(change.size_bytes)
    if parse_capacity(info) >= change.size_bytes:
        return f"{change.target} has {size} already"
    await virsh_if_files(node, (change.path,), "blockresize", "--", domain, change.target,
                         f"{change.size_bytes}B", failed=failed, timeout_s=DEVICE_TIMEOUT_S)
    return f"{change.target} has {size} now, while it runs"


def parse_capacity(text: str) -> int:
    """Return the virtual size from `virsh domblkinfo`."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Capacity":
            return int(value)
    raise ValueError("domblkinfo names no capacity")


async def change_live(node: Node, domain: str, change: DomainChange) -> str:
    """Make one change in a running guest, unless it is made already."""
    text = await find_xml(node, domain, inactive=False)
    if text is None:
        raise Refused(f"{domain} was not changed: {node.name} does not know it any more")
    live = parse_xml(text)
    match change:
        case SetMemory() | SetCpus():
            return await resize_live(node, domain, live, change)
        case AttachNic(nic) | UpdateNic(nic):
            require_one(node, domain, live, nic.mac)
            return await plug_nic(node, domain, live, nic, new=isinstance(change, AttachNic))
        case DetachNic(mac):
            require_one(node, domain, live, mac)
            return await unplug(node, domain, find_nic(live, mac), mac)
        case AttachDisk():
            return await plug_disk(node, domain, live, change)
        case DetachDisk(target, source):
            return await unplug(node, domain, that_disk(live, domain, target, source), target)
        case SetOwnership(ownership):
            await virsh(node, "metadata", "--live", "--uri", NAMESPACE, "--key", "hotsite",
                        "--set", render_mark(ownership), "--", domain,
                        failed=f"{domain} on {node.name} was not marked as ours")
            return "marked as ours"
    raise AssertionError(f"{change} is done elsewhere")


def that_disk(live: ET.Element, domain: str, target: str, source: str) -> ET.Element | None:
    """Return the disk to unplug.

    Errors: Refused when another one is at its target by now.
    """
    try:
        return find_that_disk(live, target, source)
    except ValueError as error:
        raise Refused(f"{domain} was not changed: {error}") from error


def require_one(node: Node, domain: str, live: ET.Element, mac: str) -> None:
    """Raise Refused if two cards of a running guest have that MAC."""
    try:
        refuse_twins(live, mac)
    except ValueError as error:
        raise Refused(f"{domain} on {node.name} was not changed: {error}") from error


async def resize_live(node: Node, domain: str, live: ET.Element,
                      change: SetMemory | SetCpus) -> str:
    """Give a running guest more or less memory or CPUs, up to the ceiling it was started with."""
    now = parse_config(live, {})
    failed = f"{domain} on {node.name} runs on unchanged"
    if isinstance(change, SetMemory):
        size = render_size(change.memory_bytes)
        if change.memory_bytes > now.memory_max_bytes:
            size, ceiling = render_sizes(change.memory_bytes, now.memory_max_bytes)
            raise Refused(f"{failed}: {size} is more than the {ceiling} it was started with; it"
                          " needs a restart")
        await virsh(node, "setmem", "--live", "--", domain, str(kibibytes(change.memory_bytes)),
                    failed=failed)
        return f"its balloon was set to {size}{await follow_balloon(node, domain, change)}"
    if change.cpus > now.cpus_max:
        raise Refused(f"{failed}: {change.cpus} CPUs are more than the {now.cpus_max} it was"
                      " started with; it needs a restart")
    if change.cpus != now.cpus:
        await virsh(node, "setvcpus", "--live", "--", domain, str(change.cpus), failed=failed,
                    timeout_s=DEVICE_TIMEOUT_S)
    return f"it has {change.cpus} CPUs"


async def follow_balloon(node: Node, domain: str, change: SetMemory) -> str:
    """Wait for a guest's balloon to reach its size; return a remark if the guest is too slow."""
    for _ in range(RELEASE_LOOKS):
        text = await find_xml(node, domain, inactive=False)
        if text is None or is_memory_of(parse_config(parse_xml(text), {}).memory_bytes,
                                        change.memory_bytes):
            return ""
        await asyncio.sleep(RELEASE_PAUSE_S)
    return ", which the guest has not followed yet"


async def plug_nic(node: Node, domain: str, live: ET.Element, nic: DesiredNic, *, new: bool) -> str:
    """Plug a card in, or put the one of that MAC on the desired's bridge and VLAN.

    The model of a plugged card stays until the next boot.
    """
    element = find_nic(live, nic.mac)
    failed = f"the card {nic.mac} of {domain} on {node.name} was not changed"
    if element is None and not new:
        raise Refused(f"{failed}: the running guest has no such card")
    if element is None:
        await virsh(node, "attach-device", "--live", "--", domain, STDIN, failed=failed,
                    text=render_xml(render_nic(nic)), timeout_s=DEVICE_TIMEOUT_S)
        return f"card {nic.mac} plugged into {place_of(nic)}"
    wanted = copy.deepcopy(element)
    try:
        patch_nic(wanted, nic)
    except ValueError as error:
        raise Refused(f"{failed}: {error}") from error
    model, wanted_model = element.find("model"), wanted.find("model")
    if wanted_model is not None:
        wanted_model.attrib = {} if model is None else dict(model.attrib)
    if ET.tostring(wanted) != ET.tostring(element):
        await virsh(node, "update-device", "--live", "--", domain, STDIN, failed=failed,
                    text=render_xml(wanted), timeout_s=DEVICE_TIMEOUT_S)
    return f"card {nic.mac} is on {place_of(nic)}"


def place_of(nic: DesiredNic) -> str:
    """Return where a card is plugged in, in words."""
    if nic.network:
        return f"libvirt's network {nic.network}"
    return nic.bridge if nic.vlan is None else f"{nic.bridge}, VLAN {nic.vlan}"


async def plug_disk(node: Node, domain: str, live: ET.Element, change: AttachDisk) -> str:
    """Plug in a disk, if its file exists."""
    disk, element = change.disk, find_disk(live, change.disk.target)
    if element is not None and source_of(element) == disk.path:
        return f"{disk.target} is plugged in already"
    failed = f"disk {disk.target} was not plugged into {domain} on {node.name}"
    if element is not None:
        raise Refused(f"{failed}: its place is taken by {source_of(element) or 'another disk'}")
    await virsh_if_files(node, (disk.path,), "attach-device", "--live", "--", domain, STDIN,
                         failed=failed, text=render_xml(render_disk(disk)),
                         timeout_s=DEVICE_TIMEOUT_S)
    return f"disk {disk.target} plugged in"


async def unplug(node: Node, domain: str, element: ET.Element | None, name: str) -> str:
    """Unplug a card or disk, and wait until the guest has released it."""
    if element is None:
        return f"{name} is unplugged already"
    # the data of a deleted file is lost when the running QEMU closes it
    await virsh_if_files(
        node, written_file(element), "detach-device", "--live", "--", domain, STDIN,
        text=render_xml(copy.deepcopy(element)), timeout_s=DEVICE_TIMEOUT_S,
        failed=f"{name} of {domain} on {node.name} was not unplugged")
    for _ in range(RELEASE_LOOKS):
        text = await find_xml(node, domain, inactive=False)
        if text is not None:
            live = parse_xml(text)
            if find_nic(live, name) is None and find_disk(live, name) is None:
                return f"{name} unplugged"
        await asyncio.sleep(RELEASE_PAUSE_S)
    raise OutcomeUnknown(f"{domain} on {node.name} was asked to release {name} and has not yet; it"
                         " is looked at again")
