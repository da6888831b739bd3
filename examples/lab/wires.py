"""Lay the lab's cables with iproute2: three planes of Linux bridges, trunks, and hosts' uplinks."""

import json

from layout import CORE, PLANES, ROOT_BRIDGE, SITES, SUBNET, TRUNKS, Node, Topology
from shell import LabError, at_once, run

NO_IPV6 = tuple(f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default"))


def bmc_namespace(site: str) -> str:
    """Return the namespace in which the BMCs of a site live."""
    return f"hs-bmc-{site}"


def namespaces(topology: Topology) -> list[str]:
    """Return every namespace of the lab."""
    return [CORE, *(bmc_namespace(s) for s in SITES), *(n.namespace for n in topology.nodes)]


def root_port(plane: str) -> str:
    """Return the port by which the root's bridge of a plane is tied to the core."""
    return f"hs-{plane}"


def planes_of(node: Node) -> tuple[str, ...]:
    """Return the planes that a node is on by itself."""
    return ("adm", "rep") if node.kind == "host" else ("adm",)


def batch(namespace: str, lines: list[str]) -> None:
    """Give many ip commands to one ip process, inside a namespace or in ours."""
    where = ["-n", namespace] if namespace else []
    run("ip", *where, "-batch", "-", text="\n".join(lines) + "\n")


def lay(topology: Topology) -> None:
    """Make every namespace, bridge and cable of the lab."""
    every = namespaces(topology)
    batch("", [f"netns add {name}" for name in every])
    at_once(lambda name: run("ip", "netns", "exec", name, "sysctl", "-qw", *NO_IPV6), every)
    for plane in PLANES:
        lay_plane(plane)
    batch(CORE, [line for node in topology.nodes for line in access_lines(node)])
    batch(CORE, [line for site in SITES for line in bmc_lines(site)])
    for trunk in TRUNKS:
        batch("hs-paris-sw", [f"link add {trunk} type veth peer name {trunk} netns hs-milan-sw"])
    for node in topology.hosts:
        uplink = f"link add h{port_number(node)} type veth peer name up0 netns {node.namespace}"
        batch(f"hs-{node.site}-sw", [uplink])
    at_once(give_addresses, topology.nodes)
    for site in SITES:
        give_bmc_addresses(topology, site)


def port_number(host: Node) -> int:
    """Return the number of the switch port that a host hangs on."""
    return host.octet % 10


def lay_plane(plane: str) -> None:
    """Make a plane: a bridge in the middle, one per site with an uplink to it, and root's own.

    The middle lives in a namespace, so that no packet filter of the machine sees what it carries.
    """
    bridge = ROOT_BRIDGE[plane]
    batch(CORE, [f"link add {plane} type bridge", f"link set {plane} up"])
    batch("", [
        f"link add {bridge} type bridge",
        f"link add {root_port(plane)} type veth peer name {plane}-root netns {CORE}",
        f"link set {root_port(plane)} master {bridge} up",
        f"addr add {SUBNET[plane]}.1/24 dev {bridge}",
        f"link set {bridge} up",
    ])  # fmt: skip
    lines = [f"link set {plane}-root master {plane} up"]
    for site in SITES:
        local, upper, lower = f"{plane}-{site}", f"{plane}-to-{site}", site_uplink(plane, site)
        lines += [
            f"link add {local} type bridge",
            f"link set {local} up",
            f"link add {upper} type veth peer name {lower}",
            f"link set {upper} master {plane} up",
            f"link set {lower} master {local} up",
        ]
    batch(CORE, lines)


def site_uplink(plane: str, site: str) -> str:
    """Return the site's end of its cable to the middle of a plane, in the core."""
    return f"{plane}-up-{site}"


def access_lines(node: Node) -> list[str]:
    """Return the commands that tie a node to its planes."""
    lines = []
    for plane in planes_of(node):
        near, bridge = f"{plane}-n{node.octet}", f"{plane}-{node.site}" if node.site else plane
        lines += [
            f"link add {near} type veth peer name {plane}0 netns {node.namespace}",
            f"link set {near} master {bridge} up",
        ]
    return lines


def bmc_lines(site: str) -> list[str]:
    """Return the commands that tie a site's BMCs to their plane."""
    near = f"bmc-n-{site}"
    return [
        f"link add {near} type veth peer name bmc0 netns {bmc_namespace(site)}",
        f"link set {near} master bmc-{site} up",
    ]


def give_addresses(node: Node) -> None:
    """Give a node its addresses; its own boot brings the links up."""
    planes = planes_of(node)
    batch(node.namespace, [f"addr add {node.address(p)}/24 dev {p}0" for p in planes])


def give_bmc_addresses(topology: Topology, site: str) -> None:
    """Give every BMC of a site its address."""
    hosts = [host for host in topology.hosts if host.site == site]
    lines = [f"addr add {host.address('bmc')}/24 dev bmc0" for host in hosts]
    batch(bmc_namespace(site), [*lines, "link set lo up", "link set bmc0 up"])


def set_link(namespace: str, link: str, state: str) -> None:
    """Bring one link up or down."""
    run("ip", "-n", namespace, "link", "set", link, state)


def node_ports(node: Node, topology: Topology) -> list[str]:
    """Return the ports of a node's bridge br0 that are cables."""
    if node.kind == "host":
        return ["up0"]
    if node.kind == "switch":
        ours = [host for host in topology.hosts if host.site == node.site]
        return [*TRUNKS, *(f"h{port_number(host)}" for host in ours)]
    return []


def existing_namespaces() -> list[str]:
    """Return the lab's namespaces that are there, whatever size the lab had."""
    listed = run("ip", "netns", "list").splitlines()
    names = [line.split()[0] for line in listed if line.strip()]
    sites = tuple(f"hs-{site}-" for site in SITES)
    fixed = (CORE, "hs-witness", *(bmc_namespace(site) for site in SITES))
    return [name for name in names if name in fixed or name.startswith(sites)]


def existing_links() -> list[str]:
    """Return the lab's links in the root namespace that are there."""
    names = [link["ifname"] for link in json.loads(run("ip", "-j", "link"))]
    ours = {*ROOT_BRIDGE.values(), *(root_port(plane) for plane in PLANES)}
    return [name for name in names if name in ours]


def is_laid(topology: Topology) -> bool:
    """Say whether every namespace and root link of the lab is there."""
    links = {*ROOT_BRIDGE.values(), *(root_port(plane) for plane in PLANES)}
    there = existing_namespaces()
    return set(namespaces(topology)) == set(there) and links == set(existing_links())


def clear() -> None:
    """Remove every namespace and link of the lab; the cables inside go with the namespaces."""
    there = existing_namespaces()
    if there:
        batch("", [f"netns del {name}" for name in there])
    for link in existing_links():
        try:
            run("ip", "link", "del", link)
        except LabError:
            if link in existing_links():
                raise
