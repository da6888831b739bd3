"""Room for promotions: what hosts could take besides their own VMs, if others were lost.

Disks are local: a VM comes back on the host that holds its replica, and on no other. So each host
is asked alone, and room elsewhere at its site helps nobody.

Rule 1: what is lost takes up nothing, wherever placement counts it.
Rule 2: memory and huge pages are hard, CPUs have the estate's ratio, and a host takes one machine
        of each group, as everywhere.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from controller.model.units import render_size
from controller.plan.machine.capacity import with_actual_size
from controller.plan.machine.layout import Layout
from controller.plan.network.card import no_switch
from controller.plan.packing.problem import PlaceMachine
from controller.plan.survey.survey import Survey


class Obstacle(NamedTuple):
    """One thing in the way of a VM that should come back, with the numbers in a sentence."""

    reason: str
    sentence: str
    sure: bool = True
    """False: it cannot be seen now whether this is in the way."""


Obstacles = tuple[Obstacle, ...]


def closed_host(host: str, survey: Survey) -> Obstacle | None:
    """Return why a host takes no VM at all now; None if it takes some."""
    if host in survey.unreachable:
        return Obstacle("HostsSilent", f"{host} {survey.silence(host)}", sure=False)
    if survey.desired.hosts[host].spec.maintenance:
        return Obstacle("InMaintenance", f"{host} is in maintenance")
    missing = no_switch(survey.desired.hosts[host], survey)
    if missing is not None:
        return Obstacle("NoSwitch", missing)
    if survey.hardware(host) is None:
        return Obstacle("HostsSilent", f"the memory and CPUs of {host} cannot be seen", sure=False)
    return None


def size_when_promoted(name: str, layout: Layout, survey: Survey) -> PlaceMachine:
    """Return a VM as it would come back: of its actual size, as last seen."""
    machine = layout.machines.get(name)
    if machine is not None and not (survey.lost or name in survey.last_seen):
        return machine
    seen = survey.last_seen.get(name) or survey.assumed_lost.get(name)
    return with_actual_size(machine or survey.specs.to_place[name],
                            seen[0].domain if seen else None)


class PromotionRoom:
    """What is left on each host while machines come to it, one after the other."""

    def __init__(self, layout: Layout, hosts: Iterable[str], lost: Collection[str]) -> None:
        packing = layout.packing
        self._free, self._huge = dict(packing.free), dict(packing.huge)
        self._cpus, self._capacity = dict(packing.cpus), packing.cpu_capacity
        self._groups = packing.groups
        self._coming: dict[str, dict[str, str]] = {}
        """By host and group: the machine that came to it."""
        self._lost = frozenset(lost)
        for host in hosts:
            here = packing.on[host]
            for name in self._lost.intersection(here):
                self._free[host] += here[name].memory_bytes
                self._huge[host] += here[name].huge_bytes
                self._cpus[host] -= here[name].cpus

    def fits(self, machine: PlaceMachine, host: str) -> bool:
        """Return whether a host lacks nothing for a machine."""
        return (self._free[host] >= machine.memory_bytes and self._huge[host] >= machine.huge_bytes
                and self._cpus[host] + machine.cpus <= self._capacity[host]
                and not (machine.groups and self._clashes(machine, host)))

    def take(self, machine: PlaceMachine, host: str) -> None:
        """Reserve what a machine needs on a host, whether that is left or not."""
        self._free[host] -= machine.memory_bytes
        self._huge[host] -= machine.huge_bytes
        self._cpus[host] += machine.cpus
        for group in machine.groups:
            self._coming.setdefault(host, {}).setdefault(group, machine.name)

    def obstacles(self, machine: PlaceMachine, host: str) -> Obstacles:
        """Return all that a host lacks for a machine."""
        found, name = [], machine.name
        free, huge = max(0, self._free[host]), max(0, self._huge[host])
        if free < machine.memory_bytes:
            found.append(Obstacle("MemoryShort", (
                f"{host} has {render_size(free)} of memory left and {name} needs"
                f" {render_size(machine.memory_bytes)}")))
        if huge < machine.huge_bytes:
            found.append(Obstacle("HugePagesShort", (
                f"{host} has {render_size(huge)} of huge pages left and {name} needs"
                f" {render_size(machine.huge_bytes)}")))
        given, capacity = self._cpus[host], self._capacity[host]
        if given + machine.cpus > capacity:
            found.append(Obstacle("CpusShort", (
                f"{given} of the {capacity:g} virtual CPUs that {host} may give are given out and"
                f" {name} needs {machine.cpus}")))
        found += [Obstacle("GroupShared", f"{other} of the same group {group} is on {host}, too")
                  for group, other in self._clashes(machine, host)]
        return tuple(found)

    def _clashes(self, machine: PlaceMachine, host: str) -> list[tuple[str, str]]:
        """Return, by group of a machine, another one of it on a host."""
        found = []
        coming, here = self._coming.get(host, {}), self._groups[host]
        for group in machine.groups:
            other = here.get(group)
            if other is None or other in self._lost:
                other = coming.get(group)
            if other is not None and other != machine.name:
                found.append((group, other))
        return found
