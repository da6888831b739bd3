"""Actions: every change that the controller can make to the world, and nothing else.

Rule 1: an action is a value with everything that its provider needs; providers look nothing up.
Rule 2: `reason` and `consequence` are for people; no code branches on them.
Rule 3: the id names the change, not its content, and is the same for ever, so that journals and
        approvals can refer to it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from controller.model.document import Rung


class Cause(StrEnum):
    """Why an action is in the plan."""

    DRIFT = "drift"
    """The world moved."""
    COMMIT = "new commit"
    """The specs moved."""
    HUMAN = "human"
    """Somebody asked for it by hand."""
    ROUTINE = "routine"
    """Nothing differs; it is due again."""


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
    """What a person has to approve before an action begins, whatever is granted."""

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
    """None if the granted rung is enough."""

    verb: ClassVar[str] = ""
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool]
    """Whether it takes something away: a VLAN, a port, a device, a file, a restore point."""
    reverts: ClassVar[bool] = False
    """Whether the node undoes it by itself unless we can reach it afterwards."""
    symbol: ClassVar[Symbol] = Symbol.CHANGE

    @property
    def detail(self) -> str:
        """Return what distinguishes it from others of its verb on the same target and node."""
        return ""

    @property
    def goal(self) -> str:
        """Return what it is to bring about, whatever it starts from; undone is undone per goal."""
        return ""

    @property
    def id(self) -> str:
        """Return the deterministic name of the action."""
        suffix = f"/{self.detail}" if self.detail else ""
        return f"{self.verb}:{self.target}@{self.node}{suffix}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Return what it takes away, part by part, if that may grow under the same id."""
        return ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return every node that it touches; the facts of all must be fresh when it begins."""
        return (self.node,)

    @property
    def powers(self) -> tuple[str, ...]:
        """Return every host whose power it changes: its BMC is looked at afterwards."""
        return ()
