"""What the guard and the grantor of a simulated node hold."""

from dataclasses import dataclass, field

from controller.model.failover.guard import GrantorOrders, GuardOrders, Tombstone


@dataclass(slots=True)
class GuardState:
    """The guard of a host, in its memory: gone with its power."""

    orders: GuardOrders
    boot: int
    """Of the host, in which it was started."""
    began_at: float
    granted_at: float | None = None
    round_at: float = 0.0
    """When it last looked around, which it does not while its host hangs."""
    granted_by: dict[str, float] = field(default_factory=dict)
    """By grantor: when it last granted."""
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    """By UUID."""


@dataclass(slots=True)
class Refusal:
    """One revoked host, on the grantor's disk."""

    epoch: int
    term: int
    by: str
    why: str


@dataclass(slots=True)
class GrantorState:
    """The grantor of a node; what it refuses outlives its power."""

    orders: GrantorOrders
    boot: int
    began_at: float
    granted: dict[str, float] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    """By host: when it last asked, refused or not."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    term: int = 0
