"""Conditions: statements about objects, each true, false or unknown, with a sentence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """The three values; a condition that is missing is UNKNOWN."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class ConditionType(StrEnum):
    """Every condition there is."""

    READY = "Ready"
    PLACED = "Placed"
    CONNECTED = "Connected"
    PROTECTED = "Protected"
    FRESH = "Fresh"
    VERIFIED = "Verified"
    DRILLED = "Drilled"
    SURVIVABLE = "Survivable"
    GUARDED = "Guarded"
    HEALTHY = "Healthy"
    """A VM serves as its policy wants it to; only where `health` is declared."""
    TWIN_MATCHES = "TwinMatches"
    SPLIT_BRAIN = "SplitBrain"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"
    OBSERVED = "Observed"
    """It is shown, and nothing is done to it."""
    BREAK_GLASS = "BreakGlass"
    """A person has put something in force over the specs, for a while."""
    CONTROLLER_INSIDE = "ControllerInside"
    """The controller runs in a VM of the estate, and would fail with it."""
    FENCEABLE = "Fenceable"
    """Its BMC could cut the power of a host, and would prove it."""
    PERSISTENT = "Persistent"
    """What the Linux bridges of a host do now comes back after a reboot."""
    NOTIFIED = "Notified"
    """Whoever is to be told what is wrong can be told; only where a receiver is declared."""
    GATEWAY = "Gateway"
    """One node holds the gateway of a network; only where one is declared and can be seen."""
    NOT_PORTABLE = "NotPortable"
    """Something of a VM ties it to its host; false: nothing does, and something is worth knowing.
    """


LEVELLED: Final = frozenset({ConditionType.FRESH, ConditionType.HEALTHY,
                             ConditionType.BREAK_GLASS})
"""Conditions whose reason is a level: another reason is news although the status stays."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about one object. `since_at` is filled in where conditions are remembered."""

    target: str
    """`Kind/name`."""
    type: ConditionType
    status: Status
    reason: str
    """One CamelCase word that programs may look for."""
    message: str
    """A sentence for people."""
    revision: str = ""
    since_at: float | None = None
