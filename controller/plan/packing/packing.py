"""Packing: the hosts and the machines on them, while placement works out who belongs where.

Bin packing with several sizes at once: memory (hard), huge pages (hard, counted apart), CPUs
(up to a ratio), pool space for disks that would have to move, and groups of which a host takes one
machine each. An exact answer takes too long for thousands of machines, and would shuffle them at
every poll. So the packing is greedy, and a machine stays where it is unless a rule forbids it:

    load         every machine onto its host; the rest are hostless
    violations   which may not stay: pin, site, pools, a drained host, a group, too full a host
    remove       those, so that their room counts as free
    place        hostless and removed ones: pinned first, then the largest first, each on the host
                 where it leaves the estate best balanced
    make_room    for each that fits nowhere: move one other machine aside, if that is enough
    unplaced     for the rest: a sentence that says what every host lacks

The largest goes first, since small machines fill the gaps that large ones leave. One machine is
moved aside at most: chains of moves are hard to explain and slow to carry out. A machine that
should leave and cannot is put back. If its host is then too full, it is marked as staying, and all
is done again around it (`placement.arrange`); each round marks one more, so the rounds end.

Two things make it fast:

* One heap per site, emptiest host first. An entry is not updated but pushed again (`_requeue`), and
  skipped once its load is no longer that of its host. In a large estate only the four emptiest
  hosts of a site that fit are compared (`CHOICE`).
* `no_fit` remembers the smallest machine of each shape that did not fit; nothing as large is tried
  again until a machine is removed. `no_fit_by_moving` does the same for moving another one aside.

A packing belongs to one decision.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush, nlargest
from math import sqrt

from controller.plan.packing.problem import (
    Balance,
    Limits,
    Move,
    PlaceHost,
    PlaceMachine,
    Placement,
    Unplaced,
    misplaced,
)

CHOICE = 4
"""How many of the emptiest hosts of each site are compared before one is chosen."""
EXHAUSTIVE = 50_000
"""Up to this many pairs of machine and host, every host is compared."""
UNEVEN = 1e-3
"""Below this deviation hosts count as even, and the weights stay as they are."""
CHAIN_HOSTS = 64
CHAIN_MACHINES = 16
"""How many hosts, and machines on each, are tried when one is to be moved aside."""


def deviation(values: list[float]) -> float:
    """Return the standard deviation of `values`."""
    if not values:
        return 0.0
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / len(values))


Demand = Callable[[str], tuple[str, tuple[tuple[str, int], ...]]]
"""The host of a machine's disks, and what they need by pool on any other host."""
Shape = tuple[tuple[str, ...], str | None, tuple[str, ...], tuple[str, ...], int,
              tuple[tuple[str, int], ...]]
"""All about a machine but its size: sites, pin, groups, pools, huge pages, disks to move."""


