"""A plan as lines of text, as the cases write it down."""

from controller.plan.actions.action import Symbol
from controller.plan.output.render import render_summary
from controller.plan.output.runbook import render_runbook
from controller.plan.steps.plan import Plan, Remark, Ruling, Step, Verdict

HEADINGS = {
    Verdict.NEEDS_APPROVAL: "needs approval", Verdict.REFUSED: "refused",
    Verdict.WAITING: "waits",
}


def render_plan(plan: Plan) -> tuple[str, ...]:
    """Return a plan as lines: each step with its reason and consequence, then the remarks."""
    lines: list[str] = []
    for step in plan.steps:
        lines += render_step(step)
    lines += [line for takeover in plan.takeovers for line in render_runbook(takeover)]
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
