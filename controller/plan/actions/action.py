"""The verbs: every change the controller can make to the world, and nothing else.

Rule 1: an action is a value that says everything its hands need; hands look nothing up.
Rule 2: `reason` and `consequence` are for people and are never branched on.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from controller.model.document import Rung


class Cause(StrEnum):
    """Why the world and the specs differ."""

    DRIFT = "drift"
    """The world moved."""
    COMMIT = "new commit"
    """The specs moved."""
    HUMAN = "human"
    """Somebody asked for it by hand."""
    ROUTINE = "routine"
    """Nothing differs: it is due again, as it is every so often."""


class Symbol(StrEnum):
    """The plan's alphabet."""

    CREATE = "+"
    CHANGE = "~"
    MOVE = ">"
    REMOVE = "-"
    FENCE = "!"
    PROMOTE = "^"
    REPLICATE = "*"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person has to say yes to, whatever is granted, before an action is begun."""

    rule: str
    """The gate's name: adopt, takes, anew."""
    sentence: str
    """What would be lost, or taken from whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change to one thing on one node."""

    target: str
    """`Kind/name`: what is shown, suspended, quarantined and never in two hands at once."""
    node: str
    """The host or switch whose command does it."""
    reason: str
    """A sentence: what is seen, and what is declared."""
    consequence: str = ""
    """What it means for users: live, cold restart, bytes to send."""
    cause: Cause = Cause.DRIFT
    ask: Ask | None = None
    """Unset: what is granted is enough."""

    verb: ClassVar[str] = ""
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool]
    """Whether it takes something away (a VLAN, a port, a device, a file, a point); each class says.
    """
    reverts: ClassVar[bool] = False
    """Whether the node undoes it by itself unless it can be reached afterwards."""
    symbol: ClassVar[Symbol] = Symbol.CHANGE

    @property
    def detail(self) -> str:
        """Return what tells this action from others of its verb on the same target and node."""
        return ""

    @property
    def goal(self) -> str:
        """Return what it is to bring about, whatever it starts from; another goal, another try."""
        return ""

    @property
    def id(self) -> str:
        """Return the action's deterministic name: the same wish has the same name for ever."""
        suffix = f"/{self.detail}" if self.detail else ""
        return f"{self.verb}:{self.target}@{self.node}{suffix}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Return what it takes, each by a word, where that may become more under the same name."""
        return ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return every node it touches; facts of all of them must be fresh when it begins."""
        return (self.node,)
