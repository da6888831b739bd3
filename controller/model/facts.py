"""Facts: three-valued, with an age, and the shapes of what they hold.

Rule 1: unknown is never absent. Silence makes a fact Unknown, which remembers what was last seen;
only an answer that says "not here" makes it Absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from controller.model.failover.capabilities import Capabilities
from controller.model.failover.dropped import DroppedAddress
from controller.model.failover.guard import GrantorFacts, GuardFacts
from controller.model.failover.power import PowerFacts
from controller.model.failover.record import Record
from controller.model.failover.serving import ServingFacts
from controller.model.linux.keepalived import KeepalivedFacts
from controller.model.linux.links import Links
from controller.model.replica import Leftover, ReplicaFacts

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """It was seen at `observed_at`, and this is what it was."""

    value: T_co
    observed_at: float


@dataclass(frozen=True, slots=True)
class Absent:
    """It was looked for at `observed_at`, and the answer was that it is not there."""

    observed_at: float


@dataclass(frozen=True, slots=True)
class Unknown(Generic[T_co]):
    """It could not be seen; `reason` is a sentence; `last` is what was seen before, if ever."""

    reason: str
    since_at: float
    last: T_co | None = None
    last_at: float | None = None

    @property
    def unseen_since_at(self) -> float:
        """Return when it was last seen, or if it never was, since when it is unknown."""
        return self.since_at if self.last_at is None else min(self.since_at, self.last_at)


Fact = Known[T_co] | Absent | Unknown[T_co]


class DomainState(StrEnum):
    """The states of a libvirt domain that matter here."""

    RUNNING = "running"
    PAUSED = "paused"
    INCOMING = "incoming"
    """Being received from another host; not a second running copy."""
    SHUTTING_DOWN = "shutting down"
    SHUT_OFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "suspended"

    @property
    def active(self) -> bool:
        """Return whether a process holds the VM's disks in this state."""
        return self not in {DomainState.SHUT_OFF, DomainState.CRASHED}


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """One disk of a domain by its XML; `size_bytes` is None when its file could not be read."""

    target: str
    source: str
    """Its file, device or volume, or else its name."""
    format: str
    size_bytes: int | None
    type: str = "file"
    """libvirt's word for where it lies: file, block, network, volume, dir, nvme, vhostuser, …"""
    device: str = "disk"
    """What the guest sees: disk, lun, cdrom, floppy."""
    bus: str = ""
    protocol: str = ""
    pool: str = ""
    """Of a network disk: rbd, iscsi, nbd, …; of a volume: libvirt's pool."""
    readonly: bool = False
    shareable: bool = False
    transient: bool = False
    encrypted: bool = False
    """By its XML, or by the header of any of its layers."""
    layered: bool = False
    mirrored: bool = False
    """Something lies below it; a block job writes it to another place as well."""
    data_file: bool = False
    """Its contents lie in another file than its own."""
    startup_policy: str = ""
    """mandatory, requisite or optional; what a guest does without it."""
    snapshot: str = ""
    """What a snapshot does with it: no, internal, external, manual."""
    qcow2_version: int = 3
    snapshots: int = 0
    """Of its file: version 2 can hold no persistent bitmap; how many internal ones it has."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Something of a domain besides its disks that holds state, or binds it to its host."""

    kind: str
    """tpm, nvram, hostdev, filesystem, nvdimm, virtio-pmem, sgx-epc, launchSecurity, pstore, …"""
    name: str
    """What it is, in a word for people: a model, an address, a path."""


@dataclass(frozen=True, slots=True)
class NicFacts:
    """One card of a domain as its XML says; access, trunk and untagged are different things."""

    mac: str
    bridge: str
    vlan: int | None
    """Of an access card; None where it has no tag or carries several VLANs."""
    device: str | None
    """The host-side port while the domain is active."""
    model: str | None = None
    kind: str = "bridge"
    """libvirt's word for what it is plugged into: bridge, network, direct, hostdev, udp, …"""
    trunks: tuple[int, ...] = ()
    """The VLANs of a card that carries several, tagged, sorted."""
    native: int | None = None
    """Of those: the one that its untagged frames belong to."""
    port_type: str | None = None
    """The type of its <virtualport>, empty where it has none; None: it was not asked for."""
    network: str = ""
    """libvirt's network that it is plugged into."""


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """The managed fields of one domain XML."""

    memory_bytes: int
    """<currentMemory>: what the guest has now, or will have at its next boot."""
    memory_max_bytes: int
    """<memory>: the ceiling that a live change can reach."""
    cpus: int
    cpus_max: int
    disks: tuple[DiskFacts, ...]
    """Disks and LUNs."""
    nics: tuple[NicFacts, ...]
    media: tuple[DiskFacts, ...] = ()
    """CD-ROMs and floppies, empty ones too."""
    devices: tuple[DeviceFacts, ...] = ()
    hugepages: bool = False
    """Whether its memory lies in huge pages, all of it from the start."""
    machine: str = ""
    """The machine type; empty: it was not asked for."""
    cpu_model: str = ""
    """The processor model that it must have; empty where it boots whatever of it is missing."""
    cpu_mode: str = ""
    """libvirt's word for how its processor is chosen; empty: as QEMU has it, or not asked for."""
    loader: str = ""
    """The file of its firmware; empty: the BIOS of its machine type, or it was not asked for."""
    numa: bool = False
    """Its memory is laid out in NUMA cells, which have to add up to it."""


