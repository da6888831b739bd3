"""A host: one hypervisor with its pools, its bridge and its reserve."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StringConstraints, model_validator

from controller.model.document import Document, Label, Name, Scope, Spec, Text
from controller.model.login.ssh import Address, LoginSpec
from controller.model.switch import InterfaceName
from controller.model.units import RateBps, SizeBytes


def _as_libvirt_writes_it(path: str) -> str:
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise ValueError(f"{path} has more than one name: write it without `.` and `..`")
    return re.sub("/+", "/", path).rstrip("/") or "/"


AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f-\x9f]*$", strict=True)]
Folder = Annotated[AbsolutePath, AfterValidator(_as_libvirt_writes_it)]


class PoolSpec(Spec):
    """A directory of disk images, or another pool of libvirt that is only observed."""

    name: Name = "default"
    type: Literal["dir", "logical", "zfs", "rbd", "other"] = "dir"
    """dir: a folder, whatever is mounted there. All others are observed: nothing is made in them,
    and no replica lies there."""
    path: Folder = "/var/lib/libvirt/images"
    """Of a folder."""
    shared: StrictBool = False
    """True when every host that declares a pool of this name sees the same files."""


class ReserveSpec(Spec):
    """What a host keeps for itself, free of guests."""

    memory_bytes: SizeBytes = Field(default=512 << 20, alias="memory")


class CapacitySpec(Spec):
    """The hardware of a host, as bought; known facts take precedence."""

    memory_bytes: SizeBytes = Field(alias="memory", gt=0)
    cpus: int = Field(ge=1, le=4096, strict=True)
    """Processors as the operating system counts them: threads."""


class CredentialsSpec(Spec):
    """Where a secret is read from; never the secret itself."""

    file: AbsolutePath | None = None
    env: Text | None = None


Fingerprint = Annotated[str, StringConstraints(
    pattern=r"^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$", strict=True)]


class BmcSpec(Spec):
    """The BMC that can cut a host's power."""

    driver: Literal["redfish"] = "redfish"
    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s@]+$", strict=True)]
    credentials: CredentialsSpec
    fingerprint: Fingerprint | None = None
    """SHA-256 of its certificate: exactly this one is believed, whoever signed it and until when.
    """
    ca_file: AbsolutePath | None = None
    """The authority that signed its certificate; unset, without a fingerprint: the system's."""
    minimum_tls: Literal["1.0", "1.1", "1.2", "1.3"] = "1.2"
    """The oldest TLS to speak with it; below 1.2 old ciphers and short keys are let pass, too."""
    system: Name | None = None
    """Which of several systems behind it is this host: its id in Redfish."""


class AttachmentSpec(Spec):
    """Where a host has a network, if not on its `bridge` with the network's own tag."""

    network: Name
    bridge: InterfaceName | None = None
    vlan: int | None = Field(default=None, ge=1, le=4094, strict=True)
    """The tag that the bridge gives the frames of a guest's card; unset: none."""
    libvirt_network: Annotated[Label, StringConstraints(min_length=1)] | None = None
    """libvirt's own network: routed, translated (NAT) or isolated."""

    @model_validator(mode="after")
    def _is_one_place(self) -> "AttachmentSpec":
        if (self.bridge is None) == (self.libvirt_network is None):
            raise ValueError("a network is attached at one place: write one of `bridge:` and"
                             " `libvirtNetwork:`")
        if self.vlan is not None and self.bridge is None:
            raise ValueError("libvirt's own networks carry no VLANs: leave `vlan:` out")
        return self


class HostSpec(Scope):
    """One hypervisor."""

    site: Name
    address: Address
    """On the admin network."""
    replication_address: Address | None = None
    """On the replication network; unset: as `address`."""
    replication_bandwidth_bps: RateBps | None = Field(
        default=None, alias="replicationBandwidth", gt=0)
    """What all copies from and to this host may take together; unset: as much as they can."""
    driver: Literal["openvswitch", "linuxbridge", "none"] = "openvswitch"
    """What its bridges are; none: its network is neither judged nor changed."""
    bridge: InterfaceName = "br0"
    uplinks: tuple[InterfaceName, ...] = ("up0",)
    vlans: Literal["declared", "all"] = "declared"
    """What its uplinks let pass: the VLANs of the networks of its site, or all there are."""
    native_vlan: int | None = Field(default=None, ge=0, le=4094, strict=True)
    """The VLAN that frames without a tag belong to on its uplinks; 0: they pass as they are;
    unset: left as it is."""
    attachments: tuple[AttachmentSpec, ...] = ()
    """The networks that it has elsewhere than on `bridge` with their own tags."""
    pools: tuple[PoolSpec, ...] = (PoolSpec(),)
    reserve: ReserveSpec = ReserveSpec()
    capacity: CapacitySpec | None = None
    """For checks before the host is seen, and for simulations; unset: only facts count."""
    bmc: BmcSpec | None = None
    watchdog: AbsolutePath | None = None
    """The watchdog device that the guard feeds, such as /dev/watchdog0; unset: none is touched."""
    accept_freeze: StrictBool = False
    """True: without a watchdog or BMC, too, its VMs may fail over by themselves; thawed after a
    freeze it may run them a second time for a moment."""
    fencing: tuple[Literal["redfish", "guard"], ...] = ("redfish", "guard")
    """In which order it is proven off; a person's word always counts."""
    start_width: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """How many VMs may boot at once on it in a failover, until their declared `health` is seen, and
    how many starts it takes at a time; unset: half its CPUs, of the starts at least four."""
    maintenance: StrictBool = False
    """True drains the host by live migration and places nothing on it."""
    ssh: LoginSpec = LoginSpec()
    """What its login has of its own."""

    @property
    def folders(self) -> tuple[PoolSpec, ...]:
        """Return its pools that are folders: the others are only observed."""
        return tuple(pool for pool in self.pools if pool.type == "dir")


class Host(Document):
    """One hypervisor of one site."""

    kind: Literal["Host"] = "Host"
    spec: HostSpec
