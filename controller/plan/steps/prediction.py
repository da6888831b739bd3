"""The nouns of a prediction: what the loss of a site or a host, now, would come to."""

from dataclasses import dataclass

from controller.plan.steps.takeover import Outcome


@dataclass(frozen=True, slots=True)
class Hindered:
    """A protected VM that would not come back by itself."""

    machine: str
    outcome: Outcome
    """waits, unknown or shed."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the VMs that come back would start, and what that is known from."""

    last_start_s: float | None = None
    """From the loss until the last of them has started; None: none of them starts.

    What a person has to say or order first is taken as said at once.
    """
    starts: int = 0
    """How many start; those that are declared off do not."""
    measured: int = 0
    """Of how many of these a start was measured before."""
    oldest_measured_at: float | None = None
    """When the oldest of these measurements was taken."""
    ordered: int = 0
    """How many start only once a person orders it."""
    why_ordered: str = ""
    """Why nothing may start without a person, whatever policies say; empty where something may."""
    unproven: tuple[str, ...] = ()
    """Hosts that only a person's word can prove off."""
    by_bmc: tuple[str, ...] = ()
    """Hosts that only their BMC can prove off, which may be lost with them."""
    drilled: int = 0
    """How many of those that start have been proven by a drill."""
    oldest_drilled_at: float | None = None


UNPLANNED = Schedule()


@dataclass(frozen=True, slots=True)
class Window:
    """What the links to the other site carry of the copies of a site's VMs."""

    links: tuple[str, ...]
    rate_bps: float
    """Declared for copies, of all of them together."""
    known: int
    """Of how many VMs it is known how much they need."""
    carried: int
    """How many of these at most stay within their RPO."""
    unknown: int
    """Of how many it is not known."""
    need_bps: float
    """What the known ones need together."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What would come back at the twin if a site, or one host of it, were lost now."""

    site: str
    twin: str | None
    """Unset: nothing can come back, for there is no other site."""
    protected: int
    hindered: tuple[Hindered, ...] = ()
    worst: str = ""
    """The VM whose newest restore point is oldest; empty: no VM has one."""
    worst_at: float | None = None
    """When that point began: what was written since would be lost."""
    automatic: int = 0
    """How many VMs the loop may fail over without a person."""
    host: str = ""
    """The host that is lost; empty: the whole site."""
    schedule: Schedule = UNPLANNED
    bare: int = 0
    """How many VMs would be lost that no policy protects."""
    window: Window | None = None
    """Of a whole site: what its links carry; None where no rate is declared."""

    @property
    def returns(self) -> int:
        """Return how many VMs would come back."""
        return self.protected - len(self.hindered)

    @property
    def lost(self) -> str:
        """Return what is lost, by name."""
        return self.host or self.site
