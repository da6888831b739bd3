"""Whether a promoted VM serves again, by what its policy wants to see."""

from dataclasses import replace
from typing import Any

import pytest

from controller.failover.situation import Progress
from controller.model.protection_policy import HealthSpec
from controller.plan.failover.health import health_of
from tests.plan import builders as b

LAB = b.small(b.vm("sql"))


def judged(ran_s: float = 1.0, *, agent: bool = False, **health: Any) -> tuple[Progress, str]:
    """Return what is said of sql, which has run so long."""
    domain = replace(b.domain("sql", "milan-1", LAB), agent=agent)
    return health_of(domain, HealthSpec.model_validate(health), ran_s)


def test_where_nothing_is_declared_a_vm_that_runs_is_healthy() -> None:
    assert judged() == (Progress.HEALTHY, "it runs")


def test_an_agent_is_waited_for_and_then_it_is_started_not_proven() -> None:
    assert health_of(b.domain("sql", "milan-1", LAB), HealthSpec(agent=True), 10.0)[0] \
        is Progress.STARTING
    assert health_of(replace(b.domain("sql", "milan-1", LAB), agent=True), HealthSpec(agent=True),
                     10.0)[0] is Progress.HEALTHY
    late = health_of(b.domain("sql", "milan-1", LAB), HealthSpec(agent=True), 121.0)
    assert late == (Progress.UNPROVEN, "its guest agent has not answered within 2m")


@pytest.mark.parametrize("health", [{"tcp": 5432}, {"ping": True}])
def test_what_is_not_tried_from_here_is_never_called_healthy(health: dict[str, Any]) -> None:
    assert judged(agent=True, **health)[0] is Progress.UNPROVEN
