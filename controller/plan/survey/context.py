"""The context of a decision: all that it depends on besides specs and facts.

It is gathered above the I/O line, where journals, calendars and clocks may be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.model.document import Rung
from controller.model.protection_policy import KeepSpec
from controller.plan.break_glass.break_glass import BreakGlass

WHOLE_ESTATE: Final = "Estate/*"
"""The whole estate, by a name that needs no specs: suspended when a journal lost its pauses."""


@dataclass(frozen=True, slots=True)
class Suspension:
    """A pause of one scope: `Estate/…`, `Site/…`, `Host/…` or `VirtualMachine/…`."""

    target: str
    by: str
    why: str
    until_at: float


@dataclass(frozen=True, slots=True)
class Approval:
    """A human's yes to doing one action of one revision once, until an instant."""

    action_id: str
    revision: str
    by: str
    expires_at: float
    content: str
    """A digest of what was approved: an action of the same id but other content is not."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether a declared window is open now."""

    name: str
    effect: str
    open: bool
    above: Rung
    changes_at: float | None
    """When it next opens or closes; None when never."""
    emergency: tuple[str, ...] = ()
    """What it never holds back."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """An action that has begun and not ended, begun by us or found running on a host."""

    action_id: str
    target: str
    nodes: tuple[str, ...]
    rung: Rung


REQUEST_LASTS_S: Final = 3600.0
"""A request that could not be begun is dropped after this, rather than done hours later."""


class RequestKind(StrEnum):
    """What a person can ask of a replica."""

    COPY = "copy"
    """The next restore point now, whatever its age."""
    SEED = "seed"
    """The first copy; where there is a replica, compare every disk as a whole with it."""
    VERIFY = "verify"
    """Read all of it against its hashes."""
    REPAIR = "repair"
    """Send again what reads wrong."""


@dataclass(frozen=True, slots=True)
class ReplicaRequest:
    """What a person asks for one VM's replica; used up when an action for it is begun."""

    machine: str
    kind: RequestKind
    by: str
    at: float

    @property
    def expires_at(self) -> float:
        """Return when it is dropped if no action for it was begun."""
        return self.at + REQUEST_LASTS_S


@dataclass(frozen=True, slots=True)
class FailoverRequest:
    """A person's order to fail over, or to go back; used up when a record of it is written."""

    target: str
    """`Site/…`, `Host/…`, `VirtualMachine/…` or `Group/…`."""
    by: str
    why: str
    at: float
    planned: bool = False
    """A move of what is well, with nothing lost; also the way back."""
    back: bool = False
    """Of a planned move: to where the VMs are declared."""
    accepts_loss: bool = False
    """The person was shown what would be lost, and took it."""
    point: str = ""
    """An older restore point: its number, or the instant that it must not be younger than."""

    @property
    def expires_at(self) -> float:
        """Return when it is dropped if no record of it was written."""
        return self.at + REQUEST_LASTS_S


MOVE_TRIES: Final = 3
"""A VM whose move failed so often since it was ordered stays where it is."""
FAILED_MOVE_LASTS_S: Final = 86400.0
"""For so long it is told that a move has failed."""


@dataclass(frozen=True, slots=True)
class FailedMove:
    """How often the move of one VM has failed since it was last ordered, and how at last."""

    tries: int
    sentence: str
    at: float


CONFIRMATION_LASTS_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A person's word that a host is off, for one boot of it."""

    host: str
    by: str
    why: str
    boot_id: str
    """As last seen; empty: it never was."""
    at: float

    @property
    def expires_at(self) -> float:
        """Return when it is dropped."""
        return self.at + CONFIRMATION_LASTS_S


@dataclass(frozen=True, slots=True)
class Boot:
    """How long the last failover or drill took to start one VM."""

    start_s: float
    """Its share of the time in which its host started all that it was asked for together."""
    at: float
    boot_s: float | None = None
    """From the request until it was healthy; None: nobody saw that, or nothing is asked."""


@dataclass(frozen=True, slots=True)
class Undone:
    """A change that the node undid by itself, since nobody could reach it afterwards."""

    action_id: str
    target: str
    goal: str
    """What the change was for: another goal may be tried."""
    sentence: str
    at: float


@dataclass(frozen=True, slots=True)
class LeaseView:
    """The lease that says which controller conducts, as this controller knows it."""

    held: bool
    """Whether it is this controller's now, by its own count."""
    term: int
    sentence: str
    holder: str = ""
    """Who has it, as far as is known."""


@dataclass(frozen=True, slots=True)
class Context:
    """All that one decision depends on besides specs and facts."""

    suspensions: tuple[Suspension, ...] = ()
    approvals: tuple[Approval, ...] = ()
    windows: tuple[WindowState, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    repairs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Instants at which a target was repaired (drift healed, not new commits), oldest first."""
    applied_revision: str | None = None
    """The last revision that converged; a difference under a newer one is a new commit."""
    changed: frozenset[str] = frozenset()
    """`Kind/name` of every object that differs between the applied revision and this one."""
    requests: tuple[ReplicaRequest, ...] = ()
    backing_off: frozenset[str] = frozenset()
    """Targets in back-off after a failure; they occupy no concurrency slot meanwhile."""
    assumed_down: frozenset[str] = frozenset()
    """`Site/name` or `Host/name` that a what-if assumes lost; its VMs count as off."""
    last_host: Mapping[str, str] = field(default_factory=dict)
    """By VM that was ever seen as ours: the host that it was last on; empty if unknown."""
    kept: Mapping[str, KeepSpec] = field(default_factory=dict)
    """By replicated VM: the `keep` that its points were last kept by."""
    waiting: Mapping[str, float] = field(default_factory=dict)
    """By action id and part that a commit takes away: since when its grace has run."""
    undone: tuple[Undone, ...] = ()
    """Changes that nodes undid under the present specs of their targets."""
    failovers: tuple[FailoverRequest, ...] = ()
    confirmations: tuple[Confirmation, ...] = ()
    adopted: frozenset[str] | None = None
    """`Kind/name` of every object that was once seen as declared; None: all of them were, if any
    revision was ever applied."""
    promoted: Mapping[str, float] = field(default_factory=dict)
    """By VM that this controller promoted lately: when it was started."""
    place: str | None = None
    """Where this controller stands: a site, or the place of a witness; None: nobody said."""
    lease: LeaseView | None = None
    """None: none is declared, or it was not asked for."""
    machine_uuid: str = ""
    """What the firmware of this controller's own machine says; empty where it cannot be read."""
    failed_moves: Mapping[str, FailedMove] = field(default_factory=dict)
    """By VM whose move has failed lately."""
    boots: Mapping[str, Boot] = field(default_factory=dict)
    """By VM that was ever started by a failover: how long that took."""
    by_host: bool = False
    """Whether the loss of each single host is predicted, too."""
    break_glass: BreakGlass | None = None
    """What a person has put in force over the specs."""

    def has_adopted(self, target: str) -> bool:
        """Return whether an object was once seen as declared, so that it is ours to take from."""
        if self.adopted is None:
            return self.applied_revision is not None
        return target in self.adopted