class Role(StrEnum):
    """The part that a domain of ours plays for its VM."""

    PRODUCTION = "production"
    DRILL = "drill"
    """A throw-away copy in an isolated network; never the VM itself."""
    PROMOTED = "promoted"
    """It took over at the other site; its mark's epoch is the higher one."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Our mark in a domain's metadata: whose it is, which VM, and what its last spec allowed.

    Whoever clones a domain copies the mark along; `uuid` shows that, since a clone has another.
    """

    estate: str
    deletion: str
    name: str = ""
    """The VM; empty in marks of versions that did not write it."""
    role: Role = Role.PRODUCTION
    epoch: int = 0
    """Which copy is the VM: the highest is."""
    uuid: str = ""
    """Of the domain that the mark was written for."""
    domain: str = ""
    """Its libvirt name then: a renamed VM keeps that, and a person's rename shows."""


@dataclass(frozen=True, slots=True)
class FileUse:
    """A file behind a disk of a domain, at any depth."""

    path: str
    written: bool
    """Whether the guest writes to it: what several only read from is nobody's identity."""
    identity: str = ""
    """The same for all paths of one file on its host; empty if unknown."""


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One libvirt domain on one host."""

    name: str
    uuid: str
    state: DomainState
    state_reason: str
    """libvirt's own word: booted, migrated, destroyed, crashed, shutdown, …"""
    persistent: bool
    autostart: bool
    live: DomainConfig | None
    """From the running XML; None while it is off."""
    config: DomainConfig | None
    """From the inactive XML; None for a transient domain."""
    job: str | None = None
    """libvirt's running job (migration, backup, …), None when idle."""
    ownership: Ownership | None = None
    checkpoints: tuple[str, ...] = ()
    """Names of all its checkpoints, ours and others', sorted."""
    files: tuple[FileUse, ...] = ()
    """Behind its disks in both XMLs; empty if the host did not report them."""
    unknown: str = ""
    """Why it alone could not be read now; only its name, UUID and power are current, all else is
    as last seen or empty."""
    agent: bool = False
    """Its guest agent has opened its channel."""


def runs(domain: DomainFacts) -> bool:
    """Return whether this is a running copy; a domain that is being received is none."""
    return domain.state.active and domain.state is not DomainState.INCOMING


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """One file of a pool; `size_bytes` is the virtual size, None when it could not be read."""

    name: str
    format: str
    size_bytes: int | None
    allocated_bytes: int
    identity: str = ""
    """The same for all paths of one file on its host; empty if unknown."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """One pool; one of a kind that has no folder has an empty path and holds no files."""

    name: str
    path: str
    active: bool
    capacity_bytes: int
    available_bytes: int
    volumes: Mapping[str, VolumeFacts] = field(default_factory=dict)
    type: str = "dir"
    """libvirt's word for its kind: dir, fs, netfs, logical, rbd, …"""
    unknown: str = ""
    """Why it alone could not be read now; its files are those last seen, or none."""
    replicas_unknown: str = ""
    """Why the replicas in it could not be seen now."""
    identity: str = ""
    """The file system of its folder, by a name that survives a reboot; empty if unknown."""
    unmounted: str = ""
    """The mount point at or above its folder at which nothing is mounted that should be."""
    expected: str = ""
    """The file system that it lay on before, if it is another one: its files then prove nothing."""


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One port of a bridge. `trunks` empty and `tag` None: every VLAN passes (the OVS default).

    VLAN 0 among `trunks` stands for frames without a tag.
    """

    name: str
    tag: int | None
    trunks: tuple[int, ...]
    vlan_mode: str | None
    link_up: bool | None
    attached_mac: str | None = None
    """The MAC of the guest whose card this is; None for uplinks and trunks."""
    rstp_role: str | None = None
    members: tuple[str, ...] = ()
    """The interfaces of a bond, sorted; empty where the port is one interface."""
    kind: str = ""
    """Open vSwitch's type of its interface: internal, patch, vxlan, …; empty for a device."""
    in_tree: bool = True
    """False where its settings take it out of the bridge's spanning tree."""
    mirror: bool = False
    """A mirror writes to it: it carries copies of other ports' frames and nothing else."""