def nothing_to_move(_: str) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Return that a machine has no disks that would have to move with it."""
    return "", ()


def exceeds(machine: PlaceMachine, least: tuple[int, int] | None) -> bool:
    """Return whether `machine` is at least as large as one that did not fit."""
    return least is not None and machine.memory_bytes >= least[0] and machine.cpus >= least[1]


class Packing:
    """The hosts, what is free on them, and which machine is on which."""

    def __init__(self, hosts: Iterable[PlaceHost], limits: Limits,
                 demand: Demand = nothing_to_move) -> None:
        self.hosts = {host.name: host for host in sorted(hosts)}
        self.free = {name: host.memory_bytes for name, host in self.hosts.items()}
        self.huge = {name: host.huge_bytes for name, host in self.hosts.items()}
        self.demand = demand
        self.pool_used: dict[tuple[str, str], int] = {}
        """By host and pool: the space reserved for disks of machines that were placed there."""
        self.cpus = dict.fromkeys(self.hosts, 0)
        self.cpu_capacity = {name: one.cpus * limits.cpu_ratio for name, one in self.hosts.items()}
        self.on: dict[str, dict[str, PlaceMachine]] = {name: {} for name in self.hosts}
        self.groups: dict[str, dict[str, str]] = {name: {} for name in self.hosts}
        self.where: dict[str, str] = {}
        self.why: dict[str, str] = {}
        self.heaps: dict[str, list[tuple[float, str]]] = {}
        self.weights = Balance(1.0, limits.cpu_ratio ** -2, 0.0)
        self.choice = CHOICE
        self.no_fit: dict[Shape, tuple[int, int]] = {}
        """By shape: the smallest machine that did not fit; nothing larger needs to be tried."""
        self.no_fit_by_moving: dict[tuple[Shape, str | None], tuple[int, int]] = {}
        """The same for moving another machine aside, by the host whose room it keeps meanwhile."""

    def load(self, machines: list[PlaceMachine], current: Mapping[str, str]) -> list[PlaceMachine]:
        """Put every machine on its host, and return those that have none."""
        hostless = []
        for machine in machines:
            host = current.get(machine.name)
            if host in self.on:
                self.put(machine, host)
            else:
                hostless.append(machine)
        return hostless

    def put(self, machine: PlaceMachine, host: str) -> None:
        """Add `machine` to `host`."""
        self.free[host] -= machine.memory_bytes
        self.huge[host] -= machine.huge_bytes
        self.cpus[host] += machine.cpus
        self.on[host][machine.name] = machine
        self.where[machine.name] = host
        for group in machine.groups:
            self.groups[host].setdefault(group, machine.name)

    def remove(self, machine: PlaceMachine) -> None:
        """Remove `machine` from its host."""
        self.no_fit.clear()
        host = self.where.pop(machine.name)
        self.free[host] += machine.memory_bytes
        self.huge[host] += machine.huge_bytes
        self.cpus[host] -= machine.cpus
        del self.on[host][machine.name]
        for group in machine.groups:
            if self.groups[host].get(group) == machine.name:
                del self.groups[host][group]
                for other in self.on[host].values():
                    if group in other.groups:
                        self.groups[host].setdefault(group, other.name)
        self._requeue(host)

    def violations(self, machines: list[PlaceMachine],
                   staying: Mapping[str, str]) -> list[tuple[PlaceMachine, str]]:
        """Return the machines that may not stay where they are, each with the reason.

        Machines in `staying` have nowhere to go and come before others of their group.
        """
        found: dict[str, tuple[PlaceMachine, str]] = {}
        for machine in machines:
            name = self.where.get(machine.name)
            if name is None or machine.fixed:
                continue
            host = self.hosts[name]
            why = misplaced(machine, host)
            if why:
                found[machine.name] = (machine, why)
        for name in self.hosts:
            self._group_violations(name, found, staying)
            self._overflow(name, found, staying)
        return [found[name] for name in sorted(found)]

    def _group_violations(self, host: str, found: dict[str, tuple[PlaceMachine, str]],
                          staying: Mapping[str, str]) -> None:
        if not self.groups[host]:
            return
        holder: dict[str, PlaceMachine] = {}
        stay = [machine for machine in self.on[host].values()
                if machine.groups and machine.name not in found]
        stay.sort(key=lambda one: (not one.fixed, not one.has_local_disks, one.name not in staying,
                                   one.host is None, -one.memory_bytes, one.name))
        for machine in stay:
            rival = next((holder[group] for group in machine.groups if group in holder), None)
            if rival is None:
                holder.update(dict.fromkeys(machine.groups, machine))
            elif not machine.fixed and not machine.has_local_disks and machine.name not in staying:
                group = next(one for one in machine.groups if one in holder)
                found[machine.name] = (machine, f"{rival.name} of the same group {group} is on"
                                                f" {host}, too")

    def _overflow(self, host: str, found: dict[str, tuple[PlaceMachine, str]],
                  staying: Mapping[str, str]) -> None:
        leaving = [one for one in self.on[host].values() if one.name in found]
        short = -self.free[host] - sum(one.memory_bytes for one in leaving)
        if short <= 0:
            return
        movable = sorted((one for one in self.on[host].values()
                       if one.name not in found and not one.fixed and not one.has_local_disks
                       and one.memory_bytes > 0 and one.host is None
                       and one.name not in staying),
                      key=lambda one: (one.memory_bytes, one.name))
        while short > 0 and movable:
            enough = next((i for i, one in enumerate(movable) if one.memory_bytes >= short), -1)
            machine = movable.pop(enough)
            short -= machine.memory_bytes
            found[machine.name] = (machine, f"{host} has more on it than its memory holds")

    def build_heaps(self, candidates: int) -> None:
        """Build one heap of accepting hosts per site, emptiest first."""
        self.heaps = {}
        for name, host in self.hosts.items():
            if host.accepts:
                self.heaps.setdefault(host.site, []).append((self._load(name), name))
        for heap in self.heaps.values():
            heapify(heap)
        self.weights = self._weights()
        self.choice = CHOICE if candidates * len(self.hosts) > EXHAUSTIVE else len(self.hosts)

    def balance(self) -> Balance:
        """Return how evenly the hosts that accept machines are filled."""
        names = [name for name, host in self.hosts.items() if host.accepts]
        return Balance(
            deviation([self.free[name] / (self.hosts[name].memory_bytes or 1) for name in names]),
            deviation([self.cpus[name] / (self.hosts[name].cpus or 1) for name in names]),
            deviation([float(len(self.on[name])) for name in names]))

    def _weights(self) -> Balance:
        """Return the weight of each squared share, so that the sum of deviations grows least."""
        spread = self.balance()
        if spread.memory < UNEVEN or spread.cpus < UNEVEN:
            return self.weights
        return Balance(1 / spread.memory, 1 / spread.cpus, 1 / max(spread.machines, UNEVEN))

    def _load(self, name: str) -> float:
        host = self.hosts[name]
        return (2.0 - self.free[name] / (host.memory_bytes or 1)
                + self.cpus[name] / (self.cpu_capacity[name] or 1))

    def _requeue(self, name: str) -> None:
        host = self.hosts[name]
        if host.accepts and host.site in self.heaps:
            heappush(self.heaps[host.site], (self._load(name), name))

    def place(self, machine: PlaceMachine, why: str, avoid: str = "") -> bool:
        """Put `machine` on the best host that it fits on; False if there is none."""
        shape = self._shape(machine)
        if exceeds(machine, self.no_fit.get(shape)):
            return False
        best = machine.host
        if best is None:
            best = self._best(machine, avoid)
        elif best not in self.hosts or not (self.hosts[best].accepts
                                            and self._fits(machine, best)):
            best = None
        if best is None:
            if not avoid:
                self.no_fit[shape] = (machine.memory_bytes, machine.cpus)
            return False
        self._reserve_disks(machine, best)
        self.put(machine, best)
        self._requeue(best)
        self.why[machine.name] = why
        return True

    def _shape(self, machine: PlaceMachine) -> Shape:
        return (machine.sites, machine.host, machine.groups, machine.needs, machine.huge_bytes,
                self.demand(machine.name)[1])

    def _reserve_disks(self, machine: PlaceMachine, name: str) -> None:
        """Reserve the space for the disks of a machine that comes to a host."""
        source, takes = self.demand(machine.name)
        for pool, size_bytes in takes if source != name else ():
            self.pool_used[name, pool] = self.pool_used.get((name, pool), 0) + size_bytes

    def has_space(self, machine: PlaceMachine, name: str) -> bool:
        """Return whether the pools of a host have space for the disks of a machine."""
        source, takes = self.demand(machine.name)
        space = self.hosts[name].space
        if not takes or source == name:
            return True
        return space is not None and all(
            pool not in space or space[pool] - self.pool_used.get((name, pool), 0) >= size_bytes
            for pool, size_bytes in takes)

    def _best(self, machine: PlaceMachine, avoid: str) -> str | None:
        best: tuple[float, str] | None = None
        for site in machine.sites or tuple(self.heaps):
            heap = self.heaps.get(site, [])
            popped: list[tuple[float, str]] = []
            seen: set[str] = set()
            choices = 0
            while heap and choices < self.choice:
                entry = heappop(heap)
                load, name = entry
                if name in seen or load != self._load(name):
                    continue
                seen.add(name)
                popped.append(entry)
                if name == avoid or not self._fits(machine, name):
                    continue
                choices += 1
                cost = (self._cost(machine, name), name)
                best = cost if best is None or cost < best else best
            for entry in popped:
                heappush(heap, entry)
        return best[1] if best is not None else None

    def _fits(self, machine: PlaceMachine, name: str) -> bool:
        return (self.free[name] >= machine.memory_bytes
                and self.cpus[name] + machine.cpus <= self.cpu_capacity[name]
                and self.huge[name] >= machine.huge_bytes
                and not (machine.groups and self._clash(machine, name))
                and (not machine.needs or self.hosts[name].offers.issuperset(machine.needs))
                and self.has_space(machine, name))

    def _clash(self, machine: PlaceMachine, name: str) -> bool:
        taken = self.groups[name]
        return any(group in taken for group in machine.groups)

    def _cost(self, machine: PlaceMachine, name: str) -> float:
        """Return how much the imbalance would grow: weighted sums of squared shares."""
        host, weights = self.hosts[name], self.weights
        memory, cores = host.memory_bytes or 1, host.cpus or 1
        more, more_cpus = machine.memory_bytes / memory, machine.cpus / cores
        growth = weights.memory * (2 - 2 * self.free[name] / memory + more) * more
        growth += weights.cpus * (2 * self.cpus[name] / cores + more_cpus) * more_cpus
        growth += weights.machines * (2 * len(self.on[name]) + 1)
        return round(growth, 9)

    def make_room(self, machine: PlaceMachine, why: str, source: str | None) -> bool:
        """Move one other machine aside so that `machine` fits; False if one move is not enough.

        A running machine still occupies its source, since the other machine has to move first.
        """
        shape, leaves = self._shape(machine), source if not machine.has_local_disks else None
        keeps = source if source in self.hosts and self.hosts[source].accepts else None
        if any(exceeds(machine, self.no_fit_by_moving.get((shape, one))) for one in (None, keeps)):
            return False
        if leaves in self.hosts:
            self.free[leaves] -= machine.memory_bytes
        most_free = self._most_free()
        done = any(self._displace_for(machine, why, name, most_free)
                   for name in self._roomy(machine) if name != source)
        if leaves in self.hosts:
            self.free[leaves] += machine.memory_bytes
            self._requeue(leaves)
        if done:
            self.no_fit_by_moving.clear()
        elif keeps is None or leaves == keeps:
            self.no_fit_by_moving[shape, keeps] = (machine.memory_bytes, machine.cpus)
        return done

    def _most_free(self) -> dict[str, list[tuple[int, str]]]:
        """Return by site the two hosts with the most free memory: one of them may be excluded."""
        found: dict[str, list[tuple[int, str]]] = {}
        for name, host in self.hosts.items():
            if host.accepts:
                found.setdefault(host.site, []).append((self.free[name], name))
        return {site: nlargest(2, free) for site, free in found.items()}

    def _roomy(self, machine: PlaceMachine) -> list[str]:
        names = [machine.host] if machine.host in self.hosts else [
            name for name, host in self.hosts.items()
            if not machine.sites or host.site in machine.sites]
        open_hosts = [name for name in names if name is not None and self.hosts[name].accepts
                and self.hosts[name].offers.issuperset(machine.needs)
                and self.huge[name] >= machine.huge_bytes and self.has_space(machine, name)
                and not self._clash(machine, name)]
        return sorted(open_hosts, key=lambda name: (-self.free[name], name))[:CHAIN_HOSTS]

    def _displace_for(self, machine: PlaceMachine, why: str, name: str,
                      most_free: Mapping[str, list[tuple[int, str]]]) -> bool:
        short = machine.memory_bytes - self.free[name]
        short_cpus = self.cpus[name] + machine.cpus - self.cpu_capacity[name]
        movable = sorted((one for one in self.on[name].values()
                       if one.memory_bytes >= short and one.cpus >= short_cpus and not one.fixed
                       and not one.has_local_disks and one.host is None and one.memory_bytes > 0
                       and one.name not in self.why),
                      key=lambda one: (one.memory_bytes, one.name))
        for other in movable[:CHAIN_MACHINES]:
            if all(free < other.memory_bytes for site in other.sites or most_free
                   for free, host in most_free.get(site, ()) if host != name):
                continue
            self.remove(other)
            if self.place(other, f"it makes room for {machine.name} on {name}", avoid=name):
                self._reserve_disks(machine, name)
                self.put(machine, name)
                self._requeue(name)
                self.why[machine.name] = why
                return True
            self.put(other, name)
            self._requeue(name)
        return False

    def overfull(self, host: str) -> bool:
        """Return whether a host has more on it than its memory holds, or two of one group."""
        named = [group for one in self.on[host].values() for group in one.groups]
        return self.free[host] < 0 or len(named) != len(set(named))

    def result(self, current: Mapping[str, str], unplaced: Mapping[str, str]) -> Placement:
        """Return the placement that the packing shows now."""
        moves = []
        for name in sorted(self.why):
            source, target = current.get(name), self.where[name]
            if source is not None and source != target:
                moves.append(Move(name, source, target, self.why[name]))
        return Placement(dict(self.where), tuple(moves),
                         tuple(Unplaced(name, unplaced[name]) for name in sorted(unplaced)))
