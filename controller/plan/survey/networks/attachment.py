"""Attachments: where each host has each network, by the specs alone.

Rule 1: a network that a host says nothing about is on the host's `bridge`, with its own tag.
"""

from collections.abc import Iterator
from typing import NamedTuple

from controller.model.desired import Desired
from controller.model.host import Host, HostSpec

OPENVSWITCH = "openvswitch"
LINUXBRIDGE = "linuxbridge"


class Attachment(NamedTuple):
    """One network on one host: a bridge and the tag there, or one of libvirt's own networks."""

    bridge: str
    """Empty for a libvirt network."""
    vlan: int | None
    libvirt_network: str = ""

    def __str__(self) -> str:
        """Return the place in words."""
        if self.libvirt_network:
            return f"libvirt's network {self.libvirt_network}"
        return f"{self.bridge} VLAN {self.vlan}" if self.vlan is not None else (
            f"{self.bridge} untagged")


def attachment_of(network: str, vlan: int | None, spec: HostSpec) -> Attachment:
    """Return where a host has a network; `vlan` is the network's own tag."""
    for one in spec.attachments:
        if one.network == network:
            return Attachment(one.bridge or "", one.vlan, one.libvirt_network or "")
    return Attachment(spec.bridge, vlan)


def bridges_of(host: Host) -> tuple[str, ...]:
    """Return the bridges of a host that the specs name, its own first."""
    spec = host.spec
    return tuple(dict.fromkeys((spec.bridge, *(one.bridge for one in spec.attachments
                                               if one.bridge is not None))))


def isolated_from(desired: Desired) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each host with all that declared cards are plugged into there: bridges and networks."""
    for name, host in desired.hosts.items():
        networks = (one.libvirt_network for one in host.spec.attachments if one.libvirt_network)
        yield name, frozenset((*bridges_of(host), *networks))
