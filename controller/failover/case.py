"""One case: a scope that is silent, or whose failover is under way, with all that belongs to it.

A site is a case where all its hosts are silent; else each silent host is a case of its own, so that
the living half of a site keeps its VMs. A case that is recorded keeps the hosts it began with, and
these belong to no other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from controller.failover.asked import (
    PLACES,
    Destination,
    is_moved,
    left_to_move,
    means,
    members,
    targets_of,
)
from controller.failover.fencing import Fencing, Trial, judge_host, too_late
from controller.failover.quorum import Told, agreement, answers, is_fresh, is_silent
from controller.failover.situation import HostSituation, MachineSituation, Request, Situation
from controller.failover.states import Phase
from controller.model.failover.record import Record, RecordedHost


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scope, and what is seen of it."""

    scope: str
    situation: Situation
    hosts: tuple[HostSituation, ...]
    machines: tuple[MachineSituation, ...]
    """Those that ran on its hosts, and those that its record has promoted; sorted by name."""
    record: Record | None
    """The newest copy; None if there is none, or it is over."""
    epoch: int
    """Of the record, or the next one."""
    order: Request | None = None
    """The order for a move that it is made for; None: it is no new move."""

    @property
    def phase(self) -> Phase:
        """Return the phase that is written down."""
        return Phase(self.record.phase) if self.record is not None else Phase.CALM

    @property
    def words(self) -> str:
        """Return what the case is about, in words."""
        kind, _, name = self.scope.partition("/")
        return {"Site": "site ", "Host": "host "}.get(kind, "") + name

    @cached_property
    def requests(self) -> tuple[Request, ...]:
        """Return what persons ordered of the case, or of a part of it."""
        mine = {self.scope, *(target for one in self.machines for target in targets_of(one))}
        return tuple(one for one in self.situation.requests
                     if one.target in mine or one is self.order
                     or (one.planned and self._concerns(one)))

    def _concerns(self, request: Request) -> bool:
        """Return whether an order for a move means a VM that its record decides about."""
        way = Destination(request.target, request.back)
        return self.record is not None and any(
            means(way, one, self.situation) for one in self.machines
            if not self.record.machines or one.name in self.record.machines)

    @cached_property
    def moves(self) -> tuple[Request, ...]:
        """Return the orders that set it going: of a failover as a whole, those for a place."""
        if self.record is None:
            return () if self.order is None else (self.order,)
        whole = bool(self.record.machines)
        return tuple(one for one in self.requests if one.planned and (
            not whole or one.target == self.scope or one.target.startswith(PLACES)))

    def is_moved(self, machine: MachineSituation) -> bool:
        """Return whether its move has nothing to do with a VM any more, or never had."""
        return self.record is not None and is_moved(machine, self.record, self.situation)

    @cached_property
    def ordered(self) -> frozenset[str]:
        """Return what of it a person ordered to fail over, now or when it began."""
        begun = self.record.ordered if self.record is not None else ()
        return frozenset((*begun, *(one.target for one in self.requests if not one.planned)))

    @cached_property
    def accepted(self) -> frozenset[str]:
        """Return for what of it a person took the loss."""
        begun = self.record.accepted if self.record is not None else ()
        return frozenset((*begun, *(one.target for one in self.requests
                                    if one.accepts_loss and not one.planned)))

    def touches(self, targets: frozenset[str], machine: MachineSituation) -> bool:
        """Return whether one of the targets means this VM."""
        return not targets.isdisjoint((self.scope, *targets_of(machine)))

    @cached_property
    def unreadable(self) -> str | None:
        """Return which node holds a record of the scope that cannot be read, if no other can be."""
        if self.record is not None:
            return None
        mine = [copy for copy in self.situation.records if copy.record.scope == self.scope]
        if not mine or any(not copy.record.unreadable for copy in mine):
            return None
        return (f"a failover of {self.words} may be under way, and its record on"
                f" {mine[0].node} cannot be read: {mine[0].record.unreadable}")

    @cached_property
    def agreed(self) -> Told | None:
        """Return which places agree that its hosts are gone."""
        return agreement(self.hosts, self.situation)

    @cached_property
    def trials(self) -> Mapping[str, Trial]:
        """Return by host what its proofs depend on."""
        recorded = self.record.hosts if self.record is not None else {}
        spares: dict[str, list[str]] = {}
        for machine in self.machines:
            if machine.isolation == "run":
                spares.setdefault(machine.home, []).append(machine.name)
        return {host.name: Trial(self.situation, self.epoch, recorded.get(host.name),
                                 bool(self.ordered), tuple(spares.get(host.name, ())))
                for host in self.hosts}

    @cached_property
    def fencings(self) -> Mapping[str, Fencing]:
        """Return by silent host whether it is proven off."""
        return {host.name: judge_host(host, self.trials[host.name]) for host in self.silent}

    @cached_property
    def silent(self) -> tuple[HostSituation, ...]:
        """Return its hosts that do not answer."""
        return tuple(one for one in self.hosts if not answers(one, self.situation))

    @cached_property
    def answering(self) -> tuple[HostSituation, ...]:
        """Return its hosts that answer."""
        return tuple(one for one in self.hosts if answers(one, self.situation))

    @cached_property
    def undeclared(self) -> Mapping[str, RecordedHost]:
        """Return the hosts of its record that are not declared any more: nobody looks at them."""
        recorded = self.record.hosts if self.record is not None else {}
        return {name: one for name, one in recorded.items() if name not in self.situation.hosts}

    @cached_property
    def late(self) -> bool:
        """Return whether its guests may have been ended by us already."""
        return self.phase is Phase.GATING or any(
            too_late(host, self.trials[host.name], fencing=self.phase is Phase.FENCING)
            for host in self.hosts)

    @cached_property
    def survivors(self) -> tuple[str, ...]:
        """Return the nodes that answer, can hold the record, and are no part of the case."""
        situation, mine = self.situation, {host.name for host in self.hosts}
        nodes = [view.by for view in situation.views if is_fresh(view, situation)]
        nodes += [host.name for host in situation.hosts.values()
                  if host.name not in mine and answers(host, situation)]
        return tuple(sorted(node for node in nodes if node not in situation.unwritable))

    def promoted(self, machine: MachineSituation) -> str | None:
        """Return the node that its record promotes a VM on; None if it does not."""
        found = self.record.machines.get(machine.name) if self.record is not None else None
        return None if found is None else found.node


