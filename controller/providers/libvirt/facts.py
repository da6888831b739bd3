"""Parses libvirt's domains and pools, as the facts script sends them, into facts."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any, Final

from controller.model.facts import (
    DomainConfig,
    DomainFacts,
    DomainState,
    FileUse,
    NicFacts,
    Ownership,
    PoolFacts,
    Role,
    VolumeFacts,
)
from controller.model.failover.capabilities import Capabilities
from controller.providers.libvirt.disk_facts import parse_devices, parse_disk
from controller.providers.libvirt.xml.xml import NAMESPACE, parse_amount_bytes, parse_xml
from controller.transport.json_text import parse_json

STATES: Final[Mapping[str, DomainState]] = {
    "running": DomainState.RUNNING,
    "idle": DomainState.RUNNING,
    "no state": DomainState.RUNNING,
    "paused": DomainState.PAUSED,
    "in shutdown": DomainState.SHUTTING_DOWN,
    "shut off": DomainState.SHUT_OFF,
    "crashed": DomainState.CRASHED,
    "pmsuspended": DomainState.SUSPENDED,
}
INCOMING: Final = "Incoming migration"
DISKS: Final = frozenset({"disk", "lun"})
"""Devices that hold a guest's data; the others are removable media."""
NOTHING_ODD: Final[Mapping[str, Any]] = {}


AGENT: Final = "devices/channel/target[@name='org.qemu.guest_agent.0'][@state='connected']"
"""libvirt shows whether the guest has opened the channel; source: its domain XML format."""


def parse_domains(text: str) -> dict[str, DomainFacts]:
    """Return every domain of a host by name.

    Errors: ValueError with a sentence; half an answer is no answer.
    """
    try:
        return {row["name"]: parse_alone(row) for row in parse_json(text)}
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the list of domains is not understood: {error!r}") from error


def parse_alone(row: Mapping[str, Any]) -> DomainFacts:
    """Return one domain; if it cannot be read or parsed, it alone is unknown."""
    if row.get("unknown"):
        return unknown_domain(row, row["unknown"], active=row["active"])
    try:
        return parse_domain(row)
    except ValueError as error:
        return unknown_domain(row, f"it is not understood: {error}",
                              active=row["live_xml"] is not None)


def unknown_domain(row: Mapping[str, Any], why: str, *, active: bool) -> DomainFacts:
    """Return a domain of which only the existence and power are known."""
    return DomainFacts(
        name=row["name"], uuid=row["uuid"],
        state=DomainState.RUNNING if active else DomainState.SHUT_OFF, state_reason="",
        persistent=row["persistent"], autostart=False, live=None, config=None, unknown=why)


def parse_domain(row: Mapping[str, Any]) -> DomainFacts:
    """Return one domain."""
    live, config = (parse_xml(row[key]) if row[key] else None for key in ("live_xml", "config_xml"))
    marked = config if config is not None else live
    state = parse_state(row["state"], row["job"], active=live is not None)
    seen = row["disk_sizes"], row.get("disk_traits", {})
    return DomainFacts(
        name=row["name"],
        uuid=row["uuid"],
        state=state,
        state_reason=row["reason"],
        persistent=row["persistent"],
        autostart=row["autostart"],
        live=parse_config(live, *seen) if live is not None and state.active else None,
        config=parse_config(config, *seen) if config is not None else None,
        job=row["job"],
        ownership=parse_ownership(marked) if marked is not None else None,
        checkpoints=tuple(row.get("checkpoints", ())),
        files=parse_files((live, config), row.get("identities", {}), row.get("disk_traits", {})),
        agent=live is not None and live.find(AGENT) is not None,
    )


def parse_state(state: str, job: str | None, *, active: bool) -> DomainState:
    """Return a domain's state; the receiving end of a migration is not a second running copy.

    Both ends are paused during the switch-over, and only the type of job tells them apart. A
    crashed guest that libvirt preserves still has its process and its disks.
    """
    if state not in STATES:
        raise ValueError(f"a domain is in the unknown state {state!r}")
    if state == "crashed" and active:
        return DomainState.PAUSED
    if state == "paused" and job == INCOMING:
        return DomainState.INCOMING
    return STATES[state]


def parse_config(domain: ET.Element, disk_sizes: Mapping[str, int | None],
                 disk_traits: Mapping[str, Any] = NOTHING_ODD) -> DomainConfig:
    """Return the managed fields of a domain's XML."""
    memory, vcpu = domain.find("memory"), domain.find("vcpu")
    if memory is None or vcpu is None:
        raise ValueError("a domain's XML has no memory or no vcpu")
    current = domain.find("currentMemory")
    cpus_max = int(vcpu.text or "")
    disks = [parse_disk(disk, disk_sizes, disk_traits) for disk in domain.findall("devices/disk")]
    return DomainConfig(
        memory_bytes=parse_amount_bytes(memory if current is None else current),
        memory_max_bytes=parse_amount_bytes(memory),
        cpus=int(vcpu.get("current", cpus_max)),
        cpus_max=cpus_max,
        disks=tuple(disk for disk in disks if disk.device in DISKS),
        nics=tuple(parse_nic(nic) for nic in domain.findall("devices/interface")),
        media=tuple(disk for disk in disks if disk.device not in DISKS),
        devices=parse_devices(domain),
        hugepages=domain.find("memoryBacking/hugepages") is not None,
        machine=_attribute(domain.find("os/type"), "machine"),
        cpu_model=_demanded_model(domain.find("cpu")),
        cpu_mode=_attribute(domain.find("cpu"), "mode"),
        loader=(domain.findtext("os/loader") or "").strip(),
        numa=domain.find("cpu/numa") is not None,
    )


