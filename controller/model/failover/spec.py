"""The numbers of failover: when a site is suspected, how long a guard is content, who conducts."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.model.document import Name, Spec
from controller.model.host import AbsolutePath, CredentialsSpec
from controller.model.units import DurationS, Share, SizeBytes

HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@/]+$", strict=True)]


class GuardSpec(Spec):
    """The guard on each host, which ends guests that nobody grants any more."""

    key_file: AbsolutePath | None = None
    """The secret that asks and grants are signed with, the same on every controller; unset: no
    host is guarded."""
    port: int = Field(default=7716, ge=1, le=65535, strict=True)
    """The UDP port on which witnesses and hosts grant."""
    deadline_s: DurationS = Field(default=30.0, alias="deadline", ge=1.0, le=3600)
    """How long after it asked for its last grant a host may run guests whose policy says
    `isolation: stop`."""
    tick_s: DurationS = Field(default=0.3, alias="tick", gt=0)
    """How late the guard may be."""
    kill_s: DurationS = Field(default=3.0, alias="kill", gt=0)
    """How long ending the guests may take."""
    feed_s: DurationS = Field(default=1.0, alias="feed", gt=0)
    """How often a watchdog is fed."""
    watchdog_s: DurationS = Field(default=8.0, alias="watchdog", ge=1.0)
    """A watchdog that was not fed for so long cuts the host's power."""
    drift: Share = Field(default=0.01, ge=0, lt=0.5)
    """How much faster or slower the clock of one machine may run than that of another."""
    margin_s: DurationS = Field(default=2.0, alias="margin", ge=0)
    """For datagrams in flight, and rounding."""
    wait_s: DurationS | None = Field(default=None, alias="wait", gt=0)
    """How old every grantor's last grant must be before a host counts as guarded off; unset: the
    least that is safe."""


class LeaseSpec(Spec):
    """Which controller conducts: the holder of a lease, by a term that only grows."""

    driver: Literal["witness", "etcd"] = "witness"
    ttl_s: DurationS = Field(default=15.0, alias="ttl", ge=2.0, le=600)
    """A holder that has not renewed for so long conducts no more."""
    endpoints: tuple[HttpsUrl, ...] = ()
    """The client addresses of etcd's members."""
    ca_file: AbsolutePath | None = None
    """What etcd's certificates are verified by; unset: what the system trusts."""
    certificate_file: AbsolutePath | None = None
    """What this controller shows to etcd, together with `keyFile`."""
    key_file: AbsolutePath | None = None
    credentials: CredentialsSpec | None = None
    """A name and password for etcd, where it wants them."""
    witness: Name | None = None
    """The witness that keeps the lease, for the driver `witness`; unset: the first by name."""


class GrowthSpec(Spec):
    """What the pools of a host must have left for the disks of VMs that come to it."""

    horizon_s: DurationS = Field(default=86400.0, alias="horizon", ge=0, le=366 * 86400.0)
    """For how long each of them can go on to write as it did before."""
    minimum_bytes: SizeBytes = Field(default=256 << 20, alias="minimum", ge=0)
    """At least so much for each, whatever it wrote before; never more than its disks hold."""


class FailoverSpec(Spec):
    """When a site or host is given up, and who may do so."""

    suspect_after_s: DurationS = Field(default=15.0, alias="suspectAfter", ge=2.0, le=86400)
    """How long a host must be silent before it is suspected."""
    guard: GuardSpec = GuardSpec()
    lease: LeaseSpec | None = None
    """Unset: one controller, which always conducts."""
    growth: GrowthSpec = GrowthSpec()
