"""The running loop's state as one JSON value, for `status`, `get` and `explain`."""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, Protocol

from controller.model.condition import Condition
from controller.model.desired import Desired
from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.plan.output.render import plan_to_dict, render_summary
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import InFlight
from controller.reconcile.observe.view import View
from controller.store.store import Store

STEPS: Final = 500
"""Steps beyond this number are counted, not listed: the status is written often."""
SHOWN: Final = 20
"""So many VMs of each host are named that would not come back."""


class Running(Protocol):
    """A loop, as far as its status needs it."""

    started_at: float
    place: str | None
    source: dict[str, Any]
    progress: Mapping[str, str]
    """By target: its last progress report, also of what has ended since."""

    @property
    def stopped(self) -> bool:
        """Return whether it has ended: this status is its last."""
        ...

    @property
    def plan(self) -> Plan | None:
        """Return the last plan; None before the first."""
        ...

    @property
    def journal_fault(self) -> str | None:
        """Return why the journal cannot be written; None while it can."""
        ...

    @property
    def desired(self) -> Desired | None:
        """Return the specs in force."""
        ...

    @property
    def lease(self) -> Mapping[str, Any] | None:
        """Return which controller conducts; None where no lease is declared."""
        ...


def status_of(loop: Running, view: View, in_flight: tuple[InFlight, ...],
              waits: Mapping[str, tuple[str, str]], now_s: float) -> dict[str, Any]:
    """Return the status of a loop at `now_s`."""
    plan = None
    if loop.plan:   # its first steps, and the number of all
        plan = plan_to_dict(replace(loop.plan, steps=loop.plan.steps[:STEPS],
                                    remarks=loop.plan.remarks[:STEPS], conditions=())) | {
            "summary": render_summary(loop.plan), "step_count": len(loop.plan.steps),
            "failovers": [asdict(one) for one in loop.plan.failovers],
            "predictions": [asdict(one) | {"returns": one.returns}
                            for one in loop.plan.predictions],
            "host_predictions": [
                asdict(replace(one, hindered=one.hindered[:SHOWN])) | {"returns": one.returns}
                for one in loop.plan.host_predictions]}
    return {
        "pid": os.getpid(), "place": loop.place, "at": now_s,
        "started_at": loop.started_at, "stopped": loop.stopped,
        "revision": loop.desired.revision if loop.desired else None,
        "source": loop.source, "journal": loop.journal_fault, "lease": loop.lease,
        "nodes": {node: render_fact(view.fact(node), view.last_look_at(node))
                  for node in view.nodes},
        "running": [one.action_id for one in in_flight],
        "progress": {one.target: loop.progress[one.target] for one in in_flight
                     if one.target in loop.progress},
        "waiting": {name: {"standing": state, "why": why}
                    for name, (state, why) in sorted(waits.items())[:STEPS]},
        "plan": plan,
    }


def write_down(store: Store, status: Mapping[str, Any], view: View) -> None:
    """Save the status, and once a minute how busy each host is that is seen.

    Errors: JournalUnavailable.
    """
    store.save_status(status)
    busy = {}
    for node in view.nodes:
        fact = view.fact(node)
        if isinstance(fact, Known) and isinstance(fact.value.hardware, Known):
            seen = fact.value.hardware.value
            busy[node] = round(seen.load_1m, 2), seen.memory_bytes - seen.memory_available_bytes
    store.save_samples(status["at"], busy)


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