def _demanded_model(cpu: ET.Element | None) -> str:
    """Return the processor model that a guest requires to start; empty if none.

    Source: libvirt.org/formatdomain.html, the attribute `check`: with `none` nothing is compared.
    """
    if cpu is None or cpu.get("check") == "none":
        return ""
    return (cpu.findtext("model") or "").strip()


def _attribute(element: ET.Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def parse_capabilities(text: str) -> Capabilities:
    """Return a host's capabilities, from the facts script's section."""
    parsed = parse_json(text)
    return Capabilities(tuple(parsed["machines"]), tuple(parsed["models"]),
                        tuple(parsed["loaders"]), tuple(parsed.get("tpms", ())))


def parse_files(domains: Iterable[ET.Element | None],
                identities: Mapping[str, str],
                traits: Mapping[str, Any] = NOTHING_ODD) -> tuple[FileUse, ...]:
    """Return the files of the disks in a domain's definitions, sorted by path.

    A medium that a guest can only read, or that guests share on purpose, counts as not written.
    """
    written: dict[str, bool] = {}
    for domain in domains:
        for disk in () if domain is None else domain.findall("devices/disk"):
            own = (disk.get("device", "disk") in {"disk", "lun"}
                   and disk.find("readonly") is None and disk.find("shareable") is None)
            top = disk.find("source")
            for source in disk.iter("source"):
                path = next((source.get(key, "") for key in ("file", "dev") if source.get(key)), "")
                if path:
                    written[path] = written.get(path, False) or (own and source is top)
                for layer in traits.get(path, NOTHING_ODD).get("layers", ()):
                    written.setdefault(layer, False)
    return tuple(FileUse(path, written[path], identities.get(path, ""))
                 for path in sorted(written))


def parse_nic(nic: ET.Element) -> NicFacts:
    """Return one card.

    Source: formatdomain.html, "Setting VLAN tag": several tags, `trunk` or a native mode make it a
    trunk, even with a single tag.
    """
    mac, source, target = nic.find("mac"), nic.find("source"), nic.find("target")
    model, port, vlan = nic.find("model"), nic.find("virtualport"), nic.find("vlan")
    tags = [] if vlan is None else vlan.findall("tag")
    numbers = [int(tag.get("id", "")) for tag in tags]
    natives = [int(tag.get("id", "")) for tag in tags if tag.get("nativeMode")]
    is_trunk = vlan is not None and (
        len(numbers) > 1 or bool(natives) or vlan.get("trunk") == "yes")
    return NicFacts(
        mac="" if mac is None else mac.get("address", "").lower(),
        bridge="" if source is None else source.get("bridge", ""),
        vlan=numbers[0] if len(numbers) == 1 and not is_trunk else None,
        device=None if target is None else target.get("dev"),
        model=None if model is None else model.get("type"),
        kind=nic.get("type", "bridge"),
        trunks=tuple(sorted(numbers)) if is_trunk else (),
        native=natives[0] if natives else None,
        port_type="" if port is None else port.get("type", ""),
        network="" if source is None else source.get("network", ""),
    )


def parse_ownership(domain: ET.Element) -> Ownership | None:
    """Return our mark in a domain's metadata, None where there is none."""
    mark = domain.find(f"metadata/{{{NAMESPACE}}}vm")
    if mark is None:
        return None
    role, epoch = mark.get("role", ""), mark.get("epoch", "")
    return Ownership(
        estate=mark.get("estate", ""), deletion=mark.get("deletion", "keep"),
        name=mark.get("name", ""), role=Role(role) if role in set(Role) else Role.PRODUCTION,
        epoch=int(epoch) if epoch.isdecimal() else 0, uuid=mark.get("uuid", ""),
        domain=mark.get("domain", ""))


def parse_pools(text: str) -> dict[str, PoolFacts]:
    """Return every pool of a host by name.

    Errors: ValueError with a sentence.
    """
    try:
        return {row["name"]: parse_pool(row) for row in parse_json(text)}
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the list of pools is not understood: {error!r}") from error


def parse_pool(row: Mapping[str, Any]) -> PoolFacts:
    """Return one pool with its volumes by file name."""
    return PoolFacts(
        name=row["name"],
        path=row.get("path", ""),
        active=row["active"],
        type=row.get("type", "dir"),
        unknown=row.get("unknown", ""),
        replicas_unknown=row.get("replicas_unknown", ""),
        identity=row.get("identity", ""),
        unmounted=row.get("unmounted", ""),
        capacity_bytes=row.get("capacity", 0),
        available_bytes=row.get("available", 0),
        volumes={volume["name"]: VolumeFacts(
            name=volume["name"],
            format=volume["format"],
            size_bytes=volume["size"],
            allocated_bytes=volume["allocated"],
            identity=volume.get("inode", ""),
        ) for volume in row.get("volumes", ())},
    )
