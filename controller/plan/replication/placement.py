"""Placement of replicas: on a host of the twin site that could run the VM, too, and has space.

Disks are local, so a VM comes back where its replica lies. Of the hosts with space, those come
first that could start it besides all others whose replicas they hold, and of those the one that
stores the fewest bytes. A first copy that is under way counts as what it will have become: what is
seen of it yet is next to nothing, and the next replicas would all come to the same host.

Rule 1: a replica stays where it is as long as it is at the twin site; only a new one is placed, and
        one whose first copy is under way stays where that goes.
Rule 2: the data comes first. Where no host with space could start the VM, its replica is placed all
        the same, and `hindered` says why it could not be started there.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from controller.model.replica import STORE
from controller.model.units import render_size
from controller.plan.machine.capability import cannot_run
from controller.plan.machine.layout import Layout
from controller.plan.machine.promotion_room import (
    PromotionRoom,
    closed_host,
    size_when_promoted,
)
from controller.plan.packing.packing import exceeds
from controller.plan.packing.problem import PlaceMachine
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

SPARE: Final = 1.1
"""Free space that is required, as a multiple of the expected size of the first copy."""
SHOWN: Final = 3


class ReplicaPlace(NamedTuple):
    """A host and folder for a new replica."""

    host: str
    path: str
    hindered: str = ""
    """Why no host with space could start the VM; empty if this one could."""


class ReplicaPlacer:
    """Finds places for new replicas, one after the other, and counts what they will take."""

    def __init__(self, protected_machines: Sequence[ProtectedMachine], index: ReplicaIndex,
                 layout: Layout, survey: Survey) -> None:
        self._all, self._layout, self._survey = protected_machines, layout, survey
        self._load = dict(index.stored_bytes)
        self._heaps: dict[str, list[tuple[int, str]]] = {}
        self._promised: dict[tuple[str, str], int] = {}
        """By host and pool: the bytes of replicas placed in this plan, or still to come."""
        self._under_way: dict[str, ReplicaPlace] = {}
        """By VM: where its first copy goes at this moment."""
        self._rooms: dict[str, PromotionRoom] = {}
        """By site that may be lost."""
        self._no_start: dict[tuple[object, ...], tuple[int, int]] = {}
        """By shape: the smallest VM that could start nowhere; nothing larger needs to be tried."""

    def expect(self, protected: ProtectedMachine, host: str, size_bytes: int) -> None:
        """Count a first copy that is under way to a host; all are told before any is placed."""
        current = protected.current
        place = self._place_on(protected, host, 0) if current is None else ReplicaPlace(
            current.host, current.replica.path)
        left_bytes = max(0, size_bytes - (0 if current is None else current.replica.stored_bytes))
        self._load[host] = self._load.get(host, 0) + left_bytes
        if isinstance(place, str):
            return
        self._promise(protected, place, left_bytes)
        if current is None:
            self._under_way[protected.name] = place
            self._room(protected).on(host).take(
                size_when_promoted(protected.name, self._layout, self._survey))

    def find(self, protected: ProtectedMachine, size_bytes: int) -> ReplicaPlace | str:
        """Return the place of a new replica, or why there is none."""
        if protected.name in self._under_way:
            return self._under_way[protected.name]
        site = protected.twin
        assert site is not None, "a replica belongs at some site"
        machine = size_when_promoted(protected.name, self._layout, self._survey)
        heap = self._heap(site)
        no_start = exceeds(machine, self._no_start.get(self._shape(protected, machine)))
        passed: list[tuple[int, str]] = []
        full: dict[str, str] = {}
        hindered: list[str] = []
        found: ReplicaPlace | None = None
        second: ReplicaPlace | None = None
        while heap and found is None and not (no_start and second):
            passed.append(heappop(heap))
            host = passed[-1][1]
            answer = self._place_on(protected, host, size_bytes)
            if isinstance(answer, str):
                full[host] = answer
            elif not no_start and self._could_start(protected, machine, host):
                found = answer
            else:
                hindered.append(host)
                second = second or answer
        if found is None and second is not None:
            if not no_start:
                self._no_start[self._shape(protected, machine)] = (
                    machine.memory_bytes, machine.cpus)
            found = second._replace(hindered=self._why_nowhere(protected, machine, hindered))
        for load, host in passed:
            heappush(heap, (load, host) if found is None or host != found.host else (
                load + size_bytes, host))
        if found is None:
            return _nowhere(protected, site, full, size_bytes)
        self._reserve(protected, machine, found, size_bytes)
        return found

    def _heap(self, site: str) -> list[tuple[int, str]]:
        if site not in self._heaps:
            survey = self._survey
            self._heaps[site] = [
                (self._load.get(host, 0), host) for host in survey.hosts_of_site.get(site, ())
                if host in survey.nodes and not survey.desired.hosts[host].spec.maintenance]
            heapify(self._heaps[site])
        return self._heaps[site]

    def _room(self, protected: ProtectedMachine) -> PromotionRoom:
        """Return the room at a VM's twin site, less what would come there with the VM."""
        lost = protected.site or ""
        if lost not in self._rooms:
            with_it = [one for one in self._all if one.site == protected.site]
            self._rooms[lost] = room = PromotionRoom(
                [one.name for one in with_it], self._layout, self._survey)
            for one in with_it:
                if one.current is not None:
                    room.on(one.current.host).take(
                        size_when_promoted(one.name, self._layout, self._survey))
        return self._rooms[lost]

    def _shape(self, protected: ProtectedMachine, machine: PlaceMachine) -> tuple[object, ...]:
        """Return all about a VM that its start depends on, besides its size."""
        domain = protected.location.domain
        config = None if domain is None else domain.config or domain.live
        return (protected.site, machine.groups, machine.huge_bytes,
                None if config is None else (config.machine, config.cpu_model))

    def _could_start(self, protected: ProtectedMachine, machine: PlaceMachine, host: str) -> bool:
        return (self._room(protected).on(host).fits(machine)
                and closed_host(host, self._survey) is None
                and cannot_run(protected.location.domain, host, self._survey) is None)

    def _why_nowhere(self, protected: ProtectedMachine, machine: PlaceMachine,
                     hosts: list[str]) -> str:
        """Return why none of the hosts with space could start a VM."""
        room, reasons = self._room(protected), []
        for host in sorted(hosts)[:SHOWN]:
            closed = closed_host(host, self._survey)
            why_not = cannot_run(protected.location.domain, host, self._survey)
            reasons.append(closed.sentence if closed is not None else why_not or ", ".join(
                one.sentence for one in room.on(host).lacks(machine)))
        more = f"; and so with {len(hosts) - SHOWN} more" if len(hosts) > SHOWN else ""
        return f"{'; '.join(reasons)}{more}"

    def _reserve(self, protected: ProtectedMachine, machine: PlaceMachine, place: ReplicaPlace,
                 size_bytes: int) -> None:
        self._promise(protected, place, size_bytes)
        self._room(protected).on(place.host).take(machine)

    def _promise(self, protected: ProtectedMachine, place: ReplicaPlace, size_bytes: int) -> None:
        pool = place.host, place.path.removesuffix(f"/{STORE}/{protected.uuid}")
        self._promised[pool] = self._promised.get(pool, 0) + round(size_bytes * SPARE)

    def _place_on(self, protected: ProtectedMachine, host: str,
                  size_bytes: int) -> ReplicaPlace | str:
        pools = self._survey.pools(host)
        if pools is None:
            return f"the pools of {host} could not be seen"
        wanted = list(protected.vm.spec.pools[:1])
        wanted += [pool.name for pool in self._survey.desired.hosts[host].spec.folders[:1]]
        here = [pools[name] for name in wanted if name in pools and pools[name].active]
        pool = next((one for one in here if not one.unknown and one.path), None)
        if pool is None and here:
            return f"pool {here[0].name} of {host} could not be seen"
        if pool is None:
            return f"no pool of {host} is started"
        folder = pool.path.rstrip("/")
        free = pool.available_bytes - self._promised.get((host, folder), 0)
        if free < size_bytes * SPARE:
            return f"{host} has {render_size(max(0, free))} left in pool {pool.name}"
        return ReplicaPlace(host, f"{folder}/{STORE}/{protected.uuid}")


def _nowhere(protected: ProtectedMachine, site: str, why: dict[str, str], size_bytes: int) -> str:
    if not why:
        return (f"no host of {site} answers and takes replicas: bring one back, or take one out of"
                " maintenance")
    reasons = [why[host] for host in sorted(why)][:SHOWN]
    return (f"{protected.name} needs {render_size(round(size_bytes * SPARE))} at {site}, and"
            f" {', '.join(reasons)}: free space there")
