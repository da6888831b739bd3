"""The estate: the defaults that hold everywhere unless a nearer scope says otherwise."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from controller.model.document import Document, Name, Rung, Scope, Spec, Text
from controller.model.failover.spec import FailoverSpec
from controller.model.login.ssh import SshSpec
from controller.model.notify.spec import NotifySpec
from controller.model.units import DurationS, Share

TimeOfDay = Annotated[
    str,
    StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", strict=True),
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Emergency = Literal["repair", "copy"]


class WindowSpec(Spec):
    """A time in which changes are allowed or denied, weekly or by cron; deny wins.

    No window holds back a failover.
    """

    name: Name
    effect: Literal["allow", "deny"]
    """allow: changes from `above` upward happen only inside some allow window; deny: never here."""
    days: tuple[Day, ...] = ()
    start: TimeOfDay | None = None
    """Local time of day in `timezone`; with `days`, or else `cron`."""
    duration_s: DurationS = Field(alias="duration", gt=0)
    timezone: Text = "UTC"
    """An IANA zone, such as Europe/Paris."""
    above: Rung = Rung.MIGRATE
    """The lowest rung that the window applies to."""
    cron: Text | None = None
    """When it opens, in the five fields of cron and in `timezone`, such as `0 22 * * SUN#1`."""
    emergency: tuple[Emergency, ...] = ()
    """What it never holds back: `repair` of what has broken by itself, where nothing is moved or
    taken away; `copy` of a VM to its replica."""

    @model_validator(mode="after")
    def _opens_in_one_way(self) -> "WindowSpec":
        weekly = bool(self.days) and self.start is not None
        if weekly == (self.cron is not None) or (self.cron is not None and (
                self.days or self.start is not None)):
            raise ValueError("a window opens by `days` and `start`, or by `cron`: write one")
        return self


class ApprovalsSpec(Spec):
    """Which steps need more than one person's yes."""

    two_persons: tuple[Rung, ...] = ()
    """Rungs whose steps begin only after two persons have approved the same content. An order of a
    person, such as a failover, is not asked again."""


class LimitsSpec(Spec):
    """Numbers of the gates; the defaults suit an estate of a few dozen VMs."""

    fact_age_s: DurationS = Field(default=30.0, alias="factAge", ge=2.0)
    """Facts older than this decide nothing; every node is polled twice in that time."""
    storm_share: Share = Field(default=0.2, alias="storm", gt=0, le=1)
    """With more of a site's hosts unhealthy than this, nothing above `network` is healed there."""
    per_host: int = Field(default=2, ge=1, strict=True)
    """Actions running at once on one host."""
    per_site: int = Field(default=8, ge=1, strict=True)
    """Actions running at once at one site."""
    share: Share = Field(default=0.1, gt=0, le=1)
    """Share of the estate's VMs that may be migrating, restarting or failing over at once;
    at least one may."""
    deletes: int = Field(default=0, ge=0, strict=True)
    """Deletions that one plan may hold; if it holds more, none is done."""
    quarantine_repairs: int = Field(default=5, ge=1, strict=True)
    """After so many repairs of one object within `quarantineWithin` it is left alone."""
    quarantine_within_s: DurationS = Field(default=600.0, alias="quarantineWithin", gt=0)
    quarantine_for_s: DurationS = Field(default=1800.0, alias="quarantineFor", gt=0)
    """How long it must then be healthy before it is healed again."""
    removal_grace_s: DurationS = Field(default=600.0, alias="removalGrace", ge=0)
    """How long an object must be gone from the specs before it is taken away."""
    purge_after_s: DurationS = Field(default=7 * 86400.0, alias="purgeAfter", ge=0)
    """The disks of a removed VM are set aside, and deleted after this long."""
    cpu_ratio: float = Field(default=4.0, gt=0, le=100, strict=True, allow_inf_nan=False)
    """Virtual CPUs per physical one that placement may reach on a host."""


class EstateSpec(Scope):
    """Defaults and limits of the whole estate."""

    autonomy: Rung = Rung.REPORT
    """The highest rung the loop may reach by itself; report: it only shows."""
    ssh: SshSpec
    poll_s: DurationS = Field(default=10.0, alias="poll", ge=1.0, le=300.0)
    """How often every node is polled for its facts if no event asks for it sooner."""
    limits: LimitsSpec = LimitsSpec()
    windows: tuple[WindowSpec, ...] = ()
    approvals: ApprovalsSpec = ApprovalsSpec()
    failover: FailoverSpec = FailoverSpec()
    notify: NotifySpec = NotifySpec()


class Estate(Document):
    """Defaults and limits of the estate; every set of specs has exactly one."""

    kind: Literal["Estate"] = "Estate"
    spec: EstateSpec
