"""The checks on networks, links and switches."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.site import Site
from controller.model.switch import Switch
from controller.source.check.hosts import check_driver
from controller.source.problems import Finding, suggestion
from controller.source.specs import Entry, Specs


def check_links(specs: Specs) -> Iterator[Finding]:
    """Yield links with an unknown or doubled site, or that need more members than they have."""
    for entry in specs.of(InterSiteLink).values():
        spec = entry.document.spec
        for index, site in enumerate(spec.between):
            yield from specs.dangling(entry.chunk, "Site", site, "spec", "between", index)
        if spec.between[0] == spec.between[1]:
            yield entry.wrong("a link joins two sites: name two different ones", "spec", "between")
        if spec.minimum_members > spec.members:
            yield entry.wrong(f"{spec.minimum_members} of {spec.members} members can never be up:"
                              f" write at most {spec.members}", "spec", "minimumMembers")


def check_switches(specs: Specs) -> Iterator[Finding]:
    """Yield ports that lead to an unknown host or link, to another site, or to a taken member."""
    members: dict[tuple[str, str], str] = {}
    plugged: dict[str, int] = {}
    for name, entry in specs.of(Switch).items():
        spec = entry.document.spec
        yield from specs.dangling(entry.chunk, "Site", spec.site, "spec", "site")
        yield from check_driver(entry)
        ports: set[str] = set()
        for index, port in enumerate(spec.ports):
            if port.name in ports:
                yield entry.wrong(f"a second port `{port.name}`: rename one",
                                  "spec", "ports", index, "name")
            ports.add(port.name)
            if port.host is not None:
                yield from check_host_port(specs, entry, index, port.host, plugged)
            if port.link is not None:
                yield from check_member(specs, entry, index, port.link)
                other = members.setdefault((spec.site, port.link), f"{name}/{port.name}")
                if other != f"{name}/{port.name}":
                    yield entry.wrong(f"member {port.link} is at port {other} already: number"
                                      " each member once per site", *_path(index, "link"))


def _path(index: int, field: str) -> tuple[str, str, int, str]:
    return ("spec", "ports", index, field)


def check_host_port(specs: Specs, entry: Entry[Switch], index: int, name: str,
                    plugged: dict[str, int]) -> Iterator[Finding]:
    """Yield a problem if the host of a port is unknown, elsewhere, or has no uplink left."""
    host = specs.of(Host).get(name)
    if host is None:
        yield from specs.dangling(entry.chunk, "Host", name, *_path(index, "host"))
        return
    plugged[name] = plugged.get(name, 0) + 1
    where = host.document.spec.site
    if where != entry.document.spec.site and where in specs.of(Site):
        yield entry.wrong(f"host `{name}` is at site `{where}`, this switch at"
                          f" `{entry.document.spec.site}`: name a host of this site",
                          *_path(index, "host"))
    if plugged[name] == len(host.document.spec.uplinks) + 1:
        yield entry.wrong(f"host `{name}` has {len(host.document.spec.uplinks)} uplink(s) and more"
                          " ports lead to it: remove a port or declare the uplink",
                          *_path(index, "host"))


def check_member(specs: Specs, entry: Entry[Switch], index: int, member: str) -> Iterator[Finding]:
    """Yield a problem if a port names an unknown link or member, or a link of other sites."""
    name, _, number = member.rpartition("/")
    link = specs.of(InterSiteLink).get(name)
    path = _path(index, "link")
    if link is None:
        yield from specs.dangling(entry.chunk, "InterSiteLink", name, *path)
        return
    spec = link.document.spec
    if int(number) > spec.members:
        yield entry.wrong(f"link `{name}` has {spec.members} member(s): write a number up to that,"
                          " or raise `members`", *path)
    if entry.document.spec.site not in spec.between:
        yield entry.wrong(f"link `{name}` joins {' and '.join(spec.between)}, this switch is at"
                          f" `{entry.document.spec.site}`: name a link of this site", *path)


def check_networks(specs: Specs) -> Iterator[Finding]:
    """Yield VLANs used twice, subnets that overlap, and gateways that cannot work."""
    vlans: dict[int, Entry[Network]] = {}
    routers: dict[tuple[str, int], Entry[Network]] = {}
    for name, entry in specs.of(Network).items():
        spec = entry.document.spec
        first = entry if spec.vlan is None else vlans.setdefault(spec.vlan, entry)
        if first is not entry:
            yield entry.wrong(f"VLAN {spec.vlan} is network `{first.document.name}` already"
                              f" ({first.chunk.place}): give `{name}` a number of its own",
                              "spec", "vlan")
        yield from check_spanned_sites(specs, entry)
        if spec.gateway is not None and spec.gateway.vrid is not None:
            for site in spec.sites:
                other = routers.setdefault((site, spec.gateway.vrid), entry)
                if other is not entry:
                    yield entry.wrong(f"vrid {spec.gateway.vrid} is used by network"
                                      f" `{other.document.name}` at `{site}` too: choose another",
                                      "spec", "gateway", "vrid")
                    break
    yield from check_overlaps(specs)


def check_spanned_sites(specs: Specs, entry: Entry[Network]) -> Iterator[Finding]:
    """Yield unknown or doubled sites, and a preferred site that the network does not span."""
    spec = entry.document.spec
    for index, site in enumerate(spec.sites):
        yield from specs.dangling(entry.chunk, "Site", site, "spec", "sites", index)
        if site in spec.sites[:index]:
            yield entry.wrong(f"site `{site}` stands here twice: remove one", "spec", "sites",
                              index)
    preferred = spec.gateway.preferred if spec.gateway else None
    if preferred is not None and preferred not in spec.sites:
        yield entry.wrong(f"the network does not span `{preferred}`:"
                          f" {suggestion(preferred, spec.sites)}", "spec", "gateway", "preferred")


def check_overlaps(specs: Specs) -> Iterator[Finding]:
    """Yield each subnet that shares addresses with one before it."""
    ranges: list[tuple[int, int, int, str]] = []
    entries = specs.of(Network)
    for name, entry in entries.items():
        subnet: IPv4Network | IPv6Network | None = entry.document.spec.subnet
        if subnet is not None:
            ranges.append((subnet.version, int(subnet.network_address),
                           int(subnet.broadcast_address), name))
    widest: tuple[int, int, int, str] | None = None
    for part in sorted(ranges):
        if widest and widest[0] == part[0] and part[1] <= widest[2]:
            entry, other = entries[part[3]], entries[widest[3]]
            yield entry.wrong(f"{entry.document.spec.subnet} overlaps {other.document.spec.subnet}"
                              f" of network `{widest[3]}` ({other.chunk.place}): change one",
                              "spec", "subnet")
        if widest is None or (part[0], part[2]) > (widest[0], widest[2]):
            widest = part
