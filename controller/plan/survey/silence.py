"""Silence: what is known too long ago counts as what a host that does not answer last said.

Rule 1: nothing is done on a node whose facts are older than `factAge`, or that does not answer.
Rule 2: what exists may be started while others are silent, if none of them was last seen with it
        running; how long they have been silent makes no difference.
Rule 3: what exists nowhere is made, and what is in the way goes, only once every host has answered
        within `factAge`.
Rule 4: for a storm all of them count.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from controller.model.facts import Fact, Known, NodeFacts
from controller.model.units import render_duration

AHEAD_S: Final = 5.0
"""Facts may be dated so far ahead of now: clocks are set a little all the time."""


def too_old(name: str, fact: Fact[NodeFacts], limit_s: float, now_s: float) -> str | None:
    """Return why what a node said no longer counts as said now; None while it does."""
    if not isinstance(fact, Known):
        return None
    age_s = now_s - fact.observed_at
    if age_s > limit_s:
        return (f"what is known of {name} is {render_duration(age_s)} old and"
                f" {render_duration(limit_s)} is the limit")
    if age_s < -AHEAD_S:
        return (f"what is known of {name} is dated {render_duration(-age_s)} ahead of now: the"
                " controller's clock was set back since")
    return None


def stale(nodes: Mapping[str, Fact[NodeFacts]], declared: Iterable[str], limit_s: float,
          now_s: float) -> dict[str, str]:
    """Return, by declared node that answered too long ago, the sentence about it."""
    found = {}
    for name in declared:
        fact = nodes.get(name)
        if fact is not None and (why := too_old(name, fact, limit_s, now_s)) is not None:
            found[name] = why
    return found
