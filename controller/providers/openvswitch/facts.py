"""Parses Open vSwitch's tables into facts about bridges and ports."""

import json
from collections.abc import Mapping
from typing import Any, Final

from controller.model.facts import BridgeFacts, InterfaceFacts, PortFacts
from controller.model.failover.dropped import DroppedAddress
from controller.transport.json_text import parse_json

NO_ROWS: Final[Mapping[str, Any]] = {"headings": [], "data": []}


def parse_bridges(text: str) -> dict[str, BridgeFacts]:
    """Return every bridge of a node by name.

    Errors: ValueError with a sentence; half an answer is no answer.
    """
    try:
        tables = parse_json(text)
        interfaces = {row["_uuid"]: row for row in parse_table(tables["Interface"])}
        mirrors = {row["_uuid"]: row for row in parse_table(tables.get("Mirror", NO_ROWS))}
        outputs = {optional(row["output_port"]) for row in mirrors.values()}
        ports = {row["_uuid"]: parse_port(row, interfaces, mirror=row["_uuid"] in outputs)
                 for row in parse_table(tables["Port"])}
        return {row["name"]: parse_bridge(row, ports, mirrors)
                for row in parse_table(tables["Bridge"])}
    except (AttributeError, LookupError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"Open vSwitch's tables are not understood: {error!r}") from error


def parse_interfaces(text: str) -> dict[str, InterfaceFacts]:
    """Return every interface of a node that has an address, or that another one is built on.

    Errors: ValueError with a sentence.
    """
    try:
        return {row["name"]: InterfaceFacts(
            row["name"], tuple(row["addresses"]), row["vlan"], row["parent"], row["master"],
            row["kind"]) for row in parse_json(text)}
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the list of interfaces is not understood: {error!r}") from error


def parse_drops(text: str) -> tuple[DroppedAddress, ...]:
    """Return what a node's bridges drop on our order.

    Errors: ValueError with a sentence.
    """
    try:
        return tuple(sorted(DroppedAddress(row["bridge"], row["port"], row["mac"], row["epoch"])
                            for row in parse_json(text)))
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the list of dropped addresses is not understood: {error!r}") from error


def parse_table(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one `ovs-vsctl --format=json list` table as column -> value."""
    headings = table["headings"]
    return [dict(zip(headings, map(parse_value, row), strict=True)) for row in table["data"]]


def parse_value(cell: Any) -> Any:
    """Return a database cell as a plain value: sets are tuples, maps are dicts.

    Source: RFC 7047 § 5.1.
    """
    if not isinstance(cell, list):
        return cell
    kind, content = cell
    if kind == "set":
        return tuple(parse_value(item) for item in content)
    if kind == "map":
        return {parse_value(key): parse_value(value) for key, value in content}
    return content


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return a set's members; the database writes a set of one as its member."""
    return value if isinstance(value, tuple) else (value,)


def optional(value: Any) -> Any:
    """Return a column that may be empty: its one value, or None."""
    members = as_tuple(value)
    return members[0] if members else None


def parse_bridge(row: Mapping[str, Any], ports: Mapping[str, PortFacts],
                 mirrors: Mapping[str, Mapping[str, Any]]) -> BridgeFacts:
    """Return one bridge with its ports by name."""
    written = {optional(mirrors[uuid]["output_vlan"]) for uuid in as_tuple(row.get("mirrors", ()))
               if uuid in mirrors} - {None}
    # a port that was added between the two readings is seen by the next poll
    held = [ports[uuid] for uuid in as_tuple(row["ports"]) if uuid in ports]
    return BridgeFacts(name=row["name"], rstp_enabled=bool(optional(row["rstp_enable"])),
                       ports={port.name: port for port in sorted(held, key=lambda port: port.name)},
                       stp_enabled=bool(optional(row.get("stp_enable", False))),
                       mirror_vlans=tuple(sorted(written)))


def parse_port(row: Mapping[str, Any], interfaces: Mapping[str, Mapping[str, Any]], *,
               mirror: bool = False) -> PortFacts:
    """Return one port; a bond is up while any of its interfaces is."""
    parts = [interfaces[uuid] for uuid in as_tuple(row["interfaces"]) if uuid in interfaces]
    states = {optional(part["link_state"]) for part in parts} - {None}
    macs = [part["external_ids"]["attached-mac"].lower() for part in parts
            if "attached-mac" in part.get("external_ids", {})]
    return PortFacts(
        name=row["name"],
        tag=optional(row["tag"]),
        trunks=tuple(sorted(as_tuple(row["trunks"]))),
        vlan_mode=optional(row["vlan_mode"]),
        link_up=("up" in states) if states else None,
        attached_mac=macs[0] if macs else None,
        rstp_role=row.get("rstp_status", {}).get("rstp_port_role"),
        members=tuple(sorted(part.get("name", "") for part in parts)) if len(parts) > 1 else (),
        kind=str(parts[0].get("type", "")) if len(parts) == 1 else "",
        in_tree="false" not in {row.get("other_config", {}).get(key)
                                for key in ("rstp-enable", "stp-enable")},
        mirror=mirror,
    )
