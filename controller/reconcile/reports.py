"""Facts and conditions as plain JSON: what `--json` prints and the store keeps."""

from typing import Any

from controller.model.condition import Condition
from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown


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
