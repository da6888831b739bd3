"""The plan: steps with their order and verdicts, what stays unknown, and the conditions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from controller.model.condition import Condition, ConditionType
from controller.model.protection_policy import KeepSpec
from controller.plan.actions.action import Action
from controller.plan.steps.prediction import Prediction
from controller.plan.steps.takeover import Takeover


class Verdict(StrEnum):
    """What the gates say of one action."""

    ALLOWED = "allowed"
    NEEDS_APPROVAL = "needs approval"
    REFUSED = "refused"
    WAITING = "waiting"
    """Nothing is wrong with it, but something else has to end first."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a gate says of one action: the rule, the number behind it, and what clears it."""

    verdict: Verdict
    rule: str = ""
    """The gate's name: fact-age, storm, in-flight, delete-ceiling, window, quarantine, …"""
    sentence: str = ""
    clears: str = ""
    """The command or the event that clears it."""


class Breach(NamedTuple):
    """The law that a step of one target would break, as a sentence."""

    target: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Step:
    """One action, the ids of the steps that must succeed before it, and the gates' ruling."""

    action: Action
    after: tuple[str, ...] = ()
    ruling: Ruling = Ruling(Verdict.ALLOWED)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is shown and not acted on: an unknown, a conflict, a request that waits."""

    target: str
    sentence: str
    unknown: bool = False
    """Whether nothing is done because something could not be seen."""


@dataclass(frozen=True, slots=True)
class FailoverState:
    """Where the failover of one scope stands."""

    scope: str
    """`Site/…` or `Host/…`; for an order that is refused, what it was about."""
    phase: str
    sentence: str
    waits_for: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """A sentence for each VM that does not come back by itself."""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class UsedOrder:
    """An order of a person that is used up: a record holds it by now, or it is refused."""

    target: str
    planned: bool
    at: float
    """When it was given: a newer one of the same kind is another order."""
    left: tuple[str, ...] = ()
    """VMs that it still has to be carried out for, each by an order of its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change, in an order in which it may be done.

    Shapes: steps in topological order, ties by id; an empty plan with no unknown remark means
    converged.
    """

    revision: str
    steps: tuple[Step, ...] = ()
    remarks: tuple[Remark, ...] = ()
    conditions: tuple[Condition, ...] = ()
    due_at: float | None = None
    """When time alone next makes a step due or changes a condition; None if never."""
    kept: Mapping[str, KeepSpec] = field(default_factory=dict, compare=False)
    """By VM: the `keep` to remember as the one that its restore points are kept by."""
    failovers: tuple[FailoverState, ...] = ()
    """Of each scope that is silent, or whose failover is under way."""
    takeovers: tuple[Takeover, ...] = ()
    """How the VMs that a what-if takes as lost would come back."""
    observing: str = ""
    """What is only observed, by whose word, and what is done to it all the same; empty: nothing."""
    used_orders: tuple[UsedOrder, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    """What the loss of each site would come to, by name of the site."""
    host_predictions: tuple[Prediction, ...] = ()
    """What the loss of each host would come to that runs anything, by site and name; empty
    where that was not asked for."""
    assumed: tuple[Prediction, ...] = ()
    """What the loss would come to that a what-if assumes, by site."""

    @property
    def waits(self) -> tuple[Condition, ...]:
        """Return the conditions that wait for a person."""
        return tuple(one for one in self.conditions if one.type is ConditionType.STALLED)

    @property
    def runnable(self) -> tuple[Step, ...]:
        """Return the steps that the gates allow."""
        return tuple(step for step in self.steps if step.ruling.verdict is Verdict.ALLOWED)
