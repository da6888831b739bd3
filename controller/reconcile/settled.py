"""Which objects of a revision the world already looks like, as far as a plan shows."""

from collections.abc import Mapping
from typing import Final

from controller.model.condition import ConditionType
from controller.plan.actions import Cause
from controller.plan.network_gates import USED
from controller.plan.plan import Plan, Step
from controller.plan.trunk_actions import NarrowTrunk

PLACED_KINDS: Final = ("VirtualMachine/", "Host/", "Switch/")
"""Kinds that steps are about; the others show their differences on these."""


def stays(step: Step) -> bool:
    """Return whether a step is there for as long as somebody uses what it would take.

    It says how the world is, and holds nothing up.
    """
    return isinstance(step.action, NarrowTrunk) and step.ruling.rule in USED


def settled(plan: Plan, before: Mapping[str, str], now: Mapping[str, str]) -> Mapping[str, str]:
    """Return the fingerprints that are true of the world.

    Shapes: all of `now` when no step is a commit's and nothing is unknown; else an object with a
    step or an unknown keeps its old one, and so does every kind that has no steps of its own.
    """
    busy = {step.action.target for step in plan.steps
            if step.action.cause is Cause.COMMIT and not stays(step)}
    unseen = {remark.target for remark in plan.remarks if remark.unknown}
    unseen |= {one.target for one in plan.conditions
               if one.type is ConditionType.PLACED and one.reason == "Nowhere"}
    if not busy and not unseen:
        return now
    found = {}
    for name in sorted(before.keys() | now.keys()):
        done = name.startswith(PLACED_KINDS) and name not in busy | unseen
        value = now.get(name) if done else before.get(name)
        if value is not None:
            found[name] = value
    return found
