"""Hosts with Linux bridges for tests: their devices as iproute2 would show them."""

from dataclasses import replace
from typing import Any

from controller.model.facts import Absent, InterfaceFacts, Known, Observed
from controller.model.linux.links import LibvirtNetwork, LinkFacts, Links, PassingVlans
from tests.plan import builders as b

MAC = "52:54:00:0a:00:01"
LINUX = {"driver": "linuxbridge"}
NAT = LibvirtNetwork("default", "virbr0", "nat", True)


def link(name: str, kind: str = "", **changes: Any) -> LinkFacts:
    return LinkFacts(name, kind, tool="ifupdown2", kept=(), **changes)


def links(*found: LinkFacts, **changes: Any) -> Links:
    return Links({one.name: one for one in found}, networks={"default": NAT},
                 tools=("ifupdown2",), **changes)


def plain(bridge: str = "br0", uplink: str = "eno1", **changes: Any) -> Links:
    """One bridge that does not look at tags, over one device."""
    return links(link(bridge, "bridge"), link(uplink, master=bridge), **changes)


def per_vlan(*vlans: int, below: str = "eno1", kind: str = "", **changes: Any) -> Links:
    """A bridge for each VLAN over a VLAN device of one uplink."""
    found = [link(below, kind)]
    for vlan in vlans:
        found += [link(f"br{vlan}", "bridge"), link(
            f"{below}.{vlan}", "vlan", master=f"br{vlan}", parent=below, vlan=vlan)]
    return links(*found, **changes)


def aware(uplink: PassingVlans, tap: PassingVlans | None = None, pvid: int = 1,
          kept: tuple[int, ...] | None = (), **changes: Any) -> Links:
    """A bridge that looks at tags, its uplink, and perhaps the port of a guest."""
    found = [link("br0", "bridge", filtering=True, pvid=pvid),
             replace(link("eno1", master="br0"), kept=kept)]
    vlans = {"br0": PassingVlans(frozenset(), frozenset({1}), 1), "eno1": uplink}
    if tap is not None:
        found.append(LinkFacts("vnet-sql", "tun", master="br0"))
        vlans["vnet-sql"] = tap
    return links(*found, vlans=vlans, **changes)


def trunk(*tagged: int, pvid: int | None = 1) -> PassingVlans:
    untagged = frozenset() if pvid is None else frozenset({pvid})
    return PassingVlans(frozenset(tagged), untagged, pvid)


def access(vlan: int) -> PassingVlans:
    return PassingVlans(frozenset(), frozenset({vlan}), vlan)


def estate(vm: Any, paris: Any = None, milan: Any = None, **networks: Any) -> Any:
    """One host per site, without switches and links: `networks` are their VLANs."""
    lab = b.small(hosts_per_site=1)
    documents = [b.document("Network", name, sites=["paris", "milan"],
                            **({"vlan": vlan} if vlan else {}))
                 for name, vlan in networks.items()]
    hosts = [b.document("Host", f"{site}-1", site=site, address=f"{site}-1", **spec)
             for site, spec in (("paris", paris or LINUX), ("milan", milan or LINUX))]
    return b.desired_of(lab.estate, *lab.sites.values(), *lab.protection_policies.values(),
                        *documents, *hosts, vm)


def machine(network: str = "lan", where: str = "paris-1", **nic: Any) -> Any:
    return b.vm("sql", nics=[{"mac": MAC, "network": network} | nic], placement={"host": where})


def seen_of(lab: Any, paris: Links, milan: Links | None = None, where: str = "paris-1",
            address: str = "br0", libvirt: str = "9.0.0") -> Observed:
    """Everything as declared, with these devices; each host's own address is on `address`."""
    observed = b.as_declared(lab, {"sql": where})
    for name, found in (("paris-1", paris), ("milan-1", milan or paris)):
        facts = observed.nodes[name].value
        observed = b.with_node(observed, name, Known(replace(
            facts, bridges=Absent(b.NOW_S), links=Known(found, b.NOW_S),
            versions={"libvirt": libvirt}, interfaces=Known({
                address: InterfaceFacts(address, ("10.0.0.5/24",), kind="bridge")}, b.NOW_S)),
            b.NOW_S))
    return observed
