"""A virtual machine: its size, disks, cards, place and protection."""

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from controller.model.document import Document, Label, Name, Scope, Spec, Text
from controller.model.host import Folder
from controller.model.units import DiskBytes, DurationS, MemoryBytes

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _unicast(mac: str) -> str:
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{mac} is a multicast address: make the first byte even")
    if not mac.strip("0:"):
        raise ValueError(f"{mac} is no card's address: give it one of its own")
    return mac


Mac = Annotated[
    str,
    BeforeValidator(_lower),
    StringConstraints(pattern=rf"^{_MAC.pattern}$", strict=True),
    AfterValidator(_unicast),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"}),
]
DiskTarget = Annotated[str, StringConstraints(pattern=r"^(vd|sd|hd)[a-z]{1,2}$", strict=True)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", strict=True)]


MOST_BYTES = 240
"""libvirt makes names of files from a domain's name; most file systems take 255 bytes."""


def _libvirt_name(name: str) -> str:
    if not name.strip() or name in {".", ".."}:
        raise ValueError("libvirt takes no domain name without a letter or digit in it")
    if len(name.encode()) > MOST_BYTES:
        raise ValueError(f"libvirt makes names of files from it, and {MOST_BYTES} bytes are the"
                         " most that fit: give the domain a shorter name")
    return name


DomainName = Annotated[
    str,
    StringConstraints(pattern=r"^[^/\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+$",
                      strict=True),
    AfterValidator(_libvirt_name),
    WithJsonSchema({"type": "string", "minLength": 1, "pattern": "^[^/]+$"}),
]
"""What libvirt calls a domain: any text on one line without a slash."""


def _one_of_its_own(uuid: str) -> str:
    if len(set(uuid.replace("-", ""))) == 1:
        raise ValueError(f"{uuid} is no machine's uuid: libvirt takes none of one digit alone")
    return uuid


Uuid = Annotated[
    str,
    BeforeValidator(_lower),
    StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", strict=True),
    AfterValidator(_one_of_its_own),
    WithJsonSchema({"type": "string",
                    "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"}),
]


_AMBIGUOUS = re.compile(r"\s*[+-]?[0-9]+|(?=.{36}$)[- ]*([0-9A-Fa-f][- ]*){32}", re.ASCII)
"""What virsh reads as an id (as strtol does), or as a UUID (36 characters, dashes anywhere)."""


def is_ambiguous(name: str) -> bool:
    """Return whether libvirt takes `name` for a domain's number or uuid before its name."""
    return _AMBIGUOUS.fullmatch(name) is not None


class Power(StrEnum):
    """Whether a VM should run."""

    ON = "on"
    OFF = "off"


class Deletion(StrEnum):
    """What happens to a VM that is no longer declared."""

    KEEP = "keep"
    DELETE = "delete"


class Autostart(StrEnum):
    """What becomes of libvirt's own mark that a domain starts when its host boots."""

    KEEP = "keep"
    OFF = "off"


class DiskSource(Spec):
    """Where a disk lies that is no file of its own in a pool: one of these."""

    file: Folder | None = None
    """A file, wherever it is."""
    block: Folder | None = None
    """A block device: a logical volume, a zvol, a partition, a multipath device."""
    observed: Text | None = None
    """Anything else, in words for people, such as `rbd pool/image`: only looked at."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(one is not None for one in (self.file, self.block, self.observed)) != 1:
            raise ValueError("a disk lies in one place: write `file:`, `block:` or `observed:`")
        return self

    @property
    def path(self) -> str:
        """Return its path; empty for what is only observed."""
        return self.file or self.block or ""


class DiskSpec(Spec):
    """One disk of a VM."""

    name: DiskTarget
    """The device the guest sees: vda."""
    size_bytes: DiskBytes = Field(default=0, alias="size", gt=0)
    """May grow later, never shrink. May be left out where its `source` has a size: it is the one
    that is found there."""
    pool: Name = "default"
    format: Literal["qcow2", "raw"] = "qcow2"
    source: DiskSource | None = None
    """Where it lies, if not as `VM-DISK.FORMAT` in its pool. Such a disk is never made, moved or
    taken away; it is replicated like any other."""
    image: FileName | None = None
    """A file of the pool that a new disk starts as a copy of."""
    replicate: bool = Field(default=True, strict=True)
    """False: it is left out of the VM's restore points on purpose."""

    @model_validator(mode="before")
    @classmethod
    def _is_raw_on_a_device(cls, fields: object) -> object:
        """Return the fields with the format of a block device, unless it is said."""
        if isinstance(fields, dict) and isinstance(source := fields.get("source"), dict) and (
                "block" in source):
            return {"format": "raw", **fields}
        return fields

    @property
    def is_pooled(self) -> bool:
        """Return whether it is a file of its own in its pool."""
        return self.source is None

    @model_validator(mode="after")
    def _is_one_disk(self) -> Self:
        if not self.size_bytes and self.source is None:
            raise ValueError("a disk needs its `size:`, unless its `source:` has one already")
        if self.image is not None and self.source is not None:
            raise ValueError("a disk with a `source:` is never made: leave out its `image:`")
        return self


CardModel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$", strict=True)]


class NicSpec(Spec):
    """One network card of a VM."""

    network: Name | None = None
    """May be left out only with `source: keep`."""
    mac: Mac
    model: CardModel = "virtio"
    """libvirt's word; what hosts offer is asked only for a new card."""
    source: Literal["keep"] | None = None
    """keep: whatever it is plugged into stays, and nothing of it is ever changed."""
    address: IPv4Address | IPv6Address | None = None
    """The guest's own IP address on that network: its health is asked there. It is not set."""

    @property
    def kept(self) -> bool:
        """Return whether only its MAC is known and the rest is left alone."""
        return self.source == "keep"

    @property
    def on(self) -> Name:
        """Return the network of a card that is not kept."""
        assert self.network is not None, "only a kept card has none"
        return self.network

    @model_validator(mode="after")
    def _is_on_a_network(self) -> "NicSpec":
        if self.network is None and not self.kept:
            raise ValueError("a card is on a network: write `network:`, or `source: keep` for one"
                             " that stays as it is")
        return self


class PlacementSpec(Spec):
    """Where a VM may run."""

    site: Name | None = None
    """The site it runs at while both are well."""
    host: Name | None = None
    """Pins it to one host."""
    anti_affinity: tuple[Label, ...] = ()
    """Groups: two VMs that name the same group never share a host."""


class VirtualMachineSpec(Scope):
    """One virtual machine."""

    domain: DomainName | None = None
    """What libvirt calls it; unset: as `metadata.name`. A domain is never renamed."""
    uuid: Uuid | None = None
    """Its uuid in libvirt: a domain with another one is not this VM, whatever its name."""
    autostart: Autostart = Autostart.KEEP
    """keep: whether libvirt starts it when its host boots stays as it is; off: libvirt does not,
    which `failover: automatic` needs."""
    power: Power = Power.ON
    cpus: int = Field(default=1, ge=1, le=512, strict=True)
    memory_bytes: MemoryBytes = Field(alias="memory", gt=0)
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    placement: PlacementSpec = PlacementSpec()
    protection: Name | None = None
    """The ProtectionPolicy; unset: not protected."""
    group: Name | None = None
    """VMs of one group fail over to one common instant."""
    start_order: int = Field(default=100, ge=0, le=1_000_000, strict=True)
    """Lower starts earlier."""
    template: Text | None = None
    """Domain XML that brings the rest of a new VM, relative to the spec's file."""
    shutdown_limit_s: DurationS = Field(default=120.0, alias="shutdownLimit", gt=0)
    """How long a clean shutdown may take before the power is cut."""
    deletion: Deletion = Deletion.KEEP
    """What becomes of it when it is no longer declared: keep (stop managing) or delete."""

    @property
    def pools(self) -> tuple[str, ...]:
        """Return the pool of each disk that is a file of its own in one."""
        return tuple(disk.pool for disk in self.disks if disk.is_pooled)


class VirtualMachine(Document):
    """One virtual machine of the estate."""

    kind: Literal["VirtualMachine"] = "VirtualMachine"
    spec: VirtualMachineSpec

    @property
    def libvirt_name(self) -> str:
        """Return what libvirt calls its domain, or will call it."""
        return self.spec.domain or self.metadata.name
