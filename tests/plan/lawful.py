"""Check a finished plan against all laws."""

from controller.model.facts import Observed
from controller.plan.gates.laws import breaches
from controller.plan.steps.plan import Plan


def assert_lawful(plan: Plan, observed: Observed) -> None:
    """Hold that no step of a plan would break a law."""
    found = breaches(plan.steps, observed)
    assert not found, "; ".join(found.values())
