"""Parses the devices of a host, their VLANs and libvirt's networks into facts."""

from collections.abc import Mapping
from typing import Any

from controller.model.linux.links import LibvirtNetwork, LinkFacts, Links, PassingVlans
from controller.transport.json_text import parse_json


def parse_links(text: str) -> Links:
    """Return how the devices of a host hang together.

    Errors: ValueError with a sentence.
    """
    try:
        found = parse_json(text)
        kept, vlans, networks = found["kept"], found["vlans"], found["networks"]
        lacking = networks.get("unknown", "") if isinstance(networks, Mapping) else ""
        return Links(
            {row["name"]: parse_link(row, kept.get(row["name"], {})) for row in found["links"]},
            {} if "unknown" in vlans else {
                port: parse_vlans(ranges) for port, ranges in vlans.items()},
            vlans.get("unknown", ""),
            {} if lacking else {row["name"]: LibvirtNetwork(
                row["name"], row["bridge"], row["forward"], row["active"], row["autostart"])
                for row in networks},
            lacking, tuple(found["tools"]))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the list of its network devices is not understood: {error!r}") from error


def parse_link(row: Mapping[str, Any], kept: Mapping[str, Any]) -> LinkFacts:
    """Return one device."""
    vlans = kept.get("vlans")
    return LinkFacts(
        row["name"], row["kind"], row["up"], row["link_up"], row["master"], row["parent"],
        row.get("vlan"), row.get("filtering", False), row.get("pvid"), row.get("stp", False),
        kept.get("tool", ""), None if vlans is None else tuple(vlans))


def parse_vlans(ranges: list[list[Any]]) -> PassingVlans:
    """Return the VLANs of one port from ranges with their flags."""
    tagged: set[int] = set()
    untagged: set[int] = set()
    pvid = None
    for first, last, flags in ranges:
        words = flags.split(",")
        (untagged if "untagged" in words else tagged).update(range(first, last + 1))
        pvid = first if "pvid" in words else pvid
    return PassingVlans(frozenset(tagged), frozenset(untagged), pvid)
