"""Plans for people and for programs: lines of text, a mapping for JSON."""

from collections import Counter
from typing import Any

from controller.plan.actions.action import Action, Symbol
from controller.plan.gates.approval import content
from controller.plan.output.saved import (
    SavedPlan,
    action_from_value,
    facts_digest,
    plan_from_json,
    plan_to_json,
    to_value,
)
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Plan, Remark, Ruling, Step, Verdict

__all__ = ["SavedPlan", "action_from_value", "facts_digest", "plan_from_json", "plan_to_dict",
           "plan_to_json", "render_plan", "render_remark", "render_step", "render_summary"]

HEADINGS = {
    Verdict.NEEDS_APPROVAL: "needs approval", Verdict.REFUSED: "refused",
    Verdict.WAITING: "waits",
}
COUNTED = {
    Verdict.ALLOWED: "allowed", Verdict.WAITING: "waiting", Verdict.NEEDS_APPROVAL: "to approve",
    Verdict.REFUSED: "refused",
}


def render_plan(plan: Plan) -> tuple[str, ...]:
    """Return a plan as lines: each step with its reason and consequence, then the remarks."""
    lines: list[str] = []
    for step in plan.steps:
        lines += render_step(step)
    lines += [render_remark(remark) for remark in plan.remarks]
    return (*lines, render_summary(plan))


def render_step(step: Step) -> tuple[str, ...]:
    """Return one step: symbol, verb, object, node, reason, cause; then consequence and ruling."""
    action = step.action
    first = (f"{action.symbol} {action.verb} {action.target} on {action.node}:"
             f" {action.reason} [{action.cause}]")
    lines = [first]
    if action.consequence:
        lines.append(f"    consequence: {action.consequence}")
    if step.ruling.verdict is not Verdict.ALLOWED:
        lines.append(f"    {render_ruling(step.ruling)}")
    return tuple(lines)


def render_ruling(ruling: Ruling) -> str:
    """Return a ruling: `refused (storm): …; clears: …`."""
    clears = f"; clears: {ruling.clears}" if ruling.clears else ""
    return f"{HEADINGS[ruling.verdict]} ({ruling.rule}): {ruling.sentence}{clears}"


def render_remark(remark: Remark) -> str:
    """Return one remark, marked `?` if something could not be seen, else `#`."""
    return f"{Symbol.UNKNOWN if remark.unknown else '#'} {remark.target}: {remark.sentence}"


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
    """Return a plan as plain values for JSON: all that the lines show, and more."""
    return {
        "revision": plan.revision,
        "summary": render_summary(plan),
        "steps": [_step(step) for step in plan.steps],
        "remarks": [to_value(remark) for remark in plan.remarks],
        "conditions": [to_value(condition) for condition in plan.conditions],
    }


def _step(step: Step) -> dict[str, Any]:
    action: Action = step.action
    return {
        "id": action.id, "symbol": action.symbol.value, "verb": action.verb,
        "rung": action.rung.value, "target": action.target, "nodes": list(action.nodes),
        "reason": action.reason, "consequence": action.consequence, "cause": action.cause.value,
        "after": list(step.after), "ruling": to_value(step.ruling), "action": _shown(action),
        "content": content(action),
    }


def _shown(action: Action) -> dict[str, Any]:
    """Return an action as plain values without its template, which may hold a password."""
    value: dict[str, Any] = to_value(action)
    desired = value.get("desired")
    if isinstance(desired, dict) and desired.get("template"):
        value["desired"] = desired | {"template": f"({len(desired['template'])} characters)"}
    return value
