"""Everything besides specs and facts that a decision may depend on, gathered above the I/O line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.model.document import Rung
from controller.model.protection_policy import KeepSpec

WHOLE_ESTATE: Final = "Estate/*"
"""The estate, where its name is not known: a journal that lost its pauses holds none."""


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
    """What was approved, as a digest: an action of the same id that would do other things is not.
    """


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether a declared window is open now; computed where calendars may be read."""

    name: str
    effect: str
    open: bool
    above: Rung
    changes_at: float | None
    """When it next opens or closes; None when never."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """An action that has begun and not ended, ours or found running on a host."""

    action_id: str
    target: str
    nodes: tuple[str, ...]
    rung: Rung


REQUEST_LASTS_S: Final = 3600.0
"""What a person asked for and could not be begun is not done hours later, out of the blue."""


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
    """A human's wish for one VM's replica; used up when an action for it is begun."""

    machine: str
    kind: RequestKind
    by: str
    at: float

    @property
    def expires_at(self) -> float:
        """Return when it is forgotten, if nothing came of it."""
        return self.at + REQUEST_LASTS_S


@dataclass(frozen=True, slots=True)
class Undone:
    """Something that was done and that the node undid by itself, since it had been cut off."""

    action_id: str
    target: str
    goal: str
    """What it was to bring about: another goal is another try."""
    sentence: str
    at: float


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of one decision."""

    suspensions: tuple[Suspension, ...] = ()
    approvals: tuple[Approval, ...] = ()
    windows: tuple[WindowState, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    repairs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Instants at which a target was repaired (drift healed, not new commits), oldest first."""
    applied_revision: str | None = None
    """The last revision that was converged; a difference under a newer one is a new commit."""
    changed: frozenset[str] = frozenset()
    """`Kind/name` of every object that differs between the applied revision and this one."""
    requests: tuple[ReplicaRequest, ...] = ()
    backing_off: frozenset[str] = frozenset()
    """Targets at which something failed, until it is tried again: they hold no place meanwhile."""
    assumed_down: frozenset[str] = frozenset()
    """`Site/name` or `Host/name` that a what-if takes as lost; its VMs count as off."""
    last_host: Mapping[str, str] = field(default_factory=dict)
    """By the name of each VM that was ever seen as one of ours, the host; empty: it is not known.
    """
    kept: Mapping[str, KeepSpec] = field(default_factory=dict)
    """By the name of each VM that is replicated: by which `keep` its points were last kept."""
    waiting: Mapping[str, float] = field(default_factory=dict)
    """By what a commit takes away, the action's id and which part: since when that waits."""
    undone: tuple[Undone, ...] = ()
    """What nodes undid by themselves while the specs of their targets were as they are now."""
    adopted: frozenset[str] | None = None
    """`Kind/name` of every object that was seen as declared at some time; None: all of them were,
    if ever anything was."""

    def has_adopted(self, target: str) -> bool:
        """Return whether an object was seen as declared at some time, so that it is ours."""
        if self.adopted is None:
            return self.applied_revision is not None
        return target in self.adopted
