"""One protected VM of the lab in Paris, and any replica of it in Milan."""

from typing import Any

from controller.model.facts import Observed
from controller.model.replica import PointFacts
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r

HOME = {"sql": "paris-1"}


def lab(**spec: Any) -> Any:
    return b.small(b.vm("sql", protection="gold"),
                   b.document("ProtectionPolicy", "gold", **({"rpo": "5m"} | spec)))


def seen_with(desired: Any, points: tuple[PointFacts, ...] = (), host: str = "milan-1",
              **more: Any) -> Observed:
    seen = r.asked(b.as_declared(desired, HOME), desired)
    return r.with_replica(seen, host, r.replica("sql", points, **more)) if points else seen


def said(plan: Plan, kind: str) -> tuple[str, str]:
    (found,) = [one for one in plan.conditions
                if one.type == kind and one.target == "VirtualMachine/sql"]
    return found.status.value, found.reason
