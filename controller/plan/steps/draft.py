"""The draft: where the diffs put down steps, remarks and stalls, before they are ordered.

Rule 1: a step says itself which steps must succeed before it; the order of the diffs says nothing.
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from controller.model.protection_policy import KeepSpec
from controller.plan.actions.action import Action, Cause
from controller.plan.steps.plan import Remark, Ruling, Step, Verdict
from controller.plan.survey.context import Context


class Item(NamedTuple):
    """An action, the actions that must succeed before it, and its rank among those of its rung."""

    action: Action
    after: tuple[str, ...]
    rank: int


class Stall(NamedTuple):
    """Something that only a person can resolve."""

    target: str
    reason: str
    sentence: str
    vlans: tuple[int, ...] = ()
    """VLANs that do not pass somewhere because of it."""


@dataclass(slots=True)
class Draft:
    """What one computation has found so far."""

    items: list[Item] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    kept: dict[str, KeepSpec] = field(default_factory=dict)
    """By VM: the `keep` that its restore points are kept by from now on."""

    def mark(self) -> tuple[int, int, int]:
        """Return how much has been put down so far."""
        return len(self.items), len(self.remarks), len(self.stalls)

    def take_back(self, mark: tuple[int, int, int]) -> None:
        """Forget what was put down since `mark`."""
        items, remarks, stalls = mark
        del self.items[items:], self.remarks[remarks:], self.stalls[stalls:]

    def do(self, action: Action, after: tuple[str, ...] = (), rank: int = 0) -> str:
        """Put down an action and return its id."""
        self.items.append(Item(action, after, rank))
        return action.id

    def remark(self, target: str, sentence: str, *, unknown: bool = False) -> None:
        """Put down something that is shown and not acted on."""
        self.remarks.append(Remark(target, sentence, unknown))

    def stall(self, target: str, reason: str, sentence: str, vlans: tuple[int, ...] = ()) -> None:
        """Put down something that only a person can resolve, and remark on it."""
        self.stalls.append(Stall(target, reason, sentence, vlans))
        self.remark(target, sentence)


def cause_of(context: Context, *objects: str) -> Cause:
    """Return COMMIT if the specs of any of `objects` (`Kind/name`) changed, else DRIFT."""
    if context.applied_revision is None or not context.changed.isdisjoint(objects):
        return Cause.COMMIT
    return Cause.DRIFT


def counted(count: int, noun: str) -> str:
    """Return `1 VM`, `2 VMs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


CIRCLE = Ruling(
    Verdict.REFUSED, "order", "each of these would have to be done before the other",
    "when one of the hosts has room for both, or one of the VMs is off while they change places")


def order(items: list[Item]) -> tuple[Step, ...]:
    """Return the items as steps in topological order, ties by rung, then rank, then id.

    An `after` that names nothing in the plan is dropped; items in a circle come last, refused.
    """
    if not items:
        return ()
    by_id = {item.action.id: item for item in items}
    after = {name: tuple(sorted({one for one in item.after if one in by_id and one != name}))
             for name, item in by_id.items()}
    waits = {name: len(before) for name, before in after.items()}
    followers: dict[str, list[str]] = {}
    for name, before in after.items():
        for one in before:
            followers.setdefault(one, []).append(name)
    keys = {name: (item.action.rung.height, item.rank, name) for name, item in by_id.items()}
    free = [keys[name] for name, count in waits.items() if count == 0]
    heapify(free)
    steps: list[Step] = []
    while free:
        name = heappop(free)[2]
        del keys[name]
        steps.append(Step(by_id[name].action, after[name]))
        for one in followers.get(name, ()):
            waits[one] -= 1
            if waits[one] == 0:
                heappush(free, keys[one])
    steps += [Step(by_id[name].action, after[name], CIRCLE) for name in sorted(keys)]
    return tuple(steps)
