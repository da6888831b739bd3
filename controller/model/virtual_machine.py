"""A virtual machine: its size, disks, cards, place and protection."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from controller.model.document import Document, Label, Name, Scope, Spec, Text
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


_AMBIGUOUS = re.compile(r"[0-9]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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


class DiskSpec(Spec):
    """One disk of a VM."""

    name: DiskTarget
    """The device the guest sees: vda."""
    size_bytes: DiskBytes = Field(alias="size", gt=0)
    """May grow later, never shrink."""
    pool: Name = "default"
    format: Literal["qcow2", "raw"] = "qcow2"
    image: FileName | None = None
    """A file of the pool that a new disk starts as a copy of."""
    replicate: bool = Field(default=True, strict=True)
    """False: it is left out of the VM's restore points on purpose."""


class NicSpec(Spec):
    """One network card of a VM."""

    network: Name
    mac: Mac
    model: Literal["virtio", "e1000", "e1000e", "rtl8139"] = "virtio"


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


class VirtualMachine(Document):
    """One virtual machine of the estate."""

    kind: Literal["VirtualMachine"] = "VirtualMachine"
    spec: VirtualMachineSpec
