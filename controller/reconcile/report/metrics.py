"""The figures of the loop and the estate, given to telemetry every 5s."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from controller.model.facts import Known
from controller.plan.steps.plan import Verdict
from controller.plan.steps.prediction import Prediction
from controller.reconcile.observe.view import View
from controller.reconcile.report.status import Running
from controller.telemetry import Forecast, LoopFigures, Telemetry

EVERY_S: Final = 5.0


async def measure(telemetry: Telemetry, view: View, clock: Callable[[], float],
                  running: Running) -> None:
    """Report ages of facts, what the last plan says, and the event loop's lag, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        if telemetry.enabled:
            telemetry.loop_lag(max(0.0, loop.time() - due_s))
            telemetry.nodes({node: age_s(view, node, clock()) for node in view.nodes})
            last = running.plan
            telemetry.conditions(Counter((one.type.value, one.status.value)
                                         for one in (last.conditions if last else ())))
            telemetry.sites({one.site: forecast_of(one, clock())
                             for one in (last.predictions if last else ())})
            telemetry.loop(figures_of(running))


def figures_of(loop: Running) -> LoopFigures:
    """Return whether a loop may act, and what it has before it."""
    plan, counts = loop.plan, dict.fromkeys(Verdict, 0)
    for step in plan.steps if plan else ():
        counts[step.ruling.verdict] += 1
    return LoopFigures(
        {verdict.value: count for verdict, count in counts.items()},
        {one.scope: one.phase for one in (plan.failovers if plan else ())},
        loop.journal_fault is None,
        loop.lease is None or loop.lease.get("mode") == "conducting")


def forecast_of(one: Prediction, now_s: float) -> Forecast:
    """Return the figures of what the loss of a site would come to."""
    return Forecast(one.returns, len(one.hindered), one.schedule.last_start_s,
                    None if one.worst_at is None else max(0.0, now_s - one.worst_at))


def age_s(view: View, node: str, now_s: float) -> float | None:
    """Return the age of a node's facts; None when it does not answer."""
    fact = view.fact(node)
    return max(0.0, now_s - fact.observed_at) if isinstance(fact, Known) else None
