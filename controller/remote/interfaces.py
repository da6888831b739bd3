"""The network interfaces of this machine, from `ip`: addresses, and what each is stacked on."""

import json
from typing import Any

from programs import NoAnswer, Output, output_of

IP = ("ip", "-json", "-details", "address", "show")
FLEETING = ("temporary", "deprecated", "tentative")


def interfaces_of(output: Output) -> str:
    """Return, as text, the interfaces that matter for where an address leads.

    Those of guests are left out: there are many, without an address and stacked on nothing.
    """
    text = output_of(output, "`ip` of iproute2")
    try:
        rows = [interface_of(row) for row in json.loads(text) if row.get("ifname")]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NoAnswer("`ip -json` did not answer as iproute2 does: install its package") from None
    rows = [row for row in rows if row["name"] != "lo"
            and (row["addresses"] or row["parent"] or row["kind"] not in ("tun", "dummy"))]
    return json.dumps(sorted(rows, key=lambda row: row["name"]))


def interface_of(row: dict) -> "dict[str, Any]":
    """Return one interface with the addresses that others can reach and that are permanent."""
    link = row.get("linkinfo") or {}
    vlan = (link.get("info_data") or {}).get("id") if link.get("info_kind") == "vlan" else None
    addresses = [f"{one['local']}/{one['prefixlen']}" for one in row.get("addr_info") or ()
                 if one.get("scope") in ("global", "site") and "local" in one
                 and not any(one.get(word) for word in FLEETING)]
    kind = link.get("info_kind", "")
    return {"name": row["ifname"], "addresses": sorted(addresses), "vlan": vlan, "kind": kind,
            "parent": None if kind == "veth" else row.get("link"),  # a veth's is its other end
            "master": row.get("master")}
