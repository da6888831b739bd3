"""The desired domain, resolved for one node, and the changes that lead there."""

from dataclasses import dataclass

from controller.model.facts import Ownership


@dataclass(frozen=True, slots=True)
class DesiredDisk:
    """One desired disk, with its path on its node."""

    target: str
    pool: str
    path: str
    format: str
    size_bytes: int
    image_path: str | None = None
    """A file that a new disk starts as a copy of; on the same node."""


@dataclass(frozen=True, slots=True)
class PortVlans:
    """Which VLANs pass on a port, in the columns of Open vSwitch."""

    vlans: tuple[int, ...]
    """Its `trunks`, sorted; empty: every VLAN. VLAN 0 stands for frames without a tag."""
    tag: int | None = None
    """The VLAN of an access port, or of a trunk's untagged frames."""
    vlan_mode: str | None = None
    """access, trunk, native-tagged, native-untagged; None: as the tag implies."""


@dataclass(frozen=True, slots=True)
class DesiredNic:
    """One desired card."""

    mac: str
    bridge: str
    """Empty where it is on one of libvirt's networks."""
    vlan: int | None
    """The tag that its definition holds."""
    model: str
    driver: str = "openvswitch"
    network: str = ""
    """libvirt's own network."""


@dataclass(frozen=True, slots=True)
class DesiredDomain:
    """Everything that is managed of one domain on one node."""

    name: str
    uuid: str
    memory_bytes: int
    cpus: int
    disks: tuple[DesiredDisk, ...]
    nics: tuple[DesiredNic, ...]
    ownership: Ownership
    template: str | None = None
    """Domain XML with everything that is not managed."""


@dataclass(frozen=True, slots=True)
class SetMemory:
    """Give the guest another amount of memory."""

    memory_bytes: int


@dataclass(frozen=True, slots=True)
class SetCpus:
    """Give the guest another number of CPUs."""

    cpus: int


@dataclass(frozen=True, slots=True)
class AttachNic:
    """Plug a card in."""

    nic: DesiredNic


@dataclass(frozen=True, slots=True)
class DetachNic:
    """Pull a card out."""

    mac: str


@dataclass(frozen=True, slots=True)
class UpdateNic:
    """Put an existing card on another bridge or VLAN, or give it another model at the next boot."""

    nic: DesiredNic


@dataclass(frozen=True, slots=True)
class AttachDisk:
    """Plug in a disk whose file is already there."""

    disk: DesiredDisk


@dataclass(frozen=True, slots=True)
class DetachDisk:
    """Pull a disk out; its file stays."""

    target: str
    source: str = ""
    """Its file: if the target is another disk's by then, that one stays. Empty: any file."""


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Make a disk larger; `path` is its file."""

    target: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SetOwnership:
    """Write our mark into the domain's metadata."""

    ownership: Ownership


DomainChange = (
    SetMemory | SetCpus | AttachNic | DetachNic | UpdateNic | AttachDisk | DetachDisk | GrowDisk
    | SetOwnership
)
