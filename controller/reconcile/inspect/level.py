"""How well an object is, in one word: the worst of its conditions. One table for all readers.

    critical    it does not do what it is for, or would be lost with its site
    unknown     it cannot be seen now
    late        something is worse than declared, and is being mended or waits
    suspended   a person paused it
    observed    it is only looked at
    fine        nothing is wrong

What was never drilled can be seen, and is not worse than declared: it does not make every VM one
that needs a look. The verdict on its site says it, and its own page.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from controller.model.condition import Condition, ConditionType, Status
from controller.reconcile.report.news import is_well


class Level(StrEnum):
    """How well an object is, worst first."""

    CRITICAL = "critical"
    UNKNOWN = "unknown"
    LATE = "late"
    SUSPENDED = "suspended"
    OBSERVED = "observed"
    FINE = "fine"


ORDER: Final = {level: number for number, level in enumerate(Level)}
CRITICAL: Final = frozenset({
    ConditionType.READY, ConditionType.CONNECTED, ConditionType.PROTECTED,
    ConditionType.SURVIVABLE, ConditionType.SPLIT_BRAIN, ConditionType.GATEWAY})
"""Conditions that are critical when they are not as they should be; the others are late."""


class ObjectState(NamedTuple):
    """How well an object is, and the sentence of the condition that says so."""

    level: Level
    sentence: str = ""
    since_at: float | None = None


def level_of(condition: Condition) -> Level:
    """Return how well one condition is."""
    if condition.type is ConditionType.OBSERVED:
        return Level.OBSERVED if condition.status is Status.TRUE else Level.FINE
    if condition.type is ConditionType.SUSPENDED:
        return Level.SUSPENDED if condition.status is Status.TRUE else Level.FINE
    if is_well(condition):
        return Level.FINE
    if condition.status is Status.UNKNOWN:
        return Level.FINE if condition.type is ConditionType.DRILLED else Level.UNKNOWN
    if condition.type in CRITICAL or condition.reason == "Critical":
        return Level.CRITICAL
    return Level.LATE


def state_of(conditions: Iterable[Condition]) -> ObjectState:
    """Return how well an object is by its conditions; without any, nothing is wrong."""
    found = [(level_of(one), one) for one in conditions]
    if not found:
        return ObjectState(Level.FINE)
    level, worst = min(found, key=lambda one: (ORDER[one[0]], one[1].type))
    return ObjectState(level) if level is Level.FINE else ObjectState(
        level, worst.message, worst.since_at)
