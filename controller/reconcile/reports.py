"""Plans, facts and conditions as plain JSON: what `--json` prints and the store keeps."""

from typing import Any

from controller.model.condition import Condition
from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.plan.plan import Plan, Remark, Step


def render_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {"revision": plan.revision, "steps": [render_step(step) for step in plan.steps],
            "remarks": [render_remark(remark) for remark in plan.remarks],
            "conditions": [render_condition(one) for one in plan.conditions]}


def render_step(step: Step) -> dict[str, Any]:
    """Return one step as JSON; the words that a program may rely on are id, verb and verdict."""
    action, ruling = step.action, step.ruling
    return {"id": action.id, "verb": action.verb, "symbol": action.symbol.value,
            "rung": action.rung.value, "target": action.target, "node": action.node,
            "detail": action.detail, "reason": action.reason, "consequence": action.consequence,
            "cause": action.cause.value, "after": list(step.after),
            "verdict": ruling.verdict.value, "rule": ruling.rule, "sentence": ruling.sentence,
            "clears": ruling.clears}


def render_remark(remark: Remark) -> dict[str, Any]:
    """Return one remark as JSON."""
    return {"target": remark.target, "sentence": remark.sentence, "unknown": remark.unknown}


def render_condition(condition: Condition) -> dict[str, Any]:
    """Return one condition as JSON."""
    return {"target": condition.target, "type": condition.type.value,
            "status": condition.status.value, "reason": condition.reason,
            "message": condition.message, "revision": condition.revision,
            "since_at": condition.since_at}


def render_fact(fact: Fact[NodeFacts], looked_at: float | None) -> dict[str, Any]:
    """Return whether a node answers, and when it last did."""
    match fact:
        case Known():
            return {"state": "known", "observed_at": fact.observed_at, "looked_at": looked_at}
        case Absent():
            return {"state": "absent", "observed_at": fact.observed_at, "looked_at": looked_at}
        case Unknown():
            return {"state": "unknown", "sentence": fact.reason, "since_at": fact.since_at,
                    "observed_at": fact.last_at, "looked_at": looked_at}
