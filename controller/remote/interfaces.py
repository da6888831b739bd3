"""The network interfaces of this machine, as `ip` tells them: addresses, and what lies on what."""

import json
from typing import Any

from programs import Said, Silent, output_of

IP = ("ip", "-json", "-details", "address", "show")
FLEETING = ("temporary", "deprecated", "tentative")


def interfaces_of(said: Said) -> str:
    """Return, as text, what matters of each interface: whose address goes where.

    Those of guests, which have no address and lie on nothing, are many and say nothing.
    """
    text = output_of(said, "`ip` of iproute2")
    try:
        rows = [interface_of(row) for row in json.loads(text) if row.get("ifname")]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Silent("`ip -json` did not answer as iproute2 does: install its package") from None
    told = [row for row in rows if row["name"] != "lo"
            and (row["addresses"] or row["parent"] or row["kind"] not in ("tun", "dummy"))]
    return json.dumps(sorted(told, key=lambda row: row["name"]))


def interface_of(row: dict) -> "dict[str, Any]":
    """Return one interface; its addresses are those that others can reach and that stay."""
    link = row.get("linkinfo") or {}
    vlan = (link.get("info_data") or {}).get("id") if link.get("info_kind") == "vlan" else None
    addresses = [f"{one['local']}/{one['prefixlen']}" for one in row.get("addr_info") or ()
                 if one.get("scope") in ("global", "site") and "local" in one
                 and not any(one.get(word) for word in FLEETING)]
    kind = link.get("info_kind", "")
    return {"name": row["ifname"], "addresses": sorted(addresses), "vlan": vlan, "kind": kind,
            "parent": None if kind == "veth" else row.get("link"),  # a veth's is its other end
            "master": row.get("master")}
