"""Reads a plan in few words, for tests."""

from typing import Any

from controller.plan.actions import Action
from controller.plan.compute import compute
from controller.plan.plan import Plan
from controller.plan.policy import Policy
from tests.plan import builders as b

HOME = {"sql": "paris-1", "web": "milan-1"}


def plan_of(desired: Any, observed: Any, policy: Policy = b.APPLIED) -> Plan:
    return compute(desired, observed, policy, b.NOW_S)


def ids(plan: Plan) -> list[str]:
    return [step.action.id for step in plan.steps]


def actions(plan: Plan) -> list[Action]:
    return [step.action for step in plan.steps]


def sentences(plan: Plan) -> str:
    return "\n".join(remark.sentence for remark in plan.remarks)
