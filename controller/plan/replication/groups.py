"""Groups: copies of VMs that fail over together begin together, so that they have common instants.

When the first of a group is due, all are. While one of them is being copied none joins: the copy of
a slow one must not make the others copy again and again. Where limits hold some of them back, their
points lie apart this time, and together again the next.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.replication.timing import due_at
from controller.plan.survey.survey import Survey

SAME_INSTANT_S: Final = 10.0
"""Points of a group that began no further apart than this are of one instant."""
NONE_DUE: Final[Mapping[str, float]] = {}


def group_dues(protected_machines: Sequence[ProtectedMachine],
               survey: Survey) -> Mapping[str, float]:
    """Return, by VM of a group, when the first of the group is due; no VM of one being copied."""
    if not survey.specs.groups:
        return NONE_DUE
    now_s, busy = survey.now_s, {flight.target for flight in survey.context.in_flight}
    groups: dict[str, dict[str, float]] = {}
    begun: dict[str, float] = {}
    for one in protected_machines:
        group = survey.specs.group_of.get(one.name)
        if group is not None and one.current is not None:
            at = due_at(one.current.replica, one.policy.rpo_s, now_s)
            groups.setdefault(group, {})[one.name] = at
            begun[one.name] = max((point.started_at for point in one.current.replica.points),
                                  default=0.0)
    found: dict[str, float] = {}
    for group, dues in groups.items():
        if busy.isdisjoint(f"Replica/{name}" for name in survey.specs.groups[group]):
            first_at = min(dues.values())
            found |= {name: first_at for name in dues if begun[name] < first_at}
    return found
