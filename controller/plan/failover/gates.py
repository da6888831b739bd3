"""What stands against starting the VMs of lost hosts elsewhere, as gates of a failover.

It is what `Survivable` says in peacetime, asked of the hosts that are silent now.
"""

from collections.abc import Iterable

from controller.failover.situation import Gate
from controller.plan.failover.situation import Gates
from controller.plan.machine.layout import Layout
from controller.plan.promotion.obstacles import find_obstacles, surroundings_of
from controller.plan.replication.protected_machine import ProtectedMachine, twin_of
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey


def gates_of(protected: Iterable[ProtectedMachine], index: ReplicaIndex, layout: Layout,
             survey: Survey) -> Gates:
    """Return, by VM on a silent host, what is in its way if all of these come back at once."""
    lost: dict[str, list[ProtectedMachine]] = {}
    for one in protected:
        if one.host is not None and one.host in survey.unreachable and one.site is not None:
            lost.setdefault(one.site, []).append(one)
    found: dict[str, tuple[Gate, ...]] = {}
    for site, arriving in sorted(lost.items()):
        twin = twin_of(site, survey)
        if twin is None:
            found |= {one.name: (Gate(sentence=f"{site} has no twin that could take {one.name}"),)
                      for one in arriving}
            continue
        there = surroundings_of(twin, [one.name for one in arriving], layout, index, survey)
        found |= {name: tuple(Gate(sentence=f"{name} cannot start at {twin}: {why.sentence}")
                              for why in obstacles)
                  for name, obstacles in find_obstacles(arriving, there).items()}
    return found
