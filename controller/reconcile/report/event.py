"""Events: what happened, one sentence each, for the listeners of a loop or a run."""

from enum import StrEnum
from typing import NamedTuple


class EventKind(StrEnum):
    """The kinds of events."""

    OBSERVED = "observed"
    """A node began or ceased to answer."""
    PLAN = "plan"
    """A difference was found that was not there before."""
    INTENT = "intent"
    PROGRESS = "progress"
    """How far a long action is; shown, and not written to the journal."""
    OUTCOME = "outcome"
    CONDITION = "condition"
    REFUSED = "refused"
    """A gate holds a step back that it did not hold back before."""
    FAILOVER = "failover"
    """The failover of a site or host has come to another phase, or waits for somebody else."""
    SOURCE = "source"
    JOURNAL = "journal"
    BREAK_GLASS = "break-glass"
    """What a person had put in force over the specs begins, changes, is soon over, or is over."""
    LEASE = "lease"
    """Who conducts has changed, or this controller can no longer tell."""
    FAULT = "fault"
    """An error that should never happen; everything else goes on."""


class Event(NamedTuple):
    """Something that happened at `at`; `node` is empty where it is about none."""

    kind: EventKind
    target: str
    node: str
    sentence: str
    at: float
    symbol: str = ""
    """The sign of the action in a plan, where there is one."""
    outcome: str = ""
    action_id: str = ""
    rule: str = ""
    """The name of the gate, for REFUSED."""
