"""Actions on replicas.

Rule 1: the target of each is `Replica/VM`, so that a long copy never holds up the VM itself.
Rule 2: none of them starts a VM or writes to a disk that a VM uses.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from controller.model.document import Rung
from controller.model.facts import DomainConfig
from controller.model.replica import Leftover
from controller.plan.actions.action import Action, Symbol


class CopyMode(StrEnum):
    """How the next point of one disk is made; expected when planned, decided when it begins.

    The movers use the same words, see remote/mover/copy_mode.py.
    """

    INCREMENT = "increment"
    """Send what the checkpoint's bitmap says has changed."""
    SCAN = "scan"
    """Read the whole disk, send what differs from the replica."""
    SEED = "seed"
    """Read and send the whole disk: the replica has nothing of it yet."""


@dataclass(frozen=True, slots=True)
class DiskCopy:
    """One disk of a VM and how it is expected to be copied."""

    target: str
    source: str
    """Its path on the VM's host."""
    format: str
    size_bytes: int
    mode: CopyMode
    qcow2_version: int = 3

    @property
    def trackable(self) -> bool:
        """Return whether its file can hold a bitmap of changes."""
        return self.format == "qcow2" and self.qcow2_version >= 3


@dataclass(frozen=True, slots=True, order=True)
class RateLimit:
    """The rate that all copies within a scope share."""

    scope: str
    """`ProtectionPolicy/name`, `InterSiteLink/name` or `Host/name`."""
    rate_bps: int
    """In bits a second."""


def is_replica(target: str) -> bool:
    """Return whether a target is the replica of a VM."""
    return target.startswith("Replica/")


def replica_of(target: str) -> str:
    """Return the target of a VM's replica."""
    return f"Replica/{target.partition('/')[2]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateDomain(Action):
    """Make the next restore point of a VM on host `to`; a crash leaves the last one untouched.

    `node` is the host that the VM is on; `path` is the replica's folder on `to`.
    """

    domain: str
    """The VM's libvirt name there."""
    uuid: str
    to: str
    path: str
    disks: tuple[DiskCopy, ...]
    replication_address: str
    """Of `node`, the source of the stream."""
    to_replication_address: str
    sequence: int
    """The number of the point to be made."""
    quiesce: bool = False
    limits: tuple[RateLimit, ...] = ()
    """Rates shared with other copies; empty: unlimited."""
    budget_s: float = 300.0
    """How long the backup job may live; the next copy sends what this one could not."""
    compare: str = ""
    """Why every disk is read whole and compared; empty if tracked changes are enough."""
    repair: bool = False
    """Send damaged clusters of the newest point again, changed or not."""
    without: tuple[str, ...] = ()
    """Why each part is missing that the point will not have."""
    verb: ClassVar[str] = "replicate"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.REPLICATE

    @property
    def machine(self) -> str:
        """Return the VM's name."""
        return self.target.partition("/")[2]

    @property
    def detail(self) -> str:
        """Return the replica's host."""
        return self.to

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return source and destination."""
        return (self.node, self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirePoints(Action):
    """Retire restore points by merging each into the next; never the newest or a pinned one."""

    path: str
    sequences: tuple[int, ...]
    epoch: int = 0
    """Of the VM; a replica that follows a newer one refuses."""
    verb: ClassVar[str] = "retire-points"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REPLICATE


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPoints(Action):
    """Retire restore points that only a smaller `keep` no longer keeps; merged likewise."""

    path: str
    sequences: tuple[int, ...]
    keep: str = ""
    """The smaller `keep`, in words."""
    epoch: int = 0
    """Of the VM; a replica that follows a newer one refuses."""
    verb: ClassVar[str] = "drop-points"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the `keep`, since the points that it drops change with each new one."""
        return (self.keep,) if self.keep else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReplica(Action):
    """Compare a replica with its hashes, mend what it can mend by itself, and record the rest."""

    path: str
    budget_s: float
    rate_bps: float | None = None
    """Limit of reading, in bytes per second."""
    epoch: int = 0
    """Of the VM; a replica that follows a newer one refuses."""
    verb: ClassVar[str] = "verify-replica"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.REPLICATE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPoint(Action):
    """Write one restore point as standalone files into a folder of the host that holds it.

    It is in no plan: a person asks for it.
    """

    path: str
    machine: str
    sequence: int
    folder: str
    verb: ClassVar[str] = "export-point"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the point and the folder."""
        return f"{self.sequence}:{self.folder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrilledMachine:
    """One VM of a drill: which point of it is started, and what proves that it serves."""

    machine: str
    uuid: str
    path: str
    """The replica's folder."""
    sequence: int
    memory_bytes: int
    content: str
    """A digest of what is declared of the VM."""
    agent: bool = False
    """What proves that it serves: as its policy's `health` says, likewise the next three."""
    tcp: int | None = None
    ping: bool = False
    boots_s: float = 0.0
    without: tuple[str, ...] = ()
    """Targets of the disks that the point lacks on purpose."""
    address: str = ""
    """Where it is asked over the network; empty: its spec names none."""
    mac: str = ""
    """Of the card that has that address."""
    vlans: tuple[tuple[str, int | None], ...] = ()
    """By MAC: the declared VLAN of each card; None: untagged."""


@dataclass(frozen=True, slots=True, order=True)
class DrillGateway:
    """The address that a drill plays the gateway by, in one of its networks."""

    vlan: int | None
    address: str
    """With its prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReplica(Action):
    """Start restore points beside their replicas, in a network of their own, and take all away.

    Its target is `Drill/VM`, of the first of them, so that copies go on meanwhile. Nothing of it
    stays but its results.
    """

    machines: tuple[DrilledMachine, ...]
    """In the order in which they are started."""
    estate: str
    limit_s: float
    """How long its guests may take to serve."""
    grow_bytes: int
    """How much each of them may write."""
    by: str
    absent: str = ""
    """Who of their group is not in it, and why; empty where the group is whole."""
    gateways: tuple[DrillGateway, ...] = ()
    """Of its networks whose subnet is declared."""
    verb: ClassVar[str] = "drill"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def names(self) -> tuple[str, ...]:
        """Return the VMs in it."""
        return tuple(one.machine for one in self.machines)

    @property
    def detail(self) -> str:
        """Return who is in it besides the first."""
        return ",".join(self.names[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveReplica(Action):
    """Delete a replica that a newer, verified one elsewhere supersedes."""

    path: str
    uuid: str
    epoch: int = 0
    """Of the VM; a replica that follows a newer one refuses."""
    verb: ClassVar[str] = "remove-replica"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def detail(self) -> str:
        """Return the folder."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLeftovers(Action):
    """Remove what a crash of ours left on a host; nothing that is not surely ours."""

    leftovers: tuple[Leftover, ...]
    verb: ClassVar[str] = "sweep"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCheckpoints(Action):
    """Delete checkpoints of ours from a VM that is no longer protected, with their bitmaps.

    `paths` are the images that hold bitmaps; an image in use keeps those that libvirt leaves.
    """

    domain: str
    uuid: str
    checkpoints: tuple[str, ...]
    paths: tuple[str, ...]
    verb: ClassVar[str] = "drop-checkpoints"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE


def images_with_bitmaps(config: DomainConfig | None) -> tuple[str, ...]:
    """Return the image files of a domain that can hold a checkpoint's bitmap."""
    return () if config is None else tuple(
        disk.source for disk in config.disks
        if disk.format == "qcow2" and disk.source.startswith("/"))
