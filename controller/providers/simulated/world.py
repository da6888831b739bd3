"""The simulated world: nodes, wires, domains, files and replicas as they really are.

An estate in memory, for the demo, the scenarios, the storms and rehearsals. The controller cannot
tell it from real hosts: the same Provider, facts, actions and errors. Its parts:

    estate.py ── apply ──► operation.py ── drives ──► hands/    effects: what an action does
        │                                                │ write
        │  observe                                       ▼
        └─────────► view.py ───────── reads ─────────► World ◄── write ── faults.py and others

    build.py    a World from specs: bare, or converged (protected.py adds replicas)
    power.py    what a beginning and ending process changes: ports, jobs, bitmaps
    paths.py    which frames pass: cables, VLANs, spanning tree

Time. All waiting is on a loop whose clock jumps (virtual_time.py), and every latency comes from
seeded dice: one seed, one history. Between two waits everything happens at once.

Effects. An action is a generator that changes the world in steps and yields how long each takes. It
runs on its node: it continues when the controller is gone, as a real command does. Only a wait with
`command_ends` needs the controller, which must send the next command. When power, libvirtd or the
controller goes away during a wait, OutcomeUnknown is raised inside the effect: what it has done by
then stays done. That is how half-finished migrations, copies and removals come about.

What a fault leaves is what the real thing leaves: a host without power keeps files and definitions,
loses processes, transient domains and locks, and its running guests' bitmaps are no longer sound; a
hung host continues where it stopped; a crash during a copy leaves a job, a scratch file, a key.

Contents are modelled only as far as the laws need: a file has a serial (whose content it is) and a
count of writes, and a point stores both for each disk. So a test can tell whether a replica holds
what its guest wrote, and whether a disk was ever written over or deleted.

Rule 1: only faults and effects write here; the controller sees it through view.py alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from controller.model.facts import DomainConfig, DomainState, NicFacts, Ownership
from controller.model.failover.record import Record
from controller.model.linux.keepalived import VrrpInstance
from controller.providers.simulated.guarding.state import GrantorState, GuardState
from controller.providers.simulated.replicas import Checkpoint, Replica, Traces

GIB = 1 << 30
CONTROLLER = "controller"
"""The end of a way that is no node."""
MACHINE = "pc-q35-7.2"
"""What every guest is, unless somebody defined it otherwise."""


@dataclass(slots=True)
class File:
    """One disk image; `serial` identifies its content, `writes` grows as guests write."""

    format: str
    size_bytes: int
    allocated_bytes: int
    serial: str
    writes: int = 0


@dataclass(slots=True)
class Domain:
    """One libvirt domain of one host."""

    name: str
    uuid: str
    config: DomainConfig | None
    ownership: Ownership | None
    state: DomainState = DomainState.SHUT_OFF
    reason: str = "unknown"
    live: DomainConfig | None = None
    autostart: bool = False
    job: str | None = None
    job_is_ours: bool = False
    """True for a backup job that replication began."""
    ignores_shutdown: bool = False
    """Whether the guest ignores a request to shut down."""
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    """Files below its disks, which no definition names."""
    began_at: float | None = None
    """When its process was first seen, in epoch seconds; None while it has none."""

    @property
    def persistent(self) -> bool:
        """Return whether it has a definition that outlives its process."""
        return self.config is not None


OWN = "ext4 of-its-own"
ROOT = "ext4 of-the-root"
"""The file system of a pool's folder while its own is not mounted there."""


@dataclass(slots=True)
class Pool:
    """One directory pool."""

    name: str
    path: str
    active: bool = True
    filesystem: str = OWN
    """The one that its folder is on."""


DEFAULT_VLAN = 1
"""What a Linux bridge gives a new port."""


@dataclass(slots=True)
class Port:
    """One port of a bridge; `mac` is set for the cards of guests."""

    name: str
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    vlan_mode: str | None = None
    mac: str | None = None
    stale: bool = False
    """Whether its guest died with its host: Open vSwitch's record outlives the device."""

    def passes(self, vlan: int) -> bool:
        """Return whether frames of `vlan` (0: untagged) pass here, as Open vSwitch has it."""
        if self.tag is not None and self.vlan_mode in {None, "access"}:
            return vlan == self.tag
        return not self.trunks or vlan in self.trunks


@dataclass(slots=True)
class Bridge:
    """One Open vSwitch bridge."""

    name: str
    rstp: bool = False
    ports: dict[str, Port] = field(default_factory=dict)
    drops: dict[tuple[str, str], int] = field(default_factory=dict)
    """By port and address: the epoch of the failover that has its frames dropped."""


