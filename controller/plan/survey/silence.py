"""Silence: what a fact says now, what it said last, and when it is too old to act on.

Rule 1: nothing is done on a node that does not answer, or whose facts are older than `factAge`.
Rule 2: a VM that exists may be started while other hosts are silent, however long, if none of them
        was last seen running it.
Rule 3: a VM that exists nowhere is created, and anything in its way removed, only once every host
        has answered within `factAge`.
Rule 4: silent and stale hosts both count as unhealthy for the storm gate.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.model.units import render_duration

V = TypeVar("V")
AHEAD_S: Final = 5.0
"""Facts may be dated this far ahead of now, since clocks are adjusted a little all the time."""


def value_of(fact: Fact[Mapping[str, V]]) -> Mapping[str, V] | None:
    """Return what a fact holds; empty when absent, None when unknown."""
    if isinstance(fact, Known):
        return fact.value
    return {} if isinstance(fact, Absent) else None


def known_of(fact: Fact[V]) -> V | None:
    """Return what a fact holds; None when absent or unknown."""
    return fact.value if isinstance(fact, Known) else None


def last_of(fact: Fact[V]) -> V | None:
    """Return what a fact holds, or held when last seen; None if it was never seen."""
    if isinstance(fact, Known):
        return fact.value
    return fact.last if isinstance(fact, Unknown) else None


def stale(nodes: Mapping[str, Fact[NodeFacts]], declared: Iterable[str], limit_s: float,
          now_s: float) -> dict[str, str]:
    """Return, by declared node whose facts are too old or dated in the future, why."""
    found = {}
    for name in declared:
        fact = nodes.get(name)
        if not isinstance(fact, Known):
            continue
        age_s = now_s - fact.observed_at
        if age_s > limit_s:
            found[name] = (f"what is known of {name} is {render_duration(age_s)} old and"
                           f" {render_duration(limit_s)} is the limit")
        elif age_s < -AHEAD_S:
            found[name] = (f"what is known of {name} is dated {render_duration(-age_s)} ahead of"
                           " now: the controller's clock was set back since")
    return found
