"""Room for promotions: what hosts could take besides their own VMs, if others were lost.

Disks are local: a VM comes back on the host that holds its replica, and on no other. So each host
is asked alone, and room elsewhere at its site helps nobody.

Rule 1: what is lost takes up nothing, wherever placement counts it.
Rule 2: memory and huge pages are hard, CPUs have the estate's ratio, and a host takes one machine
        of each group, as everywhere.
"""

from collections.abc import Collection
from typing import NamedTuple

from controller.model.units import render_size
from controller.plan.machine.capacity import with_actual_size
from controller.plan.machine.layout import Layout
from controller.plan.network.card import no_switch
from controller.plan.packing.problem import PlaceMachine
from controller.plan.steps.takeover import NO_GROWTH, Growth, Obstacle, Obstacles
from controller.plan.survey.survey import Survey


def closed_host(host: str, survey: Survey) -> Obstacle | None:
    """Return why a host takes no VM at all now; None if it takes some."""
    if host in survey.unreachable:
        return Obstacle("HostsSilent", f"{host} {survey.silence(host)}", sure=False)
    if survey.desired.hosts[host].spec.maintenance:
        return Obstacle("InMaintenance", f"{host} is in maintenance", yields=True)
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


class Left(NamedTuple):
    """What is left on one host before anybody comes."""

    host: str
    memory_bytes: int
    huge_bytes: int
    cpus_given: int
    cpu_capacity: float
    groups: tuple[tuple[str, str], ...]
    """Groups of which a machine stays there, and which."""
    spaces: tuple[tuple[str, int], ...]
    """By folder of a pool: the bytes left for disks to grow; those of others are unknown."""


class HostRoom:
    """What is left on one host while machines come to it, one after the other."""

    def __init__(self, left: Left) -> None:
        self._host, self._free, self._huge = left.host, left.memory_bytes, left.huge_bytes
        self._cpus, self._capacity = left.cpus_given, left.cpu_capacity
        self._groups, self._spaces = dict(left.groups), dict(left.spaces)

    def fits(self, machine: PlaceMachine, growth: Growth = NO_GROWTH) -> bool:
        """Return whether the host lacks nothing for a machine."""
        return (self._free >= machine.memory_bytes and self._huge >= machine.huge_bytes
                and self._cpus + machine.cpus <= self._capacity
                and not self._groups.keys() & set(machine.groups)
                and self._spaces.get(growth.folder, growth.size_bytes) >= growth.size_bytes)

    def take(self, machine: PlaceMachine, growth: Growth = NO_GROWTH) -> None:
        """Reserve what a machine needs, whether that is left or not."""
        self._free -= machine.memory_bytes
        self._huge -= machine.huge_bytes
        self._cpus += machine.cpus
        for group in machine.groups:
            self._groups.setdefault(group, machine.name)
        if growth.folder in self._spaces:
            self._spaces[growth.folder] -= growth.size_bytes

    def lacks(self, machine: PlaceMachine, growth: Growth = NO_GROWTH) -> Obstacles:
        """Return what a machine needs more than is left, with the numbers."""
        found, host = [], self._host
        if self._free < machine.memory_bytes:
            found.append(Obstacle("MemoryShort", (
                f"{host} has {render_size(max(0, self._free))} of memory left and it needs"
                f" {render_size(machine.memory_bytes)}")))
        if self._huge < machine.huge_bytes:
            found.append(Obstacle("HugePagesShort", (
                f"{host} has {render_size(max(0, self._huge))} of huge pages left and it needs"
                f" {render_size(machine.huge_bytes)}")))
        if self._cpus + machine.cpus > self._capacity:
            found.append(Obstacle("CpusShort", (
                f"{self._cpus} of the {self._capacity:g} virtual CPUs that {host} may give are"
                f" given out and it needs {machine.cpus}"), yields=True))
        found += [Obstacle("GroupShared", f"{self._groups[group]} of the same group {group} is on"
                           f" {host}, too", yields=True)
                  for group in machine.groups if group in self._groups]
        if self._spaces.get(growth.folder, growth.size_bytes) < growth.size_bytes:
            found.append(Obstacle("SpaceShort", (
                f"{growth.folder} of {host} has {render_size(max(0, self._spaces[growth.folder]))}"
                f" left and it may grow by {render_size(growth.size_bytes)}"), yields=True))
        return tuple(found)


class PromotionRoom:
    """What is left on each host of a site if some machines, called `lost`, are lost."""

    def __init__(self, lost: Collection[str], layout: Layout, survey: Survey) -> None:
        self._lost, self._layout, self._survey = frozenset(lost), layout, survey
        self._rooms: dict[str, HostRoom] = {}

    def on(self, host: str) -> HostRoom:
        """Return the room on a host, which counts what came there since."""
        if host not in self._rooms:
            self._rooms[host] = HostRoom(self.left(host))
        return self._rooms[host]

    def left(self, host: str) -> Left:
        """Return what is left on a host before anybody comes."""
        packing = self._layout.packing
        here = packing.on[host]
        gone = [here[name] for name in self._lost.intersection(here)]
        groups = packing.groups[host]
        return Left(
            host, packing.free[host] + sum(one.memory_bytes for one in gone),
            packing.huge[host] + sum(one.huge_bytes for one in gone),
            packing.cpus[host] - sum(one.cpus for one in gone), packing.cpu_capacity[host],
            tuple((group, name) for group, name in sorted(groups.items())
                  if name not in self._lost) if groups else (),
            tuple((pool.path.rstrip("/"), pool.available_bytes)
                  for pool in (self._survey.pools(host) or {}).values()
                  if pool.path and not pool.unknown))