@dataclass(frozen=True, slots=True)
class BridgeFacts:
    """One Open vSwitch bridge."""

    name: str
    rstp_enabled: bool
    ports: Mapping[str, PortFacts]
    stp_enabled: bool = False
    """The older spanning tree, IEEE 802.1D; it keeps frames from going in circles, too."""
    mirror_vlans: tuple[int, ...] = ()
    """VLANs that its mirrors write to."""


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """One network interface of a node's own system."""

    name: str
    addresses: tuple[str, ...]
    """With prefix lengths, sorted; link-local ones are left out."""
    vlan: int | None = None
    """Of an interface that carries one VLAN of its `parent`."""
    parent: str | None = None
    master: str | None = None
    """What it is plugged into: a bond, a Linux bridge, `ovs-system`."""
    kind: str = ""
    """Linux's word: vlan, bond, bridge, openvswitch, …; empty for a device."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The hardware of a node, and its load."""

    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    """What the kernel could give now, without huge pages."""
    load_1m: float
    architecture: str
    huge_bytes: int = 0
    """Reserved as huge pages, of all sizes."""
    huge_free_bytes: int = 0
    """Of those: neither used nor promised."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The answer of one node to one poll; each part is a fact of its own.

    A node is a host or a switch. On a switch `domains` and `pools` are Absent.
    """

    name: str
    boot_id: str
    clock_offset_s: float
    hardware: Fact[Hardware]
    versions: Mapping[str, str]
    """By program: libvirt, qemu, openvswitch; a program that is not there has no entry."""
    domains: Fact[Mapping[str, DomainFacts]]
    pools: Fact[Mapping[str, PoolFacts]]
    bridges: Fact[Mapping[str, BridgeFacts]]
    replicas: Fact[Mapping[str, ReplicaFacts]] = Unknown("its replicas were not asked for", 0.0)
    """By the VM's UUID."""
    leftovers: Fact[tuple[Leftover, ...]] = Unknown("what is left over was not asked for", 0.0)
    interfaces: Fact[Mapping[str, InterfaceFacts]] = Unknown("its cards were not asked for", 0.0)
    warnings: Mapping[str, str] = field(default_factory=dict)
    """By part: a warning that a program gave beside a good answer."""
    capabilities: Fact[Capabilities] = Unknown("its capabilities were not asked for", 0.0)
    records: Fact[Mapping[str, Record]] = Unknown("its records were not asked for", 0.0)
    """Of failovers, by scope."""
    product_uuid: str = ""
    """Of the machine, by its own firmware, in lower case; empty where it does not say."""
    dropped: Fact[tuple[DroppedAddress, ...]] = Unknown("its flows were not asked for", 0.0)
    guard: Fact[GuardFacts] = Unknown("its guard was not asked for", 0.0)           # of hosts
    grantor: Fact[GrantorFacts] = Unknown("its grantor was not asked for", 0.0)     # no switch
    serving: Fact[Mapping[str, ServingFacts]] = Unknown("its guests were not asked", 0.0)
    """By the VM's UUID, of guests whose health is declared; they may run on another host."""
    links: Fact[Links] = Unknown("its network devices were not asked for", 0.0)
    clock_error_s: float = 0.0      # of `clock_offset_s`: the way there may be slower than back
    gateways: Fact[KeepalivedFacts] = Unknown("its keepalived was not asked for", 0.0)  # switches


@dataclass(frozen=True, slots=True)
class Observed:
    """The facts of every declared node at one instant; a node never seen is Unknown."""

    nodes: Mapping[str, Fact[NodeFacts]]
    powers: Mapping[str, Fact[PowerFacts]] = field(default_factory=dict)
    """By host: what its BMC says; no entry where there is none, or nobody asks it."""
    listening_since_at: float = 0.0     # since when we ask without a gap of our own; 0: ever