def newest_records(situation: Situation) -> dict[str, Record]:
    """Return by scope the newest copy of each record.

    A controller that took over without reaching those that knew of a promotion has perhaps gone on
    from an older phase: the promotion counts, whatever the term of who wrote of it.
    """
    found: dict[str, Record] = {}
    promoted: dict[str, Record] = {}
    for copy in situation.records:
        record = copy.record
        for known in (found, promoted) if record.machines else (found,):
            other = known.get(record.scope)
            if not record.unreadable and (other is None or other.rank < record.rank):
                known[record.scope] = record
    for scope, record in promoted.items():
        newest = found[scope]
        if newest.epoch == record.epoch and not newest.machines and newest.phase != Phase.CALM:
            found[scope] = replace(record, term=newest.term, step=newest.step)
    return found


def open_cases(situation: Situation) -> Iterator[Case]:
    """Yield every case: those recorded first, then new ones, each sorted by scope."""
    records = open_records(situation)
    taken = {name for record in records.values() for name in record.hosts}
    scopes: list[tuple[str, tuple[str, ...], Record | None]] = [
        (scope, tuple(sorted(record.hosts)), record) for scope, record in records.items()]
    scopes += [(scope, names, None) for scope, names in _new_scopes(situation, taken, records)
               if scope not in records]
    orders = _new_moves(situation, records, {one[0] for one in scopes})
    scopes += [(scope, (), None) for scope in orders]
    following = max((situation.highest_epoch, *(
        copy.record.epoch + (copy.record.phase == Phase.MOVING_BACK)    # what it gives out
        for copy in situation.records)))
    for scope, names, record in scopes:
        if record is None:
            following += 1
        yield Case(scope=scope, situation=situation, record=record,
                   hosts=tuple(_as_seen(situation.hosts[name], record) for name in names
                               if name in situation.hosts),
                   machines=_machines_of(scope, records, situation, frozenset(names))
                   if scope not in orders else orders[scope][1],
                   epoch=following if record is None else record.epoch,
                   order=orders[scope][0] if scope in orders else None)


def _as_seen(host: HostSituation, record: Record | None) -> HostSituation:
    """Return a host; one that this controller never saw as whoever wrote the record saw it."""
    held = None if record is None or host.heard else record.hosts.get(host.name)
    return host if held is None else replace(host, guarded=held.guarded, watchdog=held.watchdog)


def open_records(situation: Situation) -> dict[str, Record]:
    """Return by scope the record of each failover and move that is not over, sorted."""
    return {scope: record for scope, record in sorted(newest_records(situation).items())
            if record.phase != Phase.CALM}


Moves = dict[str, tuple[Request, tuple[MachineSituation, ...]]]


def _new_moves(situation: Situation, records: Mapping[str, Record], taken: set[str]) -> Moves:
    """Return by scope each move that is ordered and not begun, with the VMs that it is of."""
    found: Moves = {}
    for request in situation.requests:
        scope = request.target
        silent = scope in taken and scope not in records     # it waits until that is back
        if not request.planned or silent or scope in found:
            continue
        left = tuple(sorted(left_to_move(request, records.values(), situation),
                            key=lambda one: one.name))
        if scope not in taken and left:
            found[scope] = request, left
        for one in left if scope in taken else ():
            alone = f"VirtualMachine/{one.name}"
            if alone not in taken:
                found.setdefault(alone, (request, (one,)))
    return found


def _new_scopes(situation: Situation, taken: set[str], records: Mapping[str, Record]
                ) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each site that is silent as a whole, and each silent host of the others.

    Also each host of a site that has a record already: of another part of it, or of a move.
    """
    sites: dict[str, list[HostSituation]] = {}
    for host in situation.hosts.values():
        if not host.maintenance:
            sites.setdefault(host.site, []).append(host)
    for site, hosts in sorted(sites.items()):
        gone = [host for host in hosts if is_silent(host, situation)]
        fresh = tuple(sorted(host.name for host in gone if host.name not in taken))
        if len(gone) == len(hosts) and fresh and f"Site/{site}" not in records:
            yield f"Site/{site}", fresh
        else:
            yield from ((f"Host/{name}", (name,)) for name in fresh)


def _machines_of(scope: str, records: Mapping[str, Record], situation: Situation,
                 hosts: frozenset[str]) -> tuple[MachineSituation, ...]:
    record = records.get(scope)
    promoted = record.machines if record is not None else {}
    if record is not None and not record.hosts and not promoted:
        found = members(record, records.values(), situation)
    else:
        found = tuple(one for one in situation.machines.values()
                      if one.home in hosts or one.name in promoted)
    return tuple(sorted(found, key=lambda one: one.name))
