"""How the network devices of a Linux host hang together: facts for hosts with Linux bridges."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PassingVlans:
    """The VLANs of one port of a bridge that looks at tags."""

    tagged: frozenset[int] = frozenset()
    """Those whose frames leave with their tag."""
    untagged: frozenset[int] = frozenset()
    """Those whose frames leave without."""
    pvid: int | None = None
    """The VLAN of frames that come in without a tag; None: they are dropped."""


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """One network device as the kernel shows it."""

    name: str
    kind: str = ""
    """Linux's word: bridge, vlan, bond, tun, veth, macvtap, …; empty for a device."""
    up: bool = True
    link_up: bool | None = True
    """None where it is switched off."""
    master: str = ""
    """The bridge or bond that it is plugged into."""
    parent: str = ""
    """What a VLAN or a macvtap is stacked on."""
    vlan: int | None = None
    """Of a device of kind vlan."""
    filtering: bool = False
    """Of a bridge: it looks at tags (`vlan_filtering`)."""
    pvid: int | None = None
    """Of such a bridge: the VLAN that new ports get, without a tag; 0 for none."""
    stp: bool = False
    tool: str = ""
    """What set it up, and will again: ifupdown, netplan, …; empty where that is not known."""
    kept: tuple[int, ...] | None = None
    """The VLANs that the files of that tool give the port; None: not known."""


@dataclass(frozen=True, slots=True)
class LibvirtNetwork:
    """One network of libvirt's own."""

    name: str
    bridge: str
    forward: str
    """nat, route, open, isolated, bridge, hostdev, …"""
    active: bool
    autostart: bool = True


@dataclass(frozen=True, slots=True)
class Links:
    """The network devices of a host, by name, and what else decides where frames go."""

    links: Mapping[str, LinkFacts]
    vlans: Mapping[str, PassingVlans] = field(default_factory=dict)
    """By port, of bridges that look at tags; a bridge itself is a port, too."""
    vlans_unknown: str = ""
    """Why they could not be seen now."""
    networks: Mapping[str, LibvirtNetwork] = field(default_factory=dict)
    networks_unknown: str = ""
    tools: tuple[str, ...] = ()
    """The tools that set anything up there since it booted."""
