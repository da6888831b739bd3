"""Plans for people and for programs: one line that sums it up, a mapping for JSON."""

from collections import Counter
from typing import Any

from controller.plan.actions.action import Action
from controller.plan.gates.approval import content
from controller.plan.output.saved import to_value
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Plan, Step, Verdict
from controller.plan.steps.takeover import Takeover

COUNTED = {
    Verdict.ALLOWED: "allowed", Verdict.WAITING: "waiting", Verdict.NEEDS_APPROVAL: "to approve",
    Verdict.REFUSED: "refused",
}


def render_summary(plan: Plan) -> str:
    """Return one line: how many changes, and how they are ruled."""
    unknown = sum(remark.unknown for remark in plan.remarks)
    unseen = f"; {counted(unknown, 'thing')} could not be seen" if unknown else ""
    if not plan.steps:
        return f"no change at {plan.revision}{unseen}"
    counts = Counter(step.ruling.verdict for step in plan.steps)
    words = [f"{counts[verdict]} {word}" for verdict, word in COUNTED.items() if counts[verdict]]
    return f"{counted(len(plan.steps), 'change')} at {plan.revision}: {', '.join(words)}{unseen}"


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain values for JSON."""
    return {
        "revision": plan.revision,
        "summary": render_summary(plan),
        "observing": plan.observing,
        "steps": [_step(step) for step in plan.steps],
        "remarks": [to_value(remark) for remark in plan.remarks],
        "conditions": [to_value(condition) for condition in plan.conditions],
        "takeovers": [takeover_to_dict(takeover) for takeover in plan.takeovers],
        "assumed": [to_value(one) for one in plan.assumed],
    }


def takeover_to_dict(takeover: Takeover) -> dict[str, Any]:
    """Return a takeover as plain values for JSON, in the order in which its VMs start."""
    return {"lost": takeover.lost, "site": takeover.site, "machines": [{
        "machine": one.machine, "uuid": one.uuid, "outcome": one.outcome.value, "home": one.home,
        "host": one.host, "point": None if one.point is None else one.point.sequence,
        "started_at": None if one.point is None else one.point.started_at, "loss_s": one.loss_s,
        "wave": one.wave, "start_order": one.start_order, "growth_bytes": one.growth.size_bytes,
        "gates": [{"reason": why.reason, "sentence": why.sentence, "yields": why.yields}
                  for why in one.gates],
        "notes": list(one.notes)} for one in takeover.promotions]}


def _step(step: Step) -> dict[str, Any]:
    action: Action = step.action
    # the template is left out: it may hold a password
    value: dict[str, Any] = to_value(action)
    desired = value.get("desired")
    if isinstance(desired, dict) and desired.get("template"):
        value["desired"] = desired | {"template": f"({len(desired['template'])} characters)"}
    return {
        "id": action.id, "symbol": action.symbol.value, "verb": action.verb,
        "rung": action.rung.value, "target": action.target, "nodes": list(action.nodes),
        "reason": action.reason, "consequence": action.consequence, "cause": action.cause.value,
        "after": list(step.after), "ruling": to_value(step.ruling), "action": value,
        "content": content(action),
    }