@dataclass(slots=True)
class Node:
    """One host or switch: its health, and what is on it."""

    name: str
    site: str
    is_host: bool
    interfaces: tuple[str, ...]
    memory_bytes: int = 8 * GIB
    cpus: int = 8
    disk_bytes: int = 1024 * GIB
    machines: tuple[str, ...] = (MACHINE,)
    """The machine types that its QEMU can be."""
    powered: bool = True
    hung: bool = False
    ssh_paused: bool = False
    libvirt_up: bool = True
    babbling: bool = False
    full: bool = False
    ready_at: float = 0.0
    """When it has booted, in seconds of the world's clock."""
    boot: int = 1
    clock_offset_s: float = 0.0
    slow_s: float = 0.0
    domains: dict[str, Domain] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    unreadable_domains: set[str] = field(default_factory=set)
    """Domains that libvirt lists and whose XML it does not return."""
    unreadable_pools: set[str] = field(default_factory=set)
    """Pools whose folder cannot be read."""
    unmounted_files: dict[str, File] = field(default_factory=dict)
    """The files of pools whose file system is not mounted now."""
    unmounted_replicas: dict[str, Replica] = field(default_factory=dict)
    """Likewise the replicas, by the VM's UUID."""
    shared_paths: dict[str, str] = field(default_factory=dict)
    """Path of a pool that several hosts share -> the pool's name."""
    next_port: int = 0
    replicas: dict[str, Replica] = field(default_factory=dict)
    """By the VM's UUID."""
    traces: Traces = field(default_factory=Traces)
    records: dict[str, Record] = field(default_factory=dict)
    """Of failovers, by scope."""
    is_witness: bool = False
    guard: GuardState | None = None
    grantor: GrantorState | None = None
    bmc: str = "plain"
    """How its BMC answers: a name in bmc.py."""
    bmc_up: bool = True
    """Whether its BMC has power and network."""
    forgetful: bool = False
    """Whether its QEMU cannot go on with a guest that another host saved."""
    gateways: tuple[VrrpInstance, ...] = ()
    """What its keepalived is told; it runs where there are any."""
    own_addresses: dict[str, str] = field(default_factory=dict)
    """By its port in a VLAN, for gateways."""
    linux: bool = False
    """Its bridges are Linux bridges that look at tags, not those of Open vSwitch."""

    def memory_used_bytes(self) -> int:
        """Return what the guests with a process hold."""
        return sum(d.live.memory_bytes for d in self.domains.values()
                   if d.live is not None and d.state.active)

    def new_port(self, nic: NicFacts) -> str:
        """Plug a card in and return its device: a port of its bridge, if that is there."""
        device = f"vnet{self.next_port}"
        self.next_port += 1
        bridge = self.bridges.get(nic.bridge) if nic.kind == "bridge" else None
        if bridge is not None:
            tag = DEFAULT_VLAN if self.linux and nic.vlan is None else nic.vlan
            bridge.ports[device] = Port(device, tag=tag, mac=nic.mac)
        return device

    def port_of(self, mac: str) -> tuple[Bridge, Port] | None:
        """Return the live port of the guest's card with `mac`."""
        for bridge in self.bridges.values():
            for port in bridge.ports.values():
                if port.mac == mac and not port.stale:
                    return bridge, port
        return None


@dataclass(frozen=True, slots=True)
class Wire:
    """A cable between two ports; `member` names it: `metro/1`, or `paris-1/up0`."""

    member: str
    a: tuple[str, str]
    b: tuple[str, str]
    between_switches: bool


@dataclass(slots=True)
class World:
    """Everything there is, and the listeners to events on nodes."""

    nodes: dict[str, Node] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    wires_down: set[str] = field(default_factory=set)
    sites_cut: set[str] = field(default_factory=set)
    ways_cut: set[frozenset[str]] = field(default_factory=set)
    """Pairs of nodes, or of the controller and a node: nothing passes but frames of guests."""
    rstp_gaps: dict[tuple[str, str], float] = field(default_factory=dict)
    """By pair of switches: until when it forwards nothing, because a member has just changed."""
    unconfirmed: set[tuple[str, str]] = field(default_factory=set)
    """Node and port of every trunk change that waits for the controller's confirmation."""
    shared_files: dict[str, dict[str, File]] = field(default_factory=dict)
    now: Callable[[], float] = lambda: 0.0
    epoch: Callable[[], float] = lambda: 0.0
    """The same instant in epoch seconds, as the controller's clock has it."""
    granted_at: float = -1.0
    """When guards have last asked, in seconds of the world's clock."""
    troubles: dict[str, str] = field(default_factory=dict)
    """By VM: how its guest fails when it is asked whether it serves: silent or denies."""
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    def node(self, name: str) -> Node:
        """Return the node called `name`."""
        return self.nodes[name]

    def reachable(self, name: str) -> bool:
        """Return whether the controller's connections reach `name` and are answered."""
        node = self.nodes[name]
        return (node.powered and not node.hung and not node.ssh_paused
                and self.now() >= node.ready_at and node.site not in self.sites_cut
                and frozenset((CONTROLLER, name)) not in self.ways_cut)

    def passes(self, one: str, other: str) -> bool:
        """Return whether anything passes between two nodes, frames of guests aside."""
        sites = {self.nodes[one].site, self.nodes[other].site}
        return not sites & self.sites_cut and frozenset((one, other)) not in self.ways_cut

    def link_up(self, node: str, port: str) -> bool:
        """Return whether this port's cable is up and both its ends have power.

        Shapes: a port without a cable, such as a guest's, is up.
        """
        for wire in self.wires.values():
            if (node, port) in {wire.a, wire.b}:
                ends = (self.nodes[wire.a[0]], self.nodes[wire.b[0]])
                return wire.member not in self.wires_down and all(n.powered for n in ends)
        return True

    def notify(self, name: str) -> None:
        """Tell the listeners that something happened on a node."""
        for listener in self.listeners:
            listener(name)

    def store_of(self, node: Node, path: str) -> dict[str, File]:
        """Return the file system in which `path` lies on `node`."""
        for prefix, pool in node.shared_paths.items():
            if path.startswith(f"{prefix}/"):
                return self.shared_files.setdefault(pool, {})
        return node.files

    def file(self, node: Node, path: str) -> File | None:
        """Return the file at `path` as seen from `node`."""
        return self.store_of(node, path).get(path)

    def copies(self, domain: str) -> tuple[str, ...]:
        """Return every host on which `domain` is executing now, in order of name.

        A hung host's guests count: they continue as soon as it wakes.
        """
        return tuple(sorted(
            node.name for node in self.nodes.values()
            if domain in node.domains and executes(node.domains[domain])))


def executes(domain: Domain) -> bool:
    """Return whether a domain's process holds its disks; a migration's receiving end does not."""
    return domain.state.active and domain.state is not DomainState.INCOMING
