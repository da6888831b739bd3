"""Say what the lab consists of: nodes, addresses, interface names and folders, nothing else."""

import json
import os
from pathlib import Path
from typing import NamedTuple

MARK = "HOTSITE_LAB_MARK"  # in the environment of every process of the lab, with the state folder
NODE_MARK = "HOTSITE_LAB_NODE"  # beside it, with the node's name
SITES = ("paris", "milan")
PLANES = ("adm", "rep", "bmc")  # the three networks apart from the guests' own
TRUNKS = ("tr0", "tr1")
CORE = "hs-core"  # the namespace that carries the bridges of the three planes
SUBNET = {"adm": "10.77.0", "rep": "10.78.0", "bmc": "10.79.0"}
ROOT_BRIDGE = {"adm": "hsadm", "rep": "hsrep", "bmc": "hsbmc"}
GIB = 1 << 30
STATE = Path(os.environ.get("HOTSITE_LAB", "/var/lib/hotsite-lab"))
CACHE = Path(os.environ.get("HOTSITE_LAB_CACHE", "/var/lib/hotsite-lab/cache"))
PRIVATE = ("/tmp", "/run", "/root", "/etc", "/var/run", "/var/log", "/proc", "/sys", "/dev")


class Node(NamedTuple):
    """One machine of the lab: a host, a switch or the witness."""

    name: str
    site: str  # empty for the witness
    kind: str  # host, switch or witness
    octet: int  # the last octet of its addresses on every plane

    @property
    def namespace(self) -> str:
        """Return the name of its network namespace."""
        return f"hs-{self.name}"

    @property
    def folder(self) -> Path:
        """Return where its private file systems live."""
        return STATE / "nodes" / self.name

    @property
    def keys(self) -> Path:
        """Return where its SSH keys live; they outlast the node."""
        return STATE / "keys" / self.name

    def address(self, plane: str) -> str:
        """Return its address on one plane."""
        return f"{SUBNET[plane]}.{self.octet}"


class Topology(NamedTuple):
    """How large the lab is; everything else follows from it."""

    hosts_per_site: int
    memory_bytes: int
    pool_bytes: int

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return every node, switches first."""
        return (*self.switches, Node("witness", "", "witness", 4), *self.hosts)

    @property
    def switches(self) -> tuple[Node, ...]:
        """Return the two switches."""
        return tuple(Node(f"{s}-sw", s, "switch", 2 + i) for i, s in enumerate(SITES))

    @property
    def hosts(self) -> tuple[Node, ...]:
        """Return the hosts, site by site."""
        return tuple(
            Node(f"{site}-{n}", site, "host", 10 * (i + 1) + n)
            for i, site in enumerate(SITES)
            for n in range(1, self.hosts_per_site + 1)
        )

    def node(self, name: str) -> Node:
        """Return the node of that name, or end with a sentence that lists the names."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise SystemExit(f"lab: no node {name!r}; there are {names}")

    def host(self, name: str) -> Node:
        """Return the host of that name, or end with a sentence that lists the hosts."""
        node = self.node(name)
        if node.kind != "host":
            hosts = ", ".join(n.name for n in self.hosts)
            raise SystemExit(f"lab: {name} is a {node.kind}, not a host; hosts are {hosts}")
        return node


def topology_of(hosts_per_site: int, memory_bytes: int = 0, pool_bytes: int = 0) -> Topology:
    """Return the topology for so many hosts a site, memory scaled to what one machine can bear."""
    scaled = 2 * GIB if hosts_per_site <= 2 else GIB
    return Topology(hosts_per_site, memory_bytes or scaled, pool_bytes or 40 * GIB)


def load_topology() -> Topology:
    """Return the topology of the lab that was brought up last."""
    try:
        recorded = json.loads((STATE / "lab.json").read_text())
    except FileNotFoundError:
        raise SystemExit(f"lab: there is no lab in {STATE}; bring it up with: lab up") from None
    return Topology(recorded["hosts_per_site"], recorded["memory_bytes"], recorded["pool_bytes"])


def save_topology(topology: Topology) -> None:
    """Record the topology for later commands."""
    (STATE / "lab.json").write_text(json.dumps(topology._asdict()) + "\n")
