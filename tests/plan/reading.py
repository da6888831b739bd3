"""Render a plan in few words, for tests."""

import re
from typing import Any

from controller.plan.actions.action import Action
from controller.plan.compute import compute
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Context
from tests.plan import builders as b

HOME = {"sql": "paris-1", "web": "milan-1"}


EQUAL_WORDS = re.compile(r"\b(?:is|has) (\S+)(?: \w+)? and \1 (?:is|are) declared")
"""What the world can hold is never shown as a difference from what is declared."""


def plan_of(desired: Any, observed: Any, policy: Context = b.APPLIED) -> Plan:
    plan = compute(desired, observed, policy, b.NOW_S)
    told = [*(one.sentence for one in plan.remarks), *(step.action.reason for step in plan.steps)]
    assert not [one for one in told if EQUAL_WORDS.search(one)]
    return plan


def ids(plan: Plan) -> list[str]:
    return [step.action.id for step in plan.steps]


def actions(plan: Plan) -> list[Action]:
    return [step.action for step in plan.steps]


def sentences(plan: Plan) -> str:
    return "\n".join(remark.sentence for remark in plan.remarks)
