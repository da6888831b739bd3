"""What the loop tells those who listen: one sentence per thing that happened."""

from enum import StrEnum
from typing import NamedTuple


class EventKind(StrEnum):
    """What an event is about."""

    OBSERVED = "observed"
    """A node began or ceased to answer."""
    PLAN = "plan"
    """A difference was found that was not there before."""
    INTENT = "intent"
    PROGRESS = "progress"
    """How far long work has come; it is told and not written down."""
    OUTCOME = "outcome"
    CONDITION = "condition"
    REFUSED = "refused"
    """A gate holds something back that it did not hold back before."""
    SOURCE = "source"
    JOURNAL = "journal"
    FAULT = "fault"
    """Something that should never happen did; the rest goes on."""


class Event(NamedTuple):
    """One thing that happened at `at`; `node` is empty where none is meant."""

    kind: EventKind
    target: str
    node: str
    sentence: str
    at: float
    symbol: str = ""
    """The plan's sign of the action, where there is one."""
    outcome: str = ""
    action_id: str = ""
    rule: str = ""
    """The gate's name, where one spoke."""
