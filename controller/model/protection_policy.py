"""A protection policy: how fresh a replica must be and what may be done with it."""

from typing import Literal

from pydantic import Field, StrictBool

from controller.model.document import Document, Scope, Spec
from controller.model.units import DayHours, DurationS, RateBps


class KeepSpec(Spec):
    """How many restore points stay."""

    last: int = Field(default=12, ge=1, le=100_000, strict=True)
    hourly: int = Field(default=0, ge=0, le=100_000, strict=True)
    daily: int = Field(default=0, ge=0, le=100_000, strict=True)


class QuiesceSpec(Spec):
    """How often the guest's file systems are frozen for a restore point."""

    every: int = Field(ge=1, le=100_000, strict=True)
    """Every n-th point is made with frozen file systems; the others are crash-consistent."""


class HealthSpec(Spec):
    """What proves that a VM serves; all that is named must be seen. Nothing named: that it runs."""

    agent: StrictBool = False
    """Its guest agent answers."""
    tcp: int | None = Field(default=None, ge=1, le=65535, strict=True)
    """It accepts connections on this port, at the address of its first card that has one."""
    ping: StrictBool = False
    """It answers pings at that address."""
    boots_s: DurationS = Field(default=0.0, alias="boots", ge=0, le=3600)
    """It has run for so long without a pause or an end, and has read of its disks."""
    within_s: DurationS = Field(default=120.0, alias="within", gt=0)
    """How long that may take after a start; then the next ones start, and it is said what it lacks.
    """

    @property
    def asks(self) -> bool:
        """Return whether more is wanted than that the VM runs."""
        return self.agent or self.tcp is not None or self.ping or self.boots_s > 0


class MoveSpec(Spec):
    """How a VM that is well goes to its other site, and back; its power is never cut for that."""

    by: Literal["shutdown", "memory"] = "shutdown"
    """shutdown: it is shut down in good order, and boots there. memory: what it has in memory is
    saved and goes along, so that the guest only stands still for a while."""
    pause_s: DurationS = Field(default=30.0, alias="pause", ge=1, le=86400)
    """While it runs, what it writes is copied in rounds, until one takes no longer than this; if
    none does, it stays where it is."""


class ProtectionPolicySpec(Scope):
    """What the replica of a VM must be."""

    rpo_s: DurationS = Field(alias="rpo", ge=10)
    """Age of the newest complete restore point, counted from the start of its copy."""
    keep: KeepSpec = KeepSpec()
    bandwidth_bps: RateBps | None = Field(default=None, alias="bandwidth", gt=0)
    """What all copies under this policy may take together; unset: as much as they can."""
    quiesce: QuiesceSpec | None = None
    verify_s: DurationS = Field(default=7 * 86400.0, alias="verify", gt=0)
    """Every cluster of the replica is re-read and compared at least this often."""
    audit_s: DurationS | None = Field(default=None, alias="audit", gt=0)
    """Every disk is read whole and compared with its replica at least this often; unset: when
    somebody asks."""
    drill_s: DurationS | None = Field(default=None, alias="drill", gt=0)
    """How old the last test boot of the replica may be; `hotsite drill` holds one."""
    drill_hours: DayHours | None = Field(default=None, alias="drillHours")
    """When such test boots are held by themselves, in UTC: `01:00-05:00`; unset: only by hand."""
    failover: Literal["automatic", "confirm", "manual"] = "confirm"
    """Who decides a failover: the loop; the loop once a person confirms; a person by a command."""
    max_age_s: DurationS | None = Field(default=None, alias="maxAge", gt=0)
    """A point older than this at the failover waits for a person; unset: three times `rpo`."""
    isolation: Literal["stop", "run"] = "run"
    """What a host that is cut off from everybody does with these VMs: end them, so that they can
    start elsewhere, or let them run."""
    health: HealthSpec = HealthSpec()
    move: MoveSpec = MoveSpec()
    shedding: int = Field(default=0, ge=0, le=100, strict=True)
    """Where capacity is short at a failover, the highest class stays off first; 0: never."""


class ProtectionPolicy(Document):
    """One level of protection."""

    kind: Literal["ProtectionPolicy"] = "ProtectionPolicy"
    spec: ProtectionPolicySpec
