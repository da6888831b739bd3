"""Placement in one call, for tests and benchmarks that want no packing."""

from collections.abc import Iterable, Mapping

from controller.plan.packing.packing import Packing
from controller.plan.packing.placement import arrange
from controller.plan.packing.problem import (
    Balance,
    Limits,
    PlaceHost,
    PlaceMachine,
    Placement,
)

DEFAULTS = Limits()


def place(hosts: Iterable[PlaceHost], machines: Iterable[PlaceMachine],
          current: Mapping[str, str], limits: Limits = DEFAULTS) -> Placement:
    """Return where each machine belongs, given where it is."""
    return arrange(tuple(hosts), machines, current, limits)[1]


def balance(hosts: Iterable[PlaceHost], machines: Iterable[PlaceMachine],
            assignments: Mapping[str, str]) -> Balance:
    """Return how evenly `assignments` fills the hosts that accept machines."""
    packing = Packing(hosts, Limits())
    packing.load(sorted(machines), assignments)
    return packing.balance()
