"""Everything that a decision on failover depends on, as values.

Rule 1: unknown is never absent. What was not asked, or not answered, has a value of its own here
        (None, or an empty grant), and each function that decides says what it makes of it.
Rule 2: ages are durations, each by the clock of whoever measured it; no clocks are compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from controller.model.failover.record import Record
from controller.model.failover.spec import GuardSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which hosts one process hears from: the controller itself, or a witness."""

    by: str
    """`controller`, or the name of the witness."""
    place: str | None
    """Where it stands: a site's name makes it that site's view. None: nobody knows."""
    age_s: float | None
    """How old what it said is; None: it says nothing."""
    listening_s: float = 0.0
    """For how long it has listened, since its own start."""
    heard_s: Mapping[str, float] = field(default_factory=dict)
    """By host: how long ago it heard from it; absent: not since its own start."""
    deaf_to: frozenset[str] = frozenset()
    """Hosts that never speak to it, so that it knows nothing of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one grantor says of one host."""

    grantor: str
    """A witness, a host of another site, or `controller`. A controller that conducted before
    counts as revoked since its lease ran out, and its last grant is that old."""
    age_s: float | None
    """How long ago it granted last, by its own clock, up to now; if it restarted since, how long
    ago that was. None: it cannot be asked."""
    revoked: int = 0
    """The epoch for which it surely refuses the host; 0: it grants."""
    revoked_once: int = 0
    """The same under any name that the host had: to be restored, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bmc:
    """What the BMC of a host says; a host without one has none of these."""

    off_reads: int = 0
    """How often in a row it has read Off, up to now."""
    off_s: float = 0.0
    """For how long it has read Off."""
    on: bool = False
    """Whether its last answer was On."""
    age_s: float | None = None
    """How old its last answer is; None: it never answered."""
    failed: str = ""
    """Why an order to cut the power did not work; empty while none has failed."""
    sentence: str = ""
    """What it says now, for people."""
    distrust: str = ""
    """Why it may be another machine's: its system UUID differs, or the host answered while it
    read Off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A person's word that a host is off."""

    by: str
    reason: str
    boot_id: str
    """The boot of the host that it was given for."""
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSituation:
    """One host."""

    name: str
    site: str
    silent_s: float
    """For how long it has been asked in vain; what passed while nobody asked does not count."""
    heard: bool = True
    """Whether it has answered this controller at all."""
    boot_id: str = ""
    """As last seen; empty: it never was."""
    guarded: bool = False
    """Whether its guard was seen running, and granted, before it fell silent."""
    watchdog: bool = False
    """Whether its guard was seen to feed a hardware watchdog."""
    accept_freeze: bool = False
    fencing: tuple[Literal["redfish", "guard"], ...] = ("redfish", "guard")
    grants: tuple[Grant, ...] = ()
    """Of every grantor that it has, also of those that cannot be asked."""
    bmc: Bmc | None = None
    word: Word | None = None
    start_width: int = 1
    """How many VMs may boot on it at once."""
    maintenance: bool = False
    unheard_s: float | None = None
    """How long ago it last answered, whoever asked, before a restart too; None: as `silent_s`."""


