"""Placement of replicas: on the host of the twin site that stores the fewest bytes and has room.

Rule 1: a replica stays where it is as long as it is at the twin site; only a new one is placed.
"""

from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from controller.model.replica import STORE
from controller.model.units import render_size
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

SPARE: Final = 1.1
"""Free space that is required, as a multiple of the expected size of the first copy."""


class ReplicaPlace(NamedTuple):
    """A host and folder for a new replica."""

    host: str
    path: str


class ReplicaPlacer:
    """Finds places for new replicas, one after the other, and counts what they will take."""

    def __init__(self, index: ReplicaIndex, survey: Survey) -> None:
        self._survey = survey
        self._load = dict(index.stored_bytes)
        self._heaps: dict[str, list[tuple[int, str]]] = {}
        self._promised: dict[tuple[str, str], int] = {}
        """By host and pool: the bytes of replicas placed in this plan."""

    def find(self, protected: ProtectedMachine, size_bytes: int) -> ReplicaPlace | str:
        """Return the place of a new replica, or why there is none."""
        site = protected.twin
        assert site is not None, "a replica belongs at some site"
        heap = self._heap(site)
        passed: list[tuple[int, str]] = []
        why: dict[str, str] = {}
        found: ReplicaPlace | None = None
        while heap and found is None:
            load, host = heappop(heap)
            answer = self._place_on(protected, host, size_bytes)
            if isinstance(answer, ReplicaPlace):
                found, load = answer, load + size_bytes
            else:
                why[host] = answer
            passed.append((load, host))
        for one in passed:
            heappush(heap, one)
        return found or _nowhere(protected, site, why, size_bytes)

    def _heap(self, site: str) -> list[tuple[int, str]]:
        if site not in self._heaps:
            survey = self._survey
            self._heaps[site] = [
                (self._load.get(host, 0), host) for host in survey.hosts_of_site.get(site, ())
                if host in survey.nodes and not survey.desired.hosts[host].spec.maintenance]
            heapify(self._heaps[site])
        return self._heaps[site]

    def _place_on(self, protected: ProtectedMachine, host: str,
                  size_bytes: int) -> ReplicaPlace | str:
        pools = self._survey.pools(host)
        if pools is None:
            return f"the pools of {host} could not be seen"
        wanted = [disk.pool for disk in protected.vm.spec.disks[:1]]
        wanted += [pool.name for pool in self._survey.desired.hosts[host].spec.pools[:1]]
        here = [pools[name] for name in wanted if name in pools and pools[name].active]
        pool = next((one for one in here if not one.unknown and one.path), None)
        if pool is None and here:
            return f"pool {here[0].name} of {host} could not be seen"
        if pool is None:
            return f"no pool of {host} is started"
        promised = self._promised.get((host, pool.name), 0)
        free = pool.available_bytes - promised
        if free < size_bytes * SPARE:
            return f"{host} has {render_size(max(0, free))} left in pool {pool.name}"
        self._promised[host, pool.name] = promised + round(size_bytes * SPARE)
        return ReplicaPlace(host, f"{pool.path.rstrip('/')}/{STORE}/{protected.uuid}")


def _nowhere(protected: ProtectedMachine, site: str, why: dict[str, str], size_bytes: int) -> str:
    if not why:
        return (f"no host of {site} answers and takes replicas: bring one back, or take one out of"
                " maintenance")
    reasons = [why[host] for host in sorted(why)][:3]
    return (f"{protected.name} needs {render_size(round(size_bytes * SPARE))} at {site}, and"
            f" {', '.join(reasons)}: free space there")
