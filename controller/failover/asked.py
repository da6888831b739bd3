"""Which VMs an order of a person for a move means, and which of them are still left to be moved.

An order to go back means the VMs that are declared at its target, wherever they are and whatever
took them away: a failover of their site, one of their host alone, or another move. An order to go
away means those that are at its target now.

Where several failovers are open, each record moves the VMs that it promoted, and an order for the
site sets all of them going. VMs that no record holds go under one of the order's own scope; where
that scope has a record already, each under one of its own.

An order is used up when a record that moves holds its VMs. What is left then, since the record that
holds it is not so far yet, is ordered VM by VM from there on: so nothing is moved twice by one
order, and nothing forgotten.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from controller.failover.quorum import answers
from controller.failover.situation import MachineSituation, Request, Situation
from controller.failover.states import Phase
from controller.model.failover.record import Record

PLACES = ("Site/", "Host/")


class Destination(NamedTuple):
    """Where a move leads: back to where VMs are declared, or away from a target."""

    target: str
    back: bool


def targets_of(machine: MachineSituation) -> tuple[str, ...]:
    """Return the targets of a person's order that mean this VM, its place aside."""
    own = f"VirtualMachine/{machine.name}"
    return (own,) if machine.group is None else (own, f"Group/{machine.group}")


def now_on(machine: MachineSituation) -> str:
    """Return the host that a VM is on, as far as is known."""
    return machine.at or machine.home


def means(way: Destination, machine: MachineSituation, situation: Situation) -> bool:
    """Return whether a move is of this VM."""
    if way.target in targets_of(machine):
        return True
    if not way.back:
        return way.target in _places_of(now_on(machine), situation)
    if way.target in machine.declared_at:
        return True
    elsewhere = not machine.declared_at or machine.home != now_on(machine)
    return elsewhere and way.target in _places_of(machine.home, situation)


def _places_of(name: str, situation: Situation) -> tuple[str, ...]:
    host = situation.hosts.get(name)
    return (f"Host/{name}", *(() if host is None else (f"Site/{host.site}",)))


def is_there(way: Destination, machine: MachineSituation, situation: Situation) -> bool:
    """Return whether a VM is where a move leads already; False where that is not known."""
    if way.back:
        return machine.at_home is True
    if way.target.startswith(PLACES):
        return way.target not in _places_of(now_on(machine), situation)
    return machine.at_home is False


def is_moved(machine: MachineSituation, record: Record, situation: Situation) -> bool:
    """Return whether the move of a record has nothing to do with a VM any more, or never had."""
    way = Destination(record.scope, record.back)
    if machine.epoch > record.epoch:
        return True     # it was promoted or moved since
    if record.machines:
        return machine.name not in record.machines or machine.at_home is True
    return is_there(way, machine, situation)


def is_unreached(machine: MachineSituation, situation: Situation) -> str | None:
    """Return which host of a VM does not answer: its own, or the one that holds its replica."""
    for name in (now_on(machine), machine.target):
        host = situation.hosts.get(name or "")
        if name and (host is None or not answers(host, situation)):
            return name
    return None if now_on(machine) else "its host"


def holder(machine: MachineSituation, target: str, records: Iterable[Record],
           situation: Situation) -> Record | None:
    """Return the open record that decides about a VM, so that an order for `target` waits for it.

    A failover that has put everything right lets single VMs go by an order of their own; and one
    whose old host is silent has nothing left to do for a VM that runs elsewhere.
    """
    for record in records:
        if not record.hosts and not record.machines:
            held = (means(Destination(record.scope, record.back), machine, situation)
                    and not is_moved(machine, record, situation))
        elif not record.machines:
            held = machine.home in record.hosts
        else:
            held = machine.name in record.machines and machine.epoch <= record.epoch
            settled = record.phase == Phase.PROTECTED_REVERSED and not target.startswith(PLACES)
            held = held and not settled and not _is_left(machine, record, situation)
        if held:
            return record
    return None


def _is_left(machine: MachineSituation, record: Record, situation: Situation) -> bool:
    home = situation.hosts.get(machine.home)
    return (record.phase == Phase.LED_ELSEWHERE and bool(machine.runs_on)
            and (home is None or not answers(home, situation)))


def left_to_move(request: Request, records: Iterable[Record],
                 situation: Situation) -> tuple[MachineSituation, ...]:
    """Return the VMs that an order means, which are not there, and which no record holds."""
    way = Destination(request.target, request.back)
    return tuple(one for one in situation.machines.values()
                 if means(way, one, situation) and not is_there(way, one, situation)
                 and holder(one, request.target, records, situation) is None)


def members(record: Record, records: Iterable[Record],
            situation: Situation) -> tuple[MachineSituation, ...]:
    """Return the VMs that the record of a move by name is of: what it means, and no other holds."""
    way = Destination(record.scope, record.back)
    others = [one for one in records if one.hosts or one.machines or one.epoch < record.epoch]
    return tuple(one for one in situation.machines.values() if means(way, one, situation)
                 and holder(one, record.scope, others, situation) is None)


class Spent(NamedTuple):
    """An order that is used up, and the VMs that it still has to be carried out for, if any."""

    request: Request
    left: tuple[str, ...] = ()


def spent(situation: Situation, records: Mapping[str, Record]) -> Iterator[Spent]:
    """Yield the orders that a record holds by now; `records` are those that are open."""
    ordered = {target for record in records.values() for target in record.ordered}
    moving = [one for one in records.values() if one.phase == Phase.MOVING_BACK]
    for request in situation.requests:
        if not request.planned:
            if request.target in ordered:
                yield Spent(request)
            continue
        way = Destination(request.target, request.back)
        meant = [one for one in situation.machines.values() if means(way, one, situation)]
        held = set[str]()
        for record in moving:
            if record.machines:
                held |= {one.name for one in meant if not is_moved(one, record, situation)}
            elif record.back is way.back:
                held |= {one.name for one in members(record, records.values(), situation)}
        if held or request.target in {record.scope for record in moving}:
            yield Spent(request, tuple(sorted(
                one.name for one in meant if one.name not in held
                and not is_there(way, one, situation))))