class Progress(StrEnum):
    """How far the promotion of one VM has come, as its new host says."""

    WAITING = "waiting"
    """Nothing has been started."""
    STARTING = "starting"
    """Its start was ordered, or it runs and its health is not known yet."""
    HEALTHY = "healthy"
    UNPROVEN = "started, not proven"
    """It runs, and its limit passed without the health that it should show."""
    UNHEALTHY = "unhealthy"
    """It runs, its limit passed, and what answered shows that it does not serve."""
    FAILED = "failed"
    """It could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Why a VM must not be promoted by itself."""

    sentence: str
    yields: bool = False
    """Whether a person may accept it, such as a loss; else the world has to change first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSituation:
    """One VM that ran on a host of a site, and would be started elsewhere."""

    name: str
    uuid: str
    home: str
    """The host it ran on."""
    may_run_on: tuple[str, ...] = ()
    """The hosts that may run it and are not seen; its home, unless that is seen."""
    failover: Literal["automatic", "confirm", "manual"] = "confirm"
    isolation: Literal["stop", "run"] = "run"
    group: str | None = None
    start_order: int = 100
    target: str | None = None
    """The host that would start it: where its replica lies. None: none can."""
    point: int | None = None
    """The restore point; None: its own disks, on a shared pool."""
    gates: tuple[Gate, ...] = ()
    runs_on: tuple[str, ...] = ()
    """The hosts that are seen to run a copy of it, drills aside."""
    progress: Progress = Progress.WAITING
    detail: str = ""
    """About its progress, for people."""
    addresses_dropped: bool = False
    """Whether the survivors' switches drop what its old copy sends."""
    diverged_known: bool = False
    """Whether it is known what its old disks hold beyond the point."""
    reverse_fresh: bool = False
    """Whether it has a fresh replica at its old site."""
    move_failed: str = ""
    """Why it could not be moved, after as many tries as an order allows; empty: it can be tried."""
    epoch: int = 0
    """Which copy the VM is, wherever; 0: it never failed over."""
    at: str = ""
    """The host that it is on now; empty: its home, as far as is known."""
    at_home: bool | None = None
    """Whether it is at the site that it is declared at; None: nobody knows, or none is declared."""
    declared_at: frozenset[str] = frozenset()
    """`Site/…` and `Host/…` that its spec names; empty: it may be anywhere."""
    watched: bool = True
    """Whether more is wanted of it than that it runs: it boots until that is seen."""
    breach: str = ""
    """How long two copies of it ran at once; empty: they did not, as far as is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person ordered by `hotsite failover` or `hotsite failback`."""

    target: str
    """`Site/…`, `Host/…`, `VirtualMachine/…` or `Group/…`."""
    by: str
    reason: str = ""
    planned: bool = False
    """A move of what is well, with nothing lost; also the way back."""
    back: bool = False
    """Of a planned move: to where the VMs are declared, and not away from there."""
    accepts_loss: bool = False
    """Whether the person was told what would be lost, and took it."""
    point: str = ""
    """The older restore point that the person asked for; empty: the newest."""
    at: float = 0.0
    """When; nothing is decided by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Whether this controller conducts."""

    term: int = 0
    fresh: bool = True
    """Whether it holds the lease, and surely still does when its orders arrive."""
    holder: str = ""
    """Who holds it otherwise, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCopy:
    """A record, and the node that holds this copy of it."""

    node: str
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that one decision depends on."""

    hosts: Mapping[str, HostSituation]
    machines: Mapping[str, MachineSituation] = field(default_factory=dict)
    views: tuple[View, ...] = ()
    """Of the witnesses, also of those that are silent."""
    place: str | None = None
    """Where this controller stands; None: nobody knows."""
    listening_s: float | None = None
    """For how long this controller has been asking; None: it decides only once it has asked all."""
    records: tuple[RecordCopy, ...] = ()
    """Every copy that was read."""
    unwritable: Mapping[str, str] = field(default_factory=dict)
    """Nodes that answer and cannot hold a record, with why."""
    requests: tuple[Request, ...] = ()
    lease: Lease = Lease()
    controller_inside: str = ""
    """Why this controller might itself be what fails: the VM of the estate that it runs in."""
    controller: str = "controller"
    """Its name, for records."""
    highest_epoch: int = 0
    """The highest that was seen anywhere: in records, marks, replicas and revocations."""
    guard: GuardSpec = field(default_factory=GuardSpec)
    suspect_after_s: float = 15.0
    bmc_age_s: float = 30.0
    """What a BMC said longer ago proves nothing."""
    now_at: float = 0.0
    """The time of day, for records; nothing is decided by it."""
