"""A review: what a change of the specs would bring, with everything else left out.

Two plans are made from the same facts: one for the specs before the change, one for those after.
What both want would come anyway, and is only counted. What is left is the change's own:

    steps that only the later plan has, that differ, or that wait where they would not have
    steps that only the earlier plan has: they would not come any more
    conditions that the change makes worse, and those it makes better
    remarks that only the later plan has: what it could not see, or would leave to a person
    VMs that would not come back from the loss that is assumed, and would have before

Rule 1: what is unknown under one of the two plans, or is not there in one, is neither better nor
        worse: a VM that is declared anew is not broken because it does not run yet.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.model.condition import Condition, ConditionType, Status
from controller.model.desired import Desired
from controller.plan.gates.approval import content
from controller.plan.output.fingerprint import fingerprints
from controller.plan.output.render import plan_to_dict
from controller.plan.output.saved import to_value
from controller.plan.steps.plan import Plan, Remark, Step, Verdict
from controller.plan.steps.takeover import Outcome


class Stranded(NamedTuple):
    """A VM that would not come back any more from the loss that is assumed, and why."""

    lost: str
    machine: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What a change of the specs brings."""

    before: Plan
    after: Plan
    added: tuple[str, ...]
    """`Kind/name` of what is declared anew."""
    edited: tuple[str, ...]
    removed: tuple[str, ...]
    brought: tuple[Step, ...]
    dropped: tuple[Step, ...]
    """Steps that are due now, and would not be any more."""
    anyway: int
    """How many steps are due with the change and without it."""
    worse: tuple[Condition, ...]
    better: tuple[Condition, ...]
    remarks: tuple[Remark, ...]
    stranded: tuple[Stranded, ...]


def review(before: Plan, after: Plan, earlier: Desired, later: Desired,
           well: Callable[[Condition], bool]) -> Review:
    """Return what makes the later plan differ, both being made from the same facts.

    Shapes: `well` says whether a condition is as it should be.
    """
    old, new = fingerprints(earlier), fingerprints(later)
    known = {step.action.id: step for step in before.steps}
    wanted = {step.action.id for step in after.steps}
    brought = tuple(step for step in after.steps if _differs(known.get(step.action.id), step))
    said = {(one.target, one.type): one for one in before.conditions}
    remarked = {(one.target, one.sentence) for one in before.remarks}
    return Review(
        before, after,
        added=tuple(sorted(new.keys() - old.keys())),
        edited=tuple(name for name in sorted(old.keys() & new.keys()) if old[name] != new[name]),
        removed=tuple(sorted(old.keys() - new.keys())),
        brought=brought,
        dropped=tuple(step for step in before.steps if step.action.id not in wanted),
        anyway=len(after.steps) - len(brought),
        worse=tuple(_moved(said, after.conditions, well, now_well=False)),
        better=tuple(_moved(said, after.conditions, well, now_well=True)),
        remarks=tuple(one for one in after.remarks
                      if (one.target, one.sentence) not in remarked),
        stranded=tuple(_stranded(before, after, later)))


def review_to_dict(found: Review) -> Mapping[str, object]:
    """Return a review as plain values for JSON."""
    steps = {step["id"]: step for step in plan_to_dict(found.after)["steps"]}
    gone = {step["id"]: step for step in plan_to_dict(found.before)["steps"]}
    return {
        "from": found.before.revision, "to": found.after.revision,
        "added": list(found.added), "edited": list(found.edited), "removed": list(found.removed),
        "steps": [steps[step.action.id] for step in found.brought],
        "dropped": [gone[step.action.id] for step in found.dropped],
        "anyway": found.anyway,
        "worse": [to_value(one) for one in found.worse],
        "better": [to_value(one) for one in found.better],
        "remarks": [to_value(one) for one in found.remarks],
        "stranded": [one._asdict() for one in found.stranded],
    }


def _differs(before: Step | None, after: Step) -> bool:
    """Return whether a step is new, does something else, or waits where it did not."""
    return (before is None or content(before.action) != content(after.action)
            or (before.ruling.verdict is Verdict.ALLOWED) > (
                after.ruling.verdict is Verdict.ALLOWED))


def _moved(said: Mapping[tuple[str, ConditionType], Condition], conditions: Iterable[Condition],
           well: Callable[[Condition], bool], *, now_well: bool) -> Iterator[Condition]:
    """Yield the conditions that were well and are not any more, or the other way round."""
    for one in conditions:
        was = said.get((one.target, one.type))
        if (was is not None and Status.UNKNOWN not in {was.status, one.status}
                and well(one) is now_well and well(was) is not now_well):
            yield one


def _stranded(before: Plan, after: Plan, later: Desired) -> Iterator[Stranded]:
    """Yield each VM that would come back before the change, and not after it."""
    now = {(one.lost, promotion.machine): promotion for one in after.takeovers
           for promotion in one.promotions}
    for takeover in before.takeovers:
        for was in takeover.of(Outcome.RETURNS):
            promotion = now.get((takeover.lost, was.machine))
            if promotion is None and was.machine in later.virtual_machines:
                yield Stranded(takeover.lost, was.machine, ("nothing gives it a replica any more",))
            elif promotion is not None and promotion.outcome not in {
                    Outcome.RETURNS, Outcome.STAYS_OFF}:
                yield Stranded(takeover.lost, was.machine,
                               tuple(why.sentence for why in promotion.gates))
